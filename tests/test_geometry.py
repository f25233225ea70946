"""Geometry against slow, obvious references, and against what numpy does to real pixels."""

import cv2
import numpy as np
import pytest

from facesmith import geometry
from facesmith.faces import Faces, Landmark


def random_boxes(rng: np.random.Generator, n: int, people: int | None = None, extent: float = 200.0) -> np.ndarray:
    """Boxes; with ``people``, jittered copies of that many, as detectors give them."""
    count = people or n
    centre, side = rng.uniform(0, extent, (count, 2)), rng.uniform(4, 60, (count, 2))
    pick = rng.integers(0, count, n) if people else np.arange(n)
    centre = centre[pick] + (rng.normal(0, 0.15, (n, 2)) * side[pick] if people else 0)
    return np.concatenate([centre - side[pick] / 2, centre + side[pick] / 2], axis=1).astype(np.float32)


def random_faces(rng: np.random.Generator, n: int, people: int | None = None) -> Faces:
    boxes = random_boxes(rng, n, people)
    relative = rng.uniform(0.1, 0.9, (n, 5, 2))
    landmarks = boxes[:, None, :2] + relative * (boxes[:, None, 2:] - boxes[:, None, :2])
    return Faces(boxes, rng.uniform(0.02, 1, n), landmarks, rng.integers(-1, 9, n))


def one_iou(a: list[float], b: list[float], min_area: bool = False) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]) for box in (a, b)]
    whole = min(areas) if min_area else sum(areas) - width * height
    return width * height / whole if whole > 0 else 0.0


def slow_nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, min_area: bool = False) -> list[int]:
    boxes, kept = boxes.tolist(), []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(one_iou(boxes[i], boxes[j], min_area) <= threshold for j in kept):
            kept.append(i)
    return kept


def slow_vote(faces: Faces, threshold: float) -> list[tuple[np.ndarray, float, np.ndarray]]:
    left = sorted(range(len(faces)), key=lambda i: (-faces.scores[i], i))
    boxes, merged = faces.boxes.tolist(), []
    while left:
        best = left[0]
        cluster = [i for i in left if i == best or one_iou(boxes[best], boxes[i]) >= threshold]
        left = [i for i in left if i not in cluster]
        weights = faces.scores[cluster].astype(np.float64)
        box = np.average(faces.boxes[cluster].astype(np.float64), axis=0, weights=weights)
        landmarks = np.average(faces.landmarks[cluster].astype(np.float64), axis=0, weights=weights)
        merged.append((box, float(faces.scores[best]), landmarks))
    return merged


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Umeyama 1991, equations 34-43, by singular value decomposition."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    p, q = source - source_mean, target - target_mean
    u, d, vt = np.linalg.svd(q.T @ p / len(source))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    turn = u @ np.diag(sign) @ vt
    scale = (d * sign).sum() / (p**2).sum() * len(source)
    return np.column_stack([scale * turn, target_mean - scale * turn @ source_mean])


class TestIou:
    @pytest.mark.parametrize("seed", range(5))
    def test_against_the_loop(self, seed):
        rng = np.random.default_rng(seed)
        a, b = random_boxes(rng, 17), random_boxes(rng, 23)
        b[:5] = a[:5]
        expected = [[one_iou(x, y) for y in b.tolist()] for x in a.tolist()]
        result = geometry.iou(a, b)
        assert result.dtype == np.float32
        assert result.shape == (17, 23)
        np.testing.assert_allclose(result, expected, atol=1e-5)
        np.testing.assert_allclose(result.T, geometry.iou(b, a), atol=1e-6)

    def test_known_values(self):
        result = geometry.iou([[0, 0, 10, 10]], [[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]])
        np.testing.assert_allclose(result, [[1, 50 / 150, 0, 4 / 100]], rtol=1e-6)

    def test_boxes_without_area_overlap_nothing(self):
        flat = [[5, 5, 5, 9], [5, 5, 9, 5], [5, 5, 5, 5], [9, 9, 2, 2], [9, 2, 2, 9]]
        assert (geometry.iou(flat, [[0, 0, 10, 10], *flat]) == 0).all()

    @pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
    def test_empty(self, n, m):
        assert geometry.iou(np.zeros((n, 4)), np.zeros((m, 4))).shape == (n, m)
        assert geometry.iou([], np.ones((2, 4))).shape == (0, 2)

    @pytest.mark.parametrize("boxes", [np.zeros(4), np.zeros((2, 5)), np.zeros((1, 2, 4))])
    def test_wrong_shape(self, boxes):
        with pytest.raises(ValueError, match=r"shape \(n, 4\)"):
            geometry.iou(boxes, np.zeros((1, 4)))


