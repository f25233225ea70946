"""Track numbers stay with their faces: on straight and crossing ways, over gaps, with noise and other faces."""

import numpy as np
import numpy.typing as npt
import pytest

from facesmith.errors import ConfigError
from facesmith.faces import Faces
from facesmith.tracking import Tracker, TrackerConfig

Array = npt.NDArray[np.float64]


def box(x: float, y: float, side: float = 40) -> tuple[float, float, float, float]:
    return x, y, x + side, y + side


def faces(*boxes: tuple[float, float, float, float], scores: object = 0.9) -> Faces:
    return Faces(np.array(boxes, np.float32).reshape(-1, 4), np.broadcast_to(scores, len(boxes)))


def ids(tracker: Tracker, *boxes: tuple[float, float, float, float], scores: object = 0.9) -> list[int]:
    tracked = tracker.update(faces(*boxes, scores=scores))
    assert tracked.track_ids is not None
    assert len(tracked) == len(boxes)
    return tracked.track_ids.tolist()


def test_each_face_has_a_number_and_keeps_it() -> None:
    tracker = Tracker()
    for frame in range(20):
        boxes = [box(10 + 5 * frame, 20), box(300 - 4 * frame, 200), box(500, 100 + 6 * frame, 80)]
        order = np.random.default_rng(frame).permutation(3)  # the order of faces says nothing
        found = ids(tracker, *(boxes[i] for i in order))
        if frame == 0:
            number = dict(zip(order.tolist(), found, strict=True))
            assert sorted(number.values()) == [1, 2, 3]
        assert found == [number[i] for i in order.tolist()]


@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("seed", range(5))
def test_crossing_faces_keep_their_numbers(gap: int, seed: int) -> None:
    """They walk past each other; while they meet, only one is found for ``gap`` frames on either side."""
    tracker, rng = Tracker(), np.random.default_rng(seed)
    for frame in range(41):
        noise = rng.normal(0, 0.6, (2, 2))
        left, right = box(*(100 + 6 * frame, 100) + noise[0]), box(*(340 - 6 * frame, 112) + noise[1])
        if frame == 0:
            assert ids(tracker, left, right) == [1, 2]
        elif abs(frame - 20) < gap:
            assert ids(tracker, left) == [1]
        else:
            assert ids(tracker, left, right) == [1, 2]


@pytest.mark.parametrize("missed", [1, 5, 15, 30])
def test_a_face_missed_for_some_frames_keeps_its_number(missed: int) -> None:
    tracker = Tracker()
    for frame in range(10):
        assert ids(tracker, box(10 + 5 * frame, 20)) == [1]
    for _ in range(missed):
        assert ids(tracker) == []
    assert ids(tracker, box(10 + 5 * (10 + missed), 20)) == [1]


def test_after_too_long_it_is_a_new_one() -> None:
    tracker = Tracker(TrackerConfig(patience=5))
    assert ids(tracker, box(10, 20)) == [1]
    for _ in range(6):
        ids(tracker)
    assert ids(tracker, box(10, 20)) == [2]


def test_a_face_elsewhere_is_a_new_one() -> None:
    tracker = Tracker()
    assert ids(tracker, box(10, 20)) == [1]
    assert ids(tracker, box(200, 20)) == [2]
    assert ids(tracker, box(200, 20), box(10, 20), box(90, 20)) == [2, 1, 3]
    assert tracker.next_id == 4


def test_doubtful_faces_carry_a_track_on_but_start_none() -> None:
    tracker = Tracker()
    assert ids(tracker, box(10, 20), box(200, 20), scores=[0.9, 0.3]) == [1, -1]
    assert ids(tracker, box(12, 20), box(200, 20), scores=[0.2, 0.49]) == [1, -1]
    assert ids(tracker, box(14, 20), scores=0.05) == [-1]  # below ``low``
    assert ids(tracker, box(16, 20), scores=0.2) == [-1]  # lost by now, and too doubtful to bring it back
    assert ids(tracker, box(18, 20), scores=0.5) == [1]


def test_a_sure_face_goes_before_a_doubtful_one() -> None:
    tracker = Tracker()
    assert ids(tracker, box(10, 20)) == [1]
    assert ids(tracker, box(10, 20), box(16, 20), scores=[0.3, 0.9]) == [-1, 1]


