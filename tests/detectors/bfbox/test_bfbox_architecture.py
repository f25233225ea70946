import json

import numpy as np
import pytest

from facesmith import configs
from facesmith.detectors.bfbox.architecture import PYRAMIDS, Architecture, Depthwise, Merge, parse_pyramid
from facesmith.detectors.bfbox.config import BFBoxConfig, uniform
from facesmith.detectors.bfbox.space import PAPER, PRESETS, TINY, face_appropriate
from facesmith.errors import ConfigError

PLAIN = uniform("k3", (1,) * 6)


@pytest.mark.parametrize("name", PRESETS)
def test_text_and_back(name: str) -> None:
    space = PRESETS[name].space
    rng = np.random.default_rng(0)
    for _ in range(200):
        architecture = space.decode(space.draw(rng))
        assert Architecture.parse(str(architecture)) == architecture


def test_text_of_an_architecture() -> None:
    text = "k3,dw5/dense2x32,dw35/k3/k3/k3/k3 p4=c4+c6 p3=c3*p4 p2=c2+p3 p5=c5+p4 p6=c6+c2"
    found = Architecture.parse(text)
    assert found.stages[1][1] == Depthwise((3, 5))
    assert found.merges[1] == Merge(3, "p4", "*")
    assert str(found) == text
    assert found.stages[2:] == Architecture.parse(PLAIN).stages[2:]


@pytest.mark.parametrize("name", PYRAMIDS)
def test_pyramids_made_by_hand(name: str) -> None:
    merges = parse_pyramid(PYRAMIDS[name])
    assert " ".join(map(str, merges)) == PYRAMIDS[name]
    Architecture(Architecture.parse(PLAIN).stages, merges)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("k4/k3/k3/k3/k3/k3 p2=c2", "not a block: 'k4'"),
        ("k3/k3/k3/k3/k3 p2=c2 p3=c3 p4=c4 p5=c5 p6=c6", "conv2 to conv7"),
        ("k3/k3/k3/k3/k3/k3 p2=c2 p3=c3 p4=c4 p5=c5", "each of p2 to p6 once"),
        ("k3/k3/k3/k3/k3/k3 p2=c2 p2=c2 p4=c4 p5=c5 p6=c6", "each of p2 to p6 once"),
        ("k3/k3/k3/k3/k3/k3 p2=c2+p3 p3=c3 p4=c4 p5=c5 p6=c6", "p3 is made later"),
        ("k3/k3/k3/k3/k3/k3 p2=c3+c4 p3=c3 p4=c4 p5=c5 p6=c6", "resolution, as c2 has"),
        ("k3/k3/k3/k3/k3/k3 p2=c2+c2 p3=c3 p4=c4 p5=c5 p6=c6", "another level"),
        ("k3/k3/k3/k3/k3/k3 p2=c2-c3 p3=c3 p4=c4 p5=c5 p6=c6", "not a merge"),
        ("k3/k3/k3/k3/k3/k3", "each of p2 to p6 once"),
    ],
)
def test_what_is_no_architecture(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem.replace("(", r"\(")):
        Architecture.parse(text)


def test_a_configuration_travels_as_json() -> None:
    for preset in PRESETS.values():
        config = preset.config(preset.space.decode(preset.space.draw(np.random.default_rng(1))))
        again = configs.from_json(BFBoxConfig, json.loads(json.dumps(configs.to_json(config))))
        assert again == config
        assert again.net == config.net


@pytest.mark.parametrize(
    ("field", "value"),
    [("widths", (8, 8)), ("squeeze", 0), ("stem_kernel", 4), ("channels", 2), ("iou", 0.0), ("architecture", "k3")],
)
def test_impossible_configurations(field: str, value: object) -> None:
    values = {"architecture": PLAIN, field: value}
    with pytest.raises(ConfigError):
        BFBoxConfig(**values)  # type: ignore[arg-type]


def test_the_papers_space_has_its_choices() -> None:
    shallow = [str(b) for b in PAPER.space.stages[0][0]]
    assert shallow == ["k3", "k5", "k7", "k9", "dw3", "dw5", "dw7", "dw9", "dw35", "dw57", "dense2x32", "dense3x16"]
    assert [str(b) for b in PAPER.space.stages[5][0]] == ["k3", "k5", "k7", "dw3", "dw5", "dw7", "dw35", "dw57"]
    assert [len(stage) for stage in PAPER.space.stages] == [4] * 6
    assert PAPER.detector.widths == (256, 256, 512, 512, 512, 256)
    assert TINY.space.size < PAPER.space.size
    assert [len(stage) for stage in face_appropriate(6).stages] == [6, 6, 4, 4, 4, 4]
