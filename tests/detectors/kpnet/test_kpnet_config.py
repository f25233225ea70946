import json
import subprocess
import sys

import pytest

from facesmith import configs
from facesmith.box_styles import SQUARE
from facesmith.detectors.kpnet.config import (
    FIVE_OF,
    DRNetConfig,
    HourglassConfig,
    KPNetConfig,
    KPNetLossConfig,
    ScaleConfig,
    SoftArgmaxConfig,
)
from facesmith.errors import ConfigError


@pytest.mark.parametrize(
    "config",
    [
        KPNetConfig(),
        KPNetConfig(
            backbone=HourglassConfig(channels=32),
            scales=ScaleConfig(side=320, sigma=0.3),
            landmarks=SoftArgmaxConfig(scored=0),
            loss=KPNetLossConfig(keypoint=20.0),
            points=19,
            box_style=SQUARE,
        ),
    ],
)
def test_a_configuration_survives_json(config: KPNetConfig) -> None:
    assert configs.from_json(KPNetConfig, json.loads(json.dumps(configs.to_json(config)))) == config


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: KPNetConfig(points=68), "KPNet has 5 or 19 landmarks, not 68"),
        (lambda: KPNetConfig(candidates=0), "at least 1 candidate and a proposal score in 0…1, not 0 and 0.05"),
        (lambda: KPNetConfig(proposal_score=1.5), "not 100 and 1.5"),
        (lambda: ScaleConfig(sigma=0), "side and sigma above 0, not 256 and 0"),
        (lambda: ScaleConfig(side=0), "side and sigma above 0, not 0"),
        (lambda: SoftArgmaxConfig(scored=6), "0 to 5 can raise a score, not 6"),
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
