"""The protocols in one shape, so that the command line treats all of them alike: a :class:`Task` each."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from PIL import Image

from facesmith.errors import ImageError
from facesmith.evaluation import coco, face_eval, fddb, landmarks, malf, mesh, predictions, widerface
from facesmith.evaluation.ellipses import Ellipses
from facesmith.evaluation.mistakes import Labels
from facesmith.evaluation.point_predictions import read_points_or_faces
from facesmith.evaluation.predict import find_pictures
from facesmith.evaluation.predictions.fddb_text import read_fddb_ellipses
from facesmith.evaluation.predictions.text import read_lines
from facesmith.evaluation.result import Provenance, Result
from facesmith.evaluation.saved import FORMATS, Format
from facesmith.evaluation.widerface.truth import ATTRIBUTES
from facesmith.faces import Faces


class AnyTruth(Protocol):
    """What every protocol's truth can do."""

    def subset(self, names: Collection[str]) -> Any:
        """The truth of these images only."""
        ...


T = TypeVar("T", bound=AnyTruth)


@dataclass(frozen=True, eq=False)
class Task(Generic[T]):
    """A protocol with its ground truth.

    Attributes:
        truth: the ground truth.
        names: truth -> its images' names.
        evaluate: (predictions, truth, provenance) -> result.
        read: reads prediction files.
        save_format: name of the format in which predictions are saved if no other is asked for.
        formats: name -> format.
        labels: truth -> what reports compare boxes with; ``None`` where the truth is not boxes.
        levels: attribute -> names of its levels.
        from_detector: whether predictions can come from a detector of boxes and five landmarks.
        listed: names of all of the protocol's images, where ``truth`` has some of them only.
        meshes: whether a detector's faces need meshes.
        turns: quarter turns, counter-clockwise, by which the pictures are turned; ``truth`` is turned already.
    """

    truth: T
    names: Callable[[T], tuple[str, ...]]
    evaluate: Callable[[Mapping[str, Any], T, Provenance], Result]
    read: Callable[[Path], Mapping[str, Any]] = predictions.read
    save_format: str = "jsonl"
    formats: Mapping[str, Format] = field(default_factory=lambda: FORMATS)
    labels: Callable[[T], dict[str, Labels]] | None = None
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    from_detector: bool = True
    listed: tuple[str, ...] | None = None
    turns: int = 0
    meshes: bool = False

    @property
    def known(self) -> tuple[str, ...]:
        """The names of all of the protocol's images, also of those that are not judged."""
        return self.images if self.listed is None else self.listed

    @property
    def images(self) -> tuple[str, ...]:
        """The names of the truth's images."""
        return self.names(self.truth)

    def subset(self, names: Collection[str]) -> "Task[T]":
        """The task on these images only."""
        if len(names) == len(self.images):
            return self
        return replace(self, truth=self.truth.subset(names), listed=self.known)


def widerface_task(truth: Path, *, challenge: bool = False) -> Task[widerface.Truth]:
    """WIDER FACE's validation set, by its own rule or by the challenge's."""
    judge = widerface.evaluate_challenge if challenge else widerface.evaluate
    return Task(
        widerface.load_truth(truth),
        names=lambda loaded: loaded.names,
        evaluate=lambda found, loaded, origin: judge(found, loaded, provenance=origin),
        save_format="wider",
        labels=_widerface_labels,
        levels=ATTRIBUTES,
    )


def fddb_task(
    truth: Path, images: Path, *, fold: int | None = None, only: Path | None = None, turns: int = 0
) -> Task[fddb.Truth]:
    """FDDB; pictures are always needed, since regions end at their borders. Only those there are judged.

    Args:
        truth: folder of the ellipse lists, or one of them.
        images: folder of the pictures.
        fold: judge this fold only, 1 to 10.
        only: text file with the names of the images to judge, one a line, such as those of profile faces.
        turns: quarter turns, counter-clockwise, of pictures and ellipses.

    Raises:
        LabelError: a file is malformed, a name of ``only`` is none of FDDB's, or no image is in ``fold``.
    """
    lists = sorted(truth.glob("*ellipseList.txt")) if truth.is_dir() else [truth]
    listed = [name for file in lists for name in read_fddb_ellipses(file)]
    sizes = {name: _size(path) for name, path in find_pictures(images, listed).items()} if listed else {}
    loaded = fddb.load_truth(truth, sizes, names=sizes.keys() if sizes else None)
    if fold is not None:
        loaded = loaded.fold(fold)
    if only is not None:
        loaded = loaded.subset([line.strip() for line in read_lines(only) if line.strip()])

    def evaluate(found: Mapping[str, Any], truth: fddb.Truth, origin: Provenance) -> Result:
        result = fddb.evaluate(found, truth, provenance=origin)
        notes = [f"fold {fold} only"] * (fold is not None) + [f"only the images of {only}"] * (only is not None)
        notes += [f"images and annotations turned by {90 * turns:+d}° (counter-clockwise)"] * bool(turns)
        return replace(result, notes=(*result.notes, *notes))

    return Task(
        loaded.rotated(turns),
        listed=tuple(listed),
        turns=turns,
        names=lambda loaded: loaded.names,
        evaluate=evaluate,
        read=fddb.read_predictions,
        save_format="fddb",
        labels=lambda loaded: {
            name: Labels(faces.boxes(), np.ones(len(faces), bool))
            for name, faces in zip(loaded.names, loaded.ellipses, strict=True)
        },
    )