class TestNms:
    @pytest.mark.parametrize("min_area", [False, True])
    @pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
    @pytest.mark.parametrize(
        ("n", "people"), [(1, None), (40, None), (63, 3), (64, 6), (65, 6), (300, 20), (300, None)]
    )
    def test_against_the_loop(self, n, people, threshold, min_area):
        rng = np.random.default_rng(n)
        boxes, scores = random_boxes(rng, n, people), rng.uniform(0, 1, n).astype(np.float32)
        kept = geometry.nms(boxes, scores, threshold, min_area=min_area)
        assert kept.dtype == np.int64
        assert kept.tolist() == slow_nms(boxes, scores, threshold, min_area)

    @pytest.mark.parametrize("seed", range(10))
    def test_grid_of_ties(self, seed):
        """Whole-number boxes and few distinct scores: overlaps at the threshold exactly, and equal scores."""
        rng = np.random.default_rng(seed)
        corner = rng.integers(0, 12, (150, 2))
        boxes = np.concatenate([corner, corner + rng.integers(0, 5, (150, 2))], axis=1).astype(np.float32)
        scores = rng.integers(0, 4, 150) / 4
        assert geometry.nms(boxes, scores, 0.5).tolist() == slow_nms(boxes, scores, 0.5)

    def test_at_the_threshold_a_box_stays(self):
        boxes = [[0, 0, 10, 10], [0, 0, 10, 5]]
        assert geometry.nms(boxes, [0.9, 0.8], 0.5).tolist() == [0, 1]
        assert geometry.nms(boxes, [0.9, 0.8], 0.49).tolist() == [0]
        assert geometry.nms(boxes, [0.9, 0.8], 0.5, min_area=True).tolist() == [0]

    def test_a_dropped_box_drops_nothing(self):
        boxes = [[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]]
        assert geometry.nms(boxes, [0.9, 0.8, 0.7], 0.4).tolist() == [0, 2]

    def test_a_chain_longer_than_a_block(self):
        left = np.arange(500, dtype=np.float32) * 4
        boxes = np.stack([left, np.zeros(500), left + 10, np.full(500, 10)], axis=1)
        assert geometry.nms(boxes, np.linspace(1, 0, 500), 0.4).tolist() == list(range(0, 500, 2))

    def test_order_is_by_score_whatever_the_input_order(self):
        rng = np.random.default_rng(0)
        boxes, scores = random_boxes(rng, 200, 20), rng.permutation(200) / 200
        shuffle = rng.permutation(200)
        kept, shuffled = geometry.nms(boxes, scores, 0.4), geometry.nms(boxes[shuffle], scores[shuffle], 0.4)
        assert kept.tolist() == shuffle[shuffled].tolist()
        assert (np.diff(scores[kept]) < 0).all()

    def test_twice_is_once(self):
        rng = np.random.default_rng(1)
        faces = random_faces(rng, 200, 20)
        once = geometry.nms_faces(faces, 0.4)
        twice = geometry.nms_faces(once, 0.4)
        assert (once.boxes == twice.boxes).all()

    def test_empty(self):
        assert geometry.nms(np.zeros((0, 4)), [], 0.4).tolist() == []
        assert len(geometry.nms_faces(Faces.empty(), 0.4)) == 0

    def test_identical_and_degenerate_boxes(self):
        assert geometry.nms(np.ones((200, 4)), np.ones(200), 0.4).tolist() == list(range(200))  # no area, no overlap
        assert geometry.nms(np.tile([0, 0, 5, 5], (200, 1)), np.ones(200), 0.4).tolist() == [0]

    @pytest.mark.parametrize("scores", [np.ones(3), np.ones((2, 1)), 1.0])
    def test_scores_must_fit(self, scores):
        with pytest.raises(ValueError, match=r"2 boxes need scores"):
            geometry.nms(np.ones((2, 4)), scores, 0.4)

    @pytest.mark.parametrize("threshold", [-0.1, 1.5, 40, np.nan])
    def test_threshold_out_of_range(self, threshold):
        with pytest.raises(ValueError, match="between 0 and 1"):
            geometry.nms(np.ones((2, 4)), [1, 1], threshold)

    def test_faces_keep_all_their_columns(self):
        faces = random_faces(np.random.default_rng(2), 120, 15)
        kept = geometry.nms(faces.boxes, faces.scores, 0.4)
        for keep in (None, 5, 10_000):
            result = geometry.nms_faces(faces, 0.4, keep)
            expected = faces[kept[:keep]]
            for name in ("boxes", "scores", "landmarks", "track_ids"):
                assert (getattr(result, name) == getattr(expected, name)).all()


