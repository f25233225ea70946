"""``facesmith export``: a model to a file that needs no decoding code, for onnxruntime or OpenVINO."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from facesmith.export.formats import Exported, Format, export


@dataclass(frozen=True)
class Export:
    """Write a model as ONNX or for OpenVINO: any batch, height and width; normalisation, decoding and top-K inside.

    The file is written only if it finds the faces that the model finds; int8 files, which never do so exactly, say how
    far they agree. A detector with a mesh branch gets a second file beside it, NAME.mesh.onnx, which
    `facesmith detect --mesh` needs.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """a .safetensors file as `facesmith train` writes it, an .onnx file, or a name that `facesmith models` lists"""
    format: Format = "onnx"
    """onnx (float32), onnx-int8, openvino (float32) or openvino-int8"""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """the file; by default beside the model, or in the current folder"""
    nms: Annotated[float | None, tyro.conf.arg(metavar="IOU")] = None
    """suppress overlapping faces inside the file, such as 0.4; without it the file gives all candidates"""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """photographs like those to come: 256 of them calibrate int8, 32 others check the file"""

    def run(self) -> int:
        """Export, check, write; print where and how far file and model agree."""
        exported = export(self.model, self.format, out=self.out, nms=self.nms, folder=self.images)
        for path in exported.paths:
            print(f"{path}: {path.stat().st_size:,} bytes")
        print(_sentence(exported))
        return 0


def _sentence(exported: Exported) -> str:
    found = exported.agreement
    if math.isnan(found.same):
        return f"checked on {exported.pictures}, in which the model finds no faces"
    text = f"{found.same:.1%} of the model's {found.faces} faces are found at the same place with the same score"
    if not math.isnan(found.average_precision):
        text += (
            f"; taking its {found.clear} faces of score 0.5 and more for the truth, AP at IoU 0.5 is 1.000 before and "
            f"{found.average_precision:.3f} after, mean IoU {found.iou:.3f}"
        )
    return f"on {exported.pictures}: {text}"
