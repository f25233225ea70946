import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

import facesmith
from facesmith.errors import ConfigError, ImageError, ModelError
from facesmith.runtime import Detector, SizeRule
from facesmith.runtime.session import Candidates
from facesmith.runtime.views import OVERVIEW_FACE, resized

Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def detector(tiny_model: Path) -> Detector:
    return facesmith.load(tiny_model, threads=2)


def picture(width: int, height: int, *squares: tuple[int, int, int, int]) -> Picture:
    """Black, with bright squares (x, y, side, brightness)."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, y, side, brightness in squares:
        image[y : y + side, x : x + side] = brightness
    return image


def test_one_picture(detector: Detector) -> None:
    faces = detector(picture(70, 50, (16, 32, 16, 204), (48, 0, 16, 255)), size="original")
    np.testing.assert_array_equal(faces.boxes, [[48, 0, 64, 16], [16, 32, 32, 48]])
    np.testing.assert_allclose(faces.scores, [1, 0.8], atol=1e-6)
    assert faces.landmarks is not None
    np.testing.assert_array_equal(faces.landmarks[1], [(21, 38), (27, 38), (24, 41), (22, 44), (26, 44)])


def test_results_are_in_pixels_of_the_picture(detector: Detector) -> None:
    shrunk = detector(picture(640, 480, (128, 256, 64, 255)), size=160)  # 4 to 1
    np.testing.assert_allclose(shrunk.boxes, [[128, 256, 192, 320]])
    assert shrunk.landmarks is not None
    np.testing.assert_allclose(shrunk.landmarks[0, 0], (128 + 4 * 5, 256 + 4 * 6))
    enlarged = detector(picture(80, 60, (8, 16, 8, 255)), size=160, threshold=0.7)  # 1 to 2
    np.testing.assert_allclose(enlarged.boxes, [[8, 16, 16, 24]])


def test_width_and_height_are_scaled_each_by_its_own(detector: Detector) -> None:
    image = np.full((33, 1000, 3), 255, np.uint8)  # long side 320: height 10.56 becomes 11
    faces = detector(image, size=320, threshold=0.01)
    np.testing.assert_allclose(faces.heights, 16 * 33 / 11, rtol=1e-6)
    np.testing.assert_allclose(faces.widths, 16 * 1000 / 320, rtol=1e-4)


def test_boxes_are_not_clipped(detector: Detector) -> None:
    faces = detector(np.full((8, 40, 3), 255, np.uint8), size="original", threshold=0.3)
    assert faces.boxes[:, 3].max() == 16


def test_threshold(detector: Detector) -> None:
    image = picture(64, 16, (0, 0, 16, 255), (16, 0, 16, 128), (32, 0, 16, 26))
    assert len(detector(image, size="original")) == 2
    assert len(detector(image, size="original", threshold=0.6)) == 1
    assert len(detector(image, size="original", threshold=0)) == 3  # unused rows never count


def test_suppression() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 4.5]])
    detector = Detector(FakeSession(boxes, np.array([0.9, 0.8, 0.7])), checksum="")
    image = picture(10, 10)
    assert detector(image, size=10, nms=0.4).scores.round(1).tolist() == pytest.approx([0.9])
    assert len(detector(image, size=10, nms=0.6)) == 2
    assert len(detector(image, size=10, nms=1)) == 3


@pytest.mark.parametrize("setting", [{"threshold": -0.1}, {"threshold": 2}, {"nms": float("nan")}, {"size": "huge"}])
def test_settings_out_of_range(detector: Detector, setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        detector(picture(8, 8), **setting)


def test_no_face(detector: Detector) -> None:
    faces = detector(picture(300, 200))
    assert len(faces) == 0
    assert faces.landmarks is not None
    assert faces.landmarks.shape == (0, 5, 2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (15, 17)])
def test_odd_shapes(detector: Detector, shape: tuple[int, int]) -> None:
    assert len(detector(np.zeros((*shape, 3), np.uint8))) == 0


def test_lists_equal_single_calls(detector: Detector) -> None:
    rng = np.random.default_rng(0)
    images = [
        picture(int(w), int(h), *([(16, 16, 16, 255)] if face else []))
        for w, h, face in zip(rng.integers(40, 2000, 20), rng.integers(40, 900, 20), rng.random(20) < 0.7, strict=True)
    ]
    alone = [detector(image) for image in images]
    assert sum(map(len, alone)) > 0
    assert any(len(faces) == 0 for faces in alone)
    for together in (detector(images), detector(tuple(images))):
        assert [faces.boxes.tolist() for faces in together] == [faces.boxes.tolist() for faces in alone]


def test_empty_list(detector: Detector) -> None:
    assert detector([]) == []


def test_kinds_of_sources(detector: Detector, tmp_path: Path) -> None:
    image = picture(64, 48, (16, 16, 16, 255))
    path = tmp_path / "one.png"
    PIL.Image.fromarray(image).save(path)
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "PNG")
    sources = [path, str(path), buffer.getvalue(), image, image[:, :, 0], PIL.Image.fromarray(image)]
    expected = [[16, 16, 32, 32]]
    for faces in detector(sources, size="original"):
        assert faces.boxes.tolist() == expected
    assert detector(str(path), size="original").boxes.tolist() == expected


def test_an_unreadable_picture_of_a_list_is_named(detector: Detector, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"picture 1 of the list: .*broken\.jpg"):
        detector([picture(8, 8), broken])
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        detector(broken)


@pytest.mark.parametrize(
    "batch", [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3)), np.zeros((0, 4, 4, 3), np.uint8)]
)
def test_raw_takes_batches_only(detector: Detector, batch: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ImageError, match=r"\(B, H, W, 3\) uint8"):
        detector.raw(batch)


def test_raw(detector: Detector) -> None:
    boxes, scores, landmarks = detector.raw(np.stack([picture(32, 32, (16, 0, 16, 255)), picture(32, 32)]))
    assert boxes[0, 0].tolist() == [16, 0, 32, 16]
    assert scores[:, 0].tolist() == [1, 0]
    assert landmarks.shape == (2, 20, 5, 2)


class FakeSession:
    """Answers with the given boxes and scores, whatever it sees; remembers at which sizes it looked."""

    name, device, threads = "fake", "cpu", 1

    def __init__(self, boxes: npt.ArrayLike, scores: npt.ArrayLike, usual_size: str = "auto") -> None:
        self.usual_size = usual_size
        self.boxes, self.scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
        self.sizes: list[tuple[int, int]] = []

    def run(self, images: Picture) -> Candidates:
        self.sizes.append((images.shape[2], images.shape[1]))
        return Candidates(self.boxes[None], self.scores[None], np.zeros((1, len(self.boxes), 5, 2), np.float32))


class ScriptedSession:
    """Answers look after look with the given boxes and scores."""

    name, device, threads, usual_size = "scripted", "cpu", 1, "auto"

    def __init__(self, *answers: tuple[npt.ArrayLike, npt.ArrayLike]) -> None:
        self._answers = [(np.asarray(b, np.float32), np.asarray(s, np.float32)) for b, s in answers]

    def run(self, images: Picture) -> Candidates:
        boxes, scores = self._answers.pop(0)
        return Candidates(boxes[None], scores[None], np.zeros((1, len(boxes), 5, 2), np.float32))


def test_the_overview_adds_large_faces_only() -> None:
    """4000×3000 is seen at 1280×960 and at 160×120 within a border of 80 and 60."""
    session = FakeSession([[80, 60, 100, 80], [100, 70, 140, 110]], [0.9, 0.8])
    faces = Detector(session, checksum="")(np.zeros((3000, 4000, 3), np.uint8))
    assert session.sizes == [(1280, 960), (320, 240)]
    sides = sorted(faces.widths.tolist())
    assert sides == pytest.approx([20 * 3.125, 40 * 3.125, 40 * 25])
    assert 20 * 8 < OVERVIEW_FACE < 40 * 8
    assert faces.boxes[faces.widths.argmax()].tolist() == [20 * 25, 10 * 25, 60 * 25, 50 * 25]


def test_parts_of_a_face_that_the_overview_sees_whole_are_dropped() -> None:
    """Seen at 1280×960, the picture's face is an eye of 150 pixels and one of better score elsewhere."""
    first = ([[500, 300, 650, 450], [10, 10, 160, 160]], [0.8, 0.9])
    overview = ([[120, 80, 200, 170]], [0.95])
    faces = Detector(ScriptedSession(first, overview), checksum="")(picture(1280, 960))
    assert faces.scores.tolist() == pytest.approx([0.95, 0.9])
    middle = ([[420, 200, 860, 640]], [0.96])  # IoU .42: as a rival it would drop the whole face
    faces = Detector(ScriptedSession(middle, overview), checksum="")(picture(1280, 960))
    assert faces.scores.tolist() == pytest.approx([0.95])
    weaker = ([[120, 80, 200, 170]], [0.7])
    assert len(Detector(ScriptedSession(first, weaker), checksum="")(picture(1280, 960))) == 3
    kept = Detector(ScriptedSession(first, overview), checksum="")(picture(1280, 960), nms=1)
    assert len(kept) == 3  # who merges on his own gets everything


