"""Put figures that were measured on a shipped model into its record.

    python benchmarks/face_sizes.py --data ../shared/data/dev --model kpnet-drnet --json sizes.json
    python tools/add_figures.py sizes.json

A file names the checksum of the model it was measured on, and is refused where no shipped model has it. Figures of the
same name are replaced, others stay.
"""

import argparse
import json
from pathlib import Path

from facesmith import files
from facesmith.weights import WeightRecord

TABLE = Path(__file__).parents[1] / "src/facesmith/weights/records.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, nargs="+", help="JSON of benchmarks/face_sizes.py or accuracy.py")
    for path in parser.parse_args().measured:
        measured = json.loads(path.read_text())
        rows = json.loads(TABLE.read_text())["models"]
        row = next((row for row in rows if row["sha256"] == measured["checksum"]), None)
        if row is None:
            raise SystemExit(f"{path} was measured on {measured['checksum']}, which is no shipped model")
        row["figures"] |= measured["figures"]
        if "found_faces" in measured:
            row["found_faces"] = measured["found_faces"]
        WeightRecord.from_dict(row)  # raises what is wrong
        files.write_text(TABLE, json.dumps({"models": rows}, indent=1) + "\n")
        print(f"{row['name']}: {len(measured['figures'])} figures")


if __name__ == "__main__":
    main()
