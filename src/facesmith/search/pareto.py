"""Score against budget: the Pareto front of what a search saw, and its picture."""

from collections.abc import Mapping
from html import escape

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

WIDTH, HEIGHT, MARGIN = 760, 480, 64


def front(costs: Array, scores: Array) -> npt.NDArray[np.int64]:
    """Indices of the points (n,) that no cheaper or equally cheap point outscores, by rising cost."""
    order = np.lexsort((-scores, costs))
    best_before = np.maximum.accumulate(np.concatenate(([-np.inf], scores[order][:-1])))
    return order[scores[order] > best_before]


def svg(
    costs: Array,
    scores: Array,
    marks: Mapping[str, tuple[float, float]],
    *,
    cost: str,
    score: str,
    limit: float,
) -> str:
    """A picture of the points, their Pareto front, the budget's limit, and named marks ``(cost, score)``.

    Points that fall on one pixel are drawn once, so the file stays small however many there are.

    Args:
        costs, scores: (n,), n ≥ 1.
        marks: name -> (cost, score), drawn and labelled.
        cost, score: axis titles.
        limit: of the cost.
    """
    xs = np.concatenate([costs, [limit], [x for x, _ in marks.values()]])
    ys = np.concatenate([scores, [y for _, y in marks.values()]])
    across, down = _Axis(xs, MARGIN, WIDTH - 16), _Axis(ys, HEIGHT - MARGIN, 16)
    pixels = np.unique(np.stack([across(costs), down(scores)], 1).round().astype(int), axis=0)
    dots = "".join(f"M{x},{y}h1" for x, y in pixels)
    chosen = front(costs, scores)
    steps = "".join(
        f"{'H' if i else 'M'}{x:.1f}{'V' if i else ','}{y:.1f}"
        for i, (x, y) in enumerate(zip(across(costs[chosen]), down(scores[chosen]), strict=True))
    )
    edge = across(np.array([limit]))[0]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="{dots}" stroke="#6f93b3" stroke-width="2.5" stroke-linecap="round" fill="none"/>',
        f'<path d="{steps}" stroke="#1f5a94" stroke-width="1.5" fill="none"/>',
        f'<path d="M{edge:.1f},16V{HEIGHT - MARGIN}" stroke="#b33" stroke-dasharray="4 3"/>',
        *_ticks(across, down),
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 16}" text-anchor="middle">{escape(cost)}</text>',
        f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(score)}</text>',
    ]
    for name, (x, y) in marks.items():
        px, py = across(np.array([x]))[0], down(np.array([y]))[0]
        side, shift = ("end", -7) if px > WIDTH / 2 else ("start", 7)
        lines.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="#d9792b"/>')
        lines.append(f'<text x="{px + shift:.1f}" y="{py + 4:.1f}" text-anchor="{side}">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


class _Axis:
    """Values to pixels, with some room at both ends."""

    def __init__(self, values: Array, start: float, end: float) -> None:
        low, high = float(values.min()), float(values.max())
        room = (high - low) * 0.04 or abs(high) * 0.04 or 1.0
        self.low, self.high, self.start, self.end = low - room, high + room, start, end

    def __call__(self, values: Array) -> Array:
        share = (values - self.low) / (self.high - self.low)
        return np.asarray(self.start + share * (self.end - self.start), np.float64)

    def ticks(self) -> Array:
        """Four to nine round values."""
        span = self.high - self.low
        power = 10 ** np.floor(np.log10(span / 4))
        step = next(power * factor for factor in (5, 2, 1) if span / (power * factor) >= 4)
        values = np.arange(np.ceil(self.low / step), np.floor(self.high / step) + 1) * step
        return np.asarray(values, np.float64)


def _ticks(across: _Axis, down: _Axis) -> list[str]:
    bottom = HEIGHT - MARGIN
    lines = [f'<path d="M{MARGIN},16V{bottom}H{WIDTH - 16}" stroke="black" fill="none"/>']
    for value, x in zip(across.ticks(), across(across.ticks()), strict=True):
        lines.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{_short(value)}</text>')
    for value, y in zip(down.ticks(), down(down.ticks()), strict=True):
        lines.append(f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>')
    return lines


def _short(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"
