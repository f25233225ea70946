import itertools
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facesmith.errors import ConfigError
from facesmith.faces import Faces
from facesmith.meshes import Meshes
from facesmith.runtime import Detector, SizeRule
from facesmith.runtime.meshes import MeshRows
from facesmith.runtime.session import Candidates
from facesmith.runtime.size import AUTO
from facesmith.runtime.views import (
    CUT_MARGIN,
    ROTATIONS,
    SMALLEST_TILE,
    TILE_OVERLAP,
    Reach,
    View,
    batches,
    mapped_meshes,
)

Picture = npt.NDArray[np.uint8]

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def paint(image: Picture, x: int, y: int, side: int, turns: int = 0) -> None:
    """A "face": a red square with a green left half of the forehead and a blue right one, turned counter-clockwise."""
    face = np.full((side, side, 3), RED, np.uint8)
    face[: side // 2, : side // 2] = GREEN
    face[: side // 2, side // 2 :] = BLUE
    image[y : y + side, x : x + side] = np.rot90(face, turns)


class Painted:
    """Finds upright painted faces from 8 pixels on, the larger the surer; a cut face is found as far as it shows.

    Landmarks are the centres of its coloured quarters: green (left eye), blue (right eye), and three times the centre.
    A face whose green lies left of its blue, and both above its centre, is upright.
    """

    name, device, threads, usual_size = "painted", "cpu", 2, "auto"

    def __init__(self, largest: int = 10_000) -> None:
        self.largest, self.seen = largest, list[tuple[int, ...]]()

    def run(self, images: Picture) -> Candidates:
        self.seen.append(images.shape)
        found = [self._faces(image) for image in images]
        most = max(1, *(len(one) for one in found))
        boxes, scores = np.zeros((len(images), most, 4), np.float32), np.zeros((len(images), most), np.float32)
        landmarks = np.zeros((len(images), most, 5, 2), np.float32)
        for i, faces in enumerate(found):
            for j, (box, eyes) in enumerate(faces):
                boxes[i, j], scores[i, j], landmarks[i, j] = box, 0.6 + min(box[2] - box[0], 300) / 1000, eyes
        return Candidates(boxes, scores, landmarks)

    def _faces(self, image: Picture) -> list[tuple[list[int], npt.NDArray[np.float32]]]:
        red, green, blue = cv2.split(np.ascontiguousarray(image))
        colourful = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
        marked = cv2.threshold(colourful, 100, 1, cv2.THRESH_BINARY)[1]
        count, _, stats, _ = cv2.connectedComponentsWithStats(marked)
        faces = []
        for x, y, w, h, _ in stats[1:count].tolist():
            part = image[y : y + h, x : x + w]
            eyes = [
                np.argwhere(part[..., channel] > 200).mean(axis=0)[::-1] + 0.5
                for channel in (1, 2)
                if (part[..., channel] > 200).any()
            ]
            upright = len(eyes) == 2 and eyes[0][0] < eyes[1][0] and max(eyes[0][1], eyes[1][1]) < h / 2
            if min(w, h) >= 8 and max(w, h) <= self.largest and (upright or abs(w - h) > 0.1 * max(w, h) + 2):
                points = [*eyes, *[(w / 2, h / 2)] * 5][:5]
                faces.append(([x, y, x + w, y + h], np.asarray(points, np.float32) + (x, y)))
        return faces


def blank(width: int, height: int) -> Picture:
    return np.full((height, width, 3), 128, np.uint8)


@pytest.mark.parametrize("size", [(6000, 4000), (1281, 900), (16000, 300), (701, 5003)])
@pytest.mark.parametrize("tiles", [SMALLEST_TILE, 640, 1280])
def test_tiles_cover_the_picture_at_full_resolution(size: tuple[int, int], tiles: int) -> None:
    width, height = size
    views = Reach(AUTO, tiles).views(width, height)
    full = [view for view in views if view.scale == (1, 1)]
    assert max(max(view.size) for view in full) <= tiles
    assert len({view.size for view in full}) == 1  # so that they can be batches
    covered = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in (view.window for view in full):
        covered[y1:y2, x1:x2] = True
    assert covered.all()
    pixels = sum(view.size[0] * view.size[1] for view in full)
    assert pixels < width * height * 4.5  # 320s share a half with each neighbour; larger ones much less


def test_neighbouring_tiles_share_enough_for_the_faces_they_must_not_cut() -> None:
    full = [view for view in Reach(AUTO, 640).views(3000, 2000) if view.scale == (1, 1)]
    columns = sorted({(view.window[0], view.window[2]) for view in full})
    assert len(columns) > 3
    for (_, end), (start, _) in itertools.pairwise(columns):
        assert end - start >= TILE_OVERLAP - 1
    side = int(TILE_OVERLAP / (1 + 2 * CUT_MARGIN)) - 2
    for x in range(0, 3000 - side, 7):  # wherever such a face is, some tile counts it
        face = Faces(np.array([[x, 900, x + side, 900 + side]]), np.ones(1))
        assert any(view.counted(face)[0] for view in full if view.window[0] <= x and x + side <= view.window[2]), x


def test_coarser_tiles_fill_the_gap_to_the_look_at_the_whole() -> None:
    scales = sorted({round(view.scale[0], 1) for view in Reach(SizeRule.parse(640), 640).views(16000, 12000)})
    assert scales == [1.0, 5.0, 25.0]
    assert {round(view.scale[0], 1) for view in Reach(SizeRule.parse(1280), 640).views(6000, 4000)} == {1.0, 4.7}


@pytest.mark.parametrize(("size", "rule"), [((1280, 960), "auto"), ((500, 400), "640"), ((100, 100), "auto")])
def test_no_tiles_where_nothing_is_shrunk(size: tuple[int, int], rule: str) -> None:
    reach = Reach(SizeRule.parse(rule), 640)
    assert reach.views(*size) == replace(reach, tiles=None).views(*size)


def test_tiles_find_small_faces_once_and_large_ones_whole() -> None:
    """Faces of 12 to 1200 pixels anywhere in 3000×2400, also across the borders of tiles; each is found once."""
    rng = np.random.default_rng(0)
    image, truth = blank(3000, 2400), []
    taken = np.zeros((2400, 3000), bool)
    for side in (1200, 500, 300, *[130] * 6, *[60] * 20, *[12] * 60):
        while True:
            x, y = int(rng.integers(2, 2998 - side)), int(rng.integers(2, 2398 - side))
            if not taken[y - 2 : y + side + 2, x - 2 : x + side + 2].any():
                break
        taken[y : y + side, x : x + side] = True
        paint(image, x, y, side)
        truth.append((x, y, x + side, y + side))
    detector = Detector(Painted(largest=400), checksum="")
    assert len(detector.detect(image)) < 40  # at 1280 the small ones have 5 pixels
    faces = detector.detect(image, tiles=640)
    assert len(faces) == len(truth)
    found = faces.boxes[np.lexsort(faces.boxes.T)]
    wanted = np.array(truth, np.float32)[np.lexsort(np.array(truth).T)]
    assert np.abs(found - wanted).max() < 15  # the largest were seen at a fortieth of their size
    small = wanted[:, 2] - wanted[:, 0] <= 130
    assert np.abs(found - wanted)[small].max() <= 1


def test_memory_is_bounded_by_the_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Painted()
    Detector(session, checksum="").detect(blank(2600, 1400), tiles=640)
    assert {shape[0] for shape in session.seen} == {1}  # CPUs are faster with one at a time
    assert max(shape[1] * shape[2] for shape in session.seen) <= 1280 * 690
    monkeypatch.setattr(Painted, "device", "cuda:0")
    many = Painted()
    Detector(many, checksum="").detect(blank(2600, 1400), tiles=640)
    assert max(shape[0] for shape in many.seen) == 8
    assert max(shape[0] * shape[1] * shape[2] for shape in many.seen) <= 8 * 640 * 640
    assert sum(shape[0] for shape in many.seen) == len(session.seen)


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("size", ["auto", "original", "300"])
def test_rotations_find_turned_heads(turns: int, size: str) -> None:
    """The landmarks stay with their points of the face: the left eye is green wherever it lies."""
    image = blank(900, 600)
    paint(image, 120, 300, 60)
    paint(image, 500, 90, 90, turns)
    detector = Detector(Painted(), checksum="")
    assert len(detector.detect(image, size=size)) == 1
    faces = detector.detect(image, size=size, rotations=ROTATIONS)
    assert len(faces) == 2
    order = faces.boxes[:, 0].argsort()
    assert np.abs(faces.boxes[order] - [[120, 300, 180, 360], [500, 90, 590, 180]]).max() < 3
    assert faces.landmarks is not None
    for points in faces.landmarks:
        (x1, y1), (x2, y2) = points[:2].astype(int)
        assert image[y1, x1].tolist() == list(GREEN)
        assert image[y2, x2].tolist() == list(BLUE)
    only = [{1: -90, 2: 180, 3: 90}[turns]]
    assert len(detector.detect(image, size=size, rotations=only)) == 2


def test_of_two_turns_the_better_score_stays() -> None:
    class Unsure(Painted):
        """Sees a face whichever way it is turned; the second look is the surest."""

        def run(self, images: Picture) -> Candidates:
            self.seen.append(images.shape)
            score = 0.9 if len(self.seen) == 2 else 0.6
            side = images.shape[2]
            points = np.array([[[(10, 10), (20, 10), (15, 15), (10, 20), (20, 20)]]], np.float32)
            box = np.array([[[0, 0, side, side]]], np.float32)
            return Candidates(box, np.full((1, 1), score, np.float32), points)

    faces = Detector(Unsure(), checksum="").detect(blank(30, 30), size="original", rotations=[90, 180])
    assert faces.scores.tolist() == pytest.approx([0.9])
    assert faces.landmarks is not None
    assert faces.landmarks[0, 0].tolist() == [20, 10]  # seen at (10, 10) of the picture turned to the left


def test_a_turned_look_adds_nothing_to_a_face_that_is_seen_better() -> None:
    """What a look at the wrong turn makes of a face need not have its box; half of the smaller one is enough."""

    class Shifted(Painted):
        def run(self, images: Picture) -> Candidates:
            self.seen.append(images.shape)
            first = len(self.seen) == 1
            box = (10, 10, 50, 50) if first else (20, 35, 40, 55)  # turned back 40, 25, 60, 45; IoU .11
            boxes = np.array([[box]], np.float32)
            scores = np.full((1, 1), 0.9 if first else self.second, np.float32)
            return Candidates(boxes, scores, np.zeros((1, 1, 5, 2), np.float32))

        second = 0.8

    assert len(Detector(Shifted(), checksum="").detect(blank(80, 80), size="original", rotations=[180])) == 1


def test_tiles_and_rotations_go_together() -> None:
    image = blank(2400, 1400)
    for turns in range(4):
        paint(image, 200 + 600 * turns, 631, 20, turns)
    faces = Detector(Painted(), checksum="").detect(image, tiles=640, rotations=ROTATIONS)
    assert sorted(faces.boxes[:, 0].round().astype(int).tolist()) == [200, 800, 1400, 2000]


@pytest.mark.parametrize("turns", range(4))
def test_a_view_maps_back_what_it_shows(turns: int) -> None:
    view = View((100, 40, 500, 240), (200, 100), (30, 20), turns)
    image = blank(600, 400)
    paint(image, 240, 100, 40)
    seen = view.look(image)
    assert seen.shape[1::-1] == view.seen
    rows, columns = np.nonzero(seen.max(axis=2).astype(int) - seen.min(axis=2) > 200)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
    assert view.mapped(Faces(box, np.ones(1))).boxes.tolist() == [[240, 100, 280, 140]]


def test_meshes_are_mapped_by_their_own_views() -> None:
    meshes = Meshes(
        vertices=np.array([[[10, 20, 5]], [[10, 20, 5]], [[1, 2, 3]]]),
        triangles=np.zeros((0, 3)),
        colours=np.zeros((3, 1, 3)),
        landmarks68=np.full((3, 68, 3), 4.0),
        pose=np.array([[5, 6, 7], [5, 6, 170], [5, 6, 7]]),
    )
    views = [View((0, 0, 100, 80), (50, 40)), View((20, 10, 120, 90), (100, 80), turns=1)]
    mapped = mapped_meshes(meshes, np.array([1, 1, 0]), views)
    # turned left, (x, y) of the seen picture is (100 - y, x) of the window
    assert mapped.vertices[:, 0].tolist() == [[100, 20, 5], [100, 20, 5], [2, 4, 6]]
    assert mapped.pose[:, 2].tolist() == [97, -100, 7]
    assert mapped.pose[:, :2].tolist() == [[5, 6]] * 3
    assert len(mapped_meshes(meshes[:0], np.zeros(0, int), views)) == 0


def test_meshes_of_turned_and_of_tiled_faces() -> None:
    """A mesh whose only vertex is its box's left top corner lands there after the way through all views."""

    class Branch:
        def __init__(self, session: Painted) -> None:
            self.session = session

        def run(self, images: Picture) -> tuple[Candidates, MeshRows]:
            candidates = self.session.run(images)
            return candidates, MeshRows(np.zeros((*candidates.scores.shape, 144), np.float32), candidates.boxes)

        def decode(self, parameters: npt.NDArray[np.float32], anchors: npt.NDArray[np.float32]) -> Meshes:
            n = len(parameters)
            corners = np.concatenate([anchors[:, :2], np.zeros((n, 1))], axis=1)[:, None]
            return Meshes(
                corners, np.zeros((0, 3)), np.zeros((n, 1, 3)), np.repeat(corners, 68, axis=1), np.zeros((n, 3))
            )

    session = Painted()
    detector = Detector(session, checksum="", meshes=Branch(session))
    image = blank(2400, 1400)
    paint(image, 700, 500, 20)
    paint(image, 1500, 600, 20, turns=1)
    faces = detector.detect(image, tiles=640, rotations=ROTATIONS, meshes=True)
    assert faces.meshes is not None
    vertices = {
        int(box[0]): vertex for box, vertex in zip(faces.boxes, faces.meshes.vertices[:, 0].tolist(), strict=True)
    }
    assert vertices[700][:2] == [700, 500]
    assert vertices[1500][:2] == [1500, 620]  # its left top corner lies at the left bottom
    assert faces.meshes.pose[:, 2].tolist() == [0 if box[0] == 700 else -90 for box in faces.boxes.round()]


def test_batches_are_of_one_size() -> None:
    views = Reach(AUTO, 640, ROTATIONS).views(3000, 2000)
    grouped = list(batches(views, 4))
    assert [number for group in grouped for number, _ in group] == list(range(len(views)))
    assert max(map(len, grouped)) == 4
    assert all(len({view.seen for _, view in group}) == 1 for group in grouped)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tiles": 100}, "tiles must have a side of 320 to 16384 pixels, not 100"),
        ({"tiles": 640, "size": "original"}, "size original .* tiles add nothing"),
        ({"rotations": [45]}, "rotations are some of 90, -90, 180 degrees, not 45"),
        ({"rotations": [90, 90]}, "each rotation counts once"),
    ],
)
def test_wrong_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Detector(Painted(), checksum="").detect([], **settings)
