"""RetinaFace's test on a network that has learnt something: several scales, each flipped too, one box voting."""

from pathlib import Path

import numpy as np
from training_runs import Trained

from facesmith import geometry, images, runtime
from facesmith.data.labels import read_labels
from facesmith.detectors.weights import save_weights
from facesmith.evaluation.augmentation import Augmentation
from facesmith.runtime import SizeRule


def test_scales_and_flips_find_what_one_look_finds_and_place_it_as_well(trained: Trained, tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", trained.model, name="learnt")
    detector = runtime.load(tmp_path / "w.safetensors", threads=1)
    looks = Augmentation(tuple(SizeRule.parse(side) for side in (560, 640, 720)), flip=True)
    overlaps: dict[str, list[float]] = {"once": [], "voted": []}
    for label in read_labels(trained.data / "faces.txt"):
        picture = images.read(trained.data / label.path)
        for name, way in (("once", Augmentation()), ("voted", looks)):
            faces = way.detect(detector, picture, threshold=0.5, nms=0.4)
            overlaps[name] += geometry.iou(label.boxes, faces.boxes).max(axis=1, initial=0).tolist()
    once, voted = (np.array(overlaps[name]) for name in ("once", "voted"))
    assert len(once) >= 20
    assert (once > 0.5).mean() > 0.9
    assert (voted > 0.5).mean() >= (once > 0.5).mean()
    assert voted[voted > 0.5].mean() > once[once > 0.5].mean() - 0.02
