"""``facesmith models``: the table of weights."""

import json
from dataclasses import dataclass

from facesmith import weights
from facesmith.weights import WeightRecord


@dataclass(frozen=True)
class Models:
    """List the weights: size, parameters, licence, training data, measured figures, checksum."""

    json: bool = False
    """Print the whole table as JSON."""

    def run(self) -> int:
        """Print the table."""
        records = list(weights.records().values())
        if self.json:
            print(json.dumps({"default": weights.DEFAULT, "models": [r.to_dict() for r in records]}, indent=1))
        else:
            print(_table(records))
        return 0


def _table(records: list[WeightRecord]) -> str:
    head = ("name", "size", "parameters", "finds (px)", "sha256")
    rows = [
        (
            record.name + (" *" if record.name == weights.DEFAULT else ""),
            f"{record.bytes / 1e6:.1f} MB",
            f"{record.parameters:,}",
            "not measured" if record.found_faces is None else "{:g}–{:g}".format(*record.found_faces),
            record.sha256[:12],
        )
        for record in records
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    head_line, *lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows))
    blocks = ["\n".join((line, *_details(record))) for line, record in zip(lines, records, strict=True)]
    return (
        "\n".join((head_line, *blocks))
        + "\n* default. Finds: sides of faces in pixels of the network's input, measured."
    )


def _details(record: WeightRecord) -> list[str]:
    lines = [
        f"    licence        {record.licence}",
        f"    trained on     {record.training_data}",
        f"    trained by     {record.command}",
        "    trained for    faces of {:g} to {:g} pixels of the network's input".format(*record.face_size_range),
        f"    input          {record.input}",
    ]
    for name, figure in record.figures.items():
        if name.endswith(": recall"):  # by size and by label, dozens: in the model card and --json
            continue
        lines.append(f"    {name}: {figure.value:.4g}  ({figure.protocol}; {figure.scope})")
    return lines
