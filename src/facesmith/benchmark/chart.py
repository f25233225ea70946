"""One chart as an SVG file: named points, joined or not."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from facesmith.evaluation.report.plot import Axis

WIDTH, HEIGHT, MARGIN = 760, 460, 60
COLOURS = ("#1f5a94", "#d9792b", "#3a8f4d", "#b33a3a", "#7a5aa6", "#6b6b6b", "#b8860b", "#2a9d9d")

Points = Sequence[tuple[float, float]]


def chart(series: Mapping[str, Points], *, x: str, y: str, from_zero: bool = True) -> str:
    """An SVG of ``series``, name -> its points (at least one in all), each joined in order and named at its last point.

    Args:
        series: drawn in the order given.
        x, y: titles of the axes.
        from_zero: whether y begins at zero; x always does.
    """
    xs, ys = np.array([point for points in series.values() for point in points], np.float64).T
    low = 0.0 if from_zero else float(ys.min() - 0.1 * (np.ptp(ys) or 1))
    across = Axis(0.0, float(xs.max()) * 1.25 or 1.0, MARGIN, WIDTH - 16)
    up = Axis(low, low + (float(ys.max()) - low) * 1.08 or 1.0, HEIGHT - MARGIN, 16)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_axes(across, up),
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 14}" text-anchor="middle">{escape(x)}</text>',
        f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(y)}</text>',
    ]
    for number, (name, points) in enumerate(series.items()):
        lines += _series(name, points, across, up, COLOURS[number % len(COLOURS)])
    return "\n".join([*lines, "</svg>"]) + "\n"


def _series(name: str, points: Points, across: Axis, up: Axis, colour: str) -> list[str]:
    xs, ys = np.array(points, np.float64).reshape(-1, 2).T
    places = list(zip(across.place(xs), up.place(ys), strict=True))
    path = "L".join(f"{px:.1f},{py:.1f}" for px, py in places)
    dots = "".join(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{colour}"/>' for px, py in places)
    px, py = places[-1]
    label = f'<text x="{px + 7:.1f}" y="{py + 4:.1f}" fill="{colour}">{escape(name)}</text>'
    return [f'<path d="M{path}" stroke="{colour}" stroke-width="1.5" fill="none"/>', dots, label]


def _axes(across: Axis, up: Axis) -> list[str]:
    bottom = HEIGHT - MARGIN
    lines = [f'<path d="M{MARGIN},16V{bottom}H{WIDTH - 16}" stroke="black" fill="none"/>']
    for value in across.ticks():
        at = across.place(np.array([value]))[0]
        lines.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{value:.4g}</text>')
    for value in up.ticks():
        at = up.place(np.array([value]))[0]
        lines.append(f'<path d="M{MARGIN},{at:.1f}H{WIDTH - 16}" stroke="#ddd"/>')
        lines.append(f'<text x="{MARGIN - 6}" y="{at + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    return lines
