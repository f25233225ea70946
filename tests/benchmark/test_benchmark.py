"""``facesmith benchmark`` on the tiny network, and its parts."""

import json
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from facesmith import cli, images, load
from facesmith.benchmark.chart import chart
from facesmith.benchmark.latency import LEAST, STAGES, latency, percentiles
from facesmith.benchmark.resources import Energy, peak_memory
from facesmith.benchmark.throughput import rates
from facesmith.errors import ConfigError
from facesmith.runtime import SizeRule


def test_the_verb(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images.write(tmp_path / "pictures/a.png", np.full((64, 96, 3), 200, np.uint8))
    outputs = ["--json", str(tmp_path / "b.json"), "--plot", str(tmp_path / "b.svg")]
    limits = [
        "--threads",
        "1",
        "2",
        "--batches",
        "1",
        "3",
        "--seconds",
        "0.001",
        "--images",
        str(tmp_path / "pictures"),
    ]
    assert cli.main(["benchmark", str(tiny_model), *limits, *outputs]) == 0
    text = capsys.readouterr().out
    assert "tiny on cpu" in text
    assert "2 threads, one picture at a time" in text
    found = json.loads((tmp_path / "b.json").read_text())
    assert (found["model"], found["device"]) == ("tiny", "cpu")
    assert [row["threads"] for row in found["latency_ms"]] == [1, 2]
    row = found["latency_ms"][0]
    assert row["calls"] >= LEAST
    assert 0 < row["pixels to faces"]["p50"] <= row["pixels to faces"]["p90"] <= row["pixels to faces"]["p99"]
    assert row["file to faces"]["p50"] > row["pixels to faces"]["p50"]
    assert {f"stage: {name}" for name in STAGES} <= row.keys()
    assert [(r["threads"], r["batch"]) for r in found["pictures_per_second"]] == [
        (threads, batch) for threads in (1, 2) for batch in (1, 3, None)
    ]
    assert found["peak_memory_mib"] > 20
    drawn = (tmp_path / "b.svg").read_text()
    ElementTree.fromstring(drawn)
    assert "batch 3" in drawn
    assert "side by side" in drawn


def test_wrong_settings(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for flags, message in (
        (["--images", str(tmp_path / "empty")], "no pictures in this folder"),
        (["--batches", "0"], "batches must be 1 or more"),
        (["--seconds", "0"], "seconds more than 0"),
        (["--threads", "0"], "threads must be 1 or more"),
        (["--size", "huge"], "no such size rule"),
    ):
        assert cli.main(["benchmark", str(tiny_model), *flags]) == 2
        assert message in capsys.readouterr().err


def test_stages_add_up(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that takes 20 ms is seen to take them, and nothing else is."""
    detector = load(tiny_model, threads=1)
    session, _ = detector.sessions
    run = session.run

    def slow(batch: np.ndarray) -> object:
        time.sleep(0.02)
        return run(batch)

    monkeypatch.setattr(session, "run", slow)
    file = images.encode("black.png", np.zeros((48, 64, 3), np.uint8))
    found = latency(detector, [file], size=SizeRule.parse("original"), seconds=0.001)
    assert found.calls == LEAST
    assert found.stages["network"].p50 >= 20
    assert found.stages["read"].p50 < found.stages["network"].p50
    assert found.detect.p50 >= found.stages["network"].p50
    assert found.whole.p50 >= found.detect.p50
    assert found.cpu.p50 < found.detect.p50, "sleeping takes no CPU time"


def test_percentiles() -> None:
    assert percentiles(np.arange(101) / 1e3) == pytest.approx((50, 90, 99))


def test_rates(tiny_model: Path) -> None:
    detector = load(tiny_model, threads=2)
    found = rates(detector, [np.zeros((32, 32, 3), np.uint8)], batches=(1, 4), size=SizeRule(), seconds=0.001)
    assert [(one.threads, one.batch) for one in found] == [(2, 1), (2, 4), (2, None)]
    assert all(one.pictures_per_second > 0 for one in found)
    with pytest.raises(ConfigError):
        rates(load(tiny_model, threads=0), [], batches=(), size=SizeRule(), seconds=1)


def test_peak_memory(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t 999 kB\nVmHWM:\t  204800 kB\n")
    assert peak_memory(status) == 200
    other = peak_memory(tmp_path / "absent")
    assert other is None or other > 20


class TestEnergy:
    def zone(self, root: Path, name: str, microjoules: int) -> None:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "energy_uj").write_text(f"{microjoules}\n")
        (root / name / "max_energy_range_uj").write_text("9999999\n")

    def test_packages_are_added_and_their_parts_are_not(self, tmp_path: Path) -> None:
        for name, start in (("intel-rapl:0", 1_000_000), ("intel-rapl:1", 2_000_000), ("intel-rapl:0:0", 5)):
            self.zone(tmp_path, name, start)
        energy = Energy(tmp_path)
        assert energy.reason is None
        self.zone(tmp_path, "intel-rapl:0", 3_500_000)
        self.zone(tmp_path, "intel-rapl:0:0", 4_000_000)
        assert energy.joules() == 2.5

    def test_a_counter_that_wraps(self, tmp_path: Path) -> None:
        self.zone(tmp_path, "intel-rapl:0", 9_000_000)
        energy = Energy(tmp_path)
        self.zone(tmp_path, "intel-rapl:0", 500_000)
        assert energy.joules() == pytest.approx(1.5)

    def test_where_nothing_can_be_read(self, tmp_path: Path) -> None:
        energy = Energy(tmp_path)
        assert energy.joules() is None
        assert "no RAPL zone" in str(energy.reason)
        (tmp_path / "intel-rapl:0/energy_uj").mkdir(parents=True)
        energy = Energy(tmp_path)
        assert energy.joules() is None
        assert "energy_uj" in str(energy.reason)


def test_a_chart_has_its_names_and_scales() -> None:
    text = chart({"a <b>": [(1, 10), (2, 30)], "c": [(4, 20)]}, x="threads", y="rate")
    root = ElementTree.fromstring(text)
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"a <b>", "c", "threads", "rate", "0"} <= set(texts)
    assert len([element for element in root.iter() if element.tag.endswith("circle")]) == 3
    raised = chart({"a": [(1, 0.8), (2, 0.9)]}, x="ms", y="AP", from_zero=False)
    assert "0.85" in raised
