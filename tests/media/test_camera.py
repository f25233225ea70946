"""Cameras, by a fake one and by what OpenCV opens in a camera's place."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facesmith.errors import VideoError
from facesmith.media.camera import Camera, is_camera


class FakeCapture:
    """Gives a picture whenever the test allows one; the picture's red tells its number."""

    def __init__(self, pictures: int = 1000, *, opened: bool = True, wait: bool = True) -> None:
        self.pictures, self.opened, self.released = pictures, opened, threading.Event()
        self.allowed = threading.Semaphore(1 if wait else 100_000)
        self.given = 0
        self.size = (48, 64)
        self.source: Any = None

    def __call__(self, source: int | str) -> "FakeCapture":
        self.source = source
        return self

    def isOpened(self) -> bool:
        return self.opened

    def read(self) -> tuple[bool, npt.NDArray[np.uint8] | None]:
        self.allowed.acquire(timeout=5)
        if self.given == self.pictures or self.released.is_set():
            return False, None
        picture = np.zeros((*self.size, 3), np.uint8)
        picture[..., 2] = self.given  # BGR
        self.given += 1
        return True, picture

    def release(self) -> None:
        self.released.set()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_the_newest_picture_is_taken() -> None:
    fake = FakeCapture()
    with Camera("camera:2", open_capture=fake) as camera:
        assert (fake.source, camera.width, camera.height) == (2, 64, 48)
        frames = iter(camera)
        first = next(frames)
        assert (first.index, first.image[0, 0].tolist()) == (0, [0, 0, 0])
        for _ in range(5):
            fake.allowed.release()
        wait_until(lambda: fake.given == 6)
        time.sleep(0.05)  # the last of them is put down
        newest = next(frames)
        assert (newest.index, newest.image[0, 0].tolist()) == (5, [5, 0, 0])  # 1 to 4 are missed; RGB
        assert newest.pts > first.pts
        assert newest.time == newest.pts / 1000
        camera.stop()
        assert list(frames) == []
        assert camera.problem is None
        fake.allowed.release()
    assert fake.released.is_set()


def test_times_rise_even_within_a_tick() -> None:
    with Camera("camera:0", open_capture=FakeCapture(60, wait=False)) as camera:
        times = [frame.pts for frame in camera]
    assert times == sorted(set(times))


def test_a_camera_that_is_unplugged() -> None:
    with Camera("camera:0", open_capture=FakeCapture(3, wait=False)) as camera:
        assert next(iter(camera)).index <= 2
        list(camera)
        assert isinstance(camera.problem, VideoError)
        assert str(camera.problem) == "camera:0: gives no more pictures; is it still connected?"


def test_a_camera_that_changes_its_size() -> None:
    fake = FakeCapture()
    with Camera("camera:0", open_capture=fake) as camera:
        frames = iter(camera)
        next(frames)
        fake.size = (96, 128)
        fake.allowed.release()
        assert list(frames) == []
        assert str(camera.problem) == "camera:0: its pictures, 64 x 48 so far, became 128 x 96"
        fake.allowed.release()


@pytest.mark.parametrize(
    ("name", "fake", "message"),
    [
        ("camera:0", FakeCapture(opened=False), "camera:0: no such camera, it is in use"),
        ("camera:0", FakeCapture(0), "camera:0: gives no pictures"),
        ("camera:", FakeCapture(), "a camera is called camera:0, camera:1"),
    ],
)
def test_no_camera(name: str, fake: FakeCapture, message: str) -> None:
    with pytest.raises(VideoError, match=message):
        Camera(name, open_capture=fake)


def test_what_opencv_opens(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An image sequence in the place of a network camera."""
    for i in range(4):
        image = np.zeros((32, 48, 3), np.uint8)
        image[..., 0] = 200  # BGR: blue
        cv2.imwrite(str(tmp_path / f"{i:03}.png"), image)
    with Camera(f"camera:{tmp_path}/%03d.png") as camera:
        frames = list(camera)
    assert frames[-1].image.shape == (32, 48, 3)
    assert frames[-1].image[5, 5].tolist() == [0, 0, 200]
    with pytest.raises(VideoError, match="no such camera"):
        Camera(f"camera:{tmp_path}/none.avi")
    assert capfd.readouterr().err == ""


def test_names() -> None:
    assert is_camera("camera:0")
    assert not is_camera("camera.mp4")