def face_eval_task(truth: Path, benchmark: face_eval.Benchmark) -> Task[face_eval.Truth]:
    """AFW or PASCAL Face."""
    return Task(
        face_eval.load_truth(truth, benchmark),
        names=lambda loaded: loaded.names,
        evaluate=lambda found, loaded, origin: face_eval.evaluate(dict(found), loaded, provenance=origin),
        labels=_face_eval_labels,
    )


def malf_task(truth: Path) -> Task[face_eval.Truth]:
    """MALF's images with public labels."""
    return Task(
        malf.load_truth(truth),
        names=lambda loaded: loaded.names,
        evaluate=lambda found, loaded, origin: malf.evaluate(dict(found), loaded, provenance=origin),
        labels=_face_eval_labels,
    )


def coco_task(truth: Path) -> Task[coco.Truth]:
    """Any data set with COCO annotations."""
    return Task(
        coco.load_truth(truth),
        names=lambda loaded: loaded.names,
        evaluate=lambda found, loaded, origin: coco.evaluate(found, loaded, provenance=origin),
        read=lambda path: _read_coco(path, truth),
        save_format="coco",
        formats={
            **FORMATS,
            "coco": FORMATS["coco"]._replace(write=lambda found, path: _write_coco(found, path, truth)),
        },
        labels=_coco_labels,
    )


def landmark_task(truth: Path, protocol: landmarks.Protocol) -> Task[landmarks.Truth]:
    """Any landmark protocol. Detectors give five points, their meshes 68; other protocols take files of points only."""
    loaded = landmarks.load_truth(truth, protocol)
    return Task(
        loaded,
        names=lambda loaded: loaded.images,
        evaluate=lambda found, loaded, origin: landmarks.evaluate(found, loaded, provenance=origin),
        read=read_points_or_faces,
        from_detector=loaded.points.shape[1] in (5, 68),
        meshes=loaded.points.shape[1] == 68,
    )


def mesh_task(truth: Path) -> Task[mesh.Truth]:
    """AFLW2000-3D's dense vertices, from folders of arrays."""
    return Task(
        mesh.load_truth(truth),
        names=lambda loaded: tuple(loaded.scales),
        evaluate=lambda found, loaded, origin: mesh.evaluate(found, loaded, provenance=origin),
        read=mesh.read_vertices,
        from_detector=False,
    )


def as_faces(found: Mapping[str, Any]) -> dict[str, Faces]:
    """Predictions with ellipses turned into the boxes around them."""
    return {
        name: Faces(one.boxes().astype(np.float32), one.scores.astype(np.float32)) if isinstance(one, Ellipses) else one
        for name, one in found.items()
    }


def _widerface_labels(truth: widerface.Truth) -> dict[str, Labels]:
    """Faces of the last subset (hard) count."""
    cuts = truth.offsets[1:-1]
    counts = np.split(list(truth.subsets.values())[-1], cuts)
    columns = {name: np.split(column, cuts) for name, column in truth.attributes.items()}
    return {
        name: Labels(boxes, counts[i], {attribute: column[i] for attribute, column in columns.items()})
        for i, (name, boxes) in enumerate(zip(truth.names, truth.image_boxes(), strict=True))
    }


def _face_eval_labels(truth: face_eval.Truth) -> dict[str, Labels]:
    rows = zip(truth.names, truth.boxes, truth.ignored, strict=True)
    return {name: Labels(boxes, ~ignored) for name, boxes, ignored in rows}


def _coco_labels(truth: coco.Truth) -> dict[str, Labels]:
    corners = np.concatenate([truth.boxes[:, :2], truth.boxes[:, :2] + truth.boxes[:, 2:]], axis=1)
    bounds = np.searchsorted(truth.image, np.arange(len(truth.names) + 1))
    return {
        name: Labels(corners[bounds[i] : bounds[i + 1]], ~truth.ignored[bounds[i] : bounds[i + 1]])
        for i, name in enumerate(truth.names)
    }


def _read_coco(path: Path, truth: Path) -> Mapping[str, Faces]:
    """A list of detections may number images as the annotation file does; all else brings its own names."""
    if path.is_file():
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            if file.read(100).lstrip().startswith("["):
                return predictions.read_coco_json(path, truth)
    return predictions.read(path)


def _write_coco(found: Mapping[str, Faces], path: Path, truth: Path) -> None:
    """With the annotation file's numbers, so that COCO's own tools take it."""
    predictions.write_coco_json(found, path, truth)


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except OSError as error:
        raise ImageError(f"{path}: its size cannot be read: {error}") from error
