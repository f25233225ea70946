"""Augmentation is judged by the pixels: every face of the test pictures is painted in a colour of its own, and
every landmark is a dot whose colour tells which one it is."""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facesmith.data.augment import AugmentConfig, _cut, flip, make_sample, random_window, vary_colour
from facesmith.data.sample import Sample
from facesmith.faces import LANDMARK_FLIP

PLAIN = AugmentConfig(smallest=40, largest=0.9, mosaic=0, colour=0, grey=0, blur=0)
"""Colours stay, and faces stay so large that dots can be seen."""

DOTS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)])
"""Colours of left eye, right eye, nose, left and right mouth corner."""

PLACES = np.array([(0.28, 0.3), (0.72, 0.3), (0.5, 0.52), (0.32, 0.78), (0.68, 0.78)])


def dotted(seed: int, *, width: int = 260, height: int = 200, landmarks: bool = True) -> Sample:
    """Grey with two faces, each a dark square with five dots."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 128, np.uint8)
    boxes, points = [], []
    for column in range(2):
        side = int(rng.integers(60, width // 2 - 10))
        x, y = column * width // 2 + int(rng.integers(0, 10)), int(rng.integers(0, height - side))
        cv2.rectangle(image, (x, y), (x + side - 1, y + side - 1), (0, 0, 0), -1)
        face = PLACES * side + (x, y)
        for point, colour in zip(face, DOTS.tolist(), strict=True):
            cv2.circle(image, tuple(int(v) for v in point), side // 9, colour, -1)
        boxes.append((x, y, x + side, y + side))
        points.append(face if landmarks else np.full((5, 2), np.nan))
    return Sample(
        image, np.array(boxes, np.float32), np.array(points, np.float32), np.zeros(2, np.bool_), complete=True
    )


def colour_at(sample: Sample, box: npt.NDArray[np.float32], point: npt.NDArray[np.float32]) -> int | None:
    """Which dot is seen at ``point``; ``None`` where a border or a mosaic's seam has cut it off the face."""
    if not ((box[:2] <= point) & (point < box[2:])).all():
        return None
    x, y = np.floor(point).astype(int)
    return int(np.abs(DOTS - sample.image[y, x].astype(int)).sum(axis=1).argmin())


def check_landmarks(sample: Sample) -> tuple[int, int]:
    """Every landmark lies on its dot; how many were seen, and how many of them mirrored."""
    seen = mirrored = 0
    for box, points in zip(sample.boxes, sample.landmarks, strict=True):
        colours = [colour_at(sample, box, point) for point in points]
        visible = [k for k, colour in enumerate(colours) if colour is not None]
        straight = all(colours[k] == k for k in visible)
        swapped = all(colours[k] == LANDMARK_FLIP[k] for k in visible)
        assert straight or swapped, (colours, points)
        assert points[0, 0] < points[1, 0], "the left eye is left in the image"
        assert points[3, 0] < points[4, 0]
        seen += len(visible)
        mirrored += len(visible) if not straight else 0
    return seen, mirrored


def samples(config: AugmentConfig, count: int, side: int = 160) -> Iterator[Sample]:
    for seed in range(count):
        rng = np.random.default_rng((1, seed))
        yield make_sample(lambda rng=rng: dotted(int(rng.integers(50))), side, rng, config)


class TestLandmarks:
    @pytest.mark.parametrize("mosaic", [0.0, 1.0])
    def test_they_stay_on_their_dots_through_crops_scales_flips_and_mosaics(self, mosaic: float) -> None:
        config = replace(PLAIN, mosaic=mosaic, mosaic_shrink=1.0)
        counts = np.array([check_landmarks(s) for s in samples(config, 150)])
        assert counts[:, 0].sum() > 800
        assert 0.3 < counts[:, 1].sum() / counts[:, 0].sum() < 0.7  # half are mirrored

    def test_faces_without_landmarks_stay_without(self) -> None:
        for seed in range(20):
            rng = np.random.default_rng(seed)
            sample = make_sample(lambda: dotted(0, landmarks=False), 160, rng, PLAIN)
            assert np.isnan(sample.landmarks).all()
            assert np.isfinite(sample.boxes).all()


