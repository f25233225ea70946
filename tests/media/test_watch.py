"""Faces of a stream of frames: numbers that stay, faces carried over frames that nobody looks at."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from facesmith.errors import ConfigError
from facesmith.faces import Faces
from facesmith.images import RGB
from facesmith.media.frames import Frame
from facesmith.media.watch import Watcher, rounded
from facesmith.tracking import Tracker, TrackerConfig


def frames(*indices: int) -> Iterator[Frame]:
    """Frames that show their own index."""
    for index in indices:
        yield Frame(np.full((4, 4, 3), index, np.uint8), index, index, 1, index / 25)


def moving(image: RGB) -> Faces:
    """A face that moves by 3 pixels a frame, and a doubtful one that lies on no track."""
    x = 10 + 3 * int(image[0, 0, 0])
    boxes = np.array([[x, 20, x + 40, 70], [300, 300, 340, 350]], np.float32)
    landmarks = np.full((2, 5, 2), np.nan, np.float32)
    landmarks[0] = [[x + 10, 35], [x + 30, 35], [x + 20, 45], [x + 12, 58], [x + 28, 58]]
    return Faces(boxes, np.array([0.9, 0.2]), landmarks)


def test_every_frame() -> None:
    sights = list(Watcher(Tracker()).watch(moving, frames(*range(20)), workers=2))
    assert [sight.frame.index for sight in sights] == list(range(20))
    assert all(sight.looked for sight in sights)
    assert [sight.faces.track_ids.tolist() for sight in sights if sight.faces.track_ids is not None] == [[1]] * 20
    assert sights[7].faces.boxes.tolist() == [[31, 20, 71, 70]]


@pytest.mark.parametrize("every", [2, 3, 5])
def test_faces_are_carried_between(every: int) -> None:
    looked: list[int] = []

    def look(image: RGB) -> Faces:
        looked.append(int(image[0, 0, 0]))
        return moving(image)

    sights = list(Watcher(Tracker(), every=every).watch(look, frames(*range(40)), workers=2))
    assert sorted(looked) == list(range(0, 40, every)) == [s.frame.index for s in sights if s.looked]
    for sight in sights:
        assert sight.faces.track_ids is not None
        assert sight.faces.track_ids.tolist() == [1]
        x = 10 + 3 * sight.frame.index
        # at first the speed is unknown; then the face is nearly where it really is
        assert sight.faces.boxes[0] == pytest.approx(
            [x, 20, x + 40, 70], abs=3 * every if sight.frame.index < 12 else 1
        )
        assert sight.faces.landmarks is not None
        offset = sight.faces.landmarks[0] - sight.faces.boxes[0, :2]
        assert offset == pytest.approx(np.array([[10, 15], [30, 15], [20, 25], [12, 38], [28, 38]]), abs=0.2)


def test_frames_may_be_left_out() -> None:
    """A live camera gives the newest frame; speeds are a frame of the camera's, not of those seen."""
    indices = [0, 1, 2, 5, 6, 10, 11, 12, 18, 19, 20]
    sights = list(Watcher(Tracker(), every=3).watch(moving, frames(*indices), workers=1))
    assert [sight.frame.index for sight in sights if sight.looked] == [0, 5, 10, 18]
    assert all(sight.faces.track_ids is not None and sight.faces.track_ids.tolist() == [1] for sight in sights)
    assert sights[-1].faces.boxes[0, 0] == pytest.approx(70, abs=1)


def test_a_frame_without_faces_carries_none() -> None:
    seen = Watcher(Tracker(), every=2).watch(
        lambda image: moving(image) if image[0, 0, 0] == 0 else Faces.empty(), frames(0, 1, 2, 3), workers=1
    )
    assert [len(sight.faces) for sight in seen] == [1, 1, 0, 0]


def test_going_on_from_what_was_written() -> None:
    """A watcher that is told the first half goes on as one that saw it."""
    config = TrackerConfig(high=0.5)
    whole = list(Watcher(Tracker(config), every=3).watch(moving, frames(*range(30)), workers=2))
    watcher = Watcher(Tracker(config), every=3)
    for sight, frame in zip(whole, frames(*range(13)), strict=False):
        assert watcher.looks_at(frame.index) == sight.looked
        faces = Faces.from_dicts(sight.faces.to_dicts())
        again = watcher.sight(frame, faces if sight.looked else None)
        assert again.faces.to_dicts() == sight.faces.to_dicts()
    rest = list(watcher.watch(moving, frames(*range(13, 30)), workers=2))
    assert [s.faces.to_dicts() for s in rest] == [s.faces.to_dicts() for s in whole[13:]]
    assert [s.looked for s in rest] == [s.looked for s in whole[13:]]


def test_rounding_is_that_of_the_file() -> None:
    rng = np.random.default_rng(0)
    boxes = rng.uniform(-50, 4000, (500, 2)).astype(np.float32)
    faces = Faces(
        np.concatenate((boxes, boxes + 30), axis=1), rng.uniform(0, 1, 500), rng.uniform(0, 4000, (500, 5, 2))
    )
    once = rounded(faces)
    again = Faces.from_dicts(once.to_dicts())
    for name in ("boxes", "scores", "landmarks"):
        assert np.array_equal(getattr(again, name), getattr(once, name))
        assert getattr(once, name) == pytest.approx(getattr(faces, name), abs=0.006)


def test_reading_and_looking_overlap() -> None:
    """Frames that take a while to come, and faces that take as long to find, take together hardly longer."""
    both = threading.Barrier(2, timeout=5)  # breaks, and fails the test, unless two are at it at once

    def slow() -> Iterator[Frame]:
        for frame in frames(*range(4)):
            if frame.index:
                both.wait()
            yield frame

    def look(image: RGB) -> Faces:
        if image[0, 0, 0] < 3:
            both.wait()
        return Faces.empty()

    assert len(list(Watcher(Tracker()).watch(look, slow(), workers=1))) == 4


def test_few_frames_are_held() -> None:
    taken = 0

    def counted() -> Iterator[Frame]:
        nonlocal taken
        for frame in frames(*range(200)):
            taken += 1
            yield frame

    for sight in Watcher(Tracker()).watch(moving, counted(), workers=2):
        time.sleep(0.001)
        assert taken <= sight.frame.index + 7


def test_what_goes_wrong_is_raised() -> None:
    def broken() -> Iterator[Frame]:
        yield from frames(0, 1)
        raise OSError("gone")

    sights = Watcher(Tracker()).watch(moving, broken(), workers=1)
    assert [next(sights).frame.index, next(sights).frame.index] == [0, 1]
    with pytest.raises(OSError, match="gone"):
        next(sights)
    with pytest.raises(ConfigError, match="every must be 1 frame or more"):
        Watcher(Tracker(), every=0)
