"""Run a model on pictures: :func:`load` gives a :class:`Detector`, which gives ``Faces``."""

from facesmith.runtime.detector import EVALUATION_THRESHOLD, EVERYDAY_THRESHOLD, Detector
from facesmith.runtime.loading import load
from facesmith.runtime.session import Candidates
from facesmith.runtime.size import SizeRule

__all__ = ["EVALUATION_THRESHOLD", "EVERYDAY_THRESHOLD", "Candidates", "Detector", "SizeRule", "load"]
