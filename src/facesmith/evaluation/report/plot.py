"""Line and bar charts as SVG text. Colours are CSS variables of the page, so that it can be light or dark."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SERIES = 8
"""Colours that the page defines, ``--s0`` to ``--s7``; further lines are dashed in the same colours."""

_DASHES = ("", "7 4", "2 3", "9 3 2 3")


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart.

    Attributes:
        label: its text in the legend.
        x, y: (k,) points, in the order in which they are joined; x ascending on a logarithmic axis.
        series: index of its colour.
    """

    label: str
    x: FloatArray
    y: FloatArray
    series: int


@dataclass(frozen=True)
class Bars:
    """One row of bars in a chart: ``values``, and paler up to ``limits``; fractions of 1."""

    label: str
    values: Sequence[float]
    limits: Sequence[float]
    series: int


@dataclass(frozen=True)
class Canvas:
    """``width`` × ``height`` pixels with room for axis numbers and titles on the left and below."""

    width: float
    height: float
    left: float = 52.0
    top: float = 10.0

    @property
    def right(self) -> float:
        """Right border of the plot."""
        return self.width - 14.0

    @property
    def bottom(self) -> float:
        """Lower border of the plot."""
        return self.height - 46.0


_LINES = Canvas(390, 300)
_BARS = Canvas(520, 360)


@dataclass(frozen=True)
class Axis:
    """One axis: values ``low`` to ``high`` on pixels ``start`` to ``end``, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, values: FloatArray) -> FloatArray:
        """Pixels of ``values``; what lies outside is moved to the border."""
        low, high, values = self.low, self.high, np.clip(values, self.low, self.high)
        if self.log:
            low, high, values = math.log10(low), math.log10(high), np.log10(values)
        return np.asarray(self.start + (values - low) / (high - low) * (self.end - self.start), np.float64)

    def ticks(self) -> list[float]:
        """About six round numbers; on a logarithmic axis the powers of ten, and 2 and 5 between if few."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            stride = max(1, math.ceil((last - first) / 8))
            factors = (1, 2, 5) if last - first <= 2 else (1,)
            values = [factor * 10.0**power for power in range(first, last + 1, stride) for factor in factors]
        else:
            step = round_step((self.high - self.low) / 5)
            first = math.ceil(self.low / step - 1e-9)
            values = [(first + i) * step for i in range(int((self.high - self.low) / step + 1e-9) + 1)]
        slack = 1e-9 * abs(self.high)
        return [value for value in values if self.low - slack <= value <= self.high + slack]


def round_step(least: float) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that is at least ``least`` (positive)."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def line_chart(title: str, lines: Sequence[Line], x_label: str, y_label: str, *, log_x: bool = False) -> str:
    """A ``<figure>`` with the lines, axes, grid and legend.

    The y axis spans 0 to 1 for fractions.
    """
    lines = [line for line in lines if len(line.x)]
    if not lines:
        return f'<figure class="chart"><p>{html.escape(title)}: no points to draw.</p></figure>'
    x_axis = _x_axis(np.concatenate([line.x for line in lines]), log=log_x)
    y_axis = _y_axis(np.concatenate([line.y for line in lines]))
    parts = [*_frame(_LINES, y_axis, y_label), *_x_ticks(_LINES, x_axis)]
    parts.append(_x_title(_LINES, x_label + (" (log)" if x_axis.log else "")))
    parts += [_path(line, x_axis, y_axis) for line in lines]
    plain = len(lines) == 1 and lines[0].label == title
    legend = [] if plain else [_legend_entry(line.label, line.series) for line in lines]
    return _figure(_LINES, "chart lines", title, parts, legend)


def bar_chart(title: str, groups: Sequence[str], rows: Sequence[Bars], x_label: str, y_label: str) -> str:
    """A ``<figure>`` with one group of bars for each of ``groups``, one bar a row in each."""
    y_axis = Axis(0.0, 1.0, _BARS.bottom, _BARS.top)
    step = (_BARS.right - _BARS.left) / max(len(groups), 1)
    width = step * 0.76 / max(len(rows), 1)
    parts = [*_frame(_BARS, y_axis, y_label), _x_title(_BARS, x_label)]
    for g, group in enumerate(groups):
        left = _BARS.left + g * step
        parts.append(_text(left + step / 2, _BARS.bottom + 16, group, "middle"))
        for r, row in enumerate(rows):
            parts.append(_bar(row, g, group, left + step * 0.12 + r * width, width, y_axis))
    return _figure(_BARS, "chart", title, parts, [_legend_entry(row.label, row.series) for row in rows])