class TestBoxes:
    @pytest.mark.parametrize("mosaic", [0.0, 1.0])
    def test_they_are_inside_and_have_an_area(self, mosaic: float) -> None:
        for sample in samples(replace(PLAIN, mosaic=mosaic), 100):
            assert sample.image.shape == (160, 160, 3)
            assert sample.image.dtype == np.uint8
            assert sample.boxes.dtype == sample.landmarks.dtype == np.float32
            assert len(sample.boxes) == len(sample.landmarks) == len(sample.ignored)
            assert (sample.boxes >= 0).all()
            assert (sample.boxes <= 160).all()
            assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()

    def test_they_end_where_the_painted_face_ends(self) -> None:
        """In windows of one picture with one face, to a pixel."""
        image = np.full((150, 200, 3), 255, np.uint8)
        image[30:90, 50:120] = 0
        one = Sample(
            image, np.float32([[50, 30, 120, 90]]), np.full((1, 5, 2), np.nan, np.float32), np.zeros(1, bool), True
        )
        edges = 0
        for seed in range(100):
            rng = np.random.default_rng(seed)
            config = replace(PLAIN, smallest=12)
            sample = random_window(one, 120, 100, 80, rng, config)
            if not len(sample.boxes) or (sample.image[[0, -1]] < 100).all(axis=2).all(axis=1).any():
                continue  # the filling outside the picture happens to be dark
            ys, xs = np.nonzero((sample.image < 128).all(axis=2) & inside(sample.boxes[0], sample.image.shape, 3))
            found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            assert np.abs(found - sample.boxes[0]).max() <= 1.0
            edges += 4
        assert edges > 200


def inside(box: npt.NDArray[np.float32], shape: tuple[int, ...], margin: float) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (x > box[0] - margin) & (y > box[1] - margin) & (x < box[2] + margin) & (y < box[3] + margin)


class TestFacesAtTheBorder:
    def test_a_cut_face_is_learnt_only_if_its_centre_is_seen_and_never_background(self) -> None:
        """Two faces, one all red and one all blue: what is red or blue in the window must be accounted for."""
        image = np.full((240, 320, 3), 128, np.uint8)
        boxes = np.float32([[20, 40, 120, 140], [180, 60, 300, 200]])
        paints = np.array([(255, 0, 0), (0, 0, 255)])
        for (x1, y1, x2, y2), paint in zip(boxes.astype(int), paints, strict=True):
            image[y1:y2, x1:x2] = paint
        points = np.full((2, 5, 2), np.nan, np.float32)
        sample = Sample(image, boxes, points, np.zeros(2, np.bool_), True)
        seen = {"learnt": 0, "ignored": 0, "dropped": 0}
        for seed in range(300):
            rng = np.random.default_rng(seed)
            window = random_window(sample, 120, 120, 110, rng, replace(PLAIN, smallest=60))
            for paint in paints:
                painted = np.abs(window.image.astype(int) - paint).sum(axis=2) < 60
                owners = [
                    i for i, box in enumerate(window.boxes) if painted[inside(box, painted.shape, -2)].mean() > 0.9
                ]
                if not owners:
                    # only slivers of a tenth of the face may be background
                    assert painted.sum() <= 0.115 * 110 * 140 * 4
                    seen["dropped"] += int(painted.any())
                    continue
                (owner,) = owners
                box = window.boxes[owner]
                touches = (box[:2] <= 0.5).any() or (box[2:] >= 119.5).any()
                seen["ignored" if window.ignored[owner] else "learnt"] += 1
                if window.ignored[owner]:
                    assert touches, "a face that is seen whole is learnt"
        assert min(seen.values()) > 5, seen

    def test_thresholds_at_the_border_exactly(self) -> None:
        boxes = np.float32(
            [(120, 10, 160, 50), (184, 10, 214, 50), (190, 50, 230, 90), (198, 60, 258, 90), (-9, 0, 8, 9)]
        )  # whole, centre just inside, a quarter seen, a thirtieth seen, centre outside at the left
        sample = Sample(
            np.zeros((100, 300, 3), np.uint8), boxes, np.zeros((5, 5, 2), np.float32), np.zeros(5, bool), True
        )
        window = _cut(sample, 1.0, np.zeros(2), 200, 100, np.random.default_rng(0))
        assert window.boxes.tolist() == [[120, 10, 160, 50], [184, 10, 200, 50], [190, 50, 200, 90], [0, 0, 8, 9]]
        assert window.ignored.tolist() == [False, False, True, True]


