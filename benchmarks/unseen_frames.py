"""Landmark errors on the development frames that resemble training pictures, and on the others.

    facesmith data check TRAIN --val DEV --json check.json
    python benchmarks/unseen_frames.py --check check.json --data ../shared/data/dev --images DEV

The first command finds near-duplicates of DEV among the training pictures; the second judges both parts of the video
frames by the protocol ``frames`` (five points) and, for models with meshes, ``frames-68``.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from facesmith.evaluation import landmarks
from facesmith.evaluation.augmentation import Augmentation
from facesmith.evaluation.development import Development
from facesmith.evaluation.predict import Settings, find_pictures, predict
from facesmith.runtime import load

LEAK = "near-duplicate in training and validation"
NME = {"frames": "nme_box", "frames-68": "nme"}


@dataclass(frozen=True)
class UnseenFrames:
    """Judge models on both parts of the frames."""

    check: Path
    """What `facesmith data check --json` wrote."""

    data: Path
    """Folder with landmarks68.txt."""

    images: Path
    """Folder with the unpacked frames."""

    models: tuple[str, ...] = ("retinaface-mobilenet0.25", "damofd-0.5g", "kpnet-drnet", "kpnet-hourglass")
    """Names or files."""

    def run(self) -> None:
        """Print an error a model, protocol and part."""
        problems = json.loads(self.check.read_text())["problems"]
        seen = {Path(one["other"]).name for one in problems if one["kind"] == LEAK}
        development = Development(self.data, self.images)
        for name in self.models:
            detector = load(name, threads=1)
            size = "auto" if name.startswith("kpnet") else "original"  # as in docs/results.md
            for protocol in (landmarks.FRAMES, landmarks.FRAMES_68)[: 1 + detector.has_meshes]:
                task = development.frames(protocol)
                settings = Settings(Augmentation.parse("none", size), meshes=task.meshes)
                pictures = find_pictures(self.images, task.names(task.truth))
                found = {one.name: one.faces for one in predict(detector, pictures, settings, progress=False)}
                for part, resembles in (("resembling training", True), ("others", False)):
                    names = [one for one in found if (pictures[one].name in seen) == resembles]
                    truth, faces = task.truth.subset(names), {one: found[one] for one in names}
                    result = task.evaluate(faces, truth, settings.provenance(detector))
                    error = result.metrics[NME[result.protocol]]
                    print(f"{name:32} {result.protocol:10} {part:20} {len(names):4} frames  NME {100 * error:.2f}%")


if __name__ == "__main__":
    tyro.cli(UnseenFrames).run()
