"""Photographs that calibrate eight-bit models and check exported files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith import images
from facesmith.errors import ConfigError
from facesmith.evaluation.predict import walk_pictures
from facesmith.runtime import SizeRule
from facesmith.runtime.portrait import paint_portrait
from facesmith.runtime.size import AUTO
from facesmith.runtime.views import resized

Picture = npt.NDArray[np.uint8]

CALIBRATING, CHECKING = 256, 32
"""How many of a folder at most."""

GENERAL_SIDE = 640
"""Long side at which a model for any size sees them."""


class Photographs(NamedTuple):
    """Two sets without a common picture.

    Attributes:
        calibrating: empty where there is nothing to calibrate.
        checking: at least one.
        description: of ``checking``, in words.
    """

    calibrating: Sequence[Path]
    checking: Sequence[Picture]
    description: str


def photographs(folder: Path | None, usual_size: SizeRule, *, calibrate: bool) -> Photographs:
    """Photographs of ``folder``, evenly spread over it, a fifth of them and :data:`CHECKING` at most for the check.

    Args:
        folder: pictures in it and below; ``None``: painted faces take the place of photographs in the check.
        usual_size: of the model, which sees them so.
        calibrate: whether some are to calibrate; else all may check.

    Raises:
        ConfigError: calibration without a folder, or a folder with less than two pictures.
        ImageError: one cannot be read.
    """
    if folder is None:
        if calibrate:
            raise ConfigError(
                "int8 models are calibrated on photographs; name a folder of some hundred that are like those to come: "
                "--images DIR"
            )
        painted = [paint_portrait(320, 240, (x, 120.0), unit) for x, unit in ((160.0, 40.0), (100.0, 24.0))]
        return Photographs((), painted, "painted faces (no --images was given)")
    files = list(walk_pictures(folder))
    if len(files) < 2:
        raise ConfigError(f"{folder}: {len(files)} pictures; at least 2 are needed, some hundred do well")
    checking = _spread(files, min(CHECKING, max(1, len(files) // 5)) if calibrate else CHECKING)
    rest = [file for file in files if file not in set(checking)]
    rule = SizeRule.parse(GENERAL_SIDE) if usual_size == AUTO else usual_size
    return Photographs(
        _spread(rest, CALIBRATING) if calibrate else (),
        list(seen(checking, rule)),
        f"{len(checking)} photographs of {folder}" + (" that it was not calibrated on" if calibrate else ""),
    )


def seen(files: Sequence[Path], rule: SizeRule) -> Iterator[Picture]:
    """The pictures at the size at which the network sees them."""
    for file in files:
        image = images.read(file)
        yield resized(image, rule.target(image.shape[1], image.shape[0]))


def _spread(files: Sequence[Path], count: int) -> list[Path]:
    if len(files) <= count:
        return list(files)
    return [files[int(at)] for at in np.linspace(0, len(files) - 1, count).round()]