class TestIgnored:
    def test_what_was_ignored_stays_ignored(self) -> None:
        everything = replace(dotted(0), ignored=np.ones(2, np.bool_))
        for seed in range(20):
            sample = make_sample(lambda: everything, 160, np.random.default_rng(seed), PLAIN)
            assert sample.ignored.all()

    def test_faces_that_end_too_small_are_ignored(self) -> None:
        config = replace(PLAIN, smallest=4, largest=0.6, ignore_below=9.0)
        small = large = 0
        for sample in samples(config, 100, side=24):
            side = np.sqrt((sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1))
            assert sample.ignored[side < 9].all()
            small, large = small + (side < 9).sum(), large + (~sample.ignored).sum()
        assert small > 5
        assert large > 5


class TestMosaic:
    def test_faces_come_from_four_pictures_and_completeness_is_common(self) -> None:
        drawn = []

        def draw() -> Sample:
            drawn.append(len(drawn))
            return replace(dotted(len(drawn)), complete=len(drawn) != 3)

        sample = make_sample(draw, 160, np.random.default_rng(3), replace(PLAIN, mosaic=1.0))
        assert len(drawn) == 4
        assert not sample.complete
        whole = make_sample(lambda: dotted(1), 160, np.random.default_rng(3), replace(PLAIN, mosaic=1.0))
        assert whole.complete

    def test_a_picture_without_faces_works(self) -> None:
        empty = Sample(
            np.zeros((50, 80, 3), np.uint8),
            np.zeros((0, 4), np.float32),
            np.zeros((0, 5, 2), np.float32),
            np.zeros(0, np.bool_),
            complete=True,
        )
        for mosaic in (0.0, 1.0):
            sample = make_sample(lambda: empty, 64, np.random.default_rng(0), replace(PLAIN, mosaic=mosaic))
            assert sample.boxes.shape == (0, 4)
            assert sample.landmarks.shape == (0, 5, 2)


class TestSquares:
    SQUARES = replace(PLAIN, squares=(0.8, 1.0))

    def test_faces_grow_by_the_side_of_the_square(self) -> None:
        """A square of 160 or 200 pixels, brought to 160: everything in it keeps its size or shrinks to .8."""
        whole = dotted(1)
        sides = (whole.boxes[:, 2:] - whole.boxes[:, :2])[:, 0]
        seen = set()
        for seed in range(40):
            sample = make_sample(lambda: whole, 160, np.random.default_rng(seed), self.SQUARES)
            inner = sample.boxes[((sample.boxes > 0) & (sample.boxes < 160)).all(axis=1)]
            for width in (inner[:, 2:] - inner[:, :2])[:, 0]:
                ratio = width / sides
                grown = {g for g in (0.8, 1.0) if (abs(ratio / g - 1) < 0.02).any()}
                assert grown, ratio
                seen |= grown
        assert seen == {0.8, 1.0}

    def test_landmarks_stay_on_their_dots(self) -> None:
        seen, mirrored = map(sum, zip(*(check_landmarks(s) for s in samples(self.SQUARES, 30)), strict=True))
        assert seen > 50
        assert 0 < mirrored < seen


