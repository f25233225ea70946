"""A folder of development photographs, as the protocols' tasks.

It has WIDER FACE's ``wider_*_val.mat`` in ``ground-truth/``, FDDB's ellipse lists in ``ground-truth/FDDB-folds/``, and
``landmarks68.txt``, the labels of video frames. A task needs only its own labels, and judges the pictures that are
there.
"""

from dataclasses import dataclass
from pathlib import Path

from facesmith.evaluation import fddb, landmarks, widerface
from facesmith.evaluation.tasks import Task, fddb_task, landmark_task, widerface_task


@dataclass(frozen=True)
class Development:
    """Development photographs.

    Attributes:
        labels: folder of ``ground-truth`` and ``landmarks68.txt``.
        images: folder with all pictures, anywhere below it.
    """

    labels: Path
    images: Path

    def wider(self) -> Task[widerface.Truth]:
        """WIDER FACE's validation set."""
        return widerface_task(self.labels / "ground-truth")

    def fddb(self, *, turns: int = 0) -> Task[fddb.Truth]:
        """FDDB, turned counter-clockwise by ``turns`` quarters."""
        return fddb_task(self.labels / "ground-truth/FDDB-folds", self.images, turns=turns)

    def frames(self, protocol: landmarks.Protocol = landmarks.FRAMES) -> Task[landmarks.Truth]:
        """The video frames: five points, or by ``landmarks.FRAMES_68`` those of meshes."""
        return landmark_task(self.labels / "landmarks68.txt", protocol)
