"""Judging a model during training: by the official rule, through the same ``Detector`` that users run."""

from collections.abc import Callable
from pathlib import Path

from facesmith import runtime
from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.weights import save_weights
from facesmith.evaluation.augmentation import VGA, Augmentation
from facesmith.evaluation.predict import Settings, find_pictures, predict
from facesmith.evaluation.widerface import evaluate
from facesmith.evaluation.widerface.truth import load_truth
from facesmith.runtime import SizeRule


def validator(
    truth_path: Path, images: Path, *, out: Path, name: str, threads: int
) -> Callable[[DetectorNetwork], dict[str, float]]:
    """A function that writes a model to ``out`` as safetensors, runs it at VGA size and returns its APs.

    Args:
        truth_path: WIDER FACE's ``.mat`` lists, or a label file.
        images: folder of the pictures.
        out: where the weights are written.
        name: the model's name in its file.
        threads: CPU threads.

    Raises:
        LabelError, ConfigError: the labels or pictures cannot be used; raised at once, not after an hour.
    """
    truth = load_truth(truth_path)
    pictures = find_pictures(images, truth.names)
    settings = Settings(Augmentation((SizeRule.parse(VGA),)))

    def judge(model: DetectorNetwork) -> dict[str, float]:
        save_weights(out, model, name=name)
        detector = runtime.load(out, threads=threads)
        found = {p.name: p.faces for p in predict(detector, pictures, settings, progress=False)}
        result = evaluate(found, truth.subset(found), provenance=settings.provenance(detector))
        return {f"AP {subset}": value for subset, value in result.metrics.items()}

    return judge
