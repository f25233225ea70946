"""The report of an evaluation: one HTML file that needs nothing else.

It shows curves, figures, mistakes by kind, and the worst pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facesmith import files
from facesmith.errors import ConfigError
from facesmith.evaluation.landmark_mistakes import LandmarkMistakes, worst_faces
from facesmith.evaluation.mistakes import Mistakes
from facesmith.evaluation.report import page
from facesmith.evaluation.report.charts import charts
from facesmith.evaluation.report.pictures import (
    BOX_CLASSES,
    POINT_CLASSES,
    draw_face,
    draw_mistakes,
    picture_legend,
    worst_pictures,
)
from facesmith.evaluation.result import Result
from facesmith.evaluation.table import letter

__all__ = ["BoxEvidence", "Evidence", "LandmarkEvidence", "write_report"]

PICTURES_OF_ONE = 12
PICTURES_OF_EACH = 6
"""Pictures shown of a single detector, and of each of several."""

_NO_PICTURES = "Not drawn: the folder of images was not given."


@dataclass(frozen=True)
class BoxEvidence:
    """What a report shows besides the results, for protocols whose truth is boxes.

    Attributes:
        mistakes: one a result, in the same order; all of the same truth.
        levels: attribute -> names of its levels, for those that the labels have.
        pictures: name -> file; none where the photographs are not there.
    """

    mistakes: Sequence[Mistakes]
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pictures: Mapping[str, Path] = field(default_factory=dict)

    def parts(self, names: Sequence[str]) -> list[str]:
        """The report's sections, as HTML; ``names`` are the detectors'."""
        return [
            page.sizes(self.mistakes, names),
            page.attributes(self.mistakes, names, self.levels),
            page.false_boxes(self.mistakes, names),
            self._worst(names),
        ]

    def _worst(self, names: Sequence[str]) -> str:
        if not self.pictures:
            return page.section("Worst pictures", _NO_PICTURES, [])
        drawn = [
            [
                draw_mistakes(mistakes, choice, self.pictures[mistakes.names[choice.image]])
                for choice in worst_pictures(mistakes, _most(names))
            ]
            for mistakes in self.mistakes
        ]
        text = (
            "Pictures with most missed faces, and those with the most confident false boxes. Some of these "
            "are faces that nobody labelled. Drawn are boxes with a score of at least the operating point."
        )
        return page.section("Worst pictures", text, [picture_legend(BOX_CLASSES), *_by_detector(drawn, names)])


@dataclass(frozen=True)
class LandmarkEvidence:
    """What a report shows besides the results of a landmark protocol; as :class:`BoxEvidence`."""

    mistakes: Sequence[LandmarkMistakes]
    pictures: Mapping[str, Path] = field(default_factory=dict)

    def parts(self, names: Sequence[str]) -> list[str]:
        """The report's sections, as HTML; ``names`` are the detectors'."""
        return [page.landmark_errors(self.mistakes, names), self._worst(names)]

    def _worst(self, names: Sequence[str]) -> str:
        if not self.pictures:
            return page.section("Worst faces", _NO_PICTURES, [])
        drawn = [
            [draw_face(mistakes, face, self.pictures) for face in worst_faces(mistakes, _most(names))]
            for mistakes in self.mistakes
        ]
        text = "The faces with the largest errors of those that were found, then some that were not."
        parts = [picture_legend(POINT_CLASSES), *_by_detector(drawn, names, columns=3)]
        return page.section("Worst faces", text, parts)


Evidence = BoxEvidence | LandmarkEvidence


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
    protocols = sorted({result.protocol for result in results})
    if len(protocols) != 1:
        raise ConfigError(f"a report shows results of one protocol, not of {', '.join(protocols) or 'none'}")
    names = [result.provenance.detector for result in results]
    parts = [page.header(results), page.figures(results), charts(results)]
    parts += evidence.parts(names) if evidence is not None else []
    parts.append(page.provenance(results))
    path = folder / f"{protocols[0]}.html"
    files.write_text(path, page.document(protocols[0], parts))
    return path


def _most(names: Sequence[str]) -> int:
    return PICTURES_OF_ONE if len(names) == 1 else PICTURES_OF_EACH


def _by_detector(drawn: Sequence[Sequence[str]], names: Sequence[str], columns: int = 2) -> list[str]:
    parts = []
    for i, (name, figures) in enumerate(zip(names, drawn, strict=True)):
        heading = page.heading(f"{letter(i)} {name}") if len(names) > 1 else ""
        parts.append(heading + (page.grid(figures, columns) if figures else "<p>No mistake at all.</p>"))
    return parts