def test_nms_over_the_smaller_area_drops_boxes_inside_others() -> None:
    detector = Detector(FakeSession([[0, 0, 40, 40], [10, 10, 30, 30]], [0.9, 0.8]), checksum="")  # IoU .25
    assert len(detector(picture(64, 64), size="original", nms=0.6)) == 2
    (face,) = detector(picture(64, 64), size="original", nms=0.6, nms_min_area=True).boxes.tolist()
    assert face == [0, 0, 40, 40]


def test_other_rules_take_one_look() -> None:
    session = FakeSession([[0, 0, 40, 40]], [0.9])
    detector = Detector(session, checksum="")
    detector(picture(640, 400))
    detector(picture(1500, 400), size=1280)
    detector(picture(700, 400), size=SizeRule())
    assert session.sizes == [(640, 400), (160, 100), (1280, 341), (700, 400)]


def test_auto_means_the_size_that_the_network_was_made_for() -> None:
    session = FakeSession([[0, 0, 40, 40]], [0.9], usual_size="256")
    detector = Detector(session, checksum="")
    detector(picture(2560, 1920))
    detector(picture(64, 32), size="auto")
    detector(picture(64, 32), size="original")
    assert session.sizes == [(256, 192), (256, 128), (64, 32)]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_network_that_answers_nonsense(wrong: float) -> None:
    with pytest.raises(ModelError, match="fake answers with NaN or infinity"):
        Detector(FakeSession([[0, 0, wrong, 1]], [0.9]), checksum="")(picture(8, 8))


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    """Fine stripes become grey; plain bilinear scaling to a quarter would give moiré."""
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    assert resized(stripes, (200, 200)).shape == (200, 200, 3)
    assert np.ptp(resized(stripes, (200, 200))) <= 1
    assert resized(stripes, (130, 130)).std() < 3
    same = resized(stripes, (800, 800))
    assert same is stripes


def test_scaling_keeps_places() -> None:
    """The centre of mass stays where it was, in outer-corner pixels, whatever the path of halvings."""
    image = np.zeros((600, 801, 3), np.uint8)
    image[200:280, 300:420] = 255
    for size in ((801, 600), (500, 375), (267, 200), (100, 75), (1600, 1199)):
        small = resized(image, size)[:, :, 0].astype(float)
        x = (small.sum(0) * (np.arange(size[0]) + 0.5)).sum() / small.sum() * 801 / size[0]
        y = (small.sum(1) * (np.arange(size[1]) + 0.5)).sum() / small.sum() * 600 / size[1]
        assert (x, y) == pytest.approx((360, 240), abs=1.5)
