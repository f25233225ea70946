import json
import subprocess
import sys

import pytest

from facesmith import configs
from facesmith.box_styles import SQUARE
from facesmith.detectors.kpnet.config import (
    FIVE_OF,
    ArgmaxConfig,
    AssociativeConfig,
    DRNetConfig,
    HourglassConfig,
    KPNetConfig,
    KPNetLossConfig,
    RegressionConfig,
    RPNConfig,
    ScaleConfig,
    SoftArgmaxConfig,
    TemplateConfig,
)
from facesmith.errors import ConfigError


@pytest.mark.parametrize(
    "config",
    [
        KPNetConfig(),
        KPNetConfig(
            backbone=HourglassConfig(channels=32),
            proposals=ScaleConfig(side=320, sigma=0.3),
            landmarks=SoftArgmaxConfig(scored=0),
            loss=KPNetLossConfig(keypoint=20.0),
            points=19,
            box_style=SQUARE,
        ),
        KPNetConfig(landmarks=ArgmaxConfig()),  # with fields that others have too, or without any
        KPNetConfig(proposals=RPNConfig(), landmarks=RegressionConfig()),
        KPNetConfig(landmarks=TemplateConfig()),
        AssociativeConfig(backbone=HourglassConfig(), distance=0.7),
    ],
)
def test_a_configuration_survives_json(config: KPNetConfig | AssociativeConfig) -> None:
    assert configs.from_json(type(config), json.loads(json.dumps(configs.to_json(config)))) == config


def test_values_without_kinds_are_the_papers_network() -> None:
    old = {"backbone": {"stem": 8, "deep": 16}, "proposals": {"side": 128, "sigma": 0.3}, "landmarks": {"scored": 2}}
    expected = KPNetConfig(DRNetConfig(8, 16), ScaleConfig(128, 0.3), SoftArgmaxConfig(2))
    assert configs.from_json(KPNetConfig, old) == expected


def test_sides_of_anchors() -> None:
    assert RPNConfig().sides == pytest.approx([8 * 2 ** (k / 2) for k in range(11)])
    assert RPNConfig(side=100, smallest=10, per_octave=1).sides == (10, 20, 40, 80)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: KPNetConfig(points=68), "KPNet has 5 or 19 landmarks, not 68"),
        (
            lambda: KPNetConfig(candidates=0),
            "at least 1 candidate, a proposal score in 0…1 and even above 0, not 0, 0.05 and 1.0",
        ),
        (lambda: KPNetConfig(proposal_score=1.5), "not 100, 1.5 and 1.0"),
        (lambda: ScaleConfig(sigma=0), "side and sigma above 0, not 256 and 0"),
        (lambda: ScaleConfig(side=0), "side and sigma above 0, not 0"),
        (lambda: SoftArgmaxConfig(scored=6), "0 to 5 can raise a score, not 6"),
        (lambda: ArgmaxConfig(scored=-1), "0 to 5 can raise a score, not -1"),
        (lambda: KPNetConfig(landmarks=TemplateConfig(), points=19), "the template has 5 landmarks, not 19"),
        (lambda: RPNConfig(stride=6), "a power of two of at least 2 as their stride and .* not 6 and 2"),
        (lambda: RPNConfig(per_octave=0), "not 8 and 0"),
        (lambda: RPNConfig(smallest=300), "0 < smallest <= side"),
        (lambda: RPNConfig(negative=0.6), "0 <= negative <= positive <= 1"),
        (lambda: AssociativeConfig(points=3), "the network has 5 or 19 landmarks, not 3"),
        (lambda: AssociativeConfig(distance=0), "a side and a distance above 0, not 100, 256 and 0"),
        (lambda: DRNetConfig(stem=0), "stem and deep of at least 1, not 0 and 128"),
        (lambda: HourglassConfig(depth=0), "channels and depth of at least 1, not 64 and 0"),
    ],
)
def test_bad_settings_are_named(make: type, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        make()


def test_the_five_are_eyes_nose_and_mouth_of_aflw() -> None:
    aflw = [
        *(f"{side} brow {part}" for side in ("left", "right") for part in ("left", "centre", "right")),
        *("left eye outer", "left eye", "left eye inner", "right eye inner", "right eye", "right eye outer"),
        *("left ear", "nose left", "nose", "nose right", "right ear", "mouth left", "mouth", "mouth right", "chin"),
    ]
    assert len(aflw) == 21
    without_ears = [name for name in aflw if "ear" not in name]
    five = [without_ears[k] for k in FIVE_OF[19]]
    assert five == ["left eye", "right eye", "nose", "mouth left", "mouth right"]


def test_torch_stays_out() -> None:
    code = "import sys, facesmith.detectors.kpnet.config; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
