"""A study's table, as JSON and as Markdown: our figures, and the paper's in brackets."""

import json
from dataclasses import asdict
from typing import Any

from facesmith import __version__, configs, files
from facesmith.detectors.weights import read_metadata
from facesmith.training.studies.judges import Verdict
from facesmith.training.studies.run import Place
from facesmith.training.studies.study import Row, Study


def write_table(study: Study, place: Place) -> str:
    """Write ``NAME.json`` and ``NAME.md`` into the place's folder, each whole or not at all; the Markdown.

    Every row of the study is there; one that was not judged yet, with these settings, has no figures.
    """
    found = {row.name: _verdicts(row, place) for row in study.rows}
    text = _markdown(study, place, found)
    files.write_text(place.out / f"{study.name}.json", json.dumps(_document(study, place, found), indent=1) + "\n")
    files.write_text(place.out / f"{study.name}.md", text)
    return text


def _verdicts(row: Row, place: Place) -> list[Verdict]:
    return [verdict for judge in row.judges if (verdict := place.verdict(row, judge)) is not None]


def _figures(verdicts: list[Verdict]) -> dict[str, float]:
    return {column: value for verdict in verdicts for column, value in verdict.figures.items()}


def _document(study: Study, place: Place, found: dict[str, list[Verdict]]) -> dict[str, Any]:
    rows = []
    for row in study.rows:
        weights = place.weights(row.network)
        rows.append(
            {
                "name": row.name,
                "network": row.network.name,
                "config": configs.to_json(row.network.model),
                "weights": str(weights) if weights.exists() else None,
                "given": row.network.name in place.given,
                "steps": read_metadata(weights).get("steps") if weights.exists() else None,
                "figures": _figures(found[row.name]),
                "published": dict(zip(study.columns, row.published, strict=True)),
                "judged": [asdict(verdict) for verdict in found[row.name]],
            }
        )
    return {
        "study": study.name,
        "source": study.source,
        "differs": study.differs,
        "package": __version__,
        "train": asdict(place.train),
        "data": None if place.data is None else str(place.data),
        "pretrained": None if place.start.backbone is None else str(place.start.backbone),
        "rows": rows,
    }


def _markdown(study: Study, place: Place, found: dict[str, list[Verdict]]) -> str:
    lines = [
        ["", *study.columns],
        *([row.name, *_cells(study, row, _figures(found[row.name]))] for row in study.rows),
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    table = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    table.insert(1, rule)
    batch = place.train.batch
    all_given = place.given.keys() >= study.networks.keys()
    trained = "" if all_given else f"Each network: {place.train.steps:,} steps of {batch.images} images."
    if trained and place.start.backbone:
        trained += f" Backbones start from {place.start.backbone}."
    given = [f"{name}: the weights {path}." for name, path in place.given.items()]
    protocols: dict[str, list[str]] = {}
    for name, verdicts in found.items():
        for verdict in verdicts:
            how = f"{', '.join(verdict.figures) or 'no figure'}: {verdict.scope}; {_common(verdict.protocol)}"
            protocols.setdefault(how, []).append(name)
    return "\n".join(
        [
            f"# {study.name}",
            "",
            f"{study.source}; the paper's figures in brackets. {study.differs}",
            "",
            " ".join(filter(None, [trained, *given])),
            "",
            *(f"| {' | '.join(line)} |" for line in table),
            "",
            *(f"- {', '.join(names)}: {how}" for how, names in protocols.items()),
            "",
        ]
    )


def _cells(study: Study, row: Row, figures: dict[str, float]) -> list[str]:
    cells = []
    for column, published in zip(study.columns, row.published, strict=True):
        paper = "" if published is None else f" ({published:g})"
        cells.append(("–" if column not in figures else f"{figures[column]:.2f}") + paper)
    return cells


def _common(protocol: str) -> str:
    """A protocol's words without the checksum, which is another in every row."""
    return ", ".join(part for part in protocol.split(", ") if not part.startswith("sha256 "))
