"""``facesmith export``: a trained weights file to an ONNX file that needs no decoding code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from facesmith.errors import MissingExtraError
from facesmith.runtime.meshes import mesh_path


@dataclass(frozen=True)
class Export:
    """Export trained weights to ONNX: any batch, height and width; normalisation, decoding and top-K inside.

    The file is written only if onnxruntime gives what torch gives. A detector with a mesh branch gets a second file
    beside it, NAME.mesh.onnx, which `facesmith detect --mesh` needs.
    """

    weights: Annotated[Path, tyro.conf.Positional]
    """a .safetensors file, as `facesmith train` writes it"""
    out: Path | None = None
    """the ONNX file; by default beside the weights"""

    def run(self) -> int:
        """Export, check, write; print where and how far the two runtimes differ."""
        try:
            from facesmith.detectors.weights import load_model, read_metadata
            from facesmith.export.onnx import MeshParity, export_onnx
        except ImportError as error:
            raise MissingExtraError(f"export needs {error.name}: pip install 'facesmith[export]'") from error
        out = self.out or self.weights.with_suffix(".onnx")
        name = read_metadata(self.weights)["name"]
        parity = export_onnx(load_model(self.weights), out, name=name)
        print(f"{out}: {out.stat().st_size:,} bytes; greatest relative difference to torch {max(parity):.1e}")
        if isinstance(parity, MeshParity):
            meshes = mesh_path(out)
            print(f"{meshes}: {meshes.stat().st_size:,} bytes")
        return 0
