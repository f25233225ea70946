"""What BFBox searches, as data: the blocks of the backbone's stages and the merges of the pyramid; no torch here.

Source: "BFBox: Searching Face-appropriate Backbone and Feature Pyramid Network for Robust Face Detector" (CVPR 2020),
Figures 2 and 3. The one-line text form of an architecture is its stages, then its merges:

    k3,dw5/dense2x32,dw35/k3/k3/k3/k3 p4=c4+c6 p3=c3*p4 p2=c2+p3 p5=c5+p4 p6=c6+c2

Stages conv2 … conv7 are separated by ``/``, their blocks by ``,``. ``k3``: 3×3 bottleneck; ``dw5``: depthwise 5×5;
``dw35``: depthwise 3×3, then 5×5; ``dense2x32``: two dense layers of growth 32. ``p4=c4+c6``: the output of level 4 is
the backbone's map of that level plus that of level 6, brought to its size (``*``: times).
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from facesmith.errors import ConfigError

LEVELS = (2, 3, 4, 5, 6)
"""Pyramid levels that merges make; level l has stride 2^l."""

STAGES = (2, 3, 4, 5, 6, 7)
"""Stages of the backbone; conv7 gives p7 without a merge."""

SOURCES = (*(f"c{level}" for level in LEVELS), *(f"p{level}" for level in LEVELS))
"""Maps that a merge may take: laterals of the backbone, and what merges made."""

Operation: TypeAlias = Literal["+", "*"]


@dataclass(frozen=True)
class Plain:
    """Bottleneck 1×1, k×k, 1×1 (Figure 2a)."""

    kernel: int

    def __str__(self) -> str:
        return f"k{self.kernel}"


@dataclass(frozen=True)
class Depthwise:
    """Bottleneck 1×1, one or two depthwise k×k, 1×1 (Figures 2b and 2c)."""

    kernels: tuple[int, ...]

    def __str__(self) -> str:
        return "dw" + "".join(map(str, self.kernels))


@dataclass(frozen=True)
class Dense:
    """Dense layers (1×1, then 3×3 to ``growth`` channels), then 1×1 (Figure 2d)."""

    layers: int
    growth: int

    def __str__(self) -> str:
        return f"dense{self.layers}x{self.growth}"


Block: TypeAlias = Plain | Depthwise | Dense

_PLAIN, _DEPTHWISE, _DENSE = (re.compile(p) for p in (r"k([3579])", r"dw([3579]{1,2})", r"dense([1-9])x([1-9]\d*)"))


def parse_block(text: str) -> Block:
    """The block that ``str`` wrote.

    Raises:
        ConfigError: it is none.
    """
    if found := _PLAIN.fullmatch(text):
        return Plain(int(found[1]))
    if found := _DEPTHWISE.fullmatch(text):
        return Depthwise(tuple(map(int, found[1])))
    if found := _DENSE.fullmatch(text):
        return Dense(int(found[1]), int(found[2]))
    raise ConfigError(f"not a block: {text!r}; there are k3, dw5, dw35 (kernels of 3, 5, 7, 9) and dense2x32")


@dataclass(frozen=True)
class Merge:
    """One merge: the map of ``level`` from the backbone and, brought to its size, another map.

    That the first input has the output's resolution is the rule of section 4.2.2; it holds by construction, since
    ``level`` names both. Searched merges always have another input; pyramids made by hand may go without.

    Attributes:
        level: of the output.
        other: one of :data:`SOURCES`, or ``None``.
        operation: elementwise, sum or product.

    Raises:
        ConfigError: there is no such level or source, or both inputs are the same.
    """

    level: int
    other: str | None = None
    operation: Operation = "+"

    def __post_init__(self) -> None:
        if self.level not in LEVELS or self.other not in (*SOURCES, None) or self.operation not in ("+", "*"):
            raise ConfigError(
                f"not a merge: {self}; levels are 2 to 6, inputs c2 to c6 and p2 to p6, operations + and *"
            )
        if self.other in (f"c{self.level}", f"p{self.level}"):
            raise ConfigError(f"{self}: the other input must be of another level")

    def __str__(self) -> str:
        return f"p{self.level}=c{self.level}" + (f"{self.operation}{self.other}" if self.other else "")

    @classmethod
    def parse(cls, text: str) -> "Merge":
        """The merge that ``str`` wrote.

        Raises:
            ConfigError: it is none, or its first input has not the output's resolution.
        """
        found = re.fullmatch(r"p([2-6])=c([2-6])(?:([+*])([cp][2-6]))?", text)
        if not found:
            raise ConfigError(f"not a merge: {text!r}; write p4=c4+c6, p4=c4*p3 or p4=c4")
        if found[1] != found[2]:
            raise ConfigError(f"{text}: the first input must have the output's resolution, as c{found[1]} has")
        return cls(int(found[1]), found[4], "*" if found[3] == "*" else "+")


@dataclass(frozen=True)
class Architecture:
    """A backbone and a pyramid.

    Attributes:
        stages: the blocks of conv2 … conv7.
        merges: five, in the order in which they are done; every level once.

    Raises:
        ConfigError: a stage is missing or empty, a level is missing, or a merge takes what is not there yet.
    """

    stages: tuple[tuple[Block, ...], ...]
    merges: tuple[Merge, ...]

    def __post_init__(self) -> None:
        if len(self.stages) != len(STAGES) or not all(self.stages):
            raise ConfigError(f"a backbone needs blocks in each of its stages conv2 to conv7, not {self.backbone!r}")
        if sorted(merge.level for merge in self.merges) != list(LEVELS):
            raise ConfigError(f"a pyramid makes each of p2 to p6 once, not {self.pyramid!r}")
        done = {f"c{level}" for level in LEVELS}
        for merge in self.merges:
            if merge.other and merge.other not in done:
                raise ConfigError(f"{merge}: {merge.other} is made later; order the merges of {self.pyramid!r}")
            done.add(f"p{merge.level}")

    @property
    def backbone(self) -> str:
        """The text form's first half."""
        return "/".join(",".join(map(str, blocks)) for blocks in self.stages)

    @property
    def pyramid(self) -> str:
        """The text form's second half."""
        return " ".join(map(str, self.merges))

    @cached_property
    def text(self) -> str:
        """The whole text form."""
        return f"{self.backbone} {self.pyramid}"

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> "Architecture":
        """The architecture that ``str`` wrote.

        Raises:
            ConfigError: it is none; names the part.
        """
        backbone, _, pyramid = text.strip().partition(" ")
        stages = tuple(tuple(parse_block(b) for b in stage.split(",")) for stage in backbone.split("/"))
        return cls(stages, parse_pyramid(pyramid))


def parse_pyramid(text: str) -> tuple[Merge, ...]:
    """Merges separated by spaces.

    Raises:
        ConfigError: a merge is none.
    """
    return tuple(map(Merge.parse, text.split()))


TOP_DOWN = "p6=c6 p5=c5+p6 p4=c4+p5 p3=c3+p4 p2=c2+p3"
"""The plain FPN (Lin et al. 2017): what the paper's backbone search holds fixed."""

PYRAMIDS = {
    "fpn": TOP_DOWN,
    "ifpn": "p6=c6 p5=c5 p4=c4*c5 p3=c3*p4 p2=c2*p3",
    "fem": "p2=c2*c3 p3=c3*c4 p4=c4*c5 p5=c5*c6 p6=c6",
}
"""Pyramids made by hand, in the form of merges: FPN, the low-level FPN of PyramidBox (from the middle down, products),
the connections of DSFD's feature enhancement (each map times the next coarser one of the backbone). Tables 1 and 6."""
