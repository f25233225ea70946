import random
from pathlib import Path

import damofd_reference as reference
import numpy as np
import pytest

from facesmith.detectors.damofd.config import RELEASED, Backbone
from facesmith.detectors.damofd.space import REGIMES
from facesmith.errors import ConfigError, LabelError
from facesmith.search.ddsar import (
    DDSAR,
    sar,
    sar_batch,
    stage_weights,
    stage_weights_of_labels,
    to_array,
)


@pytest.mark.parametrize(
    ("name", "large", "small"),
    [
        ("0.5G", 13.177359, 9.335759),
        ("2.5G", 18.060708, 11.132108),
        ("10G", 22.037123, 12.041123),
        ("34G", 22.799683, 12.436183),
    ],
)
def test_released_nets(name: str, large: float, small: float) -> None:
    net = RELEASED[name].net
    assert DDSAR(0.25)(net) == pytest.approx(large, abs=5e-7)
    assert DDSAR(0.005)(net) == pytest.approx(small, abs=5e-7)


@pytest.mark.parametrize(
    ("name", "scores"),
    [
        ("0.5G", [3.22838, 14.50096, 15.67068, 19.28105, 12.28164]),
        ("2.5G", [12.76786, 18.31639, 16.97984, 22.28255, 23.05891]),
    ],
)
def test_stages_of_released_nets(name: str, scores: list[float]) -> None:
    stages = RELEASED[name].net.stages
    found = [sar(stage, 224 / 2**index, 0.25) for index, stage in enumerate(stages)]
    assert found == pytest.approx(scores, abs=5e-6)


def _candidates(count: int) -> list[Backbone]:
    """Random nets of both spaces, along random walks."""
    nets, rng = [], random.Random(5)
    for regime in (REGIMES["0.5G"], REGIMES["2.5G"]):
        space = regime.space
        genome = start = space.encode(space.initial)
        for _ in range(count // 2):
            genome = start if rng.random() < 0.05 else space.mutate(genome, 2, rng)
            nets.append(space.decode(genome))
    return nets


def test_batch_and_scalar_agree_with_the_entry_by_entry_loop() -> None:
    nets = _candidates(4000)
    stages = np.array([reference.stage_scores(str(net), 0.25) for net in nets])
    array = to_array(nets)
    assert array.shape == (4000, 5, 8)
    np.testing.assert_allclose(sar_batch(array, 224, 0.25), stages, rtol=1e-12)
    expected = [reference.score(str(net), 0.25) for net in nets]
    np.testing.assert_allclose(DDSAR(0.25).batch(array), expected, rtol=1e-12)
    np.testing.assert_allclose([DDSAR(0.25)(net) for net in nets], expected, rtol=1e-12)


def test_other_sizes_and_alphas() -> None:
    net = RELEASED["10G"].net
    for size, alpha in ((640, 0.0), (320, 0.1)):
        expected = sum(
            w * s
            for w, s in zip((0.2, 0.27, 0.25, 0.18, 0.1), reference.stage_scores(str(net), alpha, size), strict=True)
        )
        assert DDSAR(alpha, size=size)(net) == pytest.approx(expected, rel=1e-12)


def test_own_weights_and_bad_settings() -> None:
    net = RELEASED["0.5G"].net
    assert DDSAR(weights=(0, 0, 0, 0, 1.0))(net) == pytest.approx(12.28164, abs=5e-6)
    with pytest.raises(ConfigError, match="five stage weights"):
        DDSAR(weights=(1.0, 1.0))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="α ≥ 0"):
        DDSAR(alpha=-1)
    with pytest.raises(ConfigError, match=r"\(n, 5, 8\)"):
        sar_batch(np.zeros((3, 8), np.int32), 224, 0.25)


def test_stage_weights_are_shares_of_face_sides() -> None:
    sides = np.array([1, 7.99, 8, 15, 16, 31, 32, 63.9, 64, 500])
    assert stage_weights(sides) == (0.2, 0.2, 0.2, 0.2, 0.2)
    assert stage_weights(np.array([100.0, 4.0, 5.0, 20.0])) == (0.5, 0, 0.25, 0, 0.25)
    with pytest.raises(LabelError, match="at least one"):
        stage_weights(np.empty(0))


def test_stage_weights_of_label_files(tmp_path: Path) -> None:
    retinaface = tmp_path / "a.txt"
    retinaface.write_text("# one.jpg\n0 0 4 9\n10 10 30 30\n# two.jpg\n# three.jpg\n5 5 100 100\n0 0 0 7\n")
    wider = tmp_path / "b.txt"
    wider.write_text("four.jpg\n2\n0 0 12 12 0 0 0 0 0 0\n0 0 200 200 0 0 0 1 0 0\n")  # the second is invalid
    assert stage_weights_of_labels([retinaface, wider]) == (0.25, 0.25, 0.25, 0, 0.25)
    empty = tmp_path / "c.txt"
    empty.write_text("# one.jpg\n")
    with pytest.raises(LabelError, match="at least one"):
        stage_weights_of_labels([empty])


def test_wider_val_is_close_to_the_authors_weights() -> None:
    path = Path(__file__).parents[3] / "shared/data/dev/widerface-val.txt"
    if not path.exists():
        pytest.skip(f"needs {path.name} of the development photographs")
    np.testing.assert_allclose(stage_weights_of_labels([path]), (0.153, 0.313, 0.259, 0.167, 0.108), atol=0.12)
