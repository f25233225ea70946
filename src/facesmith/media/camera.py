"""Webcams and network cameras, through OpenCV: always the newest picture, with the time when it came."""

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Protocol, Self

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.errors import VideoError
from facesmith.media.frames import Frame

PREFIX = "camera:"
"""What names of cameras begin with: ``camera:0`` is the first webcam."""

TIME_BASE = Fraction(1, 1000)
"""Seconds a tick of a camera's frames."""


class Capture(Protocol):
    """The part of ``cv2.VideoCapture`` that is used."""

    def isOpened(self) -> bool:
        """Whether there is such a camera, and nobody else has it."""
        ...

    def read(self) -> tuple[bool, npt.NDArray[Any] | None]:
        """Whether there is a next picture, and the picture (H, W, 3) uint8, BGR; waits for it."""
        ...

    def release(self) -> None:
        """Give the camera back."""
        ...


def is_camera(name: str) -> bool:
    """Whether ``name`` is spelled as a camera's."""
    return name.startswith(PREFIX)


class Camera:
    """The pictures of a camera; go through them once, inside ``with``.

    A thread of its own takes every picture as it comes and keeps the newest, so that who is slow misses pictures
    instead of falling behind; ``index`` counts the missed ones.

    Args:
        name: ``camera:N``, the N-th webcam from 0, or ``camera:`` and whatever else OpenCV opens: a device file or the
            address of a network camera.
        open_capture: opens N or the address.

    Attributes:
        name: the camera.
        width, height: of its pictures, in pixels.
        problem: why there are no more pictures although nobody asked to stop; ``None`` as long as there are.

    Raises:
        VideoError: it cannot be opened or gives no picture.
    """

    def __init__(self, name: str, *, open_capture: Callable[[Any], Capture] = cv2.VideoCapture) -> None:
        source = name.removeprefix(PREFIX)
        if not is_camera(name) or not source:
            raise VideoError(f"{name}: a camera is called {PREFIX}0, {PREFIX}1, … or {PREFIX}ADDRESS")
        self.name = name
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # else it prints its own lines of what follows
        self._capture = open_capture(int(source) if source.isdecimal() else source)
        if not self._capture.isOpened():
            self._capture.release()
            raise VideoError(f"{name}: no such camera, it is in use, or this user may not open it")
        pixels = self._read()
        if pixels is None:
            self._capture.release()
            raise VideoError(f"{name}: gives no pictures")
        self.height, self.width = pixels.shape[:2]
        self.problem: VideoError | None = None
        self._start = time.monotonic()
        self._ticks = -1
        self._newest: Frame | None = self._frame(pixels, 0)
        self._arrived = threading.Condition()
        self._stopped = self._ended = False
        self._thread = threading.Thread(target=self._capture_all, name="facesmith-camera", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(2)  # a camera that hangs must not keep the program from ending

    def stop(self) -> None:
        """Let :meth:`__iter__` end; any thread or signal handler may ask for it, also more than once."""
        self._stopped = True

    def __iter__(self) -> Iterator[Frame]:
        """The newest picture that has not been taken yet, again and again until :meth:`stop` or a :attr:`problem`."""
        while True:
            with self._arrived:
                while self._newest is None and not (self._stopped or self._ended):
                    self._arrived.wait(0.1)  # a signal handler must not take the lock to wake this up
                if self._stopped:
                    return
                frame, self._newest = self._newest, None
            if frame is None:
                self.problem = VideoError(f"{self.name}: gives no more pictures; is it still connected?")
                return
            if frame.image.shape[:2] != (self.height, self.width):
                size = f"{frame.image.shape[1]} x {frame.image.shape[0]}"
                self.problem = VideoError(
                    f"{self.name}: its pictures, {self.width} x {self.height} so far, became {size}"
                )
                return
            yield frame

    def _capture_all(self) -> None:
        """Runs in its own thread, which also gives the camera back: OpenCV's captures are not for several at once."""
        index = 0
        try:
            while not self._stopped and (pixels := self._read()) is not None:
                index += 1
                frame = self._frame(pixels, index)
                with self._arrived:
                    self._newest = frame
                    self._arrived.notify()
        finally:
            self._capture.release()
            with self._arrived:
                self._ended = True
                self._arrived.notify()

    def _read(self) -> npt.NDArray[np.uint8] | None:
        there, pixels = self._capture.read()
        if not there or pixels is None:
            return None
        image: Any = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if pixels.ndim == 2 else cv2.COLOR_BGR2RGB)
        upright: npt.NDArray[np.uint8] = image
        return upright

    def _frame(self, image: npt.NDArray[np.uint8], index: int) -> Frame:
        now = round((time.monotonic() - self._start) / TIME_BASE)
        self._ticks = max(self._ticks + 1, now)  # an encoder takes rising times only
        return Frame(image, index, self._ticks, 0, float(self._ticks * TIME_BASE))
