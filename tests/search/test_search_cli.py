import json
from pathlib import Path

import pytest
import tyro

from facesmith import configs
from facesmith.cli.search import Search
from facesmith.detectors.damofd.config import DamoFDConfig
from facesmith.detectors.damofd.space import REGIMES
from facesmith.detectors.weights import read_description
from facesmith.errors import ConfigError
from facesmith.search import latency
from facesmith.search.budgets import BackboneMacs, DetectorParameters
from facesmith.search.ddsar import DDSAR
from facesmith.search.record import read_candidates
from facesmith.training.recipes import RECIPES


def _search(*arguments: str) -> Search:
    return tyro.cli(Search, args=list(arguments), config=(tyro.conf.FlagCreatePairsOff,))


def _run(folder: Path, *arguments: str) -> dict[str, object]:
    assert _search("damofd", "--out", str(folder), *arguments).run() == 0
    contents: dict[str, object] = json.loads((folder / "best.json").read_text())
    return contents


def test_half_a_gigaflop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = _run(tmp_path, "--flops", "0.5G", "--iterations", "6000")
    config = configs.from_json(DamoFDConfig, contents["config"])  # type: ignore[arg-type]
    assert contents["detector"] == "damofd"
    assert config.neck_channels == 16
    assert BackboneMacs()(config.net) <= 65e6
    search = contents["search"]
    assert isinstance(search, dict)
    assert search["score"] == pytest.approx(DDSAR()(config.net), abs=1e-9)
    assert search["score"] > 13.177359  # the released net
    scores, costs, nets = read_candidates(tmp_path / "candidates.tsv")
    assert nets[scores.argmax()] == config.backbone
    assert costs.shape[1] == 2
    assert (tmp_path / "pareto.svg").read_text().startswith("<svg")
    printed = capsys.readouterr().out
    assert config.backbone in printed
    assert "6,000 nets tried" in printed
    assert printed.endswith(f"train it: facesmith train damofd-0.5g --model {tmp_path / 'best.json'} --data DIR\n")
    assert read_description(tmp_path / "best.json") == ("damofd-0.5g-searched", config)


def test_there_is_a_recipe_for_what_each_regime_finds() -> None:
    assert {f"damofd-{name.lower()}" for name in REGIMES} <= {recipe.name for recipe in RECIPES}


def test_resumes_and_refuses(tmp_path: Path) -> None:
    flags = ("--flops", "2.5G")
    whole = _run(tmp_path / "whole", *flags, "--iterations", "3000")
    _run(tmp_path / "parts", *flags, "--iterations", "1000")
    with pytest.raises(ConfigError, match="--resume"):
        _run(tmp_path / "parts", *flags, "--iterations", "3000")
    with pytest.raises(ConfigError, match="other settings"):
        _run(tmp_path / "parts", *flags, "--iterations", "3000", "--resume", "--seed", "1")
    assert _run(tmp_path / "parts", *flags, "--iterations", "3000", "--resume") == whole
    for name in ("candidates.tsv", "pareto.svg", "state.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_budgets_combine(tmp_path: Path) -> None:
    contents = _run(tmp_path, "--flops", "0.8G", "--params", "250k", "--iterations", "3000")
    config = configs.from_json(DamoFDConfig, contents["config"])  # type: ignore[arg-type]
    assert DetectorParameters(config)(config.net) <= 250_000
    search = contents["search"]
    assert isinstance(search, dict)
    assert search["limits"] == {"MACs at 640x480": 0.8e9, "parameters": 250_000}
    assert all(search["costs"][name] <= limit for name, limit in search["limits"].items())


def test_as_published_and_baselines(tmp_path: Path) -> None:
    contents = _run(tmp_path / "a", "--flops", "0.5G", "--no-constraints", "--iterations", "3000")
    search = contents["search"]
    assert isinstance(search, dict)
    assert list(search["limits"]) == ["backbone MACs at 224x224"]
    assert not {"narrowing", "squeeze"} & set(search["refused"])
    contents = _run(tmp_path / "b", "--params", "300k", "--score", "macs", "--iterations", "2000")
    search = contents["search"]
    assert isinstance(search, dict)
    assert search["score"] > 1e9


def test_own_labels_weigh_the_stages(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("# a.jpg\n0 0 5 5\n0 0 300 300\n0 0 300 300\n0 0 20 20\n")
    contents = _run(
        tmp_path / "out", "--flops", "0.5G", "--labels", str(labels), "--iterations", "1500", "--alpha", "0.1"
    )
    settings = contents["search"]["settings"]  # type: ignore[index]
    assert settings["stage weights"] == [0.25, 0, 0.25, 0, 0.5]
    assert settings["alpha"] == 0.1


def test_latency_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "LEAST_RUNS", 1)
    monkeypatch.setattr(latency, "SECONDS", 0.0)
    flags = (
        "--latency",
        "1000",
        "--size",
        "64x64",
        "--regime",
        "0.5G",
        "--no-constraints",
        "--iterations",
        "12",
    )
    contents = _run(tmp_path, *flags)
    search = contents["search"]
    assert isinstance(search, dict)
    (name,) = search["limits"]
    assert name == "ms at 64x64 on cpu, 1 thread"
    assert 0 < search["costs"][name] < 1000
    table = (tmp_path / "latency.tsv").read_text().splitlines()
    assert len(table) > 10
    assert _run(tmp_path, *flags, "--resume") == contents
    assert (tmp_path / "latency.tsv").read_text().splitlines() == table


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ((), "needs a budget"),
        (("--flops", "0.5X"), "not an amount"),
        (("--flops", "0.5G", "--size", "big"), "not a size"),
        (("--flops", "0.5G", "--iterations", "0"), "iterations"),
        (("--flops", "0.5G", "--population", "3"), "population"),
        (("--params", "1k"), "leaves nothing"),
        (("--flops", "1M"), "leaves nothing"),
    ],
)
def test_bad_flags(tmp_path: Path, flags: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        _run(tmp_path / "out", *flags)
