"""``facesmith data``: your own photographs, from labels to training. A subcommand a job."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from facesmith import files, images
from facesmith.cli.convert import losses
from facesmith.data import formats
from facesmith.data.check.report import check, pictures_below
from facesmith.data.formats import Format
from facesmith.data.labelled import Face, LabelSet, Size, labelled_images
from facesmith.data.self_label import SelfLabelling, self_label
from facesmith.errors import ConfigError, ImageError

Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
Threads = Annotated[int | None, tyro.conf.arg(metavar="N")]


@dataclass(frozen=True)
class Check:
    """Look for mistakes in labels: missing and damaged pictures, wrong landmark orders, landmarks of another face or
    outside their box, boxes outside the picture, faces labelled twice, tiny faces, labels made for another size, and
    pictures that are in training and validation.

    Exit code 1 if something is wrong; tiny faces are only noted.
    """

    data: Folder
    """What `facesmith train --data` takes, or one label file."""

    val: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Validation pictures outside DIR: a folder of pictures, or a label file. Sets in DIR that are called val, valid or
    test are known as such."""

    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write figures and all findings as JSON."""

    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the worst findings of each kind as one picture (.jpg or .png)."""

    threads: Threads = None
    """CPU threads; without it, as many as this process may use."""

    def run(self) -> int:
        """Check, print, write."""
        from facesmith.runtime.cpus import chosen_threads

        sets = formats.read(self.data)
        with _single_threaded_opencv():
            report = check(sets, self._validation(), threads=chosen_threads(self.threads))
        print(report.text())
        if self.json is not None:
            files.write_text(self.json, json.dumps(report.to_dict(), indent=1) + "\n")
        if self.sheet is not None:
            from facesmith.data.check.contact_sheet import contact_sheet

            images.write(self.sheet, contact_sheet(report.problems, sets))
        return int(report.wrong)

    def _validation(self) -> list[Path]:
        if self.val is None:
            return []
        if self.val.is_dir():
            paths = pictures_below(self.val)
        else:
            paths = [one.root / image.path for one in formats.read_file(self.val) for image in one.images]
        if not paths:
            raise ConfigError(f"{self.val}: no pictures to compare with")
        return paths


@dataclass(frozen=True)
class Stats:
    """Print how large the faces are where the network sees them, by pyramid stage, and the stage weights that
    `facesmith search damofd` should take for them."""

    data: Folder
    """What `facesmith train --data` takes, or one label file."""

    size: str = "auto"
    """At which size the network will see pictures, as for `facesmith detect`: auto, original, N or short:N."""

    json: bool = False
    """Print JSON instead."""

    def run(self) -> int:
        """Measure and print."""
        from facesmith.data.stats import STRIDES, FaceSizes
        from facesmith.runtime import SizeRule

        sizes = FaceSizes.of(formats.read(self.data), SizeRule.parse(self.size))
        if self.json:
            shares = dict(zip(map(str, STRIDES), sizes.weights, strict=True))
            values = {"faces": len(sizes.sides), "size": str(sizes.rule), "percentiles": sizes.percentiles}
            print(json.dumps(values | {"share_by_stride": shares, "flag": sizes.search_flag}, indent=1))
        else:
            print(sizes.text())
        return 0


@dataclass(frozen=True)
class Label:
    """Label pictures by a model, into a file to correct and to train on.

    A picture is seen as it is, mirrored and enlarged. Faces on which the three looks agree are labelled; every other
    detection is marked as ignored, which training neither learns nor punishes. Pictures without detections are
    written, too: look at them, they would count as background.
    """

    data: Folder
    """A folder of pictures."""

    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The label file; for yolo, a folder."""

    to: Annotated[Format, tyro.conf.EnumChoicesFromValues, tyro.conf.arg(metavar="FORMAT")] = Format.COCO
    """coco, yolo, wider, retinaface, cvat or label-studio. retinaface cannot mark ignored faces, wider holds no
    landmarks."""

    believe: SelfLabelling = field(default_factory=SelfLabelling)
    """when a detection is believed"""

    size: str = "auto"
    """The network's input, as for `facesmith detect`."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME-OR-FILE")] = None
    """A name that `facesmith models` lists, or an .onnx or .safetensors file."""

    device: str = "cpu"
    """cpu, cuda or cuda:N."""

    threads: Threads = None
    """CPU threads; without it, as many as this process may use."""

    def run(self) -> int:
        """Label; 1 if a picture could not be read, else 0."""
        from facesmith.runtime import load
        from facesmith.runtime.ordered import ordered_map

        paths = pictures_below(self.data)
        if not paths:
            raise ConfigError(f"{self.data}: no pictures in this folder")
        detector = load(self.model, device=self.device, threads=self.threads)
        detector.size_rule(self.size)  # a wrong one fails at once

        def work(path: Path) -> tuple[list[Face], Size] | ImageError:
            try:
                image = images.read(path)
            except ImageError as error:
                return error
            return self_label(detector, image, self.believe, size=self.size), (image.shape[1], image.shape[0])

        faces, sizes, failed = dict[str, list[Face]](), dict[str, Size](), False
        with _single_threaded_opencv():
            for path, result in zip(paths, ordered_map(work, paths, workers=detector.threads), strict=True):
                if isinstance(result, ImageError):
                    print(f"facesmith: warning: {result}", file=sys.stderr, flush=True)
                    failed = True
                else:
                    name = path.relative_to(self.data).as_posix()
                    faces[name], sizes[name] = result
        root = self.data.resolve()
        labels = LabelSet(root.name, root, labelled_images(self.data, faces), sizes)
        self._write(labels)
        return int(failed)

    def _write(self, labels: LabelSet) -> None:
        (path,) = formats.write([labels], self.out, self.to)
        for loss in losses([labels], self.to):
            print(f"facesmith: warning: {loss}", file=sys.stderr)
        count = sum(len(image.boxes) for image in labels.images)
        doubtful = sum(int(image.ignored.sum()) for image in labels.images)
        empty = sum(not len(image.boxes) for image in labels.images)
        faces = f"{count - doubtful:,} faces, {doubtful:,} doubtful ones marked as ignored"
        print(f"{path}: {len(labels.images):,} pictures, {faces}, {empty:,} pictures without any")


@contextlib.contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    """Pictures are worked on side by side; OpenCV's own threads would come on top."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


Data = (
    Annotated[Check, tyro.conf.subcommand("check", prefix_name=False)]
    | Annotated[Stats, tyro.conf.subcommand("stats", prefix_name=False)]
    | Annotated[Label, tyro.conf.subcommand("label", prefix_name=False)]
)
