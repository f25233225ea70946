"""facesmith: find faces, and make the face detector that fits your budget.

The names below load on first use, so that the command line starts, and can be interrupted, at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facesmith.errors import FacesmithError
    from facesmith.faces import Faces, Landmark
    from facesmith.runtime import Detector, SizeRule, load

__version__ = "0.1.0"

__all__ = ["Detector", "Faces", "FacesmithError", "Landmark", "SizeRule", "__version__", "load"]

_HOMES = {
    "Detector": "facesmith.runtime",
    "Faces": "facesmith.faces",
    "FacesmithError": "facesmith.errors",
    "Landmark": "facesmith.faces",
    "SizeRule": "facesmith.runtime",
    "load": "facesmith.runtime",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
