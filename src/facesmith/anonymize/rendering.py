"""Rendering: a picture or video written again with the faces of its plan hidden."""

import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from facesmith import images
from facesmith.anonymize.hiding import Hiding
from facesmith.anonymize.plan import Plan
from facesmith.errors import ConfigError, FacesmithError, ImageError, VideoError


def render(plan: Plan, target: Path, hiding: Hiding) -> None:
    """Write ``target``, whole or not at all. A video keeps its frames, their times and its sound; tags (place, time,
    camera) are left out of both pictures and videos.

    Raises:
        ImageError, VideoError: the file cannot be read, or is not the one that ``plan`` was made for.
        ConfigError: the faces are to be masked, and ``plan`` has no outlines.
        MissingExtraError: ``plan`` is a video's and PyAV is not installed.
        OSError: ``target`` cannot be written.
    """
    if hiding.method == "mask" and plan.outlines is None:
        raise ConfigError(f"{plan.path}: its plan has no outlines for masks; analyse it with --method mask")
    if plan.times is None:
        image = images.read(plan.path)
        _check_size(plan, image.shape[1], image.shape[0], ImageError)
        images.write(target, hiding.hide(image, *plan.hidden()))
    else:
        _render_video(plan, target, hiding)


def _render_video(plan: Plan, target: Path, hiding: Hiding) -> None:
    from facesmith.media import video

    assert plan.times is not None
    with video.VideoReader(plan.path) as reader:
        _check_size(plan, reader.format.width, reader.format.height, VideoError)
        with video.create(target, reader.format, sound_from=plan.path) as writer:
            frames, count, hidden = 0, len(plan.times), not sys.stderr.isatty()
            for frame in tqdm(reader, str(target), count, leave=False, disable=hidden, unit="frame"):
                if frame.index < count:
                    writer.write(replace(frame, image=hiding.hide(frame.image, *plan.hidden(frame.index))))
                frames += 1
            if frames != count:
                raise VideoError(f"{plan.path}: has {frames} frames, its plan {count}; analyse it again")


def _check_size(plan: Plan, width: int, height: int, error: type[FacesmithError]) -> None:
    if (width, height) != (plan.width, plan.height):
        planned = f"{plan.width} x {plan.height}"
        raise error(f"{plan.path}: is {width} x {height} pixels, its plan {planned}; analyse it again")
