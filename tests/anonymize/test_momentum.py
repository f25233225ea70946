"""Where faces are expected that were not seen."""

import numpy as np
import pytest

from facesmith.anonymize.momentum import Momentum, Sightings
from facesmith.errors import ConfigError
from facesmith.faces import Faces


def filled(momentum: Momentum, seen: dict[int, dict[int, tuple[float, ...]]], frames: int) -> Sightings:
    """``seen``: track -> frame -> box."""
    rows = [(frame, track, box) for track, boxes in seen.items() for frame, box in boxes.items()]
    rows.sort(key=lambda row: row[0])
    boxes = np.array([row[2] for row in rows], np.float32).reshape(-1, 4)
    faces = Faces(boxes, np.full(len(rows), 0.9), track_ids=np.array([row[1] for row in rows], np.int64))
    return momentum.filled(np.array([row[0] for row in rows], np.int64), faces, frames)


def boxes(result: Sightings, track: int) -> dict[int, list[float]]:
    assert result.faces.track_ids is not None
    mine = result.faces.track_ids == track
    return dict(zip(result.frame[mine].tolist(), result.faces.boxes[mine].tolist(), strict=True))


def test_between_sightings() -> None:
    result = filled(Momentum(frames=0, growth=0), {1: {2: (0, 0, 10, 10), 6: (40, 8, 50, 18)}}, 9)
    assert boxes(result, 1) == {frame: [10 * i, 2 * i, 10 * i + 10, 2 * i + 10] for i, frame in enumerate(range(2, 7))}
    assert result.carried.tolist() == [False, True, True, True, False]


def test_expected_boxes_grow_with_the_distance_to_a_sighting() -> None:
    result = filled(Momentum(frames=0, growth=0.1), {1: {0: (0, 0, 10, 20), 4: (0, 0, 10, 20)}}, 9)
    assert [round(box[2] - box[0], 4) for box in boxes(result, 1).values()] == [10, 12, 14, 12, 10]
    assert [round(box[3] - box[1], 4) for box in boxes(result, 1).values()] == [20, 24, 28, 24, 20]


def test_before_the_first_and_after_the_last() -> None:
    seen = {1: {frame: (3 * frame, 0, 3 * frame + 10, 10) for frame in range(5, 12)}}
    result = filled(Momentum(frames=3, growth=0), seen, 20)
    assert boxes(result, 1) == {frame: [3 * frame, 0, 3 * frame + 10, 10] for frame in range(2, 15)}
    assert result.frame.tolist() == sorted(result.frame.tolist())
    grown = boxes(filled(Momentum(frames=3, growth=0.1), seen, 20), 1)
    assert grown[14] == pytest.approx([42 - 3, -3, 52 + 3, 13])
    assert grown[2] == pytest.approx([6 - 3, -3, 16 + 3, 13])


def test_not_before_the_start_nor_after_the_end() -> None:
    result = filled(Momentum(frames=5), {1: {1: (0, 0, 9, 9)}, 2: {6: (0, 0, 9, 9)}}, 8)
    assert list(boxes(result, 1)) == list(range(7))
    assert list(boxes(result, 2)) == list(range(1, 8))


def test_tracks_do_not_mix() -> None:
    result = filled(Momentum(frames=0), {1: {0: (0, 0, 9, 9)}, 2: {3: (50, 0, 59, 9)}, -1: {1: (0, 0, 5, 5)}}, 8)
    assert result.frame.tolist() == [0, 3]
    assert not result.carried.any()
    turned = filled(Momentum(frames=2, growth=0), {1: {0: (0, 0, 9, 9)}, 2: {1: (70, 0, 79, 9)}}, 9)
    assert boxes(turned, 1)[2] == [0, 0, 9, 9]
    assert boxes(turned, 2)[0] == [70, 0, 79, 9]


def test_each_expected_face_knows_the_sighting_that_it_stems_from() -> None:
    frame = np.array([5, 2, 2, 9, 4])
    boxes_ = np.array([[10 * i, 0, 10 * i + 8, 9] for i in range(5)], np.float32)
    faces = Faces(boxes_, np.ones(5), track_ids=np.array([1, 1, 2, 1, -1]))
    result = Momentum(frames=2, growth=0).filled(frame, faces, 12)
    tracks = result.faces.track_ids
    assert tracks is not None
    found = dict(zip(zip(tracks.tolist(), result.frame.tolist(), strict=True), result.source.tolist(), strict=True))
    one = {0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 0, 6: 0, 7: 0, 8: 0, 9: 3, 10: 3, 11: 3}
    assert found == {(1, at): source for at, source in one.items()} | {(2, at): 2 for at in range(5)}
    seen = ~result.carried
    assert np.array_equal(result.faces.boxes[seen], boxes_[result.source[seen]])


def test_no_faces() -> None:
    assert len(filled(Momentum(), {}, 5).frame) == 0
    with pytest.raises(ValueError, match="track ids"):
        Momentum().filled(np.zeros(0, np.int64), Faces.empty(), 5)


@pytest.mark.parametrize("seed", range(3))
def test_a_face_that_is_often_missed_is_always_covered(seed: int) -> None:
    """It walks and wavers, and is found in half of the frames only."""
    rng = np.random.default_rng(seed)
    time = np.arange(80)
    x, y = 100 + 2.5 * time + 15 * np.sin(time / 9), 60 + 12 * np.cos(time / 7)
    true = np.stack((x, y, x + 40, y + 50), axis=1)
    found = [frame for frame in range(4, 76) if rng.random() < 0.5]
    result = filled(Momentum(), {1: {frame: tuple(true[frame]) for frame in found}}, 80)
    covered = boxes(result, 1)
    assert sorted(covered) == list(range(80))
    for frame, box in covered.items():
        centre = (true[frame, :2] + true[frame, 2:]) / 2
        assert box[0] + 8 < centre[0] < box[2] - 8
        assert box[1] + 10 < centre[1] < box[3] - 10


def test_wrong_settings() -> None:
    with pytest.raises(ConfigError, match="momentum"):
        Momentum(frames=-1)
    with pytest.raises(ConfigError, match="momentum"):
        Momentum(growth=float("nan"))
