"""``facesmith detect``: pictures, videos and cameras in, faces out; on request drawn pictures and aligned crops."""

import contextlib
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import cv2
import tyro

from facesmith import images, weights
from facesmith.box_styles import BoxStyle
from facesmith.cli.detect_output import Form, Picture, Record, appending, report
from facesmith.cli.inputs import PICTURES_AND_VIDEOS, Input, check_outputs, expand, unique_names, writable
from facesmith.errors import ConfigError, FacesmithError, ImageError, MissingExtraError, VideoError
from facesmith.faces import Faces
from facesmith.images import RGB
from facesmith.media.camera import is_camera
from facesmith.media.video_paths import is_video_path
from facesmith.runtime import EVERYDAY_THRESHOLD, Detector, load
from facesmith.runtime.ordered import ordered_map

if TYPE_CHECKING:
    from facesmith.cli.detect_video import Footage
    from facesmith.media.preview import Preview
    from facesmith.media.watch import Sight

MeshFormat = Literal["obj", "ply", "glb"]
Result = Picture | FacesmithError


class Task(NamedTuple):
    """A picture or video, the file for its drawing, and how the file names of its crops begin."""

    found: Input
    drawing: Path | None
    crops: Path | None


@dataclass(frozen=True)
class Detect:
    """Find faces in pictures, videos and what a camera sees.

    Prints a line a face, in the order of the inputs and as soon as it is known: path, x1, y1, x2, y2, score and, in
    videos, frame, time in seconds and track number, separated by tabs. Boxes are in pixels of the upright picture and
    are not clipped to it. In videos faces are tracked: one that carries on a track may score less than the threshold,
    down to 0.1. What cannot be read gives a warning on stderr, the rest goes on, and the exit code is 1. A camera goes
    on until Ctrl-C.
    """

    paths: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PATH [PATH ...]", help_behavior_hint="")
    ]
    """Pictures, videos, folders (all of both in and below them), patterns in quotes, - for a list on stdin; or, alone,
    a camera: camera:0 is the first webcam, camera:ADDRESS whatever else OpenCV opens."""

    json: bool = False
    """Print one JSON list instead, an entry a picture or frame: path, width, height, faces (box, score, landmarks); of
    frames also frame, time, detected (whether the network looked) and each face's track_id."""

    jsonl: bool = False
    """Print the same entries as JSON lines, a line a picture or frame."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the JSON lines into this file instead of printing anything."""

    resume: bool = False
    """Go on where an interrupted run stopped, by what is in the file of --out. Repeat its settings."""

    save: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Save the pictures and videos with boxes, scores, landmarks and track numbers drawn into this folder; subfolders
    are kept, and so are a video's times and sound. Videos that are not .mp4, .m4v, .mov, .mkv or .webm become .mkv."""

    crops: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Save every face, aligned by its landmarks to 112 by 112 pixels, into this folder."""

    preview: bool = False
    """Show videos and cameras in a window while they are gone through; q or Esc closes it, which ends a camera."""

    every: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Look at each N-th frame of a video; between them the tracks carry the faces on."""

    mesh: bool = False
    """Find each face's 3D mesh: --save draws it, JSON gives pose and 68 landmarks. Without --model, by
    retinaface-mobilenet0.25-mesh, which finds the same faces as the default model."""

    mesh_format: Annotated[MeshFormat | None, tyro.conf.arg(metavar="{obj,ply,glb}")] = None
    """Also save each face's mesh (--mesh) in this format into the folder of --save, beside the picture."""

    threshold: float = EVERYDAY_THRESHOLD
    """Lowest score of a face, 0 to 1."""

    size: str = "auto"
    """The network's input: auto (long side 160 to 1280, and a second look for faces that fill the picture), original,
    N (long side) or short:N, in pixels."""

    tiles: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Where --size shrinks a picture, see it in overlapping tiles of at most N pixels at full resolution as well: for
    small faces in huge pictures."""

    rotations: Annotated[tuple[Literal[90, -90, 180], ...], tyro.conf.arg(metavar="{90,-90,180} ...")] = ()
    """See everything turned by these degrees (counter-clockwise) as well: for heads that lie on their side or hang
    down. Landmarks are named as if the head were upright."""

    box_style: Annotated[str | None, tyro.conf.arg(metavar="STYLE")] = None
    """Print the boxes that landmarks imply in this style, not those that the model predicts: square, wider, fddb,
    one that `facesmith box-style` fitted and keeps here (afw, pascal, malf, your own), or the dx,dy,sx,sy it prints."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME-OR-FILE")] = None
    """A name that `facesmith models` lists, or an .onnx or .safetensors file."""

    device: str = "cpu"
    """cpu, cuda or cuda:N. Nothing falls back: what is not there is an error."""

    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """CPU threads; without it, as many as this process may use (with --cluster: 1 for each of its workers)."""

    cluster: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """Detect in pictures on all machines of the Ray cluster at this address (auto: the one that this machine belongs
    to; local: this machine alone). Results go to --shards; the same command again goes on where a run was killed."""

    shards: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """With --cluster: folder of its results, faces/*.parquet (a row a face), pictures/*.parquet (a row a picture)."""

    def run(self) -> int:
        """Detect; 1 if something could not be read, else 0."""
        self._check()
        if self.cluster is not None:
            return self._on_cluster(self.cluster)
        check_outputs(self.paths, self._outputs())
        detector = load(self.model or (weights.MESHES if self.mesh else None), device=self.device, threads=self.threads)
        detector.detect([], threshold=self.threshold, **self._settings)  # wrong settings fail at once
        cv2.setNumThreads(1)  # pictures run side by side; OpenCV's own threads would come on top
        with contextlib.ExitStack() as stack:
            preview = stack.enter_context(_window()) if self.preview else None
            record, stream = stack.enter_context(self._output())
            results = self._results(detector, record, preview)
            return report(stack.enter_context(contextlib.closing(results)), self._form, stream)

    def _check(self) -> None:
        if not self.paths:
            raise ConfigError("name at least one file, folder or pattern, a camera, or - for a list on stdin")
        if self.json and (self.jsonl or self.out):
            raise ConfigError(f"--json and {'--jsonl' if self.jsonl else '--out'} exclude each other")
        if self.resume and self.out is None:
            raise ConfigError("--resume needs --out FILE, the file of the interrupted run")
        if self.resume and self.mesh and self.save:
            raise ConfigError("--resume cannot draw the meshes that are done already; leave out --mesh or --save")
        if self.mesh_format is not None and not (self.mesh and self.save):
            raise ConfigError("--mesh-format needs --mesh and, for the folder, --save")
        if self.every < 1:
            raise ConfigError(f"--every is 1 frame or more, not {self.every}")
        if any(map(is_camera, self.paths)) and (len(self.paths) > 1 or self.resume or self.cluster):
            raise ConfigError("a camera stands alone, without other paths, --resume and --cluster")
        if self.box_style is not None:
            BoxStyle.parse(self.box_style)
        if (self.cluster is None) != (self.shards is None):
            raise ConfigError("--cluster ADDRESS and --shards DIR, the folder of its results, belong together")
        others = (self.json, self.jsonl, self.out, self.resume, self.save, self.crops, self.preview, self.mesh)
        if self.cluster is not None and any(others):
            raise ConfigError("--cluster writes Parquet files only; leave the other outputs and --mesh away")

    def _on_cluster(self, address: str) -> int:
        from facesmith.cli.detect_cluster import detect_on_cluster

        assert self.shards is not None  # _check
        return detect_on_cluster(
            self.paths,
            address,
            self.shards,
            model=self.model,
            device=self.device,
            threads=self.threads or 1,
            find=partial(Detect._find, self, threshold=self.threshold),
            settings={**self._settings, "threshold": self.threshold, "box_style": self.box_style},
        )

    @property
    def _form(self) -> Form:
        return "json" if self.json else "jsonl" if self.jsonl or self.out else "text"

    def _outputs(self) -> list[Path]:
        return [folder for folder in (self.save, self.crops) if folder is not None]

    @contextlib.contextmanager
    def _output(self) -> Iterator[tuple[Record, IO[str]]]:
        """What is done already, and where the rest goes."""
        if self.out is None:
            yield Record(), sys.stdout
        else:
            with appending(self.out, resume=self.resume) as opened:
                yield opened

    def _results(self, detector: Detector, record: Record, preview: "Preview | None") -> Generator[Result]:
        """What was found or went wrong: pictures side by side, videos one by one, as each takes all threads."""

        def work(task: Task) -> Task | Result:
            moving = task.found.problem is None and is_video_path(task.found.path)
            return task if moving else self._picture(detector, task)

        if is_camera(self.paths[0]):
            yield from self._camera(detector, preview)
            return
        tasks = self._tasks(record.done)
        with contextlib.closing(ordered_map(work, tasks, workers=detector.threads)) as results:
            for result in results:
                if isinstance(result, Task):
                    yield from self._video(detector, result, record, preview)
                else:
                    yield result

    def _tasks(self, done: frozenset[str]) -> Iterator[Task]:
        drawing_name, crops_name = unique_names(writable), unique_names(lambda name: name)
        for found in expand(self.paths, self._outputs(), PICTURES_AND_VIDEOS):
            usable = found.problem is None
            task = Task(
                found,
                self.save / drawing_name(found.name) if self.save and usable else None,
                self.crops / crops_name(found.name) if self.crops and usable else None,
            )
            if found.path not in done:
                yield task

    def _find(self, detector: Detector, image: RGB, threshold: float) -> Faces:
        faces = detector.detect(image, threshold=threshold, **self._settings)
        return faces if self.box_style is None else BoxStyle.parse(self.box_style).restyled(faces)

    @property
    def _settings(self) -> dict[str, Any]:
        return {"size": self.size, "meshes": self.mesh, "tiles": self.tiles, "rotations": self.rotations}

    def _picture(self, detector: Detector, task: Task) -> Result:
        """Read, detect and save; all in one worker thread, so that memory holds one picture a worker."""
        path = task.found.path
        if task.found.problem is not None:
            return ImageError(f"{path}: {task.found.problem}")
        try:
            image = images.read(path)
            faces = self._find(detector, image, self.threshold)
            if task.drawing is not None:
                images.write(task.drawing, _drawn(image, faces))
            self._save_parts(image, faces, task)
        except ImageError as error:
            return error
        return Picture(path, image.shape[1], image.shape[0], faces)

    def _video(self, detector: Detector, task: Task, record: Record, preview: "Preview | None") -> Iterator[Result]:
        begun = record.begun if record.begun is not None and record.begun.path == task.found.path else None
        footage, save = self._footage(detector, preview), partial(self._save_sight, task)
        try:
            yield from footage.video(task.found.path, task.drawing, save, begun)
        except (VideoError, MissingExtraError) as error:
            yield error

    def _camera(self, detector: Detector, preview: "Preview | None") -> Iterator[Result]:
        from facesmith.cli.detect_video import camera_file

        name = self.paths[0]
        file = camera_file(name)
        task = Task(Input(name, file), self.save and self.save / file, self.crops and self.crops / file.stem)
        yield from self._footage(detector, preview).camera(name, task.drawing, partial(self._save_sight, task))

    def _footage(self, detector: Detector, preview: "Preview | None") -> "Footage":
        from facesmith.cli.detect_video import Footage

        return Footage(
            detect=partial(self._find, detector),
            draw=_drawn,
            threshold=self.threshold,
            every=self.every,
            workers=detector.threads,
            preview=preview,
            progress=sys.stderr.isatty() and (self.out is not None or not sys.stdout.isatty()),
        )

    def _save_sight(self, task: Task, sight: "Sight") -> None:
        self._save_parts(sight.frame.image, sight.faces, task, f"-{sight.frame.index:06}")

    def _save_parts(self, image: RGB, faces: Faces, task: Task, frame: str = "") -> None:
        """Save the crops and meshes that were asked for; ``frame`` comes behind the picture's or video's name."""
        if self.mesh_format is not None and faces.meshes is not None and task.drawing is not None:
            from facesmith.media import mesh_files

            for number, mesh in enumerate(mesh_files.upright(faces.meshes)):
                name = f"{task.drawing.name}{frame}-{number}.{self.mesh_format}"
                mesh_files.write_mesh(task.drawing.with_name(name), mesh)
        if task.crops is not None:
            from facesmith.media import crops

            crops.write(task.crops.parent, task.crops.name + frame, crops.crop(image, faces))


def _drawn(image: RGB, faces: Faces) -> RGB:
    from facesmith.media import drawing  # brings fonts, which would cost every start 0.05 s

    if faces.meshes is not None:
        from facesmith.media import mesh_drawing

        image = mesh_drawing.draw_meshes(image, faces.meshes.vertices[::-1], faces.meshes.triangles)
    return drawing.draw(image, faces)


def _window() -> "Preview":
    from facesmith.media.preview import Preview

    return Preview("facesmith")
