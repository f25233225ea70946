"""Every row of genes is one architecture, no two are the same; so uniform genes are a uniform draw."""

from itertools import islice, permutations, product

import numpy as np
import pytest
from scipy.stats import chisquare

from facesmith.detectors.bfbox.architecture import LEVELS, Architecture, Dense, Plain
from facesmith.detectors.bfbox.config import uniform
from facesmith.detectors.bfbox.space import PAPER, PRESETS, TINY, Space, uniform_path
from facesmith.errors import ConfigError

ONE = ((Plain(3),),)
FEW = Space((((Plain(3), Dense(2, 8)),), *(ONE,) * 5), operations=("+",))
"""Two backbones and every pyramid of sums."""


def test_rows_of_genes_are_different_architectures() -> None:
    assert FEW.size == 2 * 120 * (4 * 5 * 6 * 7 * 8)  # all that the rules allow: any order, any other candidate
    rows = list(islice(product(*(range(radix) for radix in FEW.radices)), 0, None, 197))
    architectures = {FEW.decode(row) for row in rows}
    assert len(architectures) == len(rows) == -(-FEW.size // 197)
    orders = {tuple(m.level for m in a.merges) for a in architectures}
    assert orders == set(permutations(LEVELS))
    for place, candidates in enumerate((4, 5, 6, 7, 8)):
        others = {(a.merges[place].level, a.merges[place].other) for a in architectures}
        assert len({other for level, other in others if level == 2}) >= candidates


@pytest.mark.parametrize("name", PRESETS)
def test_encode_is_the_inverse_of_decode(name: str) -> None:
    space = PRESETS[name].space
    for step in range(300):
        genes = uniform_path(space, 3, step)
        assert space.encode(space.decode(genes)) == genes


@pytest.mark.parametrize("name", PRESETS)
def test_every_sampled_pyramid_keeps_the_rule_of_the_same_resolution(name: str) -> None:
    space = PRESETS[name].space
    for step in range(500):
        merges = space.decode(uniform_path(space, 0, step)).merges
        made: set[str] = set()
        for merge in merges:
            same, other = str(merge).partition("=")[2].replace("*", "+").split("+")
            assert same == f"c{merge.level}"  # has the output's resolution
            assert other != same
            assert other[0] == "c" or other in made
            made.add(f"p{merge.level}")
        assert made == {f"p{level}" for level in LEVELS}


def test_draws_are_uniform_and_independent() -> None:
    space, steps = TINY.space, 6000
    drawn = np.array([uniform_path(space, 0, step) for step in range(steps)])
    for gene, radix in zip(drawn.T, space.radices, strict=True):
        assert chisquare(np.bincount(gene, minlength=radix)).pvalue > 1e-4
    pairs = drawn[:, 0] * space.radices[1] + drawn[:, 1]
    assert chisquare(np.bincount(pairs, minlength=space.radices[0] * space.radices[1])).pvalue > 1e-4
    following = drawn[:-1, 0] * space.radices[0] + drawn[1:, 0]
    assert chisquare(np.bincount(following, minlength=space.radices[0] ** 2)).pvalue > 1e-4


def test_a_path_depends_on_seed_and_step_alone() -> None:
    assert uniform_path(PAPER.space, 5, 7) == uniform_path(PAPER.space, 5, 7)
    assert uniform_path(PAPER.space, 5, 7) != uniform_path(PAPER.space, 5, 8)
    assert uniform_path(PAPER.space, 5, 7) != uniform_path(PAPER.space, 6, 7)


def test_fixed_parts_stay() -> None:
    architecture = TINY.space.decode(uniform_path(TINY.space, 0, 0))
    backbones = TINY.space.with_pyramid(architecture.pyramid)
    pyramids = TINY.space.with_backbone(architecture)
    for step in range(50):
        assert backbones.decode(uniform_path(backbones, 0, step)).merges == architecture.merges
        found = pyramids.decode(uniform_path(pyramids, 0, step))
        assert found.stages == architecture.stages
        assert pyramids.encode(found) == uniform_path(pyramids, 0, step)
    assert backbones.size * pyramids.size == TINY.space.size


def test_foreign_architectures_and_genes_are_refused() -> None:
    foreign = Architecture.parse(uniform("k9", (2, 2, 2, 2, 1, 1)))
    with pytest.raises(ConfigError, match="k9 is not among the choices"):
        TINY.space.encode(foreign)
    with pytest.raises(ConfigError, match="blocks a stage"):
        TINY.space.encode(Architecture.parse(uniform("k3", (1,) * 6)))
    with pytest.raises(ConfigError, match="take two maps"):
        TINY.space.encode(Architecture.parse(uniform("k3", (2, 2, 2, 2, 1, 1))))
    with pytest.raises(ConfigError, match="radices"):
        TINY.space.decode((0,) * 3)
