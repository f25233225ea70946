"""Names that label formats use: of landmarks, of classes, of splits; and where a file's pictures lie."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from facesmith.errors import LabelError

Key = TypeVar("Key")

FACE, IGNORED = "face", "ignored"
"""Class names that are written."""

LANDMARK_NAMES: dict[int, tuple[str, ...]] = {
    5: ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth"),
    19: (
        "left_brow_outer",
        "left_brow",
        "left_brow_inner",
        "right_brow_inner",
        "right_brow",
        "right_brow_outer",
        "left_eye_outer",
        "left_eye",
        "left_eye_inner",
        "right_eye_inner",
        "right_eye",
        "right_eye_outer",
        "nose_left",
        "nose",
        "nose_right",
        "left_mouth",
        "mouth",
        "right_mouth",
        "chin",
    ),
}
"""Number of landmarks -> their names in order; left is left in the image."""

_IGNORED_NAMES = {"ignored", "ignore", "invalid"}
_VALIDATION = {"val", "valid", "validation", "test", "testing", "dev"}
_LOOKED_FOR = 50  # paths that decide which folder holds the pictures


def landmark_order(names: Sequence[str], where: str) -> list[int]:
    """For each landmark of ours, its index in ``names``: ``left_eye``, ``Mouth Left`` and the like in any order.

    Raises:
        LabelError: ``names`` are not those of 5 or 19 landmarks.
    """
    ours = LANDMARK_NAMES.get(len(names), LANDMARK_NAMES[5])
    theirs = {landmark_key(name): index for index, name in enumerate(names)}
    try:
        return [theirs[landmark_key(name)] for name in ours]
    except KeyError:
        raise LabelError(
            f"{where}: landmarks {', '.join(names)}; expected {', '.join(LANDMARK_NAMES[5])} (left is left in the "
            "image), or AFLW's 19"
        ) from None


def landmark_key(name: str) -> frozenset[str]:
    """What a landmark's name says, whatever the order and writing of its words: ``mouth-left`` is ``left_mouth``."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    return frozenset({"lip": "mouth", "eyebrow": "brow"}.get(word, word) for word in words) - {
        "corner",
        "tip",
        "center",
        "centre",
        "lips",
    }


def face_classes(names: Mapping[Key, str], where: str) -> dict[Key, bool]:
    """Class -> whether its faces are ignored; classes that are no faces are left out.

    A class called ``ignored``, ``ignore`` or ``invalid`` marks faces that do not count. Of the others, the only one
    is the face, or the one called ``face``.

    Raises:
        LabelError: there are several others, none called ``face``.
    """
    ignored = {key: True for key, name in names.items() if name.strip().lower() in _IGNORED_NAMES}
    others = {key: name.strip() for key, name in names.items() if key not in ignored}
    faces = [key for key, name in others.items() if len(others) == 1 or name.lower() in (FACE, "faces")]
    if others and not faces:
        raise LabelError(f"{where}: classes {', '.join(others.values())}; expected one, or one called 'face'")
    return dict.fromkeys(faces, False) | ignored


def is_validation(name: str) -> bool:
    """Whether a label set's name says that it is not for training: ``val``, ``instances_val2017``, ``test`` …"""
    return not _VALIDATION.isdisjoint(re.findall(r"[a-z]+", name.lower()))


def relative(name: str, where: str) -> str:
    """``name`` with forward slashes and without ``./``.

    Raises:
        LabelError: it is empty, absolute or leads out of its folder.
    """
    path = PurePosixPath(name.strip().replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise LabelError(f"{where}: picture {name!r}; expected a path within the folder of pictures")
    return str(path)


def picture_root(file: Path, paths: Iterable[str], *others: Path) -> Path:
    """The folder that ``paths`` of label file ``file`` start from: of the usual places the one that has the most."""
    looked_for = [path for _, path in zip(range(_LOOKED_FOR), paths, strict=False)]
    here, above = file.parent, file.parent.parent
    split = re.split(r"[_.-]", file.stem)[-1]  # instances_train2017 -> train2017
    places = [base / name for base in (here, above) for name in (".", "images", file.stem, split, f"images/{split}")]
    return max((*places, *others), key=lambda place: sum((place / path).is_file() for path in looked_for)).resolve()
