from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from facesmith.detectors.damofd.config import RELEASED, Block, Stage
from facesmith.errors import ConfigError, DeviceError
from facesmith.search.budgets import DetectorParameters, stage_size
from facesmith.search.graphs import backbone_graph, detector_graph, neck_and_head_graph, stage_graph
from facesmith.search.latency import LEAST_RUNS, Latency, Runtime

SIZE = (64, 96)
CONFIG = RELEASED["0.5G"]


def _outputs(model: bytes) -> list[np.ndarray]:  # type: ignore[type-arg]
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    feed = {i.name: np.random.default_rng(1).standard_normal(i.shape, np.float32) for i in session.get_inputs()}
    return list(session.run(None, feed))


def _convolution_weights(model: bytes) -> int:
    graph = onnx.load_from_string(model).graph
    names = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    return sum(numpy_helper.to_array(w).size for w in graph.initializer if w.name in names)


@pytest.mark.parametrize("name", RELEASED)
def test_backbone_graphs_run_and_hold_the_counted_weights(name: str) -> None:
    net = RELEASED[name].net
    model = backbone_graph(net, SIZE)
    shapes = [output.shape for output in _outputs(model)]
    sizes = [stage_size(index, SIZE) for index in (3, 4, 5)]
    assert shapes == [(1, c, *size) for c, size in zip(net.taps[1:], sizes, strict=True)]
    from facesmith.detectors.damofd.layers import first_units, later_units

    units = [u for s in net.stages for u in first_units(s) + later_units(s) * (s.layers - 1)]
    convs = [conv for unit in units for conv in (*unit.convs, unit.projection) if conv]
    assert _convolution_weights(model) == sum(conv.weights for conv in convs)


def test_detector_graph_has_nine_maps_and_the_counted_weights() -> None:
    model = detector_graph(CONFIG, SIZE)
    shapes = [output.shape for output in _outputs(model)]
    levels = [stage_size(index, SIZE) for index in (3, 4, 5)]
    assert shapes == [(1, channels, *level) for level in levels for channels in (2, 8, 20)]
    backbone = _convolution_weights(backbone_graph(CONFIG.net, SIZE))
    rest = _convolution_weights(neck_and_head_graph(CONFIG, SIZE))
    assert _convolution_weights(model) == backbone + rest
    head = 64 * 9 * 30 + 16 * 9 + 16 * 64 + 64 * 9 + 64 * 64  # shared by three levels
    neck = 7 * 16 * 16 * 9 + (64 + 120 + 160) * 16
    assert rest == 3 * head + neck
    norms_and_biases = 2 * (16 + 64 + 64 + 64) + 30 + 10 * 16 + 3
    without_backbone = DetectorParameters(CONFIG).constant + (64 + 120 + 160) * 16 + 3 * 16
    assert head + neck + norms_and_biases == without_backbone


def test_odd_sizes_run() -> None:
    shapes = [output.shape for output in _outputs(detector_graph(CONFIG, (75, 101)))]
    assert shapes[0] == (1, 2, 10, 13)


@pytest.mark.parametrize("index", range(5))
def test_a_stage_is_its_first_and_later_parts(index: int) -> None:
    stage = RELEASED["2.5G"].net.stages[index]
    first, later = stage_graph(stage, SIZE), stage_graph(stage, SIZE, later=True)
    assert _outputs(first)[0].shape == (1, stage.out_channels, 32, 48)
    assert _outputs(later)[0].shape == (1, stage.out_channels, *SIZE)


@dataclass(frozen=True)
class Counting(Runtime):
    """Measures the number of convolutions."""

    def measure(self, model: bytes) -> float:
        return sum(node.op_type == "Conv" for node in onnx.load_from_string(model).graph.node)


