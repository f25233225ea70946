"""Results as text for a terminal: scope first, then the figures, then where they come from."""

from collections.abc import Sequence

from facesmith.evaluation.result import Result


def terminal_table(results: Sequence[Result]) -> str:
    """A table with one column a detector, for results of one protocol."""
    scopes = " / ".join(dict.fromkeys(result.scope for result in results))
    head = f"{results[0].protocol} · {scopes}"
    names = [result.provenance.detector for result in results]
    metrics = list(dict.fromkeys(metric for result in results for metric in result.metrics))
    first = max(map(len, metrics), default=0)
    widths = [max(len(name), 6) for name in names]
    lines = [head, "=" * len(head)]
    lines.append(
        " " * first + "".join(f"  {name:>{width}}" for name, width in zip(names, widths, strict=True))
    )
    for metric in metrics:
        cells = [_figure(result.metrics.get(metric)) for result in results]
        lines.append(
            f"{metric:<{first}}" + "".join(f"  {c:>{w}}" for c, w in zip(cells, widths, strict=True))
        )
    lines += [f"note: {note}" for note in dict.fromkeys(note for result in results for note in result.notes)]
    return "\n".join([*lines, *(f"{result.provenance.detector}: {origin(result)}" for result in results)])


def origin(result: Result) -> str:
    """One line: size, augmentation, thresholds, checksum, protocol version."""
    p = result.provenance
    facts = [
        f"size {p.size_rule or 'unknown'}",
        f"augmentation {p.augmentation or 'unknown'}",
        f"lowest score {'unknown' if p.score_threshold is None else f'{p.score_threshold:g}'}",
        f"NMS {'unknown' if p.nms is None else f'{p.nms:g}'}",
        f"sha256 {p.checksum[:12] if p.checksum else 'unknown'}",
        f"{result.protocol} version {result.version}",
    ]
    return ", ".join(facts)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
