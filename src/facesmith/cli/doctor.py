"""``facesmith doctor``: is this installation sound, and what will it use?

Nothing is imported before its turn, so that a broken package is a line of the report and not its end.
"""

import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from typing import NamedTuple

import facesmith
from facesmith.errors import FacesmithError, ModelError

REQUIRED = {
    "numpy": "numpy",
    "pillow": "PIL.Image",
    "opencv": "cv2",
    "onnxruntime": "onnxruntime",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "tqdm": "tqdm",
    "tyro": "tyro",
}
"""What must be there -> the module to import."""

OPTIONAL = ("torch", "onnx", "av", "fastapi", "openvino", "ray")

OPENCV_WHEELS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


class Check(NamedTuple):
    """One line of the report."""

    name: str
    text: str
    sound: bool = True


@dataclass(frozen=True)
class Doctor:
    """Check this installation: versions, devices, threads, and a detection whose outcome is known.

    The exit code is 1 if anything is wrong.
    """

    def run(self) -> int:
        """Print the report; 1 if anything is wrong."""
        sound = True
        for check in checks():
            sound &= check.sound
            print(f"{'ok   ' if check.sound else 'WRONG'}  {check.name:<12}  {check.text}", flush=True)
        print("everything is fine" if sound else "something is wrong: see above")
        return 0 if sound else 1


def checks() -> Iterator[Check]:
    """All checks, one after the other."""
    yield Check("facesmith", f"{facesmith.__version__} in {os.path.dirname(facesmith.__file__)}")
    yield Check("python", f"{platform.python_version()} on {platform.platform()}")
    for name, module in REQUIRED.items():
        yield guarded(name, partial(_imported, module))
    found = {name: version for name in OPTIONAL if (version := _version(name))}
    yield Check("extras", _listed(found) or "none installed")
    yield opencv_wheels({name: version for name in OPENCV_WHEELS if (version := _version(name))})
    yield guarded("devices", _devices)
    yield guarded("threads", _threads)
    yield guarded("self-test", _self_test)


def guarded(name: str, check: Callable[[], str]) -> Check:
    """The outcome of ``check``; whatever it raises is what is wrong."""
    try:
        return Check(name, check())
    except FacesmithError as error:
        return Check(name, str(error), sound=False)
    except Exception as error:
        return Check(name, f"{type(error).__name__}: {error}", sound=False)


def opencv_wheels(found: dict[str, str]) -> Check:
    """Whether there is one OpenCV wheel: all of them write into one folder, and removing one breaks the rest.

    Args:
        found: installed wheels and their versions.
    """
    listed = _listed(found) or "not from a wheel"
    if len(found) <= 1:
        return Check("opencv wheel", listed)
    advice = f"pip uninstall {' '.join(found)}, then pip install opencv-python-headless"
    return Check("opencv wheel", f"conflicting wheels side by side: {listed}; {advice}", sound=False)


def _imported(module: str) -> str:
    loaded = import_module(module)
    return str(getattr(loaded, "__version__", None) or _version(module))


def _devices() -> str:
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    names = ["cpu", *(["cuda"] if "CUDAExecutionProvider" in providers else [])]
    return f"{', '.join(names)} (onnxruntime has {', '.join(providers)})"


def _threads() -> str:
    from facesmith.runtime import cpus

    quota = cpus.cgroup_quota()
    limit = "no cgroup quota" if quota is None else f"a cgroup quota of {quota:g}"
    return f"{cpus.available_cpus()} by default ({cpus.affinity_cpus()} CPUs in the affinity mask, {limit})"


def _self_test() -> str:
    """The default model has to find a painted face where it is, and nothing else."""
    import numpy as np

    from facesmith import geometry, runtime
    from facesmith.runtime.portrait import BOX, LANDMARKS, paint_portrait

    centre, unit = (300.0, 220.0), 80.0
    detector = runtime.load()
    faces = detector.detect(paint_portrait(640, 480, centre, unit))
    if len(faces) != 1 or faces.landmarks is None:
        raise ModelError(f"{detector.name} finds {len(faces)} faces in a picture of one")
    overlap = float(geometry.iou(faces.boxes, (BOX * unit + centre).reshape(1, 4))[0, 0])
    error = float(np.linalg.norm(faces.landmarks[0] - (LANDMARKS * unit + centre), axis=1).mean() / (2 * unit))
    found = f"a painted face with score {faces.scores[0]:.2f}, IoU {overlap:.2f}, landmark error {error:.1%}"
    if overlap < 0.5 or error > 0.15:
        raise ModelError(f"{detector.name} misplaces {found}")
    return f"{detector.name} on {detector.device} finds {found}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