def test_frames_left_out_count() -> None:
    every, some = Tracker(), Tracker()
    for frame in range(31):
        now = box(10 + 5 * frame, 20)
        ids(every, now)
        if frame % 5 == 0:
            tracked = some.update(faces(now), elapsed=5)
            assert tracked.track_ids is not None
            assert tracked.track_ids.tolist() == [1]
    tracker = Tracker(TrackerConfig(patience=10))
    tracker.update(faces(box(10, 20)))
    tracker.update(faces(), elapsed=6)
    tracker.update(faces(), elapsed=6)
    assert ids(tracker, box(10, 20)) == [2]


def test_columns_stay() -> None:
    points = np.zeros((1, 5, 2), np.float32)
    given = Faces([box(10, 20)], [0.8], points)
    tracked = Tracker(first_id=7).update(given)
    assert tracked.track_ids is not None
    assert tracked.track_ids.tolist() == [7]
    assert tracked.landmarks is given.landmarks
    assert np.array_equal(tracked.boxes, given.boxes)


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd(seed: int) -> None:
    """30 faces on random ways, found with noise and gaps, among false alarms: hardly a number changes."""
    rng = np.random.default_rng(seed)
    side = rng.uniform(20, 60, 30)
    start = np.stack(np.meshgrid(np.arange(6) * 300, np.arange(5) * 200), axis=-1).reshape(30, 2)
    speed = rng.uniform(-0.08, 0.08, (30, 2)) * side[:, None]
    tracker, numbers = Tracker(), [set[int]() for _ in range(30)]
    for frame in range(60):
        corner = start + frame * speed + rng.normal(0, 0.02, (30, 2)) * side[:, None]
        boxes = np.concatenate((corner, corner + side[:, None]), axis=1)
        found = np.flatnonzero(rng.random(30) > 0.2)
        false = box(*rng.uniform(0, 2000, 2))
        tracked = tracker.update(faces(*map(tuple, boxes[found]), false))
        assert tracked.track_ids is not None
        assert len(set(tracked.track_ids.tolist())) == len(tracked)
        for i, number in zip(found.tolist(), tracked.track_ids[:-1].tolist(), strict=True):
            numbers[i].add(number)
    assert sum(len(each) == 1 for each in numbers) >= 29


def test_the_same_again() -> None:
    def numbers() -> list[list[int]]:
        tracker, rng = Tracker(), np.random.default_rng(3)
        return [ids(tracker, *(box(*rng.uniform(0, 150, 2)) for _ in range(8))) for _ in range(20)]

    assert numbers() == numbers()


def test_wrong_settings() -> None:
    with pytest.raises(ConfigError, match="low <= high"):
        TrackerConfig(high=0.1, low=0.5)
    with pytest.raises(ConfigError, match="overlaps"):
        TrackerConfig(min_iou=0)
    with pytest.raises(ConfigError, match="patience"):
        TrackerConfig(patience=-1)
    with pytest.raises(ConfigError, match="elapsed"):
        Tracker().update(faces(), elapsed=0)


def test_faces_carried_on_change_no_track() -> None:
    one, other = Tracker(), Tracker()
    for frame in range(12):
        seen = faces(box(10 + 5 * frame, 20), box(300 - 4 * frame, 200, 80), box(600, 20), scores=[0.9, 0.8, 0.2])
        for tracker in (one, other):
            tracked = tracker.update(seen)
    for _ in range(5):
        carried = one.carried(tracked, 2)
    assert carried.track_ids is not None
    assert carried.track_ids.tolist() == [1, 2]  # not the one without a track
    assert carried.boxes == pytest.approx(np.array([box(75, 20), box(248, 200, 80)]), abs=0.6)
    assert carried.scores.tolist() == pytest.approx([0.9, 0.8])
    assert one.carried(tracked[[1]], 0).boxes == pytest.approx(tracked.boxes[[1]])
    for frame in range(14, 20):
        seen = faces(box(10 + 5 * frame, 20), box(300 - 4 * frame, 200, 80))
        a, b = one.update(seen), other.update(seen)
        assert a.track_ids is not None
        assert b.track_ids is not None
        assert a.track_ids.tolist() == b.track_ids.tolist() == [1, 2]


def test_what_cannot_be_carried_on() -> None:
    tracker = Tracker()
    with pytest.raises(ValueError, match="no track ids"):
        tracker.carried(faces(box(0, 0)), 1)
    tracked = tracker.update(faces(box(0, 0)))
    with pytest.raises(ValueError, match=r"no such tracks: \[1\]"):
        Tracker().carried(tracked, 1)
