"""Learning-rate schedules: a factor of the base rate as a function of the step.

In a run that is cut short the warm-up takes a tenth of it at most.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up over ``warmup`` steps, then a cosine down to ``final`` of the base rate."""

    warmup: int = 500
    final: float = 0.01

    def factor(self, step: int, steps: int) -> float:
        """The factor at ``step`` of ``steps``."""
        warmup = min(self.warmup, steps // 10)
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(steps - warmup, 1)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


@dataclass(frozen=True)
class Drops:
    """Linear warm-up from ``start`` of the base rate, then a drop by ``factor_each`` at each share in ``at``.

    The papers' schedule: RetinaFace .1 → 1 over 5 of 80 epochs, × .1 at 55 and 68.
    """

    warmup: int = 500
    start: float = 0.1
    at: tuple[float, ...] = (55 / 80, 68 / 80)
    factor_each: float = 0.1

    def factor(self, step: int, steps: int) -> float:
        """The factor at ``step`` of ``steps``."""
        warmup = min(self.warmup, steps // 10)
        if step < warmup:
            return self.start + (1 - self.start) * (step + 1) / warmup
        return self.factor_each ** sum(step >= share * steps for share in self.at)
