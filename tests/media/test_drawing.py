"""What is drawn where, at which size, and that nothing else changes."""

import numpy as np
import pytest

from facesmith.errors import ImageError
from facesmith.faces import Faces, Landmark
from facesmith.media.drawing import BOX_COLOUR, LANDMARK_COLOURS, TRACK_COLOURS, draw

GREY = 128


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def face(x1: float, y1: float, x2: float, y2: float, score: float = 0.87, **columns: object) -> Faces:
    return Faces([[x1, y1, x2, y2]], [score], **columns)


def with_landmarks(x1: float, y1: float, x2: float, y2: float) -> Faces:
    relative = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    return face(x1, y1, x2, y2, landmarks=[relative * (x2 - x1, y2 - y1) + (x1, y1)])


def changed(image: np.ndarray) -> np.ndarray:
    return (image != GREY).any(axis=2)


def near(pixel: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return int(np.abs(pixel.astype(int) - colour).max()) <= 3


class TestBox:
    def test_lines_lie_on_the_edges_of_the_box(self):
        image = draw(grey(400, 600), face(100, 150, 300, 350), scores=False)
        assert near(image[250, 100], BOX_COLOUR) or near(image[250, 99], BOX_COLOUR)
        for edge in (image[250, 96:104], image[250, 296:304], image[146:154, 200], image[346:354, 200]):
            assert any(near(pixel, BOX_COLOUR) for pixel in edge)
        assert not changed(image)[160:340, 110:290].any()
        outside = changed(image)
        outside[140:360, 90:310] = False
        assert not outside.any()

    def test_line_is_centred_on_the_edge(self):
        """A line of even width around x = 100 covers as many columns left of it as right of it."""
        image = draw(grey(1200, 1200), face(100, 100, 900, 900), scores=False)
        columns = np.flatnonzero(changed(image)[500, :200])
        assert columns.mean() + 0.5 == pytest.approx(100, abs=0.5)

    def test_lines_grow_with_the_picture(self):
        def line(width: int) -> int:
            height = min(width, 800)
            image = draw(grey(height, width), face(*np.array([0.2, 0.2, 0.8, 0.8]) * height), scores=False)
            return int(changed(image[height // 2 : height // 2 + 1, : height // 2]).sum())

        assert line(100) <= 3
        assert 3 <= line(600) <= 8
        assert 20 <= line(8000) <= 40

    def test_a_small_face_in_a_large_picture_stays_visible(self):
        image = draw(grey(4000, 4000), face(2000, 2000, 2016, 2016))
        inside = image[2003:2013, 2003:2013]
        assert (inside == GREY).mean() > 0.9

    def test_colour_of_a_track(self):
        faces = face(100, 150, 300, 350, track_ids=[9])
        image = draw(grey(400, 600), faces, scores=False)
        assert any(near(pixel, TRACK_COLOURS[1]) for pixel in image[250, 96:104])
        untracked = draw(grey(400, 600), face(100, 150, 300, 350, track_ids=[-1]), scores=False)
        assert (untracked == draw(grey(400, 600), face(100, 150, 300, 350), scores=False)).all()

    @pytest.mark.parametrize(
        "box",
        [
            (-50, -50, 700, 500),
            (-1e9, -1e9, 1e9, 1e9),
            (590, 390, 610, 410),
            (-9, -9, -2, -2),
            (5e8, 5e8, 6e8, 6e8),
        ],
    )
    def test_boxes_that_stick_out(self, box):
        image = draw(grey(400, 600), with_landmarks(*box))
        assert image.shape == (400, 600, 3)
        if box[0] > 600 or box[2] < 0:
            assert not changed(image).any()

    @pytest.mark.parametrize("box", [(50, 50, 50, 50), (50, 50, 50, 90), (90, 90, 50, 50)])
    def test_boxes_without_area(self, box):
        assert draw(grey(100, 100), face(*box)).shape == (100, 100, 3)


class TestLandmarks:
    def test_each_has_its_colour_at_its_place(self):
        faces = with_landmarks(100, 100, 300, 300)
        image = draw(grey(400, 600), faces)
        for name, (x, y) in zip(Landmark, faces.landmarks[0], strict=True):
            assert near(image[int(y), int(x)], LANDMARK_COLOURS[name])

    def test_colours_are_distinct(self):
        colours = [*LANDMARK_COLOURS.values(), BOX_COLOUR]
        for i, a in enumerate(colours):
            for b in colours[:i]:
                assert np.abs(np.subtract(a, b)).max() > 80

    def test_dot_is_centred(self):
        points = np.full((5, 2), np.nan)
        points[2] = (200.0, 150.0)
        image = draw(grey(400, 600), face(100, 50, 300, 250, landmarks=[points]), scores=False)
        rows, columns = np.nonzero(changed(image)[100:200, 150:250])
        assert rows.mean() + 100.5 == pytest.approx(150, abs=0.3)
        assert columns.mean() + 150.5 == pytest.approx(200, abs=0.3)

    def test_off(self):
        faces = with_landmarks(100, 100, 300, 300)
        bare = Faces(faces.boxes, faces.scores)
        assert (draw(grey(400, 600), faces, landmarks=False) == draw(grey(400, 600), bare)).all()

    def test_missing_ones_are_left_out(self):
        nothing = face(100, 100, 300, 300, landmarks=np.full((1, 5, 2), np.nan))
        assert (draw(grey(400, 600), nothing) == draw(grey(400, 600), face(100, 100, 300, 300))).all()


class TestLabel:
    def only_label(self, faces: Faces, height: int = 400, width: int = 600, scores: bool = True) -> np.ndarray:
        bare = Faces(faces.boxes, faces.scores)
        without = draw(grey(height, width), bare, scores=False)
        return np.logical_or.reduce(np.moveaxis(draw(grey(height, width), faces, scores=scores) != without, 2, 0))

    def test_is_above_the_box(self):
        rows, columns = np.nonzero(self.only_label(face(100, 150, 300, 350)))
        assert rows.min() > 120
        assert rows.max() < 152
        assert 95 < columns.min() < 100

    @pytest.mark.parametrize(("box", "rows"), [((100, 0, 300, 200), (199, 240)), ((100, 0, 300, 400), (0, 40))])
    def test_without_room_above_is_below_and_without_that_inside(self, box, rows):
        found, _ = np.nonzero(self.only_label(face(*box)))
        assert rows[0] <= found.min()
        assert found.max() <= rows[1]

    @pytest.mark.parametrize("box", [(590, 100, 640, 300), (-40, 100, 20, 300), (560, 380, 600, 400)])
    def test_is_wholly_in_the_picture(self, box):
        middle = self.only_label(face(300, 200, 300 + box[2] - box[0], 200 + box[3] - box[1])).sum()
        assert self.only_label(face(*box)).sum() > 0.6 * middle

    @pytest.mark.parametrize("width", [100, 640, 8000])
    def test_is_readable_at_every_size(self, width):
        """At least 10 pixels high, and between 1/60 and 1/5 of the longer side."""
        height = min(width, 1000)
        box = np.array([0.01, 0.4, 0.51, 0.9]) * height
        rows, _ = np.nonzero(self.only_label(face(*box), height, width))
        label = np.ptp(rows) + 1
        assert label >= 10
        assert width / 60 <= label <= width / 5

    def test_shows_the_score(self):
        def look(score: float) -> bytes:
            return draw(grey(400, 600), face(100, 150, 300, 350, score)).tobytes()

        assert look(0.871) == look(0.869)
        assert look(0.87) != look(0.88)
        assert len({look(digit / 10) for digit in range(11)}) == 11

    def test_letters_contrast_with_their_ground(self):
        image = draw(grey(400, 600), face(100, 150, 300, 350))
        label = image[self.only_label(face(100, 150, 300, 350))].astype(int).sum(axis=1)
        assert label.max() - label.min() > 300

    def test_track_number_without_score(self):
        tracked = face(100, 150, 300, 350, track_ids=[0])
        assert self.only_label(tracked, scores=False).any()
        assert self.only_label(tracked, scores=False).sum() != self.only_label(tracked).sum()

    def test_none_at_all(self):
        assert not self.only_label(face(100, 150, 300, 350), scores=False).any()

    def test_better_faces_lie_on_top(self):
        boxes = [[100, 150, 300, 350], [102, 151, 302, 351]]
        better_first = draw(grey(400, 600), Faces(boxes, [0.9, 0.3]))
        better_last = draw(grey(400, 600), Faces(boxes[::-1], [0.3, 0.9]))
        assert (better_first == better_last).all()


class TestPicture:
    def test_input_is_not_touched(self):
        image = grey(400, 600)
        result = draw(image, with_landmarks(100, 100, 300, 300))
        assert (image == GREY).all()
        assert not np.shares_memory(result, image)
        assert not np.shares_memory(draw(image, Faces.empty()), image)

    def test_read_only_input(self):
        image = grey(100, 100)
        image.flags.writeable = False
        assert changed(draw(image, face(20, 20, 60, 60))).any()

    def test_no_faces(self):
        for landmarks in (True, False):
            assert (draw(grey(40, 60), Faces.empty(landmarks=landmarks)) == GREY).all()

    def test_form(self):
        for shape in ((100, 120), (100, 120, 1), (100, 120, 4)):
            image = np.full(shape, 255, np.uint8)
            result = draw(image, face(20, 20, 60, 60))
            assert result.shape == (100, 120, 3)
            assert result.dtype == np.uint8
            assert result.flags.c_contiguous

    @pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5, 400), (400, 5)])
    def test_tiny_pictures(self, shape):
        assert draw(grey(*shape), with_landmarks(0, 0, shape[1], shape[0])).shape == (*shape, 3)

    def test_not_an_image(self):
        with pytest.raises(ImageError):
            draw(np.zeros((10, 10, 3)), Faces.empty())

    def test_same_input_same_picture(self):
        faces = with_landmarks(100, 100, 300, 300)
        assert (draw(grey(400, 600), faces) == draw(grey(400, 600), faces)).all()
