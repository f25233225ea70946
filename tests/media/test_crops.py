"""Crops by landmarks, by boxes, and their files."""

from pathlib import Path

import numpy as np
import pytest

from facesmith import geometry, images
from facesmith.errors import ImageError
from facesmith.faces import Faces
from facesmith.media import crops


def face_at(x: float, y: float) -> np.ndarray:
    """Landmarks whose aligned crop is the 112 x 112 pixels at (x, y)."""
    return np.add(geometry.ALIGNMENT_TEMPLATE, (x + 0.5, y + 0.5))


def photograph(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(x / 9 + k) * np.cos(y / 11 - k) for k in range(3)]
    return np.stack(waves, axis=-1).round().astype(np.uint8)


def box_of_square(x: float, y: float, side: float) -> list[float]:
    """The square box whose crop, without landmarks, is the square at (x, y)."""
    longer = side / crops.BOX_SCALE
    centre = np.array([x + side / 2, y + side / 2 + crops.BOX_LIFT * longer])
    return [*(centre - longer / 2), *(centre + longer / 2)]


class TestCrop:
    def test_by_landmarks(self):
        image = photograph(300, 400)
        faces = Faces([[0, 0, 5, 5]] * 2, [1, 1], np.stack([face_at(30, 40), face_at(200, 100)]))
        result = crops.crop(image, faces)
        assert result.dtype == np.uint8
        assert (result[0] == image[40:152, 30:142]).all()
        assert (result[1] == image[100:212, 200:312]).all()

    @pytest.mark.parametrize("landmarks", [None, np.full((1, 5, 2), np.nan), np.full((1, 5, 2), 70.0)])
    def test_by_box_where_landmarks_are_missing_or_coincide(self, landmarks):
        image = photograph(300, 400)
        result = crops.crop(image, Faces([box_of_square(30, 40, 112)], [1], landmarks))
        assert np.abs(result[0].astype(int) - image[40:152, 30:142]).max() <= 6

    def test_one_missing_point_is_enough_to_go_by_box(self):
        image = photograph(300, 400)
        landmarks = face_at(200, 100)
        landmarks[3] = np.nan
        faces = Faces([box_of_square(30, 40, 112)], [1], landmarks[None])
        assert (crops.crop(image, faces) == crops.crop(image, Faces(faces.boxes, [1]))).all()

    def test_both_kinds_together_keep_their_order(self):
        image = photograph(300, 400)
        landmarks = np.stack([np.full((5, 2), np.nan), face_at(200, 100), np.full((5, 2), np.nan)])
        boxes = [box_of_square(30, 40, 112), [0, 0, 5, 5], box_of_square(100, 60, 112)]
        result = crops.crop(image, Faces(boxes, [0.1, 0.9, 0.5], landmarks))
        for crop, (x, y) in zip(result, ((30, 40), (200, 100), (100, 60)), strict=True):
            assert np.abs(crop.astype(int) - image[y : y + 112, x : x + 112]).max() <= 6

    def test_square_is_not_squeezed(self):
        """A tall box gives a square as wide as the box is high."""
        x1, y1, x2, y2 = box_of_square(30, 40, 112)
        tall = [x1 + 30, y1, x2 - 30, y2]
        image = photograph(300, 400)
        assert (crops.crop(image, Faces([tall], [1])) == crops.crop(image, Faces([[x1, y1, x2, y2]], [1]))).all()

    def test_black_outside_the_picture(self):
        image = np.full((100, 100, 3), 200, np.uint8)
        result = crops.crop(image, Faces([box_of_square(-56, 0, 112), [900, 900, 950, 950]], [1, 1]))
        assert (result[0][:90, :54] == 0).all()
        assert (result[0][:90, 58:] == 200).all()
        assert (result[1] == 0).all()

    @pytest.mark.parametrize("box", [[5, 5, 5, 5], [9, 9, 5, 5]])
    def test_box_without_area(self, box):
        assert crops.crop(photograph(50, 50), Faces([box], [1])).shape == (1, 112, 112, 3)

    @pytest.mark.parametrize("size", [1, 64, 224])
    def test_size(self, size):
        faces = Faces([[10, 10, 60, 60]], [1])
        assert crops.crop(photograph(90, 90), faces, size).shape == (1, size, size, 3)

    @pytest.mark.parametrize("landmarks", [True, False])
    def test_no_faces(self, landmarks):
        assert crops.crop(photograph(50, 50), Faces.empty(landmarks=landmarks)).shape == (0, 112, 112, 3)

    def test_inputs_do_not_change(self):
        image = photograph(300, 400)
        faces = Faces([[0, 0, 50, 50]], [1], face_at(30, 40)[None])
        before = image.copy(), faces.boxes.copy(), faces.landmarks.copy()
        crops.crop(image, faces)
        for now, then in zip((image, faces.boxes, faces.landmarks), before, strict=True):
            assert (now == then).all()

    def test_grey_image(self):
        image = photograph(300, 400)[..., 0]
        result = crops.crop(image, Faces([[0, 0, 5, 5]], [1], face_at(30, 40)[None]))
        assert (result[0] == image[40:152, 30:142, None]).all()

    def test_not_an_image(self):
        with pytest.raises(ImageError):
            crops.crop(np.zeros((10, 10, 3)), Faces.empty())