class TestVote:
    @pytest.mark.parametrize("threshold", [0.2, 0.4, 0.7])
    @pytest.mark.parametrize(("n", "people"), [(1, None), (50, None), (130, 9), (300, 40)])
    def test_against_the_loop(self, n, people, threshold):
        faces = random_faces(np.random.default_rng(n), n, people)
        expected = slow_vote(faces, threshold)
        result = geometry.vote(faces, threshold)
        assert len(result) == len(expected)
        np.testing.assert_allclose(result.boxes, [box for box, _, _ in expected], rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(result.scores, [score for _, score, _ in expected])
        np.testing.assert_allclose(result.landmarks, [points for _, _, points in expected], rtol=1e-4, atol=1e-3)

    def test_weights_and_maximum_score(self):
        faces = Faces([[0, 0, 10, 10], [2, 0, 12, 10], [100, 0, 110, 10]], [0.9, 0.3, 0.05])
        result = geometry.vote(faces)
        np.testing.assert_allclose(result.boxes[0], [0.5, 0, 10.5, 10], rtol=1e-6)  # (0.9 * 0 + 0.3 * 2) / 1.2
        np.testing.assert_allclose(result.scores, [0.9, 0.05], rtol=1e-6)
        assert result.boxes[1].tolist() == [100, 0, 110, 10]
        assert result.landmarks is None

    def test_at_the_threshold_a_box_joins(self):
        faces = Faces([[0, 0, 10, 10], [0, 0, 10, 5]], [0.5, 0.5])
        assert len(geometry.vote(faces, 0.5)) == 1
        assert len(geometry.vote(faces, 0.51)) == 2

    def test_threshold_0_does_not_join_what_is_apart(self):
        assert len(geometry.vote(Faces([[0, 0, 1, 1], [5, 5, 6, 6]], [1, 1]), 0.0)) == 2

    def test_cap_keeps_the_best(self):
        rng = np.random.default_rng(0)
        corner = np.stack(np.meshgrid(np.arange(30), np.arange(30)), -1).reshape(-1, 2) * 20.0
        faces = Faces(np.concatenate([corner, corner + 10], axis=1), rng.permutation(900) / 900)
        assert len(geometry.vote(faces)) == 750
        result = geometry.vote(faces, keep=10)
        np.testing.assert_allclose(result.scores, np.sort(faces.scores)[::-1][:10])

    def test_landmarks_are_averaged_over_the_faces_that_have_them(self):
        landmarks = np.full((4, 5, 2), np.nan)
        landmarks[1], landmarks[2] = 4, 8
        landmarks[3, 0] = 3  # incomplete, which counts as none
        faces = Faces(np.tile([0, 0, 10, 10], (4, 1)), [0.9, 0.6, 0.2, 0.1], landmarks)
        np.testing.assert_allclose(geometry.vote(faces).landmarks, np.full((1, 5, 2), 5.0), rtol=1e-6)
        alone = geometry.vote(faces[[0]])
        assert np.isnan(alone.landmarks).all()
        assert alone.landmarks.shape == (1, 5, 2)

    def test_scores_of_zero(self):
        faces = Faces([[0, 0, 10, 10], [2, 0, 12, 10]], [0, 0])
        np.testing.assert_allclose(geometry.vote(faces).boxes, [[1, 0, 11, 10]], rtol=1e-6)

    def test_track_id_of_the_best(self):
        faces = Faces([[0, 0, 10, 10], [1, 0, 11, 10]], [0.2, 0.9], track_ids=[5, 8])
        assert geometry.vote(faces).track_ids.tolist() == [8]

    @pytest.mark.parametrize("landmarks", [False, True])
    def test_empty(self, landmarks):
        result = geometry.vote(Faces.empty(landmarks=landmarks))
        assert len(result) == 0
        assert (result.landmarks is not None) == landmarks

    def test_negative_scores(self):
        with pytest.raises(ValueError, match="must be >= 0; the lowest is -1"):
            geometry.vote(Faces([[0, 0, 1, 1]], [-1]))


class TestFlipAndTurn:
    def test_flip_follows_the_picture(self):
        image = np.zeros((40, 60, 3), np.uint8)
        faces = Faces([[10, 5, 30, 25]], [1], [[[15, 10], [24, 11], [20, 16], [16, 20], [23, 21]]])
        mark(image, faces)
        check_marks(image[:, ::-1], geometry.flip(faces, 60), order=[1, 0, 2, 4, 3])

    def test_left_is_left_in_the_image_after_a_flip(self):
        faces = Faces([[10, 5, 30, 25]], [1], [[[15, 10], [24, 11], [20, 16], [16, 20], [23, 21]]])
        points = geometry.flip(faces, 60).landmarks[0]
        assert points[Landmark.LEFT_EYE, 0] < points[Landmark.RIGHT_EYE, 0]
        assert points[Landmark.LEFT_MOUTH, 0] < points[Landmark.RIGHT_MOUTH, 0]

    def test_flip_twice_is_nothing(self):
        faces = random_faces(np.random.default_rng(0), 20)
        check_same(geometry.flip(geometry.flip(faces, 300), 300), faces)

    @pytest.mark.parametrize("turns", range(-5, 6))
    def test_turn_follows_the_picture(self, turns):
        image = np.zeros((40, 60, 3), np.uint8)
        faces = Faces([[10, 5, 30, 25]], [1], [[[15, 10], [24, 11], [20, 16], [16, 20], [23, 21]]])
        mark(image, faces)
        turned = geometry.rotate90(faces, 60, 40, turns)
        assert (turned.widths > 0).all()
        check_marks(np.rot90(image, turns), turned, order=range(5))

    def test_four_turns_are_none(self):
        faces, size = random_faces(np.random.default_rng(1), 20), (320.0, 240.0)
        turned = faces
        for _ in range(4):
            turned, size = geometry.rotate90(turned, *size, 1), size[::-1]
        check_same(turned, faces)
        check_same(geometry.rotate90(geometry.rotate90(faces, 320, 240, 1), 240, 320, -1), faces)

    def test_input_does_not_change(self):
        faces = random_faces(np.random.default_rng(2), 5)
        boxes, landmarks = faces.boxes.copy(), faces.landmarks.copy()
        geometry.flip(faces, 100)
        geometry.rotate90(faces, 100, 50, 1)
        geometry.vote(faces)
        assert (faces.boxes == boxes).all()
        assert (faces.landmarks == landmarks).all()

    @pytest.mark.parametrize("landmarks", [False, True])
    def test_no_faces_and_no_landmarks(self, landmarks):
        empty = Faces.empty(landmarks=landmarks)
        for result in (geometry.flip(empty, 9), geometry.rotate90(empty, 9, 8, 1)):
            assert len(result) == 0
            assert (result.landmarks is not None) == landmarks

    def test_missing_landmarks_stay_missing(self):
        faces = Faces([[0, 0, 5, 5]], [1], np.full((1, 5, 2), np.nan))
        assert np.isnan(geometry.flip(faces, 9).landmarks).all()
        assert np.isnan(geometry.rotate90(faces, 9, 8, 3).landmarks).all()


def mark(image: np.ndarray, faces: Faces) -> None:
    """Paint the one box in channel 0, and around landmark i a pixel of value i + 1 in channel 1."""
    x1, y1, x2, y2 = faces.boxes[0].astype(int)
    image[y1:y2, x1:x2, 0] = 255
    for i, (x, y) in enumerate(faces.landmarks[0].astype(int)):
        image[y - 1 : y + 1, x - 1 : x + 1, 1] = i + 1  # the point is the corner that these four pixels share


def check_marks(image: np.ndarray, faces: Faces, order) -> None:
    rows, columns = np.nonzero(image[..., 0])
    assert faces.boxes[0].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    for point, name in zip(faces.landmarks[0], order, strict=True):
        rows, columns = np.nonzero(image[..., 1] == name + 1)
        assert point.tolist() == [columns.mean() + 0.5, rows.mean() + 0.5]


def check_same(a: Faces, b: Faces) -> None:
    for name in ("boxes", "scores", "landmarks", "track_ids"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-3)


class TestSimilarity:
    @pytest.mark.parametrize("seed", range(10))
    def test_recovers_a_similarity(self, seed):
        rng = np.random.default_rng(seed)
        source = rng.uniform(0, 500, (5, 2))
        angle, scale = rng.uniform(-np.pi, np.pi), rng.uniform(0.05, 20)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        expected = np.column_stack([turn, rng.uniform(-100, 100, 2)])
        target = source @ turn.T + expected[:, 2]
        result = geometry.similarity(source[None], target)
        assert result.dtype == np.float64
        np.testing.assert_allclose(result, expected[None], rtol=1e-8, atol=1e-8)

    @pytest.mark.parametrize("k", [2, 3, 5, 68])
    def test_equals_umeyama(self, k):
        rng = np.random.default_rng(k)
        source, target = rng.normal(50, 20, (30, k, 2)), rng.normal(0, 3, (k, 2))
        np.testing.assert_allclose(
            geometry.similarity(source, target),
            [umeyama(one, target) for one in source],
            rtol=1e-7,
            atol=1e-8,
        )

    def test_never_mirrors(self):
        mirrored = geometry.ALIGNMENT_TEMPLATE * [-1, 1]
        matrix = geometry.similarity(mirrored[None], geometry.ALIGNMENT_TEMPLATE)[0]
        assert np.linalg.det(matrix[:, :2]) > 0

    def test_two_points_fit_exactly(self):
        matrix = geometry.similarity([[[0, 0], [1, 0]]], [[5, 5], [5, 8]])[0]
        np.testing.assert_allclose(matrix, [[0, -3, 5], [3, 0, 5]], atol=1e-12)

    def test_missing_and_coinciding_points_are_nan_and_harm_no_other(self):
        source = np.stack([geometry.ALIGNMENT_TEMPLATE] * 4)
        source[1, 2] = np.nan
        source[2] = 0.1
        source[3] = [252.0, 115.27]  # the mean of five of them, rounded, is another number
        result = geometry.similarity(source, geometry.ALIGNMENT_TEMPLATE)
        np.testing.assert_allclose(result[0], np.eye(2, 3), atol=1e-12)
        assert np.isnan(result[1:]).all()

    def test_a_tiny_face_far_from_the_origin_is_no_coincidence(self):
        source = geometry.ALIGNMENT_TEMPLATE / 100 + 30_000
        matrix = geometry.similarity(source[None], geometry.ALIGNMENT_TEMPLATE)[0]
        np.testing.assert_allclose(matrix[:, :2], np.eye(2) * 100, rtol=1e-6, atol=1e-6)

    def test_empty(self):
        assert geometry.similarity(np.zeros((0, 5, 2)), geometry.ALIGNMENT_TEMPLATE).shape == (0, 2, 3)

    @pytest.mark.parametrize("source", [np.zeros((5, 2)), np.zeros((1, 4, 2)), np.zeros((1, 5, 3))])
    def test_wrong_shape(self, source):
        with pytest.raises(ValueError, match=r"source \(n, k, 2\)"):
            geometry.similarity(source, geometry.ALIGNMENT_TEMPLATE)


def photograph(height: int = 112, width: int = 112) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(x / 9 + k) * np.cos(y / 11 - k) for k in range(3)]
    return np.stack(waves, axis=-1).round().astype(np.uint8)


