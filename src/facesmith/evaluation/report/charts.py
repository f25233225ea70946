"""The curves of results as charts: which lines share one."""

from collections.abc import Sequence

from facesmith.evaluation.report.page import grid, section
from facesmith.evaluation.report.plot import SERIES, Line, line_chart
from facesmith.evaluation.result import Curve, Result
from facesmith.evaluation.table import letter

_OPEN = 6  # further charts are folded


def charts(results: Sequence[Result]) -> str:
    """All curves of all results.

    With one detector, curves with the same axes share a chart. With several, each chart shows one curve of
    all detectors. Curves called ``NAME @VALUE`` come in one chart for each ``NAME`` where there are too many
    for one.
    """
    drawn = _of_one(results[0]) if len(results) == 1 else _of_several(results)
    if not drawn:
        return ""
    parts = [grid(drawn[:_OPEN], 2 if len(drawn) <= 2 else 3)]
    if rest := drawn[_OPEN:]:
        parts.append(f"<details><summary>{len(rest)} more charts</summary>{grid(rest, 3)}</details>")
    return section("Curves", "", parts)


def _of_one(result: Result) -> list[str]:
    by_axes: dict[tuple[str, str], list[Curve]] = {}
    for curve in result.curves:
        by_axes.setdefault((curve.x_label, curve.y_label), []).append(curve)
    drawn = []
    for (x_label, y_label), curves in by_axes.items():
        groups: dict[str, list[Curve]] = {}
        for curve in curves:
            groups.setdefault("" if len(curves) <= SERIES else curve.name.split(" @")[0], []).append(curve)
        for name, group in groups.items():
            title = name or (group[0].name if len(group) == 1 else f"{y_label} against {x_label}")
            lines = [Line(_labelled(c.name, result, c), c.x, c.y, i) for i, c in enumerate(group)]
            drawn.append(line_chart(title, lines, x_label, y_label, log_x=group[0].log_x))
    return drawn


def _of_several(results: Sequence[Result]) -> list[str]:
    curves: dict[str, list[tuple[int, Curve]]] = {}
    for i, result in enumerate(results):
        for curve in result.curves:
            curves.setdefault(curve.name, []).append((i, curve))
    drawn = []
    for name, entries in curves.items():
        lines = [
            Line(
                _labelled(f"{letter(i)} {results[i].provenance.detector}", results[i], curve),
                curve.x,
                curve.y,
                i,
            )
            for i, curve in entries
        ]
        first = entries[0][1]
        drawn.append(line_chart(name, lines, first.x_label, first.y_label, log_x=first.log_x))
    return drawn


def _labelled(label: str, result: Result, curve: Curve) -> str:
    """``label`` with the metric of the curve's name, where there is one."""
    value = result.metrics.get(curve.name)
    return label if value is None else f"{label}  {value:.3f}"
