"""What all of ``facesmith evaluate``'s protocols share: the flags, and the way from a task to figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro

from facesmith import files
from facesmith.box_styles import BoxStyle
from facesmith.errors import ConfigError
from facesmith.evaluation.augmentation import Augmentation
from facesmith.evaluation.landmark_mistakes import find_landmark_mistakes
from facesmith.evaluation.landmarks import Truth as LandmarkTruth
from facesmith.evaluation.mistakes import find_mistakes
from facesmith.evaluation.predict import Settings, find_pictures, predict
from facesmith.evaluation.predictions import align, restrict
from facesmith.evaluation.report import BoxEvidence, Evidence, LandmarkEvidence, write_report
from facesmith.evaluation.result import Provenance, Result
from facesmith.evaluation.saved import provenance_of, save
from facesmith.evaluation.table import terminal_table
from facesmith.evaluation.tasks import Task, as_faces
from facesmith.faces import Faces
from facesmith.runtime import EVALUATION_THRESHOLD, Detector, load


@dataclass(frozen=True)
class Output:
    """What is written besides the table."""

    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write figures, curves and provenance to this file."""

    report: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write PROTOCOL.html into this folder: curves, mistakes by kind and the worst pictures."""


NOTHING_WRITTEN = Output()


@dataclass(frozen=True)
class Common:
    """Which detectors are judged, how they run, and what is written."""

    model: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME-OR-FILE")] = ()
    """Models: names that `facesmith models` lists, or .onnx or .safetensors files; without any and without
    --predictions the default one."""

    predictions: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH")] = ()
    """Prediction files of any detectors: a folder in WIDER FACE's layout, an FDDB text file, COCO JSON or the
    JSON lines of `facesmith detect --jsonl`. They are judged as they are."""

    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the benchmark's images. Where it holds some of them only, these are judged: a SUBSET. Models
    need it; with predictions alone it is for the report."""

    size: Annotated[str | None, tyro.conf.arg(metavar="RULE")] = None
    """At which size a model sees an image: original (the default), vga (long side 640), N (long side N),
    short:1600 (long side at most 2150), short:N:M or auto."""

    augment: Literal["none", "flip", "pyramid"] = "none"
    """Test-time augmentation: flip, or pyramid (short sides 500, 800, 1100, 1400, 1700, each also flipped);
    both merge by box voting."""

    tiles: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Where --size shrinks a picture (say auto), see it in overlapping tiles of at most N pixels at full resolution as
    well."""

    rotations: Annotated[tuple[Literal[90, -90, 180], ...], tyro.conf.arg(metavar="{90,-90,180} ...")] = ()
    """See everything turned by these degrees (counter-clockwise) as well."""

    threshold: float = EVALUATION_THRESHOLD
    """Lowest score that a model's face needs."""

    nms: float = 0.4
    """IoU above which NMS drops a face, or from which box voting merges."""

    nms_min_area: bool = False
    """NMS by the intersection over the smaller box's area, as KPNet does, not by IoU."""

    box_style: Annotated[str | None, tyro.conf.arg(metavar="STYLE")] = None
    """Judge the boxes that a model's landmarks imply in this style, not those that it predicts: square, wider, fddb,
    one that `facesmith box-style` fitted and keeps here (afw, pascal, malf, your own), or the dx,dy,sx,sy it prints."""

    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """CPU threads; without it, as many as this process may use."""

    device: str = "cpu"
    """cpu, cuda or cuda:N. Nothing falls back: what is not there is an error."""

    save_predictions: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Save all predictions into this folder, with a record of where they come from."""

    save_format: Literal["wider", "fddb", "coco", "jsonl"] | None = None
    """Format of saved predictions; without it the protocol's own, else JSON lines."""

    output: tyro.conf.OmitArgPrefixes[Output] = NOTHING_WRITTEN

    def settings(self) -> Settings:
        """How models look for faces."""
        style = None if self.box_style is None else BoxStyle.parse(self.box_style)
        augmentation = Augmentation.parse(self.augment, self.size)
        return Settings(
            augmentation,
            self.threshold,
            self.nms,
            self.nms_min_area,
            box_style=style,
            tiles=self.tiles,
            rotations=self.rotations,
        )


DEFAULTS = Common()


class Judged(NamedTuple):
    """Predictions to be judged, and where they come from."""

    predictions: Mapping[str, Any]
    provenance: Provenance


