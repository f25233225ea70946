"""Results as text for a terminal: scope first, then the figures, then where they come from."""

from collections.abc import Sequence

from facesmith.evaluation.result import Result


def terminal_table(results: Sequence[Result]) -> str:
    """A table with one column a detector, for results of one protocol; several are called A, B, ..."""
    scopes = " / ".join(dict.fromkeys(result.scope for result in results))
    head = f"{results[0].protocol} · {scopes}"
    names = [result.provenance.detector for result in results]
    columns = names if len(results) == 1 else [letter(i) for i in range(len(results))]
    metrics = list(dict.fromkeys(metric for result in results for metric in result.metrics))
    first = max(map(len, metrics), default=0)
    width = max(6, *map(len, columns))
    lines = [head, "=" * len(head), " " * first + "".join(f"  {name:>{width}}" for name in columns)]
    for metric in metrics:
        cells = [_figure(result.metrics.get(metric)) for result in results]
        lines.append(f"{metric:<{first}}" + "".join(f"  {cell:>{width}}" for cell in cells))
    lines += [f"note: {note}" for note in dict.fromkeys(note for result in results for note in result.notes)]
    titles = names if len(results) == 1 else [f"{letter(i)} {name}" for i, name in enumerate(names)]
    return "\n".join([*lines, *(f"{t}: {origin(r)}" for t, r in zip(titles, results, strict=True))])


def letter(number: int) -> str:
    """A, B, ... Z, A2, ...: what the ``number``-th detector is called where its name would be too long."""
    return chr(ord("A") + number % 26) + (str(number // 26 + 1) if number >= 26 else "")


def origin(result: Result) -> str:
    """One line: size, augmentation, thresholds, further settings, checksum, protocol version."""
    p = result.provenance
    facts = [
        f"size {p.size_rule or 'unknown'}",
        f"augmentation {p.augmentation or 'unknown'}",
        f"lowest score {'unknown' if p.score_threshold is None else f'{p.score_threshold:g}'}",
        f"NMS {'unknown' if p.nms is None else f'{p.nms:g}'}",
        *(f"{name} {value}" for name, value in p.settings.items()),
        f"sha256 {p.checksum[:12] if p.checksum else 'unknown'}",
        f"{result.protocol} version {result.version}",
    ]
    return ", ".join(facts)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
