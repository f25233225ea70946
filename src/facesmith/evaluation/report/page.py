"""The parts of a report as HTML text."""

import html
from collections.abc import Mapping, Sequence
from importlib import resources

from facesmith import __version__
from facesmith.evaluation.landmark_mistakes import FAILURE, ErrorRow, LandmarkMistakes, error_rows
from facesmith.evaluation.mistakes import (
    Kind,
    Mistakes,
    Row,
    false_box_counts,
    rows_by_attribute,
    rows_by_size,
)
from facesmith.evaluation.report.plot import SERIES, Bars, bar_chart
from facesmith.evaluation.result import Result
from facesmith.evaluation.table import letter

TITLES = {
    "widerface": "WIDER FACE",
    "widerface-challenge": "WIDER Challenge 2018",
    "fddb": "FDDB",
    "afw": "AFW",
    "pascal": "PASCAL Face",
    "malf": "MALF",
    "coco": "COCO average precision",
    "aflw": "AFLW, 19 points",
    "aflw5": "AFLW, five points",
    "aflw2000-3d": "AFLW2000-3D, 68 points",
    "aflw2000-3d-mesh": "AFLW2000-3D, all vertices",
    "300w": "300W",
    "widerface-landmarks": "WIDER FACE, five landmarks",
    "frames": "Video frames, five landmarks",
    "frames-68": "Video frames, 68 points",
    "lfw": "LFW",
    "cfp-fp": "CFP-FP",
    "agedb-30": "AgeDB-30",
    "ijb-c": "IJB-C",
}
"""Protocol -> what it is called; others are shown by their own name."""

_FALSE_KINDS = {
    Kind.DUPLICATE: "second box on a face",
    Kind.MISPLACED: "near a face (IoU .1 to .5)",
    Kind.BACKGROUND: "no labelled face there",
}


def document(protocol: str, parts: Sequence[str]) -> str:
    """The whole file."""
    style = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    title = html.escape(f"{_title(protocol)} · facesmith")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<footer>facesmith {html.escape(__version__)}</footer></body></html>\n"
    )


def header(results: Sequence[Result]) -> str:
    """Title, scope and, loudly, what keeps the figures from being compared with others."""
    first = results[0]
    scopes = list(dict.fromkeys(result.scope for result in results))
    kind = "subset" if any(result.is_subset for result in results) else "scope"
    lines = [f"<h1>{html.escape(_title(first.protocol))}</h1>"]
    lines += [f'<div class="{kind}">{html.escape(scope)}</div>' for scope in scopes]
    notes: dict[str, None] = dict.fromkeys(note for result in results for note in result.notes)
    if notes:
        lines.append('<ul class="notes">' + "".join(f"<li>{html.escape(note)}</li>" for note in notes) + "</ul>")
    return "<header>" + "".join(lines) + "</header>"


def figures(results: Sequence[Result]) -> str:
    """The table of metrics, one column a detector."""
    names = list(dict.fromkeys(name for result in results for name in result.metrics))
    head = [_detector(i, result.provenance.detector, len(results)) for i, result in enumerate(results)]
    rows = [[html.escape(name), *(_number(result.metrics.get(name)) for result in results)] for name in names]
    counts = list(dict.fromkeys(name for result in results for name in result.counts))
    others = [[html.escape(name), *(_count(result.counts.get(name)) for result in results)] for name in counts]
    tables = [table(["", *top], part) for top, part in ((head, rows), (_keys(len(results)), others)) if part]
    return section("Figures", "", [grid(tables)])


def sizes(mistakes: Sequence[Mistakes], names: Sequence[str]) -> str:
    """Recall and false boxes by face size, as bars and as a table."""
    tables = [{row.group: row for row in rows_by_size(one)} for one in mistakes]
    groups = _in_order(tables)
    with_faces = [group for group in groups if any(group in rows and rows[group].faces for rows in tables)]
    bars = [
        Bars(
            f"{letter(series)} {name}" if len(names) > 1 else name,
            [rows[group].recall if group in rows else 0.0 for group in with_faces],
            [rows[group].recall_at_any_score if group in rows else 0.0 for group in with_faces],
            series,
        )
        for series, (name, rows) in enumerate(zip(names, tables, strict=True))
    ]
    points = "; ".join(
        f"{one.threshold:.3f}" + (f" for {letter(i)}" if len(names) > 1 else "") for i, one in enumerate(mistakes)
    )
    text = (
        "Share of the faces that are found. Full bars: at the operating point, the score with the best F1 "
        f"({points}); pale bars: at any score at all. Sizes are √(width · height) in pixels of the picture."
    )
    chart = bar_chart("", with_faces, bars, "face size, pixels", "share of faces found")
    return section("By face size", text, [grid([chart, _rows_table("pixels", groups, tables, names)])])


def attributes(mistakes: Sequence[Mistakes], names: Sequence[str], levels: Mapping[str, Sequence[str]]) -> str:
    """Recall by attribute, a table each; nothing where the labels have none."""
    each = [rows_by_attribute(one, levels) for one in mistakes]
    parts = []
    for attribute in each[0] if each else ():
        tables = [{row.group: row for row in one.get(attribute, ())} for one in each]
        parts.append(f"<div>{_rows_table(attribute, _in_order(tables), tables, names)}</div>")
    text = "Share of the faces of each kind that are found at the operating point; in brackets: at any score."
    return section("By attribute", text, [grid(parts, 3 if len(names) == 1 else 2)]) if parts else ""


