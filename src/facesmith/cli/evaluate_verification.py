"""``facesmith evaluate verification``: how well faces that a detector aligns are recognised."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from facesmith.cli.evaluation_run import NOTHING_WRITTEN, Output, publish
from facesmith.errors import ConfigError
from facesmith.evaluation import verification
from facesmith.evaluation.augmentation import Augmentation
from facesmith.evaluation.embedding import Embedder, Embeddings, embed, image_paths
from facesmith.evaluation.predict import Settings
from facesmith.evaluation.result import Provenance
from facesmith.evaluation.saved import checksum
from facesmith.faces import Faces
from facesmith.runtime import EVERYDAY_THRESHOLD, Detector, load

_PAIRS = {"lfw": verification.LFW, "cfp-fp": verification.CFP_FP, "agedb-30": verification.AGEDB_30}


@dataclass(frozen=True)
class Verification:
    """LFW, CFP-FP, AgeDB-30, IJB-C: a recognition network of yours on faces that a detector aligned."""

    benchmark: Annotated[Literal["lfw", "cfp-fp", "agedb-30", "ijbc"], tyro.conf.Positional]
    """Which set."""

    truth: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """lfw: pairs.txt; cfp-fp: the folder that holds Protocol; agedb-30: text, `1 path path` for one person,
    `0 path path` for two; ijbc: ijbc_face_tid_mid.txt."""

    pairs: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """ijbc only: ijbc_template_pair_label.txt."""

    embeddings: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE")] = ()
    """.npz files with names and features (and scores), instead of running a model."""

    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the images, which are named by their paths in it."""

    recognition: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The recognition network: ONNX, 112x112 RGB crops in (-1 to 1), feature vectors out."""

    model: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME-OR-FILE")] = ()
    """Detectors; without any the default one."""

    size: str = "auto"
    """At which size the detector sees an image; see `facesmith detect --help`."""

    threshold: float = EVERYDAY_THRESHOLD
    """Lowest score of a face."""

    weighted: bool = False
    """ijbc only: weigh images by the detector's score."""

    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """CPU threads; without it, as many as this process may use."""

    device: str = "cpu"
    """Where the detector runs: cpu, cuda or cuda:N."""

    save_embeddings: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Save the embeddings into this folder, a .npz file a detector."""

    output: tyro.conf.OmitArgPrefixes[Output] = NOTHING_WRITTEN

    def run(self) -> int:
        """Evaluate."""
        truth = self._truth()
        made = [self._embedded(name, truth.images) for name in self.model or (None,)] if self._runs() else []
        read = [(Embeddings.load(path), Provenance(path.stem, checksum=checksum(path))) for path in self.embeddings]
        results = [
            verification.evaluate(embeddings, truth, provenance=provenance, weighted=self.weighted)
            for embeddings, provenance in [*made, *read]
        ]
        return publish(results, self.output)

    def _runs(self) -> bool:
        return bool(self.model) or not self.embeddings

    def _truth(self) -> verification.Pairs | verification.Templates:
        if self._runs() and (self.images is None or self.recognition is None):
            raise ConfigError("to run a detector give --images DIR and --recognition FILE; or judge --embeddings FILE")
        if self.benchmark == "ijbc":
            if self.pairs is None:
                raise ConfigError("ijbc needs --pairs FILE, its ijbc_template_pair_label.txt")
            return verification.load_templates(self.truth, self.pairs)
        if self.pairs is not None or self.weighted:
            raise ConfigError(f"--pairs and --weighted are for ijbc, not for {self.benchmark}")
        return verification.load_pairs(self.truth, _PAIRS[self.benchmark])

    def _embedded(self, model: str | None, names: tuple[str, ...]) -> tuple[Embeddings, Provenance]:
        assert self.images is not None
        assert self.recognition is not None
        settings = Settings(Augmentation.parse("none", self.size), self.threshold)
        detector = load(model, device=self.device, threads=self.threads)
        embedder = Embedder(self.recognition, threads=self.threads)
        found: Mapping[str, Any] = image_paths(self.images, names)
        embeddings = embed(found, _WithSettings(detector, settings), embedder, side=embedder.side)
        if self.save_embeddings is not None:
            embeddings.save(self.save_embeddings / f"{detector.name}.npz")
        provenance = settings.provenance(detector)
        recognition = {"recognition": self.recognition.name, "recognition_sha256": checksum(self.recognition)}
        return embeddings, replace(provenance, settings={**provenance.settings, **recognition})


@dataclass(frozen=True)
class _WithSettings:
    """A detector that looks for faces by fixed settings."""

    detector: Detector
    settings: Settings

    def detect(self, source: Any) -> Faces:
        s = self.settings
        return s.augmentation.detect(self.detector, source, threshold=s.threshold, nms=s.nms)
