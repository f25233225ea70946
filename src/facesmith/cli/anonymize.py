"""``facesmith anonymize``: pictures and videos in, the same with faces hidden out; by way of a plan to edit."""

import contextlib
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import cv2
import tyro

from facesmith import files, weights
from facesmith.anonymize import plan as plans
from facesmith.anonymize.analysis import THRESHOLD, Analyst
from facesmith.anonymize.hiding import Hiding, Method
from facesmith.anonymize.momentum import Momentum
from facesmith.anonymize.plan import Plan
from facesmith.anonymize.rendering import render
from facesmith.cli.inputs import PICTURES_AND_VIDEOS, Input, check_outputs, expand, unique_names, writable
from facesmith.errors import ConfigError, FacesmithError, ImageError, VideoError
from facesmith.media.video_paths import is_video_path
from facesmith.runtime import load
from facesmith.runtime.cpus import chosen_threads
from facesmith.runtime.ordered import ordered_map

Job = Input | Plan
Done = Plan | FacesmithError | None


@dataclass(frozen=True)
class Anonymize:
    """Hide faces in pictures and videos.

    In videos every frame is looked at, faces are tracked, and where one is missed for some frames it is hidden
    all the same; frames, their times and the sound stay.

    Prints a line a file: path, what was written, faces hidden, faces kept, track numbers, separated by tabs (faces are
    counted in every frame). A file that cannot be read gives a warning on stderr, the others go on, and the exit code
    is 1.
    """

    paths: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[PATH ...]", help_behavior_hint="")
    ] = ()
    """Pictures, videos, folders (all of both in and below them), patterns in quotes, or - for a list on stdin."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write the results into this folder; subfolders are kept. Videos that are not .mp4, .m4v, .mov, .mkv or .webm
    become .mkv."""

    method: Method = "blur"
    """A blurred ellipse, a mosaic, a black box, or a black mask in the shape of the face's mesh; box and mask leave
    nothing to reconstruct. Masks need a model with meshes: without --model, retinaface-mobilenet0.25-mesh."""

    margin: float = 0.2
    """How far it reaches beyond the face on every side, in shares of the face's size."""

    keep: Annotated[tuple[int, ...], tyro.conf.arg(metavar="TRACK_ID ...")] = ()
    """Tracks that stay visible. Numbers go on from video to video; the plan shows them."""

    keep_region: Annotated[
        tuple[tuple[float, float, float, float], ...], tyro.conf.arg(metavar="X1 Y1 X2 Y2 [X1 Y1 X2 Y2 ...]")
    ] = ()
    """Faces with their centre in one of these rectangles stay visible; pixels."""

    plan: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """With --analyse-only: write which faces lie where into this file (JSON lines), to be edited. Without: hide what
    this file says; then the paths stand in it."""

    analyse_only: bool = False
    """Write the plan, and no picture or video."""

    resume: bool = False
    """Pass over what is in the output folder already. Files there are always whole."""

    momentum: int = 10
    """Frames for which a face is hidden before it is first seen and after it was last seen."""

    threshold: float = THRESHOLD
    """Lowest score of a face, 0 to 1."""

    size: str = "auto"
    """The network's input: auto (long side 160 to 1280), original, N (long side) or short:N, in pixels."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME-OR-FILE")] = None
    """A name that `facesmith models` lists, or an .onnx or .safetensors file."""

    device: str = "cpu"
    """cpu, cuda or cuda:N. Nothing falls back: what is not there is an error."""

    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """CPU threads; without it, as many as this process may use."""

    def run(self) -> int:
        """Analyse, render or both; 1 if something in the input was wrong, else 0."""
        self._check()
        hiding = Hiding(self.method, self.margin)
        analyst, jobs = self._jobs()

        def process(job: Job) -> Done:
            target = self._target(job)
            if target is not None and self.resume and target.exists():
                return None
            try:
                plan = job if isinstance(job, Plan) else _analysed(analyst, job)
                plan = plan.keeping(self.keep, self.keep_region)
                if target is not None:
                    render(plan, target, hiding)
                return plan
            except (ImageError, VideoError) as error:
                return error

        cv2.setNumThreads(1)  # pictures run side by side; OpenCV's own threads would come on top
        with self._plan_file() as stream:
            return self._report(_in_order(process, jobs, chosen_threads(self.threads)), stream)

    def _check(self) -> None:
        if self.analyse_only and self.plan is None:
            raise ConfigError("--analyse-only needs --plan FILE, the file to write")
        if not self.analyse_only and self.out is None:
            raise ConfigError("name the folder for the results, --out DIR, or --analyse-only --plan FILE")
        if self.analyse_only and (self.out is not None or self.resume):
            raise ConfigError("--analyse-only writes the plan only; --out and --resume go with rendering it")
        if self._reads_plan and self.paths:
            raise ConfigError("the paths stand in the plan; to write a plan for these add --analyse-only")
        if not self._reads_plan and not self.paths:
            raise ConfigError("name at least one picture, video or folder, or - for a list on stdin")
        for x1, y1, x2, y2 in self.keep_region:
            if not (x1 < x2 and y1 < y2):
                raise ConfigError(f"a region is X1 Y1 X2 Y2 with X1 < X2 and Y1 < Y2, not {x1:g} {y1:g} {x2:g} {y2:g}")

    @property
    def _reads_plan(self) -> bool:
        return self.plan is not None and not self.analyse_only

    def _jobs(self) -> tuple[Analyst | None, Iterator[Job]]:
        """Who analyses (``None``: it is done), and the plans or files to work on."""
        if self.plan is not None and self._reads_plan:
            check_outputs((plan.path for plan in plans.read(self.plan)), self._outputs())  # and all lines, at once
            return None, plans.read(self.plan)
        check_outputs(self.paths, self._outputs())
        masks = self.method == "mask"
        detector = load(self.model or (weights.MESHES if masks else None), device=self.device, threads=self.threads)
        momentum = Momentum(self.momentum)
        analyst = Analyst(detector, size=self.size, threshold=self.threshold, momentum=momentum, masks=masks)
        return analyst, self._inputs()

    def _inputs(self) -> Iterator[Input]:
        named = unique_names(writable)
        for found in expand(self.paths, self._outputs(), PICTURES_AND_VIDEOS):
            yield found if found.problem is not None else found._replace(name=named(found.name))

    def _outputs(self) -> list[Path]:
        return [] if self.out is None else [self.out]

    def _target(self, job: Job) -> Path | None:
        return None if self.out is None or (isinstance(job, Input) and job.problem) else self.out / job.name

    @contextlib.contextmanager
    def _plan_file(self) -> Iterator[IO[str] | None]:
        if self.plan is None or self._reads_plan:
            yield None
            return
        with files.replacing(self.plan) as temporary, temporary.open("w", encoding="utf-8") as stream:
            yield stream

    def _report(self, results: Iterable[tuple[Job, Done]], stream: IO[str] | None) -> int:
        """Print a line a result, as it comes, and write it into the plan; the exit code."""
        if isinstance(sys.stdout, io.TextIOWrapper):  # file names need not be valid text
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        failed, missing, skipped = False, set(self.keep), False
        for job, result in results:
            if isinstance(result, FacesmithError):
                failed = True
                print(f"facesmith: warning: {result}", file=sys.stderr, flush=True)
            elif result is None:
                skipped = True
            else:
                if stream is not None:
                    plans.write(stream, result)
                missing -= result.track_ids
                kept, tracks = int(result.keep.sum()), ",".join(map(str, sorted(result.track_ids)))
                written = self._target(job) or self.plan
                print(result.path, written, len(result.faces) - kept, kept, tracks or "-", sep="\t", flush=True)
        if missing and not skipped:
            failed = True
            print(f"facesmith: warning: --keep: no such track: {sorted(missing)}", file=sys.stderr)
        return int(failed)


def _in_order(process: Callable[[Job], Done], jobs: Iterator[Job], workers: int) -> Iterator[tuple[Job, Done]]:
    """Each job with its result, in order: pictures side by side, videos one by one, as each takes all threads."""

    def work(job: Job) -> tuple[Job, Done, bool]:
        moving = job.times is not None if isinstance(job, Plan) else is_video_path(job.path)
        return job, None if moving else process(job), moving

    with contextlib.closing(ordered_map(work, jobs, workers=workers)) as results:
        for job, result, moving in results:
            yield job, process(job) if moving else result


def _analysed(analyst: Analyst | None, found: Input) -> Plan:
    assert analyst is not None
    if found.problem is not None:
        raise ImageError(f"{found.path}: {found.problem}")
    return (analyst.video if is_video_path(found.path) else analyst.picture)(found.path, found.name)