def test_parts_are_measured_once_and_add_up(tmp_path: Path) -> None:
    latency = Latency(CONFIG, SIZE, Counting(), tmp_path / "t.tsv")
    assert latency(CONFIG.net) == pytest.approx(Counting().measure(detector_graph(CONFIG, SIZE)))
    known = len(latency)
    assert known == 1 + 1 + 5 + 1  # whole detector, neck and head, five first sub-layers, one later
    deeper = replace(CONFIG.net.stages[3], layers=4)
    assert latency.stage(3, deeper) - latency.stage(3, CONFIG.net.stages[3]) == pytest.approx(2 * 8)
    assert len(latency) == known
    assert latency.stage(2, CONFIG.net.stages[2]) == pytest.approx(8)
    assert len(latency) == known
    latency.stage(3, CONFIG.net.stages[2])  # elsewhere, it is another part
    assert len(latency) == known + 1


def test_entries_and_exits_are_taken_out(tmp_path: Path) -> None:
    """Where every graph costs a constant more, the detector measured whole is still predicted exactly."""

    @dataclass(frozen=True)
    class Entering(Counting):
        def measure(self, model: bytes) -> float:
            return 3 + super().measure(model)

    latency = Latency(CONFIG, SIZE, Entering())
    whole = Entering().measure(detector_graph(CONFIG, SIZE))
    assert latency(CONFIG.net) == pytest.approx(whole)
    parts = len(latency) - 1
    assert latency.stage(2, CONFIG.net.stages[2]) == pytest.approx((8 + 3) * whole / (whole - 3 + 3 * parts))


def test_the_table_outlives_the_search(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "t.tsv"
    first = Latency(CONFIG, SIZE, Counting(), path)
    value = first(CONFIG.net)
    text = path.read_text()
    assert text.count("\n") == 1 + len(first)
    path.write_text(text + "IDWE1K3(32,32,2,8,1)@1x1\t1")  # a crash in the middle of a line

    class Never(Counting):
        def measure(self, model: bytes) -> float:
            raise AssertionError("measured again")

    second = Latency(CONFIG, SIZE, Never(), path)
    assert second(CONFIG.net) == value
    assert path.read_text() == text
    third = Latency(CONFIG, SIZE, Counting(), path)
    third.stage(1, Stage(Block.IDWE, 3, 32, 40, 2, 8, 1))
    assert path.read_text().startswith(text)
    assert len(Latency(CONFIG, SIZE, Never(), path)) == len(first) + 1


def test_tables_from_elsewhere_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    Latency(CONFIG, SIZE, Counting(threads=1), path)(CONFIG.net)
    with pytest.raises(ConfigError, match="not measured on this runtime"):
        Latency(CONFIG, SIZE, Counting(threads=2), path)
    path.write_text(path.read_text() + "K3(3,32,2,1)@2x2\tfast\n")
    with pytest.raises(ConfigError, match=r"t.tsv:\d+: expected a part and its time"):
        Latency(CONFIG, SIZE, Counting(threads=1), path)


def test_measuring_is_real() -> None:
    """Sixteen times the pixels take longer; both take some time."""
    runtime = Runtime()
    stage = CONFIG.net.stages[2]
    small, large = (runtime.measure(stage_graph(stage, size)) for size in ((24, 32), (96, 128)))
    assert 0 < small < large


def test_the_fastest_of_several_runs_counts() -> None:
    from facesmith.search import latency

    times = iter([0.0, 5.0, 5.0, 6.0, 6.0, 9.0, 9.0, 11.0, 11.0, 14.0])
    runs = []
    assert latency._fastest(lambda: runs.append(1), lambda: next(times)) == 1.0
    assert len(runs) == latency.WARM_UP + LEAST_RUNS


def test_unknown_devices() -> None:
    with pytest.raises(DeviceError, match="cpu and cuda"):
        Runtime("npu")
    with pytest.raises(ConfigError, match="threads"):
        Runtime(threads=0)
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        with pytest.raises(DeviceError, match="cuda was asked for"):
            Runtime("cuda").measure(stage_graph(CONFIG.net.stages[1], SIZE))
