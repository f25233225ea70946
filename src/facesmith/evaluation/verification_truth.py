"""What is compared in face verification, and readers of the benchmarks' label files.

Pickled ``.bin`` sets are not read: a pickle from elsewhere can run any code. Folders of images with a text
of pairs take their place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facesmith.errors import LabelError
from facesmith.evaluation.names import image_name

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

FOLDS = 10


@dataclass(frozen=True)
class PairSet:
    """A benchmark of pairs: its name and size."""

    name: str
    pairs: int


LFW = PairSet("lfw", 6000)
CFP_FP = PairSet("cfp-fp", 7000)
AGEDB_30 = PairSet("agedb-30", 6000)
IJB_C_IMAGES = 469_375


@dataclass(frozen=True, eq=False)
class Pairs:
    """n pairs in the benchmark's order, which makes the folds.

    Attributes:
        benchmark: which set.
        images: image names without suffix, each once.
        left, right: (n,) int64, indices into ``images``.
        same: (n,) bool, whether both show one person.
    """

    benchmark: PairSet
    images: tuple[str, ...]
    left: IntArray
    right: IntArray
    same: BoolArray


@dataclass(frozen=True, eq=False)
class Templates:
    """IJB-C's 1:1 protocol: t templates of n images, and p comparisons.

    Attributes:
        images: image names without suffix.
        template: (n,) int64, ascending from 0 to t - 1 in the order of ``images``: each image's template.
        media: (n,) int64, ascending within a template: images of one video share a number.
        left, right: (p,) int64 templates.
        same: (p,) bool.
    """

    images: tuple[str, ...]
    template: IntArray
    media: IntArray
    left: IntArray
    right: IntArray
    same: BoolArray


def load_pairs(path: str | Path, benchmark: PairSet) -> Pairs:
    """Read pairs.

    - LFW's ``pairs.txt``: ``sets pairs`` and then, set by set, lines ``name n1 n2`` and ``name1 n1 name2
      n2``; images are called ``name/name_0001``.
    - CFP's folder, the one that holds ``Protocol``: ``Pair_list_F.txt`` and ``Pair_list_P.txt`` (``number
      path``), ``Split/FP/01`` to ``10`` with ``same.txt`` and ``diff.txt`` (``frontal,profile``); images
      are called as below that folder, ``Data/Images/001/frontal/01``.
    - any other text: lines ``1 path path`` for one person and ``0 path path`` for two, in the official
      order; so AgeDB-30, which InsightFace's authors hand out as a pickle only.

    Raises:
        LabelError: a file is malformed; the message names the line.
    """
    path = Path(path)
    if path.is_dir():
        return _pairs(_read_cfp(path), benchmark)
    lines = _lines(path)
    first = lines[0][1].split() if lines else []
    if len(first) in (1, 2) and all(word.isdecimal() for word in first):
        return _pairs(_read_lfw(path, lines[1:]), benchmark)
    return _pairs([_path_pair(path, number, line) for number, line in lines], benchmark)


def load_templates(media: str | Path, pairs: str | Path) -> Templates:
    """Read IJB-C's ``ijbc_face_tid_mid.txt`` (``image template media``) and ``ijbc_template_pair_label.txt``
    (``template template label``, 1 for one person).

    Raises:
        LabelError: a file is malformed; the message names the line.
    """
    rows = [_media_row(Path(media), number, line) for number, line in _lines(Path(media))]
    if not rows:
        raise LabelError(f"{media}: is empty; expected lines 'image template media'")
    rows.sort(key=lambda row: row[1:])
    names = tuple(row[0] for row in rows)
    if len(set(names)) != len(names):
        raise LabelError(f"{media}: an image is named twice")
    ids, template = np.unique([row[1] for row in rows], return_inverse=True)
    try:
        table = np.loadtxt(pairs, dtype=np.int64, ndmin=2)
    except (OSError, ValueError) as error:
        raise LabelError(f"{pairs}: expected lines 'template template label': {error}") from error
    if table.shape[1:] != (3,) or not len(table):
        raise LabelError(f"{pairs}: expected three numbers a line, 'template template label'")
    position = np.minimum(np.searchsorted(ids, table[:, :2]), len(ids) - 1)
    unknown = np.flatnonzero(np.any(ids[position] != table[:, :2], axis=1) | ~np.isin(table[:, 2], (0, 1)))
    if len(unknown):
        raise LabelError(
            f"{pairs}:{unknown[0] + 1}: {table[unknown[0]].tolist()} has a template that {media} lacks, or a "
            "label that is neither 0 nor 1"
        )
    media_numbers = np.array([row[2] for row in rows], np.int64)
    return Templates(names, template, media_numbers, position[:, 0], position[:, 1], table[:, 2] == 1)


def _pairs(rows: Sequence[tuple[str, str, bool]], benchmark: PairSet) -> Pairs:
    if len(rows) < FOLDS:
        raise LabelError(f"{len(rows)} pairs cannot make {FOLDS} folds")
    images = tuple(dict.fromkeys(name for left, right, _ in rows for name in (left, right)))
    position = {name: index for index, name in enumerate(images)}
    left = np.array([position[row[0]] for row in rows], np.int64)
    right = np.array([position[row[1]] for row in rows], np.int64)
    return Pairs(benchmark, images, left, right, np.array([row[2] for row in rows], bool))


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines that are not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot be read as text: {error}") from error
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _read_lfw(path: Path, lines: Sequence[tuple[int, str]]) -> list[tuple[str, str, bool]]:
    rows = []
    for number, line in lines:
        words = line.split()
        numbers = words[1::2] if len(words) == 4 else words[1:]
        if len(words) not in (3, 4) or not all(word.isdecimal() for word in numbers):
            raise LabelError(
                f"{path}:{number}: expected 'name n1 n2' or 'name1 n1 name2 n2', found {line.strip()[:60]!r}"
            )
        other = words[2] if len(words) == 4 else words[0]
        left, right = (f"{person}/{person}_{int(n):04d}" for person, n in ((words[0], numbers[0]), (other, numbers[1])))
        rows.append((left, right, len(words) == 3))
    return rows


def _path_pair(path: Path, number: int, line: str) -> tuple[str, str, bool]:
    words = line.split()
    if len(words) != 3 or words[0] not in ("0", "1"):
        raise LabelError(f"{path}:{number}: expected '0 path path' or '1 path path', found {line[:60]!r}")
    return image_name(words[1]), image_name(words[2]), words[0] == "1"


def _read_cfp(folder: Path) -> list[tuple[str, str, bool]]:
    protocol = folder / "Protocol"
    frontal, profile = (_cfp_list(protocol / f"Pair_list_{side}.txt") for side in "FP")
    rows = []
    for fold in range(1, FOLDS + 1):
        for file, same in (("same.txt", True), ("diff.txt", False)):
            path = protocol / "Split" / "FP" / f"{fold:02d}" / file
            for number, line in _lines(path):
                left, _, right = (word.strip() for word in line.partition(","))
                if left not in frontal or right not in profile:
                    raise LabelError(
                        f"{path}:{number}: expected 'frontal,profile' with numbers of the two lists, found "
                        f"{line.strip()[:60]!r}"
                    )
                rows.append((frontal[left], profile[right], same))
    return rows


def _cfp_list(path: Path) -> dict[str, str]:
    """Number -> image name below the data set's folder."""
    names: dict[str, str] = {}
    for number, line in _lines(path):
        words = line.split()
        if len(words) != 2 or not words[0].isdecimal():
            raise LabelError(f"{path}:{number}: expected 'number path', found {line.strip()[:60]!r}")
        names[words[0]] = image_name(words[1].removeprefix("../"))
    return names


def _media_row(path: Path, number: int, line: str) -> tuple[str, int, int]:
    words = line.split()
    try:
        name, template, media = words[0], int(words[1]), int(words[2])
    except (IndexError, ValueError):
        raise LabelError(f"{path}:{number}: expected 'image template media', found {line[:60]!r}") from None
    return image_name(name), template, media
