"""The report of an evaluation: one HTML file that needs nothing else, with curves, figures, mistakes and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facesmith import files
from facesmith.errors import ConfigError
from facesmith.evaluation.mistakes import Mistakes
from facesmith.evaluation.report import page
from facesmith.evaluation.report.charts import charts
from facesmith.evaluation.report.pictures import draw_mistakes, picture_legend, worst_pictures
from facesmith.evaluation.result import Result

__all__ = ["Evidence", "write_report"]

PICTURES_OF_ONE = 12
PICTURES_OF_EACH = 6
"""Pictures shown of a single detector, and of each of several."""


@dataclass(frozen=True)
class Evidence:
    """What a report shows besides the results, for protocols whose truth is boxes.

    Attributes:
        mistakes: one a result, in the same order; all of the same truth.
        levels: attribute -> names of its levels, for those that the labels have.
        pictures: name -> file; none where the photographs are not there.
    """

    mistakes: Sequence[Mistakes]
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pictures: Mapping[str, Path] = field(default_factory=dict)


def write_report(folder: Path, results: Sequence[Result], evidence: Evidence | None = None) -> Path:
    """Write ``folder/PROTOCOL.html`` and return its path.

    Args:
        folder: is created.
        results: one a detector, all of the same protocol; their detectors' names must differ.
        evidence: mistakes and photographs, if there are any to show.

    Raises:
        ConfigError: there is no result, or they are of different protocols.
        ImageError: a photograph cannot be read.
    """
    protocols = {result.protocol for result in results}
    if len(protocols) != 1:
        raise ConfigError(f"a report shows results of one protocol, not of {', '.join(sorted(protocols)) or 'none'}")
    names = [result.provenance.detector for result in results]
    parts = [page.header(results), page.figures(results), charts(results)]
    if evidence is not None:
        parts += [page.sizes(evidence.mistakes, names), page.attributes(evidence.mistakes, names, evidence.levels)]
        parts += [page.false_boxes(evidence.mistakes, names), _worst(evidence, names)]
    parts.append(page.provenance(results))
    path = folder / f"{results[0].protocol}.html"
    files.write_text(path, page.document(results[0].protocol, parts))
    return path


def _worst(evidence: Evidence, names: Sequence[str]) -> str:
    if not evidence.pictures:
        return page.section("Worst pictures", "Not drawn: the folder of images was not given.", [])
    most = PICTURES_OF_ONE if len(names) == 1 else PICTURES_OF_EACH
    parts = [picture_legend()]
    for name, mistakes in zip(names, evidence.mistakes, strict=True):
        choices = worst_pictures(mistakes, most)
        drawn = [draw_mistakes(mistakes, choice, evidence.pictures[mistakes.names[choice.image]]) for choice in choices]
        heading = page.heading(name) if len(names) > 1 else ""
        parts.append(heading + (page.grid(drawn) if drawn else "<p>No mistake at all.</p>"))
    text = (
        "Pictures with most missed faces, and those with the most confident false boxes. Some false boxes are faces "
        "that nobody labelled. Boxes with a score of at least the operating point are drawn."
    )
    return page.section("Worst pictures", text, parts)