def evaluate(common: Common, task: Task[Any]) -> int:
    """Judge all detectors of the command line by ``task``; print, write; the exit code."""
    settings = replace(_checked(common, task), turns=task.turns, meshes=task.meshes)
    pictures = {} if common.images is None else find_pictures(common.images, task.images)
    wants_model = bool(common.model) or not common.predictions
    detectors = [
        load(name, device=common.device, threads=common.threads)
        for name in (common.model or (None,) if wants_model else ())
    ]
    read = [task.read(path) for path in common.predictions]
    _check_known(read, task)
    origins = _told_apart(
        [*(settings.provenance(one) for one in detectors), *(provenance_of(path) for path in common.predictions)]
    )
    task = task.subset(pictures or _covered(read, task))
    found = [
        *(_detected(detector, pictures, settings) for detector in detectors),
        *(_only(one, task.images) for one in read),
    ]
    judged = [Judged(one, origin) for one, origin in zip(found, origins, strict=True)]
    if common.save_predictions is not None:
        for one in judged:
            form = task.formats[common.save_format or task.save_format]
            save(one.predictions, common.save_predictions, form, one.provenance)
    results = [task.evaluate(one.predictions, task.truth, one.provenance) for one in judged]
    shown = {} if task.turns else pictures  # reports draw pictures as they are stored
    evidence = None if common.output.report is None else _evidence(judged, task, shown)
    return publish(results, common.output, evidence)


def publish(results: Sequence[Result], output: Output, evidence: Evidence | None = None) -> int:
    """Print the table, write what was asked for; the exit code."""
    print(terminal_table(results))
    if output.json is not None:
        document = {"results": [result.to_dict() for result in results]}
        files.write_text(output.json, json.dumps(document, indent=1) + "\n")
    if output.report is not None:
        print(f"report: {write_report(output.report, results, evidence)}")
    return 0


def _checked(common: Common, task: Task[Any]) -> Settings:
    """The settings, if the flags fit together."""
    settings = common.settings()
    uses_model = bool(common.model) or not common.predictions
    if uses_model and not task.from_detector:
        raise ConfigError("detectors give five landmarks, or meshes with 68; here give --predictions, files of points")
    if uses_model and common.images is None:
        raise ConfigError("--images DIR is needed to run a model; or judge files with --predictions PATH")
    if not uses_model and settings != Settings():
        raise ConfigError(
            "--size, --augment, --tiles, --rotations, --threshold, --nms, --nms-min-area and --box-style are for "
            "models; predictions are judged as they are"
        )
    if common.save_format is not None and common.save_predictions is None:
        raise ConfigError("--save-format needs --save-predictions DIR")
    if common.save_predictions is not None and not task.from_detector:
        raise ConfigError("--save-predictions saves boxes; this protocol has none")
    return settings


def _check_known(read: Sequence[Mapping[str, Any]], task: Task[Any]) -> None:
    """Raise what ``align`` raises if predictions are for images that the protocol does not have."""
    for one in read:
        keys = {key: key for key in one}
        if len(restrict(keys, task.known)) != len(keys):
            align(keys, task.known)


def _covered(read: Sequence[Mapping[str, Any]], task: Task[Any]) -> list[str]:
    """The protocol's images that any of the predictions are for."""
    found = set[str]().union(*(restrict({key: key for key in one}, task.images) for one in read))
    return [name for name in task.images if name in found]


def _only(predictions: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    return restrict(predictions, names) if len(predictions) != len(names) else predictions


def _detected(detector: Detector, pictures: Mapping[str, Path], settings: Settings) -> dict[str, Faces]:
    return {one.name: one.faces for one in predict(detector, pictures, settings)}


def _told_apart(origins: Sequence[Provenance]) -> list[Provenance]:
    """Detectors of the same name get behind it in what they differ: size, augmentation, thresholds, checksum.

    Raises:
        ConfigError: they differ in nothing.
    """
    named = []
    for one in origins:
        own = _traits(one)
        alike = [_traits(other) for other in origins if other.detector == one.detector]
        if alike.count(own) > 1:
            raise ConfigError(f"{one.detector} was given twice with the same settings")
        differing = [trait for i, trait in enumerate(own) if len({traits[i] for traits in alike}) > 1]
        behind = f" ({', '.join(differing)})" if differing else ""
        named.append(replace(one, detector=one.detector + behind))
    return named


def _traits(provenance: Provenance) -> list[str]:
    return [
        provenance.size_rule or "size unknown",
        f"augmentation {provenance.augmentation or 'unknown'}",
        f"score {provenance.score_threshold}",
        f"NMS {provenance.nms}",
        f"tiles {provenance.settings.get('tiles', 'none')}",
        f"rotations {provenance.settings.get('rotations', 'none')}",
        f"boxes {provenance.settings.get('box style', 'as predicted')}",
        f"sha256 {(provenance.checksum or 'unknown')[:8]}",
    ]


def _evidence(judged: Sequence[Judged], task: Task[Any], pictures: Mapping[str, Path]) -> Evidence | None:
    if isinstance(task.truth, LandmarkTruth):
        return LandmarkEvidence([find_landmark_mistakes(o.predictions, task.truth) for o in judged], pictures)
    if task.labels is None:
        return None
    labels = task.labels(task.truth)
    mistakes = []
    for one in judged:
        faces = dict(zip(labels, align(as_faces(one.predictions), list(labels)), strict=True))
        mistakes.append(find_mistakes(faces, labels))
    return BoxEvidence(mistakes, task.levels, pictures)
