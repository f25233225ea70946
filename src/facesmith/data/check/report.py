"""All checks of a data folder brought together, as text, JSON and a contact sheet."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facesmith import images
from facesmith.data.check.pictures import Hash, Look, look_at, near_duplicates
from facesmith.data.check.problems import NOTES, Kind, Problem, label_problems
from facesmith.data.formats.names import is_validation
from facesmith.data.labelled import LabelSet

SHOWN = 5
"""Examples of each kind in the text."""

SYSTEMATIC = 0.2
"""A wrong landmark order in more than this share of a set's faces is a matter of the whole set."""

_CROWDS = (0, 1, 2, 5, 10, 50)


@dataclass(frozen=True)
class Balance:
    """Figures of one label set.

    Attributes:
        name: of the set.
        root: the folder of its pictures.
        pictures, faces: how many.
        landmarks: faces with landmarks.
        ignored: faces that are neither learnt nor punished.
        background: pictures without faces.
        crowds: faces in a picture (``"2-4"``) -> number of pictures.
    """

    name: str
    root: str
    pictures: int
    faces: int
    landmarks: int
    ignored: int
    background: int
    crowds: Mapping[str, int]

    @classmethod
    def of(cls, labels: LabelSet) -> "Balance":
        """The figures of ``labels``."""
        counts = np.array([len(image.boxes) for image in labels.images], int)
        bins = Counter(np.searchsorted(_CROWDS, counts, side="right").tolist())
        return cls(
            labels.name,
            str(labels.root),
            len(counts),
            int(counts.sum()),
            sum(int(image.has_landmarks.sum()) for image in labels.images),
            sum(int(image.ignored.sum()) for image in labels.images),
            int((counts == 0).sum()),
            {_crowd(i): bins[i] for i in sorted(bins)},
        )


@dataclass(frozen=True)
class Report:
    """What a check found: the figures of every set, and the problems."""

    balances: Sequence[Balance]
    problems: Sequence[Problem]

    @property
    def wrong(self) -> bool:
        """Whether anything but notes was found."""
        return any(problem.kind not in NOTES for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``sets`` and ``problems``, whose ``kind`` is a text of :class:`Kind`."""
        return {
            "sets": [dict(vars(balance)) for balance in self.balances],
            "problems": [problem._asdict() | {"kind": problem.kind.value} for problem in self.problems],
        }

    def text(self) -> str:
        """The report for people."""
        lines = ["set               pictures     faces  with landmarks  ignored  without faces"]
        for one in self.balances:
            share = f"{one.background / max(one.pictures, 1):.0%}"
            numbers = f"{one.pictures:>9,} {one.faces:>9,} {one.landmarks:>15,} {one.ignored:>8,} {share:>14}"
            lines.append(f"{one.name:<16} {numbers}")
        lines += ["", "faces a picture (pictures)"]
        lines += [f"{one.name:<16} " + ", ".join(f"{k}: {v:,}" for k, v in one.crowds.items()) for one in self.balances]
        lines += [f"\n{text}" for text in self._systematic()]
        for kind in Kind:
            found = worst(self.problems, kind)
            if found:
                mark = "note: " if kind in NOTES else ""
                lines += ["", f"{mark}{kind.value}: {len(found):,}"]
                lines += [f"  {_place(problem)}: {problem.detail}" for problem in found[:SHOWN]]
                lines += [f"  … and {len(found) - SHOWN:,} more"] if len(found) > SHOWN else []
        if not self.problems:
            lines += ["", "nothing wrong was found"]
        return "\n".join(lines)

    def _systematic(self) -> list[str]:
        faces = {one.name: one.landmarks for one in self.balances}
        orders = Counter((p.labels, p.detail) for p in self.problems if p.kind is Kind.ORDER)
        return [
            f"In the whole of {name}, by {count:,} of its {faces[name]:,} faces with landmarks: {detail}."
            for (name, detail), count in orders.items()
            if count > SYSTEMATIC * faces[name]
        ]


def check(sets: Sequence[LabelSet], validation: Sequence[Path], *, threads: int) -> Report:
    """Check ``sets``, and that none of their training pictures is among those of their validation sets or in
    ``validation``."""
    problems, roots = list[Problem](), {one.name: one.root for one in sets}
    training, held_out = dict[tuple[str, str], Hash](), dict[tuple[str, str], Hash]()
    for one in sets:
        looks = dict(zip(_paths(one), look_at([one.root / path for path in _paths(one)], threads), strict=True))
        problems += _unreadable(one, looks)
        problems += label_problems(one, {path: look.size for path, look in looks.items() if look.size is not None})
        hashes = held_out if is_validation(one.name) else training
        hashes |= {(one.name, path): look.hash for path, look in looks.items() if look.hash is not None}
    for file, look in zip(validation, look_at(validation, threads), strict=True):
        if look.hash is not None:
            held_out["", str(file)] = look.hash
    for pair in near_duplicates(training, held_out):
        (name, path), (held_out_set, other) = pair.first, pair.second
        other = str(roots[held_out_set] / other) if held_out_set else other
        text = f"nearly the same as {other} ({pair.bits} of 64 bits differ)"
        problems.append(Problem(Kind.LEAK, name, path, None, -float(pair.bits), text, other))
    return Report([Balance.of(one) for one in sets], problems)


def worst(problems: Sequence[Problem], kind: Kind) -> list[Problem]:
    """Those of ``kind``, worst first."""
    return sorted((problem for problem in problems if problem.kind is kind), key=lambda problem: -problem.badness)


def pictures_below(folder: Path) -> list[Path]:
    """All picture files in ``folder`` and below, in name order."""
    return sorted(path for path in folder.rglob("*") if images.is_image_path(path))


def _paths(labels: LabelSet) -> list[str]:
    return [image.path for image in labels.images]


def _unreadable(labels: LabelSet, looks: Mapping[str, Look]) -> list[Problem]:
    return [
        Problem(Kind.MISSING if look.missing else Kind.UNREADABLE, labels.name, path, None, 1.0, look.problem)
        for path, look in looks.items()
        if look.problem is not None
    ]


def _place(problem: Problem) -> str:
    face = "" if problem.face is None else f", face {problem.face}"
    return f"{problem.labels}: {problem.path}{face}"


def _crowd(index: int) -> str:
    first = _CROWDS[index - 1]
    if index == len(_CROWDS):
        return f"{first} and more"
    last = _CROWDS[index] - 1
    return str(first) if first == last else f"{first}-{last}"
