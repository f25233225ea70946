"""``facesmith detect`` on videos and cameras: frame by frame, tracked, drawn, shown, and gone on with."""

import contextlib
import re
import signal
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tqdm import tqdm

from facesmith.cli.detect_output import Begun, Moment, Picture
from facesmith.errors import VideoError
from facesmith.faces import Faces
from facesmith.images import RGB
from facesmith.media.camera import TIME_BASE, Camera
from facesmith.media.frames import Frame
from facesmith.media.watch import Sight, Watcher
from facesmith.tracking import Tracker, TrackerConfig

if TYPE_CHECKING:
    from facesmith.media.preview import Preview
    from facesmith.media.video import VideoWriter

LOW = 0.1
"""Lowest score that carries on a track; ByteTrack's."""


@dataclass(frozen=True)
class Footage:
    """How videos and cameras are gone through.

    Attributes:
        detect: the faces of a frame down to a score.
        draw: draws faces into a copy of a frame.
        threshold: lowest score of a face that starts a track.
        every: look at each such frame only.
        workers: frames to look at side by side.
        preview: a window for the drawn frames; ``None``: there is none.
        progress: show a bar on stderr.
    """

    detect: Callable[[RGB, float], Faces]
    draw: Callable[[RGB, Faces], RGB]
    threshold: float
    every: int
    workers: int
    preview: "Preview | None" = None
    progress: bool = False

    def video(
        self, path: str, target: Path | None, save: Callable[[Sight], None], begun: Begun | None = None
    ) -> Iterator[Picture]:
        """The frames of a video. Those that are ``begun`` are drawn again, but neither looked at, saved nor given.

        Args:
            path: the video.
            target: the file for the drawn video, written whole or not at all; ``None``: none is wanted.
            save: called with each frame that the detector looked at.
            begun: what an interrupted run has of it; ``None``: nothing.

        Raises:
            VideoError: the video cannot be read or written, or is not the one that was begun.
            MissingExtraError: PyAV is not installed.
            OSError: a file cannot be written.
        """
        from facesmith.media import video

        done = 0 if begun is None else begun.frames
        drawn = target is not None or self.preview is not None
        watcher = self._watcher()
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(video.VideoReader(path))
            writer = None
            if target is not None:
                writer = stack.enter_context(video.create(target, reader.format, sound_from=path))
            total = reader.expected_frames or None
            bar = stack.enter_context(tqdm(total=total, desc=path, unit="frame", disable=not self.progress))
            frames = reader.frames(lambda index: drawn or (index >= done and index % self.every == 0))
            size = reader.format.width, reader.format.height
            if begun is not None:
                for sight in _gone_through(begun, watcher, frames, size):
                    self._show(sight, writer)
                    bar.update()
            for sight in stack.enter_context(contextlib.closing(self._sights(watcher, frames))):
                self._show(sight, writer)
                if sight.looked:
                    save(sight)
                yield _picture(path, size, sight)
                bar.update()

    def camera(self, name: str, target: Path | None, save: Callable[[Sight], None]) -> Iterator[Picture]:
        """The pictures of a camera until Ctrl-C, a SIGTERM, or somebody closes the preview. Arguments and errors as of
        :meth:`video`; where the camera gives no more pictures, what was drawn so far stays."""
        with contextlib.ExitStack() as stack:
            camera = stack.enter_context(Camera(name))
            stack.enter_context(_signals_call(camera.stop))
            writer = None
            if target is not None:
                from facesmith.media import video

                form = video.VideoFormat(camera.width, camera.height, TIME_BASE)
                writer = stack.enter_context(video.create(target, form))
            for sight in stack.enter_context(contextlib.closing(self._sights(self._watcher(), camera))):
                self._show(sight, writer)
                if sight.looked:
                    save(sight)
                yield _picture(name, (camera.width, camera.height), sight)
                if self.preview is not None and not self.preview.is_open:
                    camera.stop()
        if camera.problem is not None:
            raise camera.problem

    def _watcher(self) -> Watcher:
        return Watcher(Tracker(TrackerConfig(high=self.threshold, low=min(LOW, self.threshold))), every=self.every)

    def _sights(self, watcher: Watcher, frames: "Iterator[Frame] | Camera") -> Generator[Sight]:
        return watcher.watch(lambda image: self.detect(image, min(LOW, self.threshold)), frames, workers=self.workers)

    def _show(self, sight: Sight, writer: "VideoWriter | None") -> None:
        if writer is None and (self.preview is None or not self.preview.is_open):
            return
        image = self.draw(sight.frame.image, sight.faces)
        if writer is not None:
            writer.write(replace(sight.frame, image=image))
        if self.preview is not None:
            self.preview.show(image)


def camera_file(name: str) -> Path:
    """The file, without folder, for the drawn pictures of a camera: ``camera:0`` -> ``camera-0.mp4``."""
    return Path(re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") + ".mp4")


def _picture(path: str, size: tuple[int, int], sight: Sight) -> Picture:
    return Picture(path, *size, sight.faces, Moment(sight.frame.index, sight.frame.time, sight.looked))


def _gone_through(begun: Begun, watcher: Watcher, frames: Iterator[Frame], size: tuple[int, int]) -> Iterator[Sight]:
    """The frames that are done already, as ``begun`` has them; they bring ``watcher`` to where it was.

    Raises:
        VideoError: the video is another, or the settings were.
    """
    for row in begun.rows():
        frame = next(frames, None)
        where = f"{begun.path}: {begun.record} goes on at frame {begun.frames}, but frame {row['frame']}"
        if frame is None or (row["width"], row["height"], row["time"]) != (*size, round(frame.time, 6)):
            raise VideoError(f"{where} differs: this is another video; name another file for its results")
        faces = Faces.from_dicts(row["faces"])
        same = row["detected"] == watcher.looks_at(frame.index)
        sight = watcher.sight(frame, faces if row["detected"] else None)
        if not same or _ids(sight.faces) != [face.get("track_id") for face in row["faces"]]:
            raise VideoError(f"{where} has other tracks: repeat the settings of the interrupted run")
        yield sight


def _ids(faces: Faces) -> list[int]:
    return [] if faces.track_ids is None else faces.track_ids.tolist()


@contextlib.contextmanager
def _signals_call(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call ``stop``; a second time they end the program as usual."""

    def handle(number: int, _: FrameType | None) -> None:
        stop()
        signal.signal(number, before[number] or signal.SIG_DFL)

    numbers = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {int(each): signal.signal(each, handle) for each in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
