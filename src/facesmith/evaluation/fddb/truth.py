"""FDDB's ground truth: ellipse lists in ten folds, and the sizes of the images."""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from facesmith.errors import ImageError, LabelError
from facesmith.evaluation.ellipses import Ellipses
from facesmith.evaluation.names import closest, image_name
from facesmith.evaluation.predictions.fddb_text import read_fddb_ellipses

IntArray = npt.NDArray[np.int64]

OFFICIAL_IMAGES = 2845
"""Images of the ten folds; they hold 5,171 faces."""

Sizes = Mapping[str, tuple[int, int]]
"""Width and height by image name."""


@dataclass(frozen=True, eq=False)
class Truth:
    """Ellipses image by image.

    Attributes:
        names: as in the lists, ``2002/07/19/big/img_160``.
        ellipses: one :class:`Ellipses` an image.
        sizes: (images, 2) int64, width and height; regions are cut off at the image's border.
        folds: (images,) int64, from 1.
    """

    names: tuple[str, ...]
    ellipses: tuple[Ellipses, ...]
    sizes: IntArray
    folds: IntArray

    def subset(self, names: Collection[str]) -> Self:
        """The images called ``names``, in the ground truth's order.

        Raises:
            LabelError: a name is unknown, or there is none.
        """
        _check_known(names, self.names)
        wanted = frozenset(names)
        return self._chosen([i for i, name in enumerate(self.names) if name in wanted])

    def fold(self, number: int) -> Self:
        """The images of one fold.

        Raises:
            LabelError: no image is in it.
        """
        chosen = np.flatnonzero(self.folds == number).tolist()
        if not chosen:
            raise LabelError(f"no image of fold {number}; there are folds {sorted(set(self.folds.tolist()))}")
        return self._chosen(chosen)

    def rotated(self, turns: int) -> Self:
        """The ground truth of the images turned counter-clockwise by ``turns`` quarters: 1 and -1 for
        ±90°.
        """
        pairs = zip(self.ellipses, self.sizes.tolist(), strict=True)
        ellipses = tuple(faces.rotated(width, height, turns) for faces, (width, height) in pairs)
        return replace(self, ellipses=ellipses, sizes=self.sizes[:, ::-1] if turns % 2 else self.sizes)

    def _chosen(self, rows: list[int]) -> Self:
        return replace(
            self,
            names=tuple(self.names[i] for i in rows),
            ellipses=tuple(self.ellipses[i] for i in rows),
            sizes=self.sizes[rows],
            folds=self.folds[rows],
        )


def load_truth(path: str | os.PathLike[str], sizes: Sizes, *, names: Collection[str] | None = None) -> Truth:
    """Read the ellipse lists.

    Args:
        path: the folder with ``FDDB-fold-01-ellipseList.txt`` … ``-10-…``, or one such file (fold 1 if its
            name has no number).
        sizes: width and height of each image, for instance from :func:`image_sizes`.
        names: read these images only; all of the lists by default.

    Raises:
        LabelError: no list is there or one is malformed, an image is listed twice or has no size, or one of
            ``names`` is not listed.
    """
    path = Path(path)
    lists = sorted(path.glob("*ellipseList.txt")) if path.is_dir() else [path]
    if not lists:
        raise LabelError(f"{path}: no FDDB-fold-XX-ellipseList.txt in it")
    ellipses, folds = dict[str, Ellipses](), dict[str, int]()
    for file in lists:
        number = re.search(r"fold-(\d+)", file.name)
        for name, faces in read_fddb_ellipses(file).items():
            if name in ellipses:
                raise LabelError(f"{file}: {name!r} is in fold {folds[name]} already")
            ellipses[name], folds[name] = faces, int(number[1]) if number else 1
    if names is not None:
        _check_known(names, ellipses)
        wanted = frozenset(names)
        ellipses = {name: faces for name, faces in ellipses.items() if name in wanted}
    unsized = [name for name in ellipses if name not in sizes]
    if unsized:
        raise LabelError(
            f"{len(unsized):,} of {len(ellipses):,} listed images have no size, the first is {unsized[0]!r}; "
            "to evaluate some images only, give their names"
        )
    return Truth(
        names=tuple(ellipses),
        ellipses=tuple(ellipses.values()),
        sizes=np.array([sizes[name] for name in ellipses], np.int64).reshape(-1, 2),
        folds=np.array([folds[name] for name in ellipses], np.int64),
    )


def image_sizes(folder: str | os.PathLike[str]) -> dict[str, tuple[int, int]]:
    """Width and height of every ``.jpg`` below ``folder``, by path without suffix, read from the files'
    headers.

    Raises:
        ImageError: there is none, or a header cannot be read.
    """
    folder = Path(folder)
    sizes = dict[str, tuple[int, int]]()
    for path in sorted(folder.rglob("*.jpg")):
        try:
            with Image.open(path) as image:
                sizes[image_name(path.relative_to(folder).as_posix())] = image.size
        except OSError as error:
            raise ImageError(f"{path}: its size cannot be read: {error}") from error
    if not sizes:
        raise ImageError(f"{folder}: no .jpg below it; expected FDDB's folders, 2002/07/19/big/img_160.jpg")
    return sizes


def _check_known(names: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(frozenset(names).difference(known))
    if unknown or not names:
        what = f"{unknown[0]!r}{closest(unknown[0], known)}" if unknown else "no names given"
        raise LabelError(f"{len(unknown)} images of the subset are not in the ground truth: {what}")
