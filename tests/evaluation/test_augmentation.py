from typing import Any

import numpy as np
import pytest

from facesmith import Faces, load
from facesmith.errors import ConfigError
from facesmith.evaluation.augmentation import KEEP, PYRAMID, Augmentation
from facesmith.runtime import SizeRule


class Recorder:
    """A detector that answers each look in turn and keeps what it was asked."""

    def __init__(self, *answers: Faces) -> None:
        self.answers, self.calls = list(answers), []

    def size_rule(self, size: SizeRule) -> SizeRule:
        return SizeRule.parse(256) if size == SizeRule.parse("auto") else size

    def detect(self, image: Any, *, size: SizeRule, threshold: float, nms: float, **more: bool) -> Faces:
        assert not any(more.values())
        self.calls.append((image.copy(), size, threshold, nms))
        return self.answers.pop(0)


def face(x1: float, score: float, landmarks_at: float = 0.0) -> Faces:
    points = np.array([(2, 3), (8, 3), (5, 5), (3, 8), (7, 8)], np.float32)
    points[:, 0] += landmarks_at
    return Faces(np.array([[x1, 10, x1 + 10, 20]]), np.array([score]), points[None])


def test_pyramid_has_the_papers_sizes() -> None:
    assert [rule.short for rule in PYRAMID] == [500, 800, 1100, 1400, 1700]
    assert PYRAMID[1].target(1000, 1000) == (800, 800)
    assert PYRAMID[1].target(2000, 1000) == (1200, 600)  # long side at most 1200
    assert PYRAMID[0].target(3000, 1000) == (750, 250)  # and in proportion at the other scales
    assert PYRAMID[4].target(1000, 4000) == (638, 2550)
    assert KEEP == 750


@pytest.mark.parametrize(
    ("kind", "size", "rule", "words"),
    [
        ("none", None, "original", "none"),
        ("none", "vga", "long side 640", "none"),
        ("none", "VGA", "long side 640", "none"),
        ("none", "short:1600", "short side 1600 (long <= 2150)", "none"),
        ("flip", "320", "long side 320", "horizontal flip, box voting"),
        ("none", "auto", "long side 256", "none"),
    ],
)
def test_parse(kind: str, size: str | None, rule: str, words: str) -> None:
    augmentation = Augmentation.parse(kind, size)
    assert augmentation.size_rule(Recorder()) == rule
    assert str(augmentation) == words


def test_parse_pyramid_names_every_scale() -> None:
    augmentation = Augmentation.parse("pyramid")
    assert str(augmentation) == "5 scales, horizontal flip, box voting"
    rule = augmentation.size_rule(Recorder())
    assert rule.startswith("short side 500 (long <= 750); short side 800 (long <= 1200); ")
    assert augmentation.looks == 10


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("pyramid", "vga", "sizes of its own"),
        ("mirror", None, "none, flip or pyramid"),
        ("none", "big", "no such size"),
    ],
)
def test_parse_refuses(kind: str, size: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Augmentation.parse(kind, size)


def test_sizes_must_differ() -> None:
    with pytest.raises(ConfigError, match="only once"):
        Augmentation((SizeRule(), SizeRule()))
    with pytest.raises(ConfigError, match="at least one"):
        Augmentation(())


def test_one_look_is_plain_detection() -> None:
    detector = Recorder(face(10, 0.9))
    image = np.zeros((50, 100, 3), np.uint8)
    found = Augmentation.parse("none", "vga").detect(detector, image, threshold=0.1, nms=0.3)
    assert found.scores.tolist() == pytest.approx([0.9])
    (_, size, threshold, nms) = detector.calls[0]
    assert (size.most, threshold, nms) == (640, 0.1, 0.3)


def test_flip_is_voted_with_mirrored_boxes_and_swapped_landmarks() -> None:
    image = np.zeros((50, 100, 3), np.uint8)
    image[:, :30] = 200
    # seen mirrored, the face at 10..20 lies at 80..90; here one pixel further left, so at 11..21 turned back
    detector = Recorder(face(10, 0.8, 10), face(79, 0.4, 79))
    found = Augmentation.parse("flip").detect(detector, image, threshold=0.02, nms=0.4)
    (first, _, _, nms), (second, _, _, _) = detector.calls
    assert nms == 1.0  # no suppression before the vote
    assert np.array_equal(second, first[:, ::-1])
    assert len(found) == 1
    assert found.scores[0] == pytest.approx(0.8)
    np.testing.assert_allclose(found.boxes[0], [10 + 1 / 3, 10, 20 + 1 / 3, 20], atol=1e-4)
    # the left eye, at 12 and (mirrored) 100 - (79 + 8) = 13, weighs .8 and .4 as well
    np.testing.assert_allclose(found.landmarks[0, :2, 0], [12 + 1 / 3, 18 + 1 / 3], atol=1e-4)


def test_every_scale_is_seen_twice_and_lone_faces_stay() -> None:
    answers = [face(5.0 * i, 0.5 + i / 100) for i in range(5)] + [face(95.0, 0.3)] * 5
    detector = Recorder(*answers)
    sizes = tuple(SizeRule.parse(n) for n in (10, 20, 30, 40, 50))
    image = np.zeros((30, 200, 3), np.uint8)
    found = Augmentation(sizes, flip=True).detect(detector, image, threshold=0.02, nms=0.99)
    assert [call[1] for call in detector.calls] == [*sizes, *sizes]
    assert sorted(found.boxes[:, 0].tolist()) == [0, 5, 10, 15, 20, 95]


def test_flip_with_a_network(tiny_model) -> None:
    image = np.zeros((32, 64, 3), np.uint8)
    image[:16, :16] = 255
    detector = load(tiny_model, threads=1)
    once = Augmentation().detect(detector, image, threshold=0.5, nms=0.4)
    twice = Augmentation(flip=True).detect(detector, image, threshold=0.5, nms=0.4)
    np.testing.assert_allclose(twice.boxes, [[0, 0, 16, 16]], atol=1e-4)
    np.testing.assert_allclose(twice.landmarks, once.landmarks, atol=1e-4)
