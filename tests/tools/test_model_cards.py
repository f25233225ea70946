"""The model cards are what the tool makes of the records."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from facesmith import weights

ROOT = Path(__file__).parents[2]


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("model_cards", ROOT / "tools/model_cards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", weights.records())
def test_every_card_is_up_to_date(name: str) -> None:
    record = weights.records()[name]
    written = (ROOT / f"docs/models/{name}.md").read_text(encoding="utf-8")
    assert written == tool().card(record), "run `python tools/model_cards.py`"
    assert record.sha256 in written
    assert record.licence in written
    for figure in record.figures.values():
        assert figure.protocol in written


def test_no_card_without_a_model() -> None:
    assert {path.stem for path in (ROOT / "docs/models").glob("*.md")} == set(weights.records())


@pytest.mark.parametrize("name", weights.records())
def test_every_model_has_been_measured_by_face_size(name: str) -> None:
    found = weights.records()[name].found_faces
    assert found is not None
    assert 0 < found[0] < found[1]
