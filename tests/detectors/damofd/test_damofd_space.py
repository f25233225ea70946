import random
from dataclasses import replace

import pytest

from facesmith.detectors.damofd.config import RELEASED, Backbone
from facesmith.detectors.damofd.space import REGIMES, SPLIT_LAYERS, Genome, Space, Widths

SPACES = {name: regime.space for name, regime in REGIMES.items()}


def _walk(space: Space, steps: int, seed: int = 0) -> list[tuple[Genome, Genome]]:
    """Parents and children along random walks that start afresh now and then."""
    rng = random.Random(seed)
    parent = start = space.encode(space.initial)
    pairs = []
    for _ in range(steps):
        child = space.mutate(parent, 2, rng)
        pairs.append((parent, child))
        parent = start if rng.random() < 0.1 else child
    return pairs


@pytest.mark.parametrize("name", SPACES)
def test_mutations_keep_to_the_space(name: str) -> None:
    space = SPACES[name]
    for parent, child in _walk(space, 3000):
        for (_, out, mid, layers), (operation, new_out, new_mid, new_layers) in zip(parent, child, strict=True):
            assert 0 <= operation < len(space.operations)
            assert new_out % 8 == new_mid % 8 == 0
            assert 8 <= new_out <= (128 if name == "0.5G" else 1024)
            assert new_mid >= 8
            assert name == "0.5G" or new_mid <= 256
            assert abs(new_layers - layers) <= 2
            assert new_layers >= 1
            assert new_out <= out * 2.5 + 4
            if name == "0.5G":
                assert new_out >= min(out, 128)
            assert new_mid >= mid / 2.5 - 4
        assert space.decode(child).stages[0] == space.initial.stages[0]


@pytest.mark.parametrize("replacements", [1, 2])
def test_at_most_so_many_stages_change(replacements: int) -> None:
    space, rng = SPACES["2.5G"], random.Random(0)
    genome = space.encode(space.initial)
    changed = []
    for _ in range(2000):
        child = space.mutate(genome, replacements, rng)
        changed.append(sum(a != b for a, b in zip(genome, child, strict=True)))
    assert max(changed) == replacements
    assert min(changed) < replacements  # the same stage drawn twice, or mutated into itself


def test_every_option_occurs_and_alike_often() -> None:
    """Uniform over operations, out widths, bottlenecks and layers."""
    space, rng = SPACES["2.5G"], random.Random(0)
    genome = space.encode(space.initial)
    drawn: list[list[int]] = [[], [], [], []]
    for _ in range(8000):
        child = space.mutate(genome, 1, rng)
        if child[3] != genome[3]:
            for values, value in zip(drawn, child[3], strict=True):
                values.append(value)
    expected = [range(6), space.out.options(128), space.bottleneck.options(16), (1, 2, 3, 4, 5)]
    for values, options in zip(drawn, expected, strict=True):
        counts = {value: values.count(value) for value in set(values)}
        assert set(counts) == set(options)
        mean = len(values) / len(options)
        assert all(0.75 * mean < count < 1.25 * mean for count in counts.values())


def test_widths_round_clip_and_merge() -> None:
    mobile, residual = SPACES["0.5G"], SPACES["2.5G"]
    assert mobile.out.options(32) == (32, 40, 48, 64, 80)
    assert mobile.out.options(96) == (96, 120, 128)
    assert mobile.bottleneck.options(8) == (8, 16)  # 10 -> 8; 12 and 20 -> 16: halves to even
    assert mobile.bottleneck.options(400)[-1] == 1000  # no upper clip
    assert residual.out.options(1000)[-1] == 1024
    assert residual.bottleneck.options(256)[-1] == 256
    assert Widths((1.1,), 8, 128).options(10) == (8,)


def test_encode_decode() -> None:
    for name, space in SPACES.items():
        for _, genome in _walk(space, 50, seed=1):
            assert space.encode(space.decode(genome)) == genome
            assert Backbone.parse(str(space.decode(genome))) == space.decode(genome)
        if name != "10G":
            assert space.decode(space.encode(RELEASED[name].net)) == RELEASED[name].net


def test_refusals() -> None:
    space = SPACES["2.5G"]
    operation = 0
    good: Genome = (
        (operation, 32, 8, 5),
        (operation, 48, 8, 5),
        (operation, 64, 8, 5),
        (operation, 64, 8, 3),
    )
    assert space.refusal(good) is None
    many = (good[0], good[1], good[2], (operation, 64, 8, 4))
    assert space.refusal(many) == "layers"  # 2 + 5 + 5 + 5 + 4 > 20
    split = (good[0], good[1], (operation, 64, 8, SPLIT_LAYERS), good[3])
    assert space.refusal(split) == "split"
    narrowing = ((operation, 16, 8, 1), *good[1:])
    assert space.refusal(narrowing) == "narrowing"  # the stem gives 24
    thin = (*good[:3], (operation, 136, 8, 3))
    assert space.refusal(thin) == "squeeze"
    free = replace(space, squeeze=None)
    assert free.refusal(narrowing) is None
    assert free.refusal(thin) is None
    assert free.refusal(split) == "split"


def test_released_nets_and_initial_nets_keep_to_the_constraints_as_documented() -> None:
    for name, space in SPACES.items():
        assert space.refusal(space.encode(space.initial)) is None
        if name in ("0.5G", "2.5G"):
            assert space.refusal(space.encode(RELEASED[name].net)) is None
        assert space.initial.stages[0] == RELEASED[name].net.stages[0]


def test_shrunk() -> None:
    space = SPACES["0.5G"]
    smaller = space.shrunk(0.5)
    assert str(smaller.initial) == (
        "K3(3,32,2,1)IDWE1K3(32,32,2,8,1)IDWE4K3(32,32,2,16,1)IDWE1K3(32,48,2,24,1)IDWE1K3(48,64,2,48,1)"
    )
    assert str(space.shrunk(0.5, 0.5).initial).startswith("K3(3,16,2,1)IDWE1K3(16,16,2,8,1)")
    assert replace(smaller, initial=space.initial) == space
