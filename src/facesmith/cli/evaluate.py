"""``facesmith evaluate PROTOCOL``: a detector's figures from a model or from prediction files.

Protocols of 68 points judge the meshes of models that have them (`facesmith models`); those, and protocols of 19
points, take files of points: a JSON object a line and face,
``{"image": NAME, "points": [[x, y], ...]}``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from facesmith.cli.evaluate_verification import Verification
from facesmith.cli.evaluation_run import DEFAULTS, Common, evaluate
from facesmith.errors import ConfigError
from facesmith.evaluation import face_eval, landmarks, tasks

Shared = tyro.conf.OmitArgPrefixes[Common]
TruthPath = Annotated[Path, tyro.conf.arg(metavar="PATH")]


@dataclass(frozen=True)
class WiderFace:
    """WIDER FACE: average precision on easy, medium and hard faces of the validation set."""

    truth: TruthPath
    """Folder of wider_face_val.mat, wider_easy_val.mat, wider_medium_val.mat and wider_hard_val.mat, or a
    label file (which has no easy, medium and hard)."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        return evaluate(self.common, tasks.widerface_task(self.truth))


@dataclass(frozen=True)
class WiderFaceChallenge:
    """WIDER Challenge 2018: mean average precision over IoU .5 to .95, on WIDER FACE's validation set."""

    truth: TruthPath
    """As for widerface."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        return evaluate(self.common, tasks.widerface_task(self.truth, challenge=True))


@dataclass(frozen=True)
class Fddb:
    """FDDB: discrete and continuous ROC. Always needs --images, for regions end at the images' borders."""

    truth: TruthPath
    """Folder of FDDB-fold-01-ellipseList.txt to FDDB-fold-10-ellipseList.txt, or one such file."""

    rotate: Literal[0, 90, -90, 180] = 0
    """Degrees by which pictures and annotations are turned, counter-clockwise."""

    fold: int | None = None
    """Judge this fold only, 1 to 10."""

    only: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Judge the images that this file names only, one a line: for instance those of profile faces."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        if self.common.images is None:
            raise ConfigError("FDDB needs --images DIR, the folder that holds 2002 and 2003")
        turns = self.rotate // 90
        task = tasks.fddb_task(self.truth, self.common.images, fold=self.fold, only=self.only, turns=turns)
        return evaluate(self.common, task)


@dataclass(frozen=True)
class Afw:
    """AFW by face-eval's rule: average precision, as predicted and after its box refinement."""

    truth: TruthPath
    """new_annotations_AFW.mat, or text: `# image` and lines `x y w h ignored`."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        return evaluate(self.common, tasks.face_eval_task(self.truth, face_eval.AFW))


@dataclass(frozen=True)
class Pascal:
    """PASCAL Face by face-eval's rule: average precision, as predicted and after its box refinement."""

    truth: TruthPath
    """Annotations_Face_PASCALLayout_large_fixed.mat, or text: `# image` and lines `x y w h ignored`."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        return evaluate(self.common, tasks.face_eval_task(self.truth, face_eval.PASCAL))


@dataclass(frozen=True)
class Malf:
    """MALF's 250 images with public labels; for the other 5,000 see `facesmith submit malf`."""

    truth: TruthPath
    """Text: `# image` and lines `x y w h ignored`."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        return evaluate(self.common, tasks.malf_task(self.truth))


@dataclass(frozen=True)
class Coco:
    """COCO average precision and recall of boxes, on any data set with COCO annotations."""

    truth: TruthPath
    """The annotation file (JSON)."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        return evaluate(self.common, tasks.coco_task(self.truth))


@dataclass(frozen=True)
class Aflw:
    """AFLW-Full's test set: 19 points by the box's size."""

    truth: TruthPath
    """AFLWinfo_release.mat, or JSON lines with image, box, points, visible.
    Predictions: JSON lines with image and points, one a face."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        return evaluate(self.common, tasks.landmark_task(self.truth, landmarks.AFLW))


@dataclass(frozen=True)
class AflwFive:
    """AFLW with five points, all faces, by the box's size (as RetinaFace reports it)."""

    truth: TruthPath
    """As for aflw."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        return evaluate(self.common, tasks.landmark_task(self.truth, landmarks.AFLW_FIVE))


@dataclass(frozen=True)
class Aflw2000:
    """AFLW2000-3D: 68 points in 2D by yaw, or with --dense all vertices in 3D."""

    truth: TruthPath
    """Folder of the .mat files, or (68 points) JSON lines with image, points, yaw.
    Predictions: JSON lines with image and points; with --dense folders of IMAGE.npy, (V, 3)."""

    dense: bool = False
    """Judge all vertices in 3D, not 68 points."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        task: tasks.Task[Any] = (
            tasks.landmark_task(self.truth, landmarks.AFLW2000_3D) if not self.dense else tasks.mesh_task(self.truth)
        )
        return evaluate(self.common, task)


@dataclass(frozen=True)
class W300:
    """300W: 68 points by the outer eye corners' distance."""

    truth: TruthPath
    """Folder of .pts files, or JSON lines with image, points.
    Predictions: JSON lines with image and points, one a face."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        return evaluate(self.common, tasks.landmark_task(self.truth, landmarks.W300))


@dataclass(frozen=True)
class WiderFaceLandmarks:
    """WIDER FACE's validation set with RetinaFace's five landmarks, by the box's size."""

    truth: TruthPath
    """RetinaFace's label.txt, or JSON lines with image, box, points."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        return evaluate(self.common, tasks.landmark_task(self.truth, landmarks.WIDER_FACE))


@dataclass(frozen=True)
class Frames:
    """The 300 development frames: five landmarks, by the face's size and by the eyes' distance."""

    truth: TruthPath
    """Text: `# image` and a line of 68 times `x y`."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        return evaluate(self.common, tasks.landmark_task(self.truth, landmarks.FRAMES))


@dataclass(frozen=True)
class Frames68:
    """The 300 development frames: all 68 points, measured as in 300W."""

    truth: TruthPath
    """As for frames. Predictions: JSON lines with image and points, one a face."""

    common: Shared = DEFAULTS

    def run(self) -> int:
        """Evaluate."""
        return evaluate(self.common, tasks.landmark_task(self.truth, landmarks.FRAMES_68))


Evaluate = (
    Annotated[WiderFace, tyro.conf.subcommand("widerface")]
    | Annotated[WiderFaceChallenge, tyro.conf.subcommand("widerface-challenge")]
    | Annotated[WiderFaceLandmarks, tyro.conf.subcommand("widerface-landmarks")]
    | Annotated[Fddb, tyro.conf.subcommand("fddb")]
    | Annotated[Afw, tyro.conf.subcommand("afw")]
    | Annotated[Pascal, tyro.conf.subcommand("pascal")]
    | Annotated[Malf, tyro.conf.subcommand("malf")]
    | Annotated[Coco, tyro.conf.subcommand("coco")]
    | Annotated[Aflw, tyro.conf.subcommand("aflw")]
    | Annotated[AflwFive, tyro.conf.subcommand("aflw5")]
    | Annotated[Aflw2000, tyro.conf.subcommand("aflw2000-3d")]
    | Annotated[W300, tyro.conf.subcommand("300w")]
    | Annotated[Frames, tyro.conf.subcommand("frames")]
    | Annotated[Frames68, tyro.conf.subcommand("frames-68")]
    | Annotated[Verification, tyro.conf.subcommand("verification")]
)
"""One sub-verb a protocol."""