LABELS = Path(__file__).parents[3] / "shared" / "data" / "train" / "widerface.txt"


@pytest.mark.skipif(not LABELS.exists(), reason="needs the labels of WIDER FACE train in ../shared/data")
def test_box_constants_are_the_medians_of_widerface():
    lines = (line.split() for line in LABELS.read_text().splitlines() if not line.startswith("#"))
    rows = np.array([line[:19] for line in lines], np.float64)
    rows = rows[(rows[:, 4] >= 0) & (rows[:, 2:4].min(axis=1) >= 20)]
    landmarks = rows[:, 4:19].reshape(-1, 5, 3)[:, :, :2]
    matrices = np.concatenate(
        [geometry.similarity(landmarks, face_at(0, 0)), np.tile([[[0.0, 0, 1]]], (len(rows), 1, 1))], axis=1
    )
    centre = (np.linalg.inv(matrices) @ [56, 56, 1])[:, :2]
    longer = rows[:, 2:4].max(axis=1)
    side = 112 / np.sqrt(np.linalg.det(matrices))
    offset = (centre - rows[:, :2] - rows[:, 2:4] / 2) / longer[:, None]
    assert np.median(side / longer) == pytest.approx(crops.BOX_SCALE, abs=0.006)
    assert np.median(offset, axis=0) == pytest.approx([0, -crops.BOX_LIFT], abs=0.006)


class TestWrite:
    def test_names_and_contents(self, tmp_path):
        pictures = np.stack([photograph(112, 112), 255 - photograph(112, 112)])
        paths = crops.write(tmp_path / "new", "party.2024", pictures)
        assert [path.name for path in paths] == ["party.2024-0000.png", "party.2024-0001.png"]
        for path, picture in zip(paths, pictures, strict=True):
            assert (images.read(path) == picture).all()

    def test_names_sort_in_order(self, tmp_path):
        paths = crops.write(tmp_path, "a", [np.zeros((1, 1, 3), np.uint8)] * 12)
        assert sorted(paths) == paths

    def test_suffix(self, tmp_path):
        (path,) = crops.write(tmp_path, "a", [photograph(112, 112)], suffix=".jpg")
        assert path.read_bytes().startswith(b"\xff\xd8")

    def test_nothing_to_write(self, tmp_path):
        assert crops.write(tmp_path / "new", "a", []) == []

    @pytest.mark.parametrize("stem", ["", "a/b", "/etc/a", "../a"])
    def test_stem_must_be_a_plain_name(self, stem, tmp_path):
        with pytest.raises(ValueError, match="plain file name"):
            crops.write(tmp_path, stem, [photograph(4, 4)])

    def test_unknown_suffix(self, tmp_path):
        with pytest.raises(ImageError, match="cannot write"):
            crops.write(tmp_path, "a", [photograph(4, 4)], suffix=".xyz")
