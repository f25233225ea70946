"""Put trained weights into the package: both files, and their record with measured figures.

    facesmith train retinaface-mobilenet0.25 --data DIR
    python tools/release.py runs/retinaface-mobilenet0.25/retinaface-mobilenet0.25.safetensors \
        --command "facesmith train retinaface-mobilenet0.25 --data DIR" --faces 8 512
    python benchmarks/accuracy.py --data ../shared/data/dev --json figures.json
    python tools/release.py … --figures figures.json

The first call makes the ONNX file that the second command measures; the last one writes the figures down. It refuses
figures that were measured on another file.
"""

import argparse
import hashlib
import json
from pathlib import Path

from facesmith import files
from facesmith.detectors.weights import load_model, read_metadata, save_weights
from facesmith.export.onnx import export_onnx
from facesmith.weights import Figure, WeightRecord

FOLDER = Path(__file__).parents[1] / "src/facesmith/weights"
LICENCE = "Apache-2.0; trained on research-licensed photographs; check before commercial use"
TRAINING_DATA = (
    "2,549 images of WIDER FACE train (22,809 faces), 1,935 street photographs (4,768 faces), 2,400 crops of video "
    "frames with landmarks, 450 photographs without faces"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--command", required=True, help="the command that trained them")
    parser.add_argument("--faces", type=float, nargs=2, required=True, help="face sides it was trained for, in pixels")
    parser.add_argument("--also", default="", help="what it was trained on besides the usual photographs")
    parser.add_argument("--figures", type=Path, help="JSON of benchmarks/accuracy.py")
    arguments = parser.parse_args()

    name = read_metadata(arguments.weights)["name"]
    model = load_model(arguments.weights)
    onnx = FOLDER / f"{name}.onnx"
    if not arguments.figures:  # exports of the same network may differ in their bytes
        save_weights(FOLDER / f"{name}.safetensors", model, name=name)
        export_onnx(model, onnx, name=name)
    data = onnx.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    figures = {}
    if arguments.figures:
        measured = json.loads(arguments.figures.read_text())
        if measured["checksum"] != sha256:
            raise SystemExit(f"{arguments.figures} was measured on {measured['checksum']}, this file is {sha256}")
        figures = {key: Figure(**value) for key, value in measured["figures"].items()}
    record = WeightRecord(
        name=name,
        file=onnx.name,
        sha256=sha256,
        bytes=len(data),
        licence=LICENCE,
        training_data="; ".join(filter(None, (TRAINING_DATA, arguments.also))),
        command=arguments.command,
        input="uint8 RGB, any batch, height and width",
        parameters=sum(p.numel() for p in model.parameters()),
        face_size_range=tuple(arguments.faces),
        figures=figures,
    )
    table = FOLDER / "records.json"
    rows = [row for row in json.loads(table.read_text())["models"] if row["name"] != name]
    files.write_text(table, json.dumps({"models": [*rows, record.to_dict()]}, indent=1) + "\n")
    print(f"{onnx.name}: {len(data):,} bytes, sha256 {sha256}")


if __name__ == "__main__":
    main()
