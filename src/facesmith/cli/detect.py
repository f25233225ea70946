"""``facesmith detect``: pictures in, a line a face out; on request drawn pictures and aligned crops."""

import contextlib
import io
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import tyro

from facesmith import images, weights
from facesmith.box_styles import BoxStyle
from facesmith.cli.inputs import Input, check_outputs, expand, unique_names
from facesmith.errors import ConfigError, ImageError
from facesmith.faces import Faces
from facesmith.runtime import EVERYDAY_THRESHOLD, Detector, load
from facesmith.runtime.ordered import ordered_map

MeshFormat = Literal["obj", "ply", "glb"]


class Task(NamedTuple):
    """A picture, the file for its drawing, and how the file names of its crops begin."""

    found: Input
    drawing: Path | None
    crops: Path | None


class Picture(NamedTuple):
    """A picture's faces, without its pixels."""

    path: str
    width: int
    height: int
    faces: Faces


@dataclass(frozen=True)
class Detect:
    """Find faces in pictures.

    Prints a line a face, in the order of the pictures and as soon as it is known: path, x1, y1, x2, y2,
    score, separated by tabs. Boxes are in pixels of the upright picture and are not clipped to it. A picture
    that cannot be read gives a warning on stderr, the others go on, and the exit code is 1.
    """

    paths: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PATH [PATH ...]", help_behavior_hint="")
    ]
    """Files, folders (all pictures in and below them), patterns in quotes, or - for a list on stdin."""

    json: bool = False
    """Print one JSON list instead, an entry a picture: path, width, height, faces (box, score, landmarks)."""

    jsonl: bool = False
    """Print the same entries as JSON lines, a line a picture."""

    save: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Save the pictures with boxes, scores and landmarks drawn into this folder; subfolders are kept."""

    crops: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Save every face, aligned by its landmarks to 112 by 112 pixels, into this folder."""

    mesh: bool = False
    """Find each face's 3D mesh: --save draws it, --json and --jsonl give pose and 68 landmarks. Without --model, by
    retinaface-mobilenet0.25-mesh, which finds the same faces as the default model."""

    mesh_format: Annotated[MeshFormat | None, tyro.conf.arg(metavar="{obj,ply,glb}")] = None
    """Also save each face's mesh (--mesh) in this format into the folder of --save, beside the picture."""

    threshold: float = EVERYDAY_THRESHOLD
    """Lowest score of a face, 0 to 1."""

    size: str = "auto"
    """The network's input: auto (long side 160 to 1280), original, N (long side) or short:N, in pixels."""

    box_style: Annotated[str | None, tyro.conf.arg(metavar="STYLE")] = None
    """Print the boxes that landmarks imply in this style, not those that the model predicts: square, wider, fddb, or
    the dx,dy,sx,sy that `facesmith box-style` fits to other labels."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME-OR-FILE")] = None
    """A name that `facesmith models` lists, or an .onnx or .safetensors file."""

    device: str = "cpu"
    """cpu, cuda or cuda:N. Nothing falls back: what is not there is an error."""

    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """CPU threads; without it, as many as this process may use."""

    def run(self) -> int:
        """Detect; 1 if a picture could not be read, else 0."""
        if not self.paths:
            raise ConfigError("name at least one file, folder or pattern, or - for a list on stdin")
        if self.json and self.jsonl:
            raise ConfigError("--json and --jsonl exclude each other")
        if self.mesh_format is not None and not (self.mesh and self.save):
            raise ConfigError("--mesh-format needs --mesh and, for the folder, --save")
        style = None if self.box_style is None else BoxStyle.parse(self.box_style)
        check_outputs(self.paths, self._outputs())
        detector = load(self.model or (weights.MESHES if self.mesh else None), device=self.device, threads=self.threads)
        detector.detect([], size=self.size, threshold=self.threshold, meshes=self.mesh)  # wrong settings fail at once

        def work(task: Task) -> Picture | ImageError:
            return self._detect(detector, task, style)

        cv2.setNumThreads(1)  # pictures run side by side; OpenCV's own threads would come on top
        with contextlib.closing(ordered_map(work, self._tasks(), workers=detector.threads)) as pictures:
            return self._print(pictures)

    def _outputs(self) -> list[Path]:
        return [folder for folder in (self.save, self.crops) if folder is not None]

    def _tasks(self) -> Iterator[Task]:
        drawing_name, crops_name = unique_names(_writable), unique_names(lambda name: name)
        for found in expand(self.paths, self._outputs()):
            usable = found.problem is None
            yield Task(
                found,
                self.save / drawing_name(found.name) if self.save and usable else None,
                self.crops / crops_name(found.name) if self.crops and usable else None,
            )

    def _detect(self, detector: Detector, task: Task, style: BoxStyle | None) -> Picture | ImageError:
        """Read, detect and save; all in one worker thread, so that memory holds one picture a worker."""
        path = task.found.path
        if task.found.problem is not None:
            return ImageError(f"{path}: {task.found.problem}")
        try:
            image = images.read(path)
            faces = detector.detect(image, size=self.size, threshold=self.threshold, meshes=self.mesh)
            if style is not None:
                faces = style.restyled(faces)
            if task.drawing is not None:
                self._draw(image, faces, task.drawing)
            if task.crops is not None:
                from facesmith.media import crops

                crops.write(task.crops.parent, task.crops.name, crops.crop(image, faces))
        except ImageError as error:
            return error
        return Picture(path, image.shape[1], image.shape[0], faces)

    def _draw(self, image: npt.NDArray[np.uint8], faces: Faces, path: Path) -> None:
        from facesmith.media import drawing  # brings fonts, which would cost every start 0.05 s

        if faces.meshes is not None:
            from facesmith.media import mesh_drawing, mesh_files

            image = mesh_drawing.draw_meshes(image, faces.meshes.vertices[::-1], faces.meshes.triangles)
            if self.mesh_format is not None:
                for number, mesh in enumerate(mesh_files.upright(faces.meshes)):
                    mesh_files.write_mesh(path.with_name(f"{path.name}-{number}.{self.mesh_format}"), mesh)
        images.write(path, drawing.draw(image, faces))

    def _print(self, pictures: Iterable[Picture | ImageError]) -> int:
        """Print each picture as it comes; the exit code."""
        if isinstance(sys.stdout, io.TextIOWrapper):  # file names need not be valid text
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        failed, before = False, "[\n"
        for picture in pictures:
            if isinstance(picture, ImageError):
                failed = True
                print(f"facesmith: warning: {picture}", file=sys.stderr, flush=True)
            elif self.json:
                print(before, _entry(picture), sep="", end="", flush=True)
                before = ",\n"
            elif self.jsonl:
                print(_entry(picture), flush=True)
            elif len(picture.faces):
                print(_lines(picture), flush=True)
        if self.json:
            print("[]" if before == "[\n" else "\n]")
        return int(failed)


def _entry(picture: Picture) -> str:
    row = {"path": picture.path, "width": picture.width, "height": picture.height}
    return json.dumps({**row, "faces": picture.faces.to_dicts()})


def _lines(picture: Picture) -> str:
    rows = zip(picture.faces.boxes.tolist(), picture.faces.scores.tolist(), strict=True)
    return "\n".join("\t".join((picture.path, *(f"{side:.1f}" for side in box), f"{score:.3f}")) for box, score in rows)


def _writable(name: PurePath) -> PurePath:
    """A name in a format that can be written."""
    suffixes = (".jpg", ".jpeg", ".png")
    return name if name.suffix.lower() in suffixes else name.with_name(f"{name.name}.jpg")
