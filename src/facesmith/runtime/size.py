"""At which size the network sees a picture."""

import re
from dataclasses import dataclass

from facesmith.errors import ConfigError

MAX_SIDE = 16384
"""Greatest side that can be asked for; the network would need gigabytes beyond."""

_SHORT = re.compile(r"short:(\d+)(?::(\d+))?")
_SHORT_RATIO = 2150 / 1600
"""RetinaFace's single-scale test is short side 1600, long side at most 2150 (facts/retinaface)."""


@dataclass(frozen=True)
class SizeRule:
    """How a picture is scaled for the network. The aspect ratio stays, to the nearest pixel.

    The picture is scaled so that its short side is ``short`` (``None``: not at all), then so that its long
    side lies between ``least`` and ``most``. :meth:`parse` takes the usual rules as text:

    ``auto``
        Own size where the long side is 160 to 1280; larger pictures shrink to 1280, smaller ones grow to 160.
        It is looked at a second time at an eighth of that size, but not below 80, within a border of half its size:
        for faces that fill the picture. That costs a sixteenth on top, for pictures below 640 pixels more.
    ``original``
        Own size, whatever it is. Memory grows with it.
    ``N``
        Long side N, shrunk or enlarged. 640 is WIDER FACE's "VGA".
    ``short:N``, ``short:N:M``
        Short side N, but long side at most M; without M it is N · 2150 / 1600, so that ``short:1600`` is
        RetinaFace's single-scale test.

    Attributes:
        short: wanted short side, pixels.
        least: smallest long side, pixels.
        most: greatest long side, pixels; it wins over ``short``.
        overview: smallest long side at which the second look sees the picture, which is an eighth of the first look's
            otherwise; ``None``: there is no second look.

    Raises:
        ConfigError: a side is not 1 to ``MAX_SIDE``, or ``least`` is above ``most``.
    """

    short: int | None = None
    least: int | None = None
    most: int | None = None
    overview: int | None = None

    def __post_init__(self) -> None:
        sides = [side for side in (self.short, self.least, self.most, self.overview) if side is not None]
        if wrong := [side for side in sides if not 1 <= side <= MAX_SIDE]:
            raise ConfigError(f"a size must lie between 1 and {MAX_SIDE} pixels, not {wrong[0]}")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ConfigError(f"the least long side ({self.least}) is above the greatest ({self.most})")

    @classmethod
    def parse(cls, rule: "SizeRule | str | int") -> "SizeRule":
        """The rule that ``rule`` describes; see the class.

        Raises:
            ConfigError: ``rule`` is none of the forms.
        """
        if isinstance(rule, SizeRule):
            return rule
        text = str(rule).strip().lower()
        if text == "auto":
            return AUTO
        if text == "original":
            return cls()
        if text.isdecimal():
            return cls(least=int(text), most=int(text))
        if match := _SHORT.fullmatch(text):
            short = int(match[1])
            return cls(short=short, most=int(match[2]) if match[2] else max(short, round(short * _SHORT_RATIO)))
        raise ConfigError(
            f"no such size rule: {rule!r}; write auto, original, a number of pixels, short:N or short:N:M"
        )

    def target(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) at which the network sees a picture of ``width`` × ``height`` pixels."""
        short, long = min(width, height), max(width, height)
        side = float(long) if self.short is None else long * self.short / short
        if self.least is not None:
            side = max(side, self.least)
        if self.most is not None:
            side = min(side, self.most)
        return _scaled(width, height, side / long)

    def second_target(self, width: int, height: int) -> tuple[int, int] | None:
        """(width, height) at which the second look sees the picture, without its border; ``None``: there is none."""
        if self.overview is None:
            return None
        return _scaled(width, height, max(self.overview, max(self.target(width, height)) / 8) / max(width, height))

    def __str__(self) -> str:
        if self == AUTO:
            return f"auto (long side {self.least} to {self.most}, overview)"
        if self.short is not None:
            return f"short side {self.short}" + (f" (long <= {self.most})" if self.most is not None else "")
        if self.least is None and self.most is None:
            return "original"
        if self.least == self.most:
            return f"long side {self.most}"
        return f"long side {self.least or 1} to {self.most or 'any'}"


AUTO = SizeRule(least=160, most=1280, overview=80)
"""The everyday rule."""


def _scaled(width: int, height: int, scale: float) -> tuple[int, int]:
    return max(1, round(width * scale)), max(1, round(height * scale))
