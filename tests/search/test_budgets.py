import random
from dataclasses import replace

import damofd_reference as reference
import pytest

from facesmith.detectors.damofd.config import RELEASED
from facesmith.detectors.damofd.space import REGIMES
from facesmith.search.budgets import (
    SEARCH_CODE,
    BackboneMacs,
    Counter,
    DetectorMacs,
    DetectorParameters,
    stage_macs,
    stage_parameters,
    stage_size,
)


@pytest.mark.parametrize(
    ("name", "authors", "correct"),
    [
        ("0.5G", 63.1e6, 65448320),
        ("2.5G", 326.8e6, 330954232),
        ("10G", 1341.9e6, 1362386984),
        ("34G", 4147.3e6, 4305487704),
    ],
)
def test_backbone_macs(name: str, authors: float, correct: int) -> None:
    net = RELEASED[name].net
    assert BackboneMacs(counter=SEARCH_CODE)(net) == pytest.approx(authors, abs=5.1e4)
    assert BackboneMacs()(net) == correct == reference.macs(str(net))


PUBLISHED = [
    ("0.5G", False, 0.26, 0.520),
    ("2.5G", False, 0.44, 2.46),
    ("10G", False, 1.27, 9.74),
    ("34G", False, 6.24, 34.03),
    ("0.5G", True, 0.27, 0.593),
    ("2.5G", True, 0.45, 2.53),
    ("10G", True, 1.28, 9.83),
    ("34G", True, 6.28, 34.32),
]


@pytest.mark.parametrize(("name", "landmarks", "parameters", "macs"), PUBLISHED)
def test_whole_detectors_to_the_last_printed_digit(name: str, landmarks: bool, parameters: float, macs: float) -> None:
    config = replace(RELEASED[name], landmarks=landmarks)
    assert round(DetectorParameters(config)(config.net) / 1e6, 2) == parameters
    assert round(DetectorMacs(config)(config.net) / 1e9, 3 if macs < 1 else 2) == macs


def test_against_layer_objects_on_random_nets() -> None:
    rng = random.Random(2)
    for name in ("0.5G", "2.5G"):
        space = REGIMES[name].space
        genome = space.encode(space.initial)
        for _ in range(150):
            genome = space.mutate(genome, 2, rng)
            net = space.decode(genome)
            assert BackboneMacs()(net) == reference.macs(str(net))
            assert sum(map(stage_parameters, net.stages)) == reference.parameters(str(net))


def test_against_the_torch_network() -> None:
    from facesmith.detectors.damofd.model import DamoFD

    rng = random.Random(3)
    for name in ("0.5G", "2.5G"):
        space = REGIMES[name].space
        genome = space.encode(space.initial)
        for _ in range(5):
            genome = space.mutate(genome, 2, rng)
        config = replace(REGIMES[name].detector, backbone=str(space.decode(genome)))
        counted = sum(parameter.numel() for parameter in DamoFD(config).parameters())
        assert DetectorParameters(config)(config.net) == counted


def test_a_convolution_by_hand() -> None:
    """3×3, 3 -> 32, stride 2 at 224: 112² positions of 864 weights and 32 normalised values."""
    stem = RELEASED["0.5G"].net.stages[0]
    assert stage_macs(stem, (224, 224)) == 112 * 112 * (864 + 32)
    assert stage_macs(stem, (224, 224), Counter(norm=2)) == 112 * 112 * (864 + 64)
    assert stage_parameters(stem) == 864 + 64


def test_the_authors_slip_concerns_strided_projections_only() -> None:
    """The first sub-layer's 32 -> 8 projection at 56²: three quarters of it go uncounted."""
    stage = RELEASED["0.5G"].net.stages[1]
    lost = stage_macs(stage, (112, 112)) - stage_macs(stage, (112, 112), SEARCH_CODE)
    assert lost == 56 * 56 * (32 * 8 + 8) * 3 // 4


def test_sizes_halve_upwards() -> None:
    assert [stage_size(i, (480, 641)) for i in range(6)] == [
        (480, 641),
        (240, 321),
        (120, 161),
        (60, 81),
        (30, 41),
        (15, 21),
    ]
