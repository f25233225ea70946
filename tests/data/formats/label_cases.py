"""Random label sets for round trips, and small pictures to go with them."""

from pathlib import Path

import numpy as np

from facesmith import images
from facesmith.data.labelled import Face, LabelSet, labelled_images

SIZES = {"a/first.png": (64, 48), "a/second.png": (33, 70), "two words & <more>.png": (50, 50), "empty.png": (20, 30)}


def random_set(folder: Path, seed: int, *, points: int = 5, inside: bool = False, pictures: bool = True) -> LabelSet:
    """Faces with and without landmarks, ignored ones, and an empty picture; ``inside``: all lies within it."""
    rng = np.random.default_rng(seed)
    faces: dict[str, list[Face]] = {}
    for path, (width, height) in SIZES.items():
        count = 0 if path == "empty.png" else int(rng.integers(0, 5))
        margin = 0.0 if inside else 0.2
        corners = rng.uniform(-margin, 1 + margin, (count, 2, 2)) * (width, height)
        corners.sort(axis=1)
        corners[:, 1] += 0.5 if not inside else 0.0
        landmarks = rng.uniform(-margin, 1 + margin, (count, points, 2)) * (width, height)
        faces[path] = [
            Face(box.ravel(), own if rng.random() < 0.6 else None, bool(rng.random() < 0.3))
            for box, own in zip(corners, landmarks, strict=True)
        ]
        if pictures:
            images.write(folder / path, np.zeros((height, width, 3), np.uint8))
    if not any(face.points is not None for rows in faces.values() for face in rows):
        faces["a/first.png"].append(Face((1, 2, 30, 40), rng.uniform(3, 30, (points, 2))))
    return LabelSet("mine", folder, labelled_images("mine", faces), SIZES)


def check_same(
    found: LabelSet, wanted: LabelSet, *, pixels: float, landmarks: bool = True, ignored: bool = True
) -> None:
    """``found`` equals ``wanted`` to ``pixels``, but for what the format cannot hold."""
    assert sorted(one.path for one in found.images) == sorted(one.path for one in wanted.images)
    expected = {one.path: one for one in wanted.images}
    for one in found.images:
        other = expected[one.path]
        kept = np.full(len(other.boxes), True) if ignored else ~other.ignored
        assert len(one.boxes) == kept.sum(), one.path
        np.testing.assert_allclose(one.boxes, other.boxes[kept], rtol=0, atol=pixels)
        points = other.landmarks[kept] if landmarks else np.full((kept.sum(), 5, 2), np.nan)
        np.testing.assert_allclose(one.landmarks, points, rtol=0, atol=pixels)
        assert one.ignored.tolist() == (other.ignored[kept].tolist() if ignored else [False] * len(one.boxes))
        assert one.boxes.dtype == one.landmarks.dtype == np.float32
