"""What the package offers at its top, and what it must not import."""

import subprocess
import sys

import pytest

import facesmith


def imported_by(code: str, *modules: str) -> list[str]:
    """Which of ``modules`` a fresh interpreter holds after ``code``."""
    code += f"\nimport sys; print(*(m for m in {modules} if m in sys.modules))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_the_public_names() -> None:
    assert set(facesmith.__all__) == {
        "Detector",
        "Faces",
        "FacesmithError",
        "Landmark",
        "SizeRule",
        "__version__",
        "load",
    }
    for name in facesmith.__all__:
        assert getattr(facesmith, name) is not None
        assert name in dir(facesmith)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        facesmith.laod  # noqa: B018


def test_import_is_light() -> None:
    assert imported_by("import facesmith, facesmith.cli", "numpy", "cv2", "onnxruntime", "tyro") == []


def test_runtime_loads_its_engine_on_use_only() -> None:
    heavy = ("torch", "onnxruntime", "scipy", "matplotlib", "tyro", "onnx", "safetensors")
    assert imported_by("import facesmith.runtime", *heavy) == []


def test_torch_stays_out_of_all_that_runs_without_it() -> None:
    """Every module of the packages that detect, evaluate and serve reach, imported one after the other."""
    code = """
import importlib, pkgutil, facesmith
from facesmith.errors import MissingExtraError
names = "runtime", "evaluation", "media", "weights", "anonymize", "serve"
packages = [importlib.import_module("facesmith." + name) for name in names]
for package in packages:
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except MissingExtraError:
            pass
for verb in ("detect", "anonymize", "serve", "export", "benchmark", "models", "doctor"):
    importlib.import_module("facesmith.cli." + verb)
"""
    assert imported_by(code, "torch", "onnx", "facesmith.detectors", "facesmith.training") == []


@pytest.mark.parametrize("verb", ["detect", "models", "doctor"])
def test_a_verb_imports_no_other_verb(verb: str) -> None:
    others = ("train", "export", "evaluate", "search", *{"detect", "models", "doctor"} - {verb})
    code = f"""
from facesmith.cli import main
try:
    main(['{verb}', '--help'])
except SystemExit:
    print(end='\\0')
"""
    output = imported_by(code, *(f"facesmith.cli.{other}" for other in others), "torch")
    assert " ".join(output).split("\0")[1] == ""