def false_boxes(mistakes: Sequence[Mistakes], names: Sequence[str]) -> str:
    """False boxes by kind."""
    columns = [false_box_counts(one) for one in mistakes]
    rows = [[text, *(_count(column[kind]) for column in columns)] for kind, text in _FALSE_KINDS.items()]
    pictures = max((len(one.names) for one in mistakes), default=0)
    rows.append(["a picture", *(f"{sum(column.values()) / max(pictures, 1):.3f}" for column in columns)])
    head = _keys(len(names))
    return section("False boxes", "At the operating point.", [table(["", *head], rows)])


def landmark_errors(mistakes: Sequence[LandmarkMistakes], names: Sequence[str]) -> str:
    """NME by face size and by the protocol's groups."""
    tables = [{row.group: row for row in error_rows(one)} for one in mistakes]
    head = ["", "faces"]
    for i in range(len(names)):
        head += [f"{_keys(len(names))[i]} NME", "found", f"NME > {FAILURE:g}"]
    lines = []
    for group in _in_order(tables):
        line = [html.escape(group), f"{next(rows[group].faces for rows in tables if group in rows):,}"]
        for rows in tables:
            row = rows.get(group)
            known = row is not None and row.found > 0
            line += [f"{row.nme:.4f}" if row and known else "–"]
            line += [f"{row.found:.3f}", f"{row.failed:.3f}"] if row else ["–", "–"]
        lines.append(line)
    text = (
        "NME is over the faces found; a face that was not found counts as failed. Sizes: √(width · height) "
        "of the labelled box."
    )
    return section("By kind of face", text, [table(head, lines)])


def provenance(results: Sequence[Result]) -> str:
    """Where the predictions come from: all that is needed to get the same figures again."""
    head = [_detector(i, result.provenance.detector, len(results)) for i, result in enumerate(results)]
    rows = []
    columns = [_facts(result) for result in results]
    for name in dict.fromkeys(name for column in columns for name in column):
        rows.append([html.escape(name), *(html.escape(column.get(name, "–")) for column in columns)])
    return section("Where the figures come from", "", [table(["", *head], rows, "facts")])


def section(title: str, text: str, parts: Sequence[str]) -> str:
    """A part of the page with its heading."""
    paragraph = f"<p>{html.escape(text)}</p>" if text else ""
    return f"<section><h2>{html.escape(title)}</h2>{paragraph}{''.join(parts)}</section>"


def heading(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{html.escape(text)}</h3>"


def grid(parts: Sequence[str], columns: int = 2) -> str:
    """Parts side by side, at most two or three, where there is room."""
    return f'<div class="grid-{columns}">{"".join(parts)}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are HTML already."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    inside = f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table class="{kind}">{inside}</table></div>'


def _rows_table(title: str, groups: Sequence[str], tables: Sequence[Mapping[str, Row]], names: Sequence[str]) -> str:
    """One row a group; faces once, then recall (and false boxes, where they are known) of each detector."""
    with_false = any(row.false is not None for rows in tables for row in rows.values())
    head = [html.escape(title), "faces"]
    for i in range(len(names)):
        head += [_keys(len(names))[i] or "found"] + (["false"] if with_false else [])
    lines = []
    for group in groups:
        faces = next(rows[group].faces for rows in tables if group in rows)
        line = [html.escape(group), f"{faces:,}"]
        for i, rows in enumerate(tables):
            row = rows.get(group)
            line.append(_share(row, i) if row and row.faces else "–")
            line += [_count(row.false if row else 0)] if with_false else []
        lines.append(line)
    return table(head, lines)


def _share(row: Row, series: int) -> str:
    bar = f'<i style="width:{row.recall:.1%};background:var(--s{series % SERIES})"></i>'
    return f'{row.recall:.3f} ({row.recall_at_any_score:.3f})<span class="share">{bar}</span>'


def _in_order(tables: Sequence[Mapping[str, Row]] | Sequence[Mapping[str, ErrorRow]]) -> list[str]:
    """All groups of the tables; where one lacks a group, it takes its place by the longest table's order."""
    longest = max(tables, key=len, default={})
    return list(dict.fromkeys([*longest, *(group for rows in tables for group in rows)]))


def _facts(result: Result) -> dict[str, str]:
    p = result.provenance
    facts = {
        "protocol": f"{result.protocol}, version {result.version}",
        "images": result.scope,
        "size": p.size_rule,
        "test-time augmentation": p.augmentation,
        "lowest score": None if p.score_threshold is None else f"{p.score_threshold:g}",
        "NMS or voting IoU": None if p.nms is None else f"{p.nms:g}",
        "facesmith": p.package,
        "checksum (sha256)": p.checksum,
    }
    facts |= {name: str(value) for name, value in p.settings.items()}
    return {name: value or "unknown" for name, value in facts.items()}


def _detector(series: int, name: str, of: int) -> str:
    """A detector's key and name, as the head of a wide table's column."""
    return f"{_keys(of)[series]} {html.escape(name)}"


def _keys(detectors: int) -> list[str]:
    """Colour and letter of each of several detectors; nothing for a single one."""
    if detectors == 1:
        return [""]
    return [f'<span class="key" style="background:var(--s{i % SERIES})"></span>{letter(i)}' for i in range(detectors)]


def _title(protocol: str) -> str:
    return TITLES.get(protocol, protocol)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
