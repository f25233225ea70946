from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_runs import SHORT, fit, new_model

from drawn_faces import write_faces
from facesmith import images, runtime
from facesmith.data.sources import find_sources
from facesmith.detectors.types import Targets
from facesmith.detectors.weights import save_weights
from facesmith.errors import ConfigError, LabelError, TrainingError
from facesmith.faces import Faces
from facesmith.training.teacher import Teacher, TeacherConfig, shared_out, unlabelled

FIVE = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32)
NONE = np.full((5, 2), np.nan, np.float32)


class Sees:
    """Stands in for a detector: what it finds is given."""

    name, checksum = "sees", "abc"

    def __init__(self, *found: Faces) -> None:
        self.found = found
        self.asked: list[Any] = []

    def detect(self, pictures: Sequence[Any], *, threshold: float) -> list[Faces]:
        self.asked.append((np.stack(pictures), threshold))
        return [faces[faces.scores >= threshold] for faces in self.found]


def faces(*rows: tuple[float, float, float, float, float]) -> Faces:
    """x1, y1, x2, y2, score."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    boxes = table[:, :4]
    points = boxes[:, None, :2] + FIVE * (boxes[:, None, 2:] - boxes[:, None, :2])
    return Faces(boxes, table[:, 4], points)


def labels(
    *boxes: tuple[float, float, float, float], complete: bool, points: np.ndarray[Any, Any] = NONE, count: int = 5
) -> Targets:
    marks = np.broadcast_to(points[:1].repeat(count, 0) if count != 5 else points, (len(boxes), count, 2)).copy()
    table = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Targets(
        [table], [torch.from_numpy(marks)], [torch.zeros(len(boxes), dtype=torch.bool)], torch.tensor([complete])
    )


def taught(targets: Targets, found: Faces, config: TeacherConfig = TeacherConfig(0.6, 0.3)) -> Targets:  # noqa: B008
    batch = torch.zeros((1, 3, 64, 48), dtype=torch.uint8)
    return Teacher(Sees(found), config)(batch, targets)  # type: ignore[arg-type]


class TestLandmarks:
    def test_missing_ones_are_filled_in(self) -> None:
        found = faces((0, 0, 20, 20, 0.9), (30, 30, 50, 50, 0.9))
        new = taught(labels((1, 1, 21, 21), (30, 30, 50, 50), complete=True), found)
        assert found.landmarks is not None
        np.testing.assert_array_equal(new.landmarks[0], found.landmarks)
        assert new.boxes[0].tolist() == [[1, 1, 21, 21], [30, 30, 50, 50]]  # people's boxes stay

    def test_known_ones_stay(self) -> None:
        own = FIVE * 10
        new = taught(labels((0, 0, 20, 20), complete=True, points=own), faces((0, 0, 20, 20, 0.9)))
        np.testing.assert_array_equal(new.landmarks[0][0], own)

    @pytest.mark.parametrize("doubt", [(0, 0, 20, 20, 0.55), (8, 8, 28, 28, 0.9)])
    def test_a_doubtful_or_another_face_gives_none(self, doubt: tuple[float, ...]) -> None:
        new = taught(labels((0, 0, 20, 20), complete=True), faces(doubt))  # type: ignore[arg-type]
        assert torch.isnan(new.landmarks[0]).all()

    def test_another_number_of_landmarks(self) -> None:
        new = taught(
            labels((0, 0, 20, 20), complete=False, count=19), faces((0, 0, 20, 20, 0.9), (30, 30, 50, 50, 0.9))
        )
        assert new.landmarks[0].shape == (2, 19, 2)
        assert torch.isnan(new.landmarks[0]).all()


class TestNewFaces:
    FOUND = faces((0, 0, 20, 20, 0.9), (30, 0, 50, 20, 0.8), (0, 40, 20, 60, 0.4), (30, 40, 50, 60, 0.2))

    def test_incompletely_labelled_images_get_them(self) -> None:
        new = taught(labels((1, 0, 21, 20), complete=False), self.FOUND)
        assert new.boxes[0].tolist() == [[1, 0, 21, 20], [30, 0, 50, 20], [0, 40, 20, 60]]
        assert new.ignored[0].tolist() == [False, False, True]
        assert not torch.isnan(new.landmarks[0]).any()
        assert new.complete.tolist() == [False]

    def test_completely_labelled_ones_do_not(self) -> None:
        for boxes in ([(1.0, 0.0, 21.0, 20.0)], []):
            given = labels(*boxes, complete=True)
            new = taught(given, self.FOUND)
            assert torch.equal(new.boxes[0], given.boxes[0])
            assert len(new.landmarks[0]) == len(new.ignored[0]) == len(boxes)

    def test_without_any_labels(self) -> None:
        new = taught(labels(complete=False), self.FOUND)
        assert len(new.boxes[0]) == 3
        assert new.ignored[0].tolist() == [False, False, True]

    def test_nothing_found(self) -> None:
        new = taught(labels((1, 0, 21, 20), complete=False), faces())
        assert len(new.boxes[0]) == 1

    def test_each_image_has_its_own(self) -> None:
        two = [labels(complete=False), labels((0, 0, 20, 20), complete=False)]
        targets = Targets(
            *([row for one in two for row in getattr(one, name)] for name in ("boxes", "landmarks", "ignored")),
            torch.tensor([False, False]),
        )
        teacher = Teacher(Sees(self.FOUND[:1], self.FOUND[1:2]), TeacherConfig())  # type: ignore[arg-type]
        batch = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).reshape(2, 3, 4, 5)
        new = teacher(batch, targets)
        assert [len(boxes) for boxes in new.boxes] == [1, 2]
        ((pictures, threshold),) = teacher.detector.asked  # type: ignore[attr-defined]
        assert threshold == 0.25
        np.testing.assert_array_equal(pictures[1, 2, 3], batch[1, :, 2, 3])


@pytest.mark.parametrize(("certain", "doubtful"), [(0.5, 0.6), (1.1, 0.5), (0.5, 0.0)])
def test_senseless_settings(certain: float, doubtful: float) -> None:
    with pytest.raises(ConfigError, match="0 < doubtful <= certain <= 1"):
        TeacherConfig(certain, doubtful)


def test_photographs_without_labels(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="no photographs in this folder"):
        unlabelled(tmp_path)
    sources = find_sources(write_faces(tmp_path / "faces", 3))
    (tmp_path / "more/a").mkdir(parents=True)
    for name in ("x.png", "a/y.png"):
        images.write(tmp_path / "more" / name, np.zeros((40, 40, 3), np.uint8))
    more = unlabelled(tmp_path / "more")
    assert [path.name for path in more.paths] == ["y.png", "x.png"]
    assert [len(label.boxes) for label in more.labels] == [0, 0]
    assert not more.config.complete
    shares = [
        source.config.share
        for source in shared_out([replace(sources[0], config=replace(sources[0].config, share=0.5))], more)
    ]
    assert shares == [0.5, pytest.approx(0.5 * 2 / len(sources[0].paths))]


def test_training_with_a_teacher(tmp_path: Path) -> None:
    """Another teacher is another run; the same one goes on with it."""
    sources = find_sources(write_faces(tmp_path / "faces", 3))
    save_weights(tmp_path / "teacher.safetensors", new_model(1), name="teacher")
    config = replace(SHORT, steps=4, save_every=2)
    teacher = Teacher(runtime.load(tmp_path / "teacher.safetensors", threads=1), TeacherConfig(0.5, 0.001))
    learnt, alone = new_model(), new_model()
    unknown = [replace(source, config=replace(source.config, complete=False)) for source in sources]
    fit(alone, unknown, tmp_path / "alone", config)
    fit(learnt, unknown, tmp_path / "taught", config, teacher=teacher)
    assert not torch.equal(next(learnt.parameters()), next(alone.parameters()))
    with pytest.raises(TrainingError, match="belongs to a run with other settings"):
        fit(new_model(), unknown, tmp_path / "taught", config)
    again = new_model()
    fit(again, unknown, tmp_path / "taught", config, teacher=teacher)
    assert torch.equal(next(again.parameters()), next(learnt.parameters()))
