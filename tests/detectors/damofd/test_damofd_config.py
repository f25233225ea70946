import json

import pytest

from facesmith import configs
from facesmith.detectors.damofd.config import RELEASED, Backbone, Block, DamoFDConfig, Stage
from facesmith.errors import ConfigError

AUTHORS_TEXT = (
    "SuperConvK3BNRELU(3,24,2,2)SuperResK3K3(24,32,2,24,4)SuperResK3K3(32,56,2,16,4)"
    "SuperResK5K5(56,88,2,8,5)SuperResK1K5K1(88,128,2,8,4)"
)


@pytest.mark.parametrize("name", RELEASED)
def test_released_nets_survive_their_text_form_and_json(name: str) -> None:
    config = RELEASED[name]
    assert str(config.net) == config.backbone
    assert Backbone.parse(config.backbone) == config.net
    assert configs.from_json(DamoFDConfig, json.loads(json.dumps(configs.to_json(config)))) == config
    assert len({config.net, Backbone.parse(config.backbone)}) == 1


def test_parse_understands_the_authors_names_and_separators() -> None:
    assert Backbone.parse(AUTHORS_TEXT) == RELEASED["2.5G"].net
    assert Backbone.parse(RELEASED["0.5G"].backbone.replace(")", "), ").rstrip(", ")) == RELEASED["0.5G"].net


def test_released_half_g_as_data() -> None:
    net = RELEASED["0.5G"].net
    assert net.stages[0] == Stage(Block.CONV, 3, 3, 32, 2, 0, 1)
    assert net.stages[3] == Stage(Block.IDWE, 7, 64, 120, 2, 40, 2, 1)
    assert net.taps == (32, 64, 120, 160)
    assert net.layers == 6
    assert [net.layers for net in (c.net for c in RELEASED.values())] == [6, 19, 17, 20]


GOOD = RELEASED["0.5G"].backbone


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "found 0 stages"),
        (GOOD.rpartition("IDWE")[0], "found 4 stages"),
        (GOOD + "IDWE1K3(160,160,2,8,1)", "found 6 stages"),
        (GOOD + "!", "stuck at '!'"),
        (GOOD.replace("IDWE1K7(32", "nonsense IDWE1K7(32"), "cannot read"),
        (GOOD.replace("K3(3,32,2,1)", "K3(3,32,2)"), "wanted 4 numbers, got 3"),
        (GOOD.replace("(32,64,2,40,1)", "(32,64,2,40)"), "wanted 5 numbers, got 4"),
        (GOOD.replace("(32,64,2,40,1)", "(32,64,2,x,1)"), "wanted whole numbers"),
        (GOOD.replace("(32,64,2,40,1)", "(40,64,2,40,1)"), "must take the 32 channels"),
        (GOOD.replace("IDWE1K7(32", "Inception(32"), "unknown block 'Inception'"),
        (GOOD.replace("IDWE1K7(32", "K3K5(32"), "unknown block 'K3K5'"),
        (GOOD.replace("IDWE1K7(32", "IDWE1K4(32"), "kernel must be odd"),
        (GOOD.replace("(32,64,2,40,1)", "(32,64,1,40,1)"), "stride 2"),
        (GOOD.replace("(32,64,2,40,1)", "(32,64,3,40,1)"), "stride must be 1 or 2"),
        (GOOD.replace("(32,64,2,40,1)", "(32,64,2,0,1)"), "bottleneck"),
        (GOOD.replace("(32,64,2,40,1)", "(32,64,2,40,0)"), "at least 1"),
        (GOOD.replace("K3(3,32", "K3(1,32"), "3 colours"),
        (GOOD.replace("IDWE1K3(32,32,2,8,1)", "K3(32,32,2,1)"), "only stem"),
    ],
)
def test_bad_text_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Backbone.parse(text)
    assert complaint in str(caught.value)


def test_expansion_belongs_to_inverted_blocks() -> None:
    with pytest.raises(ConfigError, match="only IDWE"):
        Stage(Block.KXK, 3, 8, 8, 2, 8, 1, expansion=2)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"backbone": "K3"}, "cannot read a backbone"),
        ({"neck_channels": 0}, "at least 1"),
        ({"head_groups": 24}, "must divide"),
        ({"neck_channels": 24}, "must divide"),
    ],
)
def test_bad_config_is_named(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        DamoFDConfig(**change)  # type: ignore[arg-type]