def _bar(row: Bars, g: int, group: str, x: float, width: float, y_axis: Axis) -> str:
    tip = f"{row.label}, {group}: {row.values[g]:.3f}, at any score {row.limits[g]:.3f}"
    drawn = []
    for value, kind in ((row.limits[g], "faint"), (row.values[g], "full")):
        y = float(y_axis.place(np.array([value]))[0])
        place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width - 1.5, 1):.1f}" height="{y_axis.start - y:.1f}"'
        drawn.append(f'<rect class="{kind}" {place} style="fill:{_colour(row.series)}"/>')
    return f"<g><title>{html.escape(tip)}</title>{''.join(drawn)}</g>"


def _x_axis(values: FloatArray, *, log: bool) -> Axis:
    positive = values[values > 0]
    if log and len(positive):
        low = 10.0 ** math.floor(math.log10(float(positive.min())) + 1e-9)
        high = float(positive.max())
        return Axis(low, high if high > low else low * 10, _LINES.left, _LINES.right, log=True)
    high = float(values.max())
    return Axis(0.0, 1.0 if 0.5 < high <= 1 else max(high, 1e-6), _LINES.left, _LINES.right)


def _y_axis(values: FloatArray) -> Axis:
    low, high = min(0.0, float(values.min())), float(values.max())
    return Axis(low, 1.0 if high <= 1 else high, _LINES.bottom, _LINES.top)


def _frame(canvas: Canvas, y_axis: Axis, label: str) -> list[str]:
    """Horizontal grid lines, their numbers, the axis and its title."""
    parts, right = [], canvas.right
    for value in y_axis.ticks():
        y = float(y_axis.place(np.array([value]))[0])
        parts.append(f'<line class="grid" x1="{canvas.left:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(canvas.left - 7, y + 4, _number(value), "end"))
    middle, bottom = (canvas.top + canvas.bottom) / 2, canvas.bottom
    place = f'x="13" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 13 {middle:.1f})"'
    parts.append(f'<text class="title" {place}>{html.escape(label)}</text>')
    parts.append(f'<line class="axis" x1="{canvas.left:g}" x2="{right:g}" y1="{bottom:g}" y2="{bottom:g}"/>')
    return parts


def _x_ticks(canvas: Canvas, axis: Axis) -> list[str]:
    top, bottom, parts = canvas.top, canvas.bottom, []
    for value in axis.ticks():
        x = float(axis.place(np.array([value]))[0])
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{bottom:g}"/>')
        parts.append(_text(x, bottom + 16, _number(value), "middle"))
    return parts


def _x_title(canvas: Canvas, label: str) -> str:
    middle = (canvas.left + canvas.right) / 2
    place = f'x="{middle:.1f}" y="{canvas.height - 8:g}" text-anchor="middle"'
    return f'<text class="title" {place}>{html.escape(label)}</text>'


def _path(line: Line, x_axis: Axis, y_axis: Axis) -> str:
    """The line, thinned to the points that a screen can tell apart."""
    # on a logarithmic axis a curve starts at the last point left of it, not with a hook along its border
    start = max(np.searchsorted(line.x, x_axis.low, side="right") - 1, 0) if x_axis.log else 0
    points = np.column_stack((x_axis.place(line.x[start:]), y_axis.place(line.y[start:])))
    points = np.round(points * 2) / 2
    moved = np.concatenate(([True], (np.diff(points, axis=0) != 0).any(axis=1)))
    moved[-1] = True
    drawn = " ".join(f"{x:g},{y:g}" for x, y in points[moved])
    title = f"<title>{html.escape(line.label)}</title>"
    dash = _DASHES[line.series // SERIES % len(_DASHES)]
    style = f"stroke:{_colour(line.series)}" + (f";stroke-dasharray:{dash}" if dash else "")
    return f'<polyline class="line" points="{drawn}" style="{style}">{title}</polyline>'


def _figure(canvas: Canvas, kind: str, title: str, parts: Sequence[str], legend: Sequence[str]) -> str:
    heading = f"<figcaption>{html.escape(title)}</figcaption>" if title else ""
    drawing = (
        f'<svg viewBox="0 0 {canvas.width:g} {canvas.height:g}" role="img" aria-label="{html.escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
    entries = f'<ul class="legend">{"".join(legend)}</ul>' if legend else ""
    return f'<figure class="{kind}">{heading}{drawing}{entries}</figure>'


def _legend_entry(label: str, series: int) -> str:
    dash = _DASHES[series // SERIES % len(_DASHES)]
    style = f"stroke:{_colour(series)}" + (f";stroke-dasharray:{dash}" if dash else "")
    swatch = f'<svg viewBox="0 0 22 8"><line x1="1" x2="21" y1="4" y2="4" style="{style}"/></svg>'
    return f"<li>{swatch}{html.escape(label)}</li>"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _number(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e5:
        digits, power = f"{value:.0e}".split("e")
        return f"{digits}e{int(power)}"
    return f"{value:,.10g}" if abs(value) >= 1000 else f"{value:.4g}"


def _colour(series: int) -> str:
    return f"var(--s{series % SERIES})"
