"""``facesmith submit``: predictions in the form that a benchmark's server takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from facesmith import __version__
from facesmith.errors import ConfigError
from facesmith.evaluation import malf
from facesmith.evaluation.augmentation import Augmentation
from facesmith.evaluation.names import image_name
from facesmith.evaluation.predict import Settings, predict, walk_pictures
from facesmith.evaluation.predictions import write_wider_folder
from facesmith.runtime import EVALUATION_THRESHOLD, load

WIDER_TEST_IMAGES = 16_097


@dataclass(frozen=True)
class Submit:
    """Write predictions for a benchmark whose labels are secret: WIDER FACE's test set, MALF's 5,000 images.

    Prints how the predictions were made. Fewer images than the benchmark has are an error for malf and a
    warning for widerface.
    """

    benchmark: Annotated[Literal["widerface", "malf"], tyro.conf.Positional]
    """widerface: a folder an event, a text file an image. malf: one text file, malf.txt."""

    images: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the images; widerface: the one that holds the events' folders."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the predictions."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME-OR-FILE")] = None
    """A name that `facesmith models` lists, or an .onnx or .safetensors file."""

    size: Annotated[str | None, tyro.conf.arg(metavar="RULE")] = None
    """At which size the model sees an image: original (the default), vga, N, short:N, short:N:M or auto."""

    augment: Literal["none", "flip", "pyramid"] = "none"
    """Test-time augmentation, as in `facesmith evaluate`."""

    threshold: float = EVALUATION_THRESHOLD
    """Lowest score of a face."""

    nms: float = 0.4
    """IoU above which NMS drops a face, or from which box voting merges."""

    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """CPU threads; without it, as many as this process may use."""

    device: str = "cpu"
    """cpu, cuda or cuda:N."""

    def run(self) -> int:
        """Detect and write, image by image where the format allows it."""
        settings = Settings(Augmentation.parse(self.augment, self.size), self.threshold, self.nms)
        pictures = self._pictures()
        detector = load(self.model, device=self.device, threads=self.threads)
        found = predict(detector, pictures, settings)
        if self.benchmark == "widerface":
            target = self.out
            for one in found:
                write_wider_folder({one.name: one.faces}, target)
        else:
            target = self.out / "malf.txt"
            malf.write_submission({one.name: one.faces for one in found}, list(pictures), target)
        p = settings.provenance(detector)
        print(f"{target}: predictions for {len(pictures):,} images")
        print(
            f"{p.detector}, size {p.size_rule}, augmentation {p.augmentation}, "
            f"lowest score {p.score_threshold:g}, NMS {p.nms:g}, sha256 {p.checksum}, facesmith {__version__}"
        )
        if self.benchmark == "widerface" and len(pictures) != WIDER_TEST_IMAGES:
            print(f"SUBSET: WIDER FACE's test set has {WIDER_TEST_IMAGES:,} images; its server wants all")
        return 0

    def _pictures(self) -> dict[str, Path]:
        """The benchmark's name of each image -> file; checked before any work is done."""
        pictures: dict[str, Path] = {}
        for path in walk_pictures(self.images):
            name = image_name(path.relative_to(self.images).as_posix())
            if name in pictures:
                raise ConfigError(f"{pictures[name]} and {path} have the same name {name!r}")
            pictures[name] = path
        if not pictures:
            raise ConfigError(f"{self.images}: no images below it")
        if self.benchmark == "widerface" and (wrong := next((n for n in pictures if n.count("/") != 1), None)):
            raise ConfigError(
                f"{pictures[wrong]}: WIDER FACE's images lie in one folder an event, as 0--Parade/name.jpg; "
                "give the folder that holds these folders"
            )
        if self.benchmark == "malf" and len(pictures) != malf.TEST_IMAGES:
            raise ConfigError(
                f"{self.images}: holds {len(pictures):,} images; a MALF submission covers its "
                f"{malf.TEST_IMAGES:,} test images"
            )
        return pictures
