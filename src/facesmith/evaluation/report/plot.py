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

_WIDTH, _HEIGHT = 520.0, 360.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 54.0, 14.0, 12.0, 48.0
_DASHES = ("", "7 4", "2 3", "9 3 2 3")


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart.

    Attributes:
        label: its text in the legend.
        x, y: (k,) points, in the order in which they are joined.
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
            step = max(1, math.ceil((last - first) / 8))
            factors = (1, 2, 5) if last - first <= 2 else (1,)
            values = [factor * 10.0**power for power in range(first, last + 1, step) for factor in factors]
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


def line_chart(title: str, lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """A ``<figure>`` with the lines, axes, grid and legend.

    The x axis is logarithmic where it counts false positives or their rate, as is usual. The y axis spans 0
    to 1 for fractions.
    """
    lines = [line for line in lines if len(line.x)]
    if not lines:
        return f'<figure class="chart"><p>{html.escape(title)}: no points to draw.</p></figure>'
    x_axis = _x_axis(np.concatenate([line.x for line in lines]), log="false" in x_label.lower())
    y_axis = _y_axis(np.concatenate([line.y for line in lines]))
    parts = [*_frame(y_axis, y_label), *_x_ticks(x_axis, x_label)]
    parts += [_path(line, x_axis, y_axis) for line in lines]
    entries = [_legend_entry(line.label, line.series) for line in lines]
    return _figure(title, parts, entries)


def bar_chart(title: str, groups: Sequence[str], rows: Sequence[Bars], y_label: str) -> str:
    """A ``<figure>`` with one group of bars for each of ``groups``, one bar a row in each."""
    y_axis = Axis(0.0, 1.0, _HEIGHT - _BOTTOM, _TOP)
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(groups), 1)
    width = step * 0.76 / max(len(rows), 1)
    parts = _frame(y_axis, y_label)
    for g, group in enumerate(groups):
        left = _LEFT + g * step
        parts.append(_text(left + step / 2, _HEIGHT - _BOTTOM + 16, group, "middle"))
        for r, row in enumerate(rows):
            x = left + step * 0.12 + r * width
            tip = f"{row.label}, {group}: {row.values[g]:.3f}, at any score {row.limits[g]:.3f}"
            for value, faint in ((row.limits[g], ' class="faint"'), (row.values[g], "")):
                y = float(y_axis.place(np.array([value]))[0])
                parts.append(
                    f'<rect{faint} x="{x:.1f}" y="{y:.1f}" width="{max(width - 1.5, 1):.1f}" '
                    f'height="{y_axis.start - y:.1f}" style="fill:{_colour(row.series)}">'
                    f"<title>{html.escape(tip)}</title></rect>"
                )
    return _figure(title, parts, [_legend_entry(row.label, row.series) for row in rows])


def _x_axis(values: FloatArray, *, log: bool) -> Axis:
    start, end = _LEFT, _WIDTH - _RIGHT
    positive = values[values > 0]
    if log and len(positive):
        low = 10.0 ** math.floor(math.log10(float(positive.min())) + 1e-9)
        high = float(positive.max())
        return Axis(low, high if high > low else low * 10, start, end, log=True)
    high = float(values.max())
    return Axis(0.0, 1.0 if 0.5 < high <= 1 else max(high, 1e-6), start, end)


def _y_axis(values: FloatArray) -> Axis:
    low, high = min(0.0, float(values.min())), float(values.max())
    return Axis(low, 1.0 if high <= 1 else high, _HEIGHT - _BOTTOM, _TOP)


def _frame(y_axis: Axis, label: str) -> list[str]:
    """Horizontal grid lines, their numbers, and the axis title."""
    parts = []
    for value in y_axis.ticks():
        y = float(y_axis.place(np.array([value]))[0])
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 7, y + 4, _number(value), "end"))
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    turned = f'transform="rotate(-90 14 {middle:.1f})"'
    parts.append(f'<text class="title" x="14" y="{middle:.1f}" text-anchor="middle" {turned}>{html.escape(label)}</text>')
    bottom = _HEIGHT - _BOTTOM
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    return parts


def _x_ticks(axis: Axis, label: str) -> list[str]:
    bottom, parts = _HEIGHT - _BOTTOM, []
    for value in axis.ticks():
        x = float(axis.place(np.array([value]))[0])
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(_text(x, bottom + 16, _number(value), "middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    text = html.escape(label + (" (log)" if axis.log else ""))
    parts.append(f'<text class="title" x="{middle:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{text}</text>')
    return parts


def _path(line: Line, x_axis: Axis, y_axis: Axis) -> str:
    """The line, thinned to the points that a screen can tell apart."""
    points = np.column_stack((x_axis.place(line.x), y_axis.place(line.y)))
    points = np.round(points * 2) / 2
    moved = np.concatenate(([True], (np.diff(points, axis=0) != 0).any(axis=1)))
    moved[-1] = True
    drawn = " ".join(f"{x:g},{y:g}" for x, y in points[moved])
    title = f"<title>{html.escape(line.label)}</title>"
    dash = _DASHES[line.series // SERIES % len(_DASHES)]
    style = f"stroke:{_colour(line.series)}" + (f";stroke-dasharray:{dash}" if dash else "")
    return f'<polyline class="line" points="{drawn}" style="{style}">{title}</polyline>'


def _figure(title: str, parts: Sequence[str], legend: Sequence[str]) -> str:
    heading = f"<figcaption>{html.escape(title)}</figcaption>" if title else ""
    drawing = (
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{html.escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
    return f'<figure class="chart">{heading}{drawing}<ul class="legend">{"".join(legend)}</ul></figure>'


def _legend_entry(label: str, series: int) -> str:
    dash = _DASHES[series // SERIES % len(_DASHES)]
    style = f"stroke:{_colour(series)}" + (f";stroke-dasharray:{dash}" if dash else "")
    swatch = f'<svg viewBox="0 0 22 8"><line x1="1" x2="21" y1="4" y2="4" style="{style}"/></svg>'
    return f"<li>{swatch}{html.escape(label)}</li>"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _number(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"1e{math.log10(abs(value)):.0f}" if value > 0 and math.log10(value) % 1 == 0 else f"{value:.0e}"
    return f"{value:,.10g}" if abs(value) >= 1000 else f"{value:.4g}"


def _colour(series: int) -> str:
    return f"var(--s{series % SERIES})"
