"""Measured figures go into the record of the very file they were measured on."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from facesmith import weights

TOOL = Path(__file__).parents[2] / "tools/add_figures.py"


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "records.json"
    rows = [record.to_dict() for record in weights.records().values()]
    path.write_text(json.dumps({"models": rows}))
    return path


def add(table: Path, measured: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    file = table.with_name("measured.json")
    file.write_text(json.dumps(measured))
    names = runpy.run_path(str(TOOL))
    monkeypatch.setitem(names["main"].__globals__, "TABLE", table)
    monkeypatch.setattr(sys, "argv", [str(TOOL), str(file)])
    names["main"]()


def test_figures_of_a_shipped_model(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = weights.records()["damofd-0.5g"]
    figure = {"value": 0.5, "protocol": "by hand", "scope": "nothing"}
    measured = {"checksum": before.sha256, "found_faces": [10, 20], "figures": {"new": figure}}
    add(table, measured, monkeypatch)
    rows = [weights.WeightRecord.from_dict(row) for row in json.loads(table.read_text())["models"]]
    assert [row.name for row in rows] == list(weights.records())
    (after,) = (row for row in rows if row.name == "damofd-0.5g")
    assert after.found_faces == (10, 20)
    assert after.figures == {**before.figures, "new": weights.Figure(**figure)}
    others = [row for row in rows if row.name != "damofd-0.5g"]
    assert others == [one for name, one in weights.records().items() if name != "damofd-0.5g"]


def test_another_file_is_refused(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="measured on 0123, which is no shipped model"):
        add(table, {"checksum": "0123", "figures": {}}, monkeypatch)