def test_data_anchor_sampling_keeps_landmarks_on_their_dots_and_brings_faces_near_anchors() -> None:
    config = replace(PLAIN, anchors=(16.0, 32.0, 64.0))
    drawn = list(samples(config, 30))
    seen, mirrored = map(sum, zip(*(check_landmarks(sample) for sample in drawn), strict=True))
    assert seen > 30
    assert 0 < mirrored < seen
    sides = np.concatenate([s.boxes[~s.ignored, 2:] - s.boxes[~s.ignored, :2] for s in drawn]).max(axis=1)
    assert sides.min() < 20
    assert sides.max() > 50


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 500), (500, 2), (40, 30), (1000, 700)])
def test_pictures_of_any_size_fill_the_window(width: int, height: int) -> None:
    image = np.full((height, width, 3), 77, np.uint8)
    box = np.float32([[0, 0, width, height]])
    sample = Sample(image, box, np.full((1, 5, 2), np.nan, np.float32), np.zeros(1, np.bool_), True)
    for seed in range(10):
        out = make_sample(lambda: sample, 96, np.random.default_rng(seed), AugmentConfig(mosaic=0.5))
        assert out.image.shape == (96, 96, 3)
        assert np.isfinite(out.boxes).all()


class TestFlip:
    def test_twice_is_nothing(self) -> None:
        sample = dotted(4)
        again = flip(flip(sample))
        assert again.image.tolist() == sample.image.tolist()
        assert again.boxes.tolist() == sample.boxes.tolist()
        assert again.landmarks == pytest.approx(sample.landmarks)

    def test_19_landmarks_change_sides(self) -> None:
        # AFLW's, on a face that is its own mirror image about x = 50.
        left = [(20, 20), (28, 18), (36, 20), (24, 30), (30, 30), (36, 30), (44, 50), (38, 70)]
        middle = [(50, 52), (50, 71), (50, 90)]
        mirrored = [(100 - x, y) for x, y in left]
        brows, eyes = left[:3] + mirrored[2::-1], left[3:6] + mirrored[5:2:-1]
        nose, mouth = [left[6], middle[0], mirrored[6]], [left[7], middle[1], mirrored[7]]
        points = np.float32([[*brows, *eyes, *nose, *mouth, middle[2]]])
        sample = replace(dotted(4), image=np.zeros((100, 100, 3), np.uint8), landmarks=points)
        np.testing.assert_array_equal(flip(sample).landmarks, points)

    def test_the_given_sample_stays(self) -> None:
        sample = dotted(4)
        before = sample.boxes.copy(), sample.landmarks.copy()
        flip(sample)
        assert (sample.boxes == before[0]).all()
        assert (sample.landmarks == before[1]).all()


class TestColour:
    ON = AugmentConfig(colour=1, grey=0, blur=0)

    def test_nothing_is_changed_without_any(self) -> None:
        image = dotted(0).image
        assert vary_colour(image, np.random.default_rng(0), PLAIN).tolist() == image.tolist()

    def test_brightness_varies_both_ways(self) -> None:
        image = np.full((8, 8, 3), 128, np.uint8)
        means = [vary_colour(image, np.random.default_rng(i), self.ON).mean() for i in range(50)]
        assert min(means) < 100
        assert max(means) > 156

    def test_grey_has_no_colour(self) -> None:
        out = vary_colour(dotted(0).image, np.random.default_rng(0), replace(self.ON, grey=1.0))
        assert (out.min(axis=2) == out.max(axis=2)).all()

    def test_blur_softens_edges(self) -> None:
        image = dotted(0).image
        out = vary_colour(image, np.random.default_rng(0), replace(PLAIN, blur=1.0))
        assert np.abs(np.diff(out.astype(int), axis=1)).max() < np.abs(np.diff(image.astype(int), axis=1)).max()

    def test_the_given_picture_stays_even_if_read_only(self) -> None:
        image = dotted(0).image
        before = image.copy()
        image.flags.writeable = False
        vary_colour(image, np.random.default_rng(0), replace(self.ON, grey=1.0, blur=1.0))
        assert (image == before).all()


def test_the_generator_alone_decides() -> None:
    def once(seed: int) -> Sample:
        rng = np.random.default_rng(seed)
        return make_sample(lambda: dotted(int(rng.integers(50))), 96, rng, AugmentConfig())

    one, same, other = once(5), once(5), once(6)
    assert one.image.tolist() == same.image.tolist()
    assert one.boxes.tolist() == same.boxes.tolist()
    assert one.image.tolist() != other.image.tolist()