UPRIGHT = geometry.ALIGNMENT_TEMPLATE + 0.5  # the template in facesmith's own coordinates


class TestAlign:
    def test_template_is_read_only_and_as_published(self):
        assert geometry.ALIGNMENT_TEMPLATE.shape == (5, 2)
        assert geometry.ALIGNMENT_TEMPLATE[0].tolist() == [38.2946, 51.6963]
        with pytest.raises(ValueError, match="read-only"):
            geometry.ALIGNMENT_TEMPLATE[0, 0] = 1

    def test_an_aligned_face_is_copied_pixel_by_pixel(self):
        image = photograph()
        assert (geometry.align(image, UPRIGHT[None])[0] == image).all()

    def test_shifted_faces(self):
        image = photograph(300, 400)
        offsets = np.array([[0, 0], [37, 61], [400 - 112, 300 - 112]])
        crops = geometry.align(image, UPRIGHT + offsets[:, None])
        assert crops.shape == (3, 112, 112, 3)
        assert crops.dtype == np.uint8
        for crop, (x, y) in zip(crops, offsets, strict=True):
            assert (crop == image[y : y + 112, x : x + 112]).all()

    @pytest.mark.parametrize("turns", [1, 2, 3])
    def test_turned_faces_come_out_upright(self, turns):
        image = photograph()
        turned = geometry.rotate90(Faces([[0, 0, 1, 1]], [1], UPRIGHT[None]), 112, 112, turns)
        crop = geometry.align(np.ascontiguousarray(np.rot90(image, turns)), turned.landmarks)[0]
        assert np.abs(crop.astype(int) - image).max() <= 1

    def test_equals_a_warp_of_the_whole_picture(self):
        rng = np.random.default_rng(0)
        image = photograph(240, 320)
        landmarks = rng.uniform(0.5, 1.5, (20, 1, 1)) * UPRIGHT + rng.uniform(-60, 200, (20, 1, 2))
        landmarks += rng.normal(0, 4, landmarks.shape)
        crops = geometry.align(image, landmarks)
        matrices = geometry.similarity(landmarks - 0.5, geometry.ALIGNMENT_TEMPLATE)
        for crop, matrix in zip(crops, matrices, strict=True):
            whole = cv2.warpAffine(image, matrix, (112, 112))
            assert np.abs(crop.astype(int) - whole).max() <= 12  # OpenCV rounds positions to 1/32 pixel
            assert np.abs(crop.astype(int) - whole).mean() < 0.5

    def test_size(self):
        image = photograph(224, 224)
        crops = geometry.align(image, UPRIGHT[None] * 2, size=224)
        assert crops.shape == (1, 224, 224, 3)
        assert (crops[0] == image).all()

    def test_black_outside(self):
        image = np.full((112, 112, 3), 200, np.uint8)
        crop = geometry.align(image, UPRIGHT[None] - [50, 0])[0]
        assert (crop[:, :50] == 0).all()
        assert (crop[:, 51:] == 200).all()
        assert (geometry.align(image, UPRIGHT[None] + 5000) == 0).all()

    def test_picture_too_wide_for_opencv(self):
        image = np.zeros((112, 40_000, 3), np.uint8)
        image[:, -112:] = photograph()
        assert (geometry.align(image, UPRIGHT[None] + [40_000 - 112, 0])[0] == photograph()).all()

    def test_none(self):
        assert geometry.align(photograph(), np.zeros((0, 5, 2))).shape == (0, 112, 112, 3)

    def test_missing_landmarks(self):
        with pytest.raises(ValueError, match="face 1 has no landmarks"):
            geometry.align(photograph(), np.stack([UPRIGHT, np.full((5, 2), np.nan)]))


