import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import facesmith
from facesmith import weights
from facesmith.errors import ModelError
from facesmith.weights import Figure, WeightRecord


def record(data: bytes, **changes: object) -> WeightRecord:
    row: dict[str, object] = {
        "name": "tiny",
        "file": "tiny.onnx",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "licence": "test",
        "training_data": "none",
        "command": "none",
        "input": "uint8 RGB",
        "parameters": 0,
        "face_size_range": (16.0, 16.0),
        "figures": {"AP": Figure(0.5, "protocol", "scope")},
    }
    return WeightRecord(**{**row, **changes})  # type: ignore[arg-type]


@pytest.fixture
def table(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A table of weights with the tiny model as its only entry."""
    data = tiny_model.read_bytes()
    (tmp_path / "tiny.onnx").write_bytes(data)
    (tmp_path / "records.json").write_text(json.dumps({"models": [record(data).to_dict()]}))
    monkeypatch.setattr(weights, "_folder", lambda: tmp_path)
    weights.records.cache_clear()
    yield tmp_path
    weights.records.cache_clear()


def test_round_trip() -> None:
    one = record(b"")
    assert WeightRecord.from_dict(json.loads(json.dumps(one.to_dict()))) == one


@pytest.mark.parametrize("spoil", [{"file": None}, {"extra": 1}, {"face_size_range": [1]}, {"figures": {"AP": {}}}])
def test_malformed(spoil: dict[str, object]) -> None:
    row = {**record(b"").to_dict(), **spoil}
    row = {key: value for key, value in row.items() if value is not None}
    with pytest.raises(ModelError, match="malformed record"):
        WeightRecord.from_dict(row)


def test_load_by_name(table: Path) -> None:
    detector = facesmith.load("tiny")
    assert detector.checksum == weights.records()["tiny"].sha256


def test_close_names_are_offered(table: Path) -> None:
    with pytest.raises(ModelError, match=r"no model is called 'tyni'; did you mean tiny\? \(known: tiny;"):
        facesmith.load("tyni")


def test_a_damaged_file_is_not_run(table: Path) -> None:
    with (table / "tiny.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match="tiny is damaged: its sha256 is"):
        facesmith.load("tiny")


def test_a_missing_file(table: Path) -> None:
    (table / "tiny.onnx").unlink()
    with pytest.raises(ModelError, match=r"tiny is missing \(tiny\.onnx\)"):
        facesmith.load("tiny")


@pytest.mark.parametrize("name", weights.records())
def test_every_released_model_is_whole_and_runs(name: str) -> None:
    """The file is the one that the table describes, and keeps the signature at any size and batch."""
    import numpy as np

    entry = weights.records()[name]
    assert len(weights.read(entry)) == entry.bytes
    assert entry.licence
    assert entry.figures
    detector = facesmith.load(name, threads=1)
    assert detector.name == name
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 1), (2, 97, 161), (1, 320, 240)):
        boxes, scores, landmarks = detector.raw(rng.integers(0, 256, (*shape, 3), np.uint8))
        assert boxes.shape == (*scores.shape, 4)
        assert landmarks.shape == (*scores.shape, 5, 2)
        assert scores.min() >= 0
        assert scores.max() <= 1
        assert (np.diff(scores) <= 0).all()