class TestBoxFromLandmarks:
    TEMPLATE = np.array([[0.2, 0.2], [0.8, 0.2], [0.5, 0.5], [0.3, 0.75], [0.7, 0.75]])

    def test_template_gives_the_unit_square(self):
        boxes = geometry.box_from_landmarks(self.TEMPLATE[None] * 80 + [10, 20])
        assert boxes.dtype == np.float32
        np.testing.assert_allclose(boxes, [[10, 20, 90, 100]], rtol=1e-6)

    def test_a_turned_face_has_an_upright_box_of_the_same_size(self):
        for angle in np.linspace(0, 2 * np.pi, 9):
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            landmarks = (self.TEMPLATE - 0.5) @ turn.T * 80 + 100
            np.testing.assert_allclose(geometry.box_from_landmarks(landmarks[None]), [[60, 60, 140, 140]], rtol=1e-5)

    def test_side_and_centre_by_inverse_of_the_similarity(self):
        rng = np.random.default_rng(0)
        landmarks = self.TEMPLATE * 60 + rng.normal(0, 4, (50, 5, 2)) + 30
        for box, points in zip(geometry.box_from_landmarks(landmarks), landmarks, strict=True):
            inverse = np.linalg.inv(np.vstack([umeyama(points, self.TEMPLATE), [0, 0, 1]]))
            centre, origin, right = (inverse @ [x, y, 1] for x, y in ((0.5, 0.5), (0, 0), (1, 0)))
            np.testing.assert_allclose((box[:2] + box[2:]) / 2, centre[:2], rtol=1e-4)
            np.testing.assert_allclose(box[2:] - box[:2], np.linalg.norm((right - origin)[:2]), rtol=1e-4)

    def test_missing_coinciding_and_none(self):
        landmarks = np.stack([np.full((5, 2), np.nan), np.full((5, 2), 7.0), self.TEMPLATE])
        boxes = geometry.box_from_landmarks(landmarks)
        assert np.isnan(boxes[:2]).all()
        np.testing.assert_allclose(boxes[2], [0, 0, 1, 1], atol=1e-6)
        assert geometry.box_from_landmarks(np.zeros((0, 5, 2))).shape == (0, 4)


def test_coverage_is_the_share_of_each_box() -> None:
    boxes = [[0, 0, 10, 10], [5, 5, 5, 9], [0, 0, 4, 4]]
    covers = [[5, 0, 30, 30], [-1, -1, 11, 11]]
    expected = np.array([[0.5, 1], [0, 0], [0, 1]], np.float32)
    np.testing.assert_array_equal(geometry.coverage(boxes, covers), expected)
    assert geometry.coverage([], covers).shape == (0, 2)
