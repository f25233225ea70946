import base64
import hashlib
import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesmith import Faces, images
from facesmith.errors import ConfigError, LabelError
from facesmith.evaluation import landmarks
from facesmith.evaluation.landmark_mistakes import error_rows, find_landmark_mistakes, worst_faces
from facesmith.evaluation.mistakes import (
    Kind,
    Labels,
    best_f1_threshold,
    false_box_counts,
    find_mistakes,
    rows_by_attribute,
    rows_by_size,
)
from facesmith.evaluation.report import BoxEvidence, LandmarkEvidence, write_report
from facesmith.evaluation.report.charts import charts
from facesmith.evaluation.report.pictures import LONG_SIDE, data_uri, worst_pictures
from facesmith.evaluation.report.plot import Axis, Bars, Line, bar_chart, line_chart, round_step
from facesmith.evaluation.result import Curve, Provenance, Result
from facesmith.evaluation.saved import FORMATS, provenance_of, save
from facesmith.evaluation.table import letter, terminal_table


def faces(*rows: tuple[float, float, float, float, float]) -> Faces:
    values = np.array(rows, np.float32).reshape(-1, 5)
    return Faces(values[:, :4], values[:, 4])


def labels(*boxes: tuple[float, float, float, float], ignored: tuple[int, ...] = (), **levels: list[int]) -> Labels:
    counts = np.array([i not in ignored for i in range(len(boxes))], bool)
    columns = {name: np.array(values) for name, values in levels.items()}
    return Labels(np.array(boxes, np.float32).reshape(-1, 4), counts, columns)


def result(name: str = "net", *, protocol: str = "widerface", images: int = 2, **changes: object) -> Result:
    recall = np.linspace(0, 1, 50)
    base = Result(
        protocol=protocol,
        version="1",
        metrics={"easy": 0.9, "hard": 0.1234},
        images=images,
        official_images=3226,
        provenance=Provenance(name, "ab" * 32, "long side 640", "none", 0.02, 0.4, "0.1.0", {"device": "cpu"}),
        curves=(
            Curve("easy", recall, 1 - recall / 2, "recall", "precision"),
            Curve("hard", recall, 1 - recall, "recall", "precision"),
        ),
        counts={"boxes": 1234},
        notes=("a note",),
    )
    return replace(base, **changes)


TRUTH = {
    "a": labels((0, 0, 20, 20), (40, 0, 60, 20), (100, 0, 180, 80), ignored=(1,)),
    "b": labels((0, 0, 10, 10)),
    "empty": labels(),
}
FOUND = {
    "a": faces(
        (1, 0, 21, 20, 0.6),  # a second box on the first face
        (0, 0, 20, 20, 0.9),  # a hit
        (41, 0, 61, 20, 0.8),  # a face that does not count
        (100, 0, 130, 80, 0.7),  # IoU 3/8 with the third face
        (300, 300, 320, 320, 0.65),  # nothing there
        (100, 0, 180, 78, 0.3),  # a hit, with a low score
    ),
    "b": faces(),
    "empty": faces((5, 5, 50, 50, 0.1)),
}


class TestMistakes:
    def test_kinds(self) -> None:
        mistakes = find_mistakes(FOUND, TRUTH)
        kinds = [Kind(kind).name for kind in mistakes.kinds]
        assert kinds == ["HIT", "NEUTRAL", "MISPLACED", "BACKGROUND", "DUPLICATE", "HIT", "BACKGROUND"]
        assert mistakes.scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.65, 0.6, 0.3, 0.1])
        assert mistakes.face_scores.tolist() == pytest.approx([0.9, 0.8, 0.3, -np.inf])

    def test_operating_point_and_counts(self) -> None:
        # of three faces: F1 is 2/4 at .9, then false boxes, 4/8 at .3: the first of equal ones
        mistakes = find_mistakes(FOUND, TRUTH)
        assert mistakes.threshold == pytest.approx(0.9)
        assert mistakes.missed_by_image.tolist() == [1, 1, 0]
        assert mistakes.false_by_image.tolist() == [0, 0, 0]
        lower = replace(mistakes, threshold=0.3)
        assert lower.missed_by_image.tolist() == [0, 1, 0]
        assert lower.false_by_image.tolist() == [3, 0, 0]
        assert false_box_counts(lower) == {Kind.DUPLICATE: 1, Kind.MISPLACED: 1, Kind.BACKGROUND: 1}

    def test_rows_by_size(self) -> None:
        rows = rows_by_size(replace(find_mistakes(FOUND, TRUTH), threshold=0.5))
        found = [(row.group, row.faces, row.recall, row.recall_at_any_score, row.false) for row in rows]
        assert found == [
            ("8–16", 1, 0, 0, 0),
            ("16–32", 1, 1, 1, 2),
            ("32–64", 0, 0, 0, 1),
            ("64–128", 1, 0, 1, 0),
        ]

    def test_rows_by_attribute(self) -> None:
        truth = {
            "a": labels((0, 0, 20, 20), (40, 0, 60, 20), blur=[0, 2], pose=[0, 0]),
            "b": labels((0, 0, 20, 20), blur=[2], pose=[0]),
        }
        mistakes = find_mistakes({"a": faces((0, 0, 20, 20, 0.9)), "b": faces((0, 0, 20, 20, 0.8))}, truth)
        levels = {
            "blur": ("clear", "normal", "heavy"),
            "pose": ("typical", "atypical"),
            "age": ("old", "young"),
        }
        tables = rows_by_attribute(mistakes, levels)
        assert list(tables) == ["blur"]  # pose has one level only, age is not labelled
        assert [(row.group, row.faces, row.recall) for row in tables["blur"]] == [
            ("clear", 1, 1),
            ("heavy", 2, 0.5),
        ]

    def test_best_f1_against_trying_every_score(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(30):
            scores = rng.integers(1, 9, 40) / 10  # many equal ones
            kinds = rng.choice([Kind.HIT, Kind.NEUTRAL, Kind.BACKGROUND, Kind.DUPLICATE], 40)
            hits = [(kinds[scores >= t] == Kind.HIT).sum() for t in np.unique(scores)]
            kept = [(kinds[scores >= t] != Kind.NEUTRAL).sum() for t in np.unique(scores)]
            f1 = [2 * h / (k + 50) for h, k in zip(hits, kept, strict=True)]
            chosen = best_f1_threshold(scores, kinds, 50)
            assert f1[np.unique(scores).tolist().index(chosen)] == pytest.approx(max(f1))

    def test_no_hit_shows_no_box(self) -> None:
        mistakes = find_mistakes({"b": faces((50, 50, 60, 60, 0.9))}, {"b": labels((0, 0, 10, 10))})
        assert mistakes.threshold == np.inf
        assert not mistakes.shown.any()
        assert mistakes.missed_by_image.tolist() == [1]

    def test_worst_pictures_are_of_both_kinds_and_none_twice(self) -> None:
        truth = {str(i): labels(*[(30 * j, 0, 30 * j + 20, 20) for j in range(i)]) for i in range(6)}
        found = {str(i): faces((400, 0, 420, 20, 0.5 + i / 100)) for i in range(6)}
        mistakes = replace(find_mistakes(found, truth), threshold=0.5)
        choices = worst_pictures(mistakes, 4)
        assert [choice.image for choice in choices] == [5, 4, 3, 2]
        assert [choice.reason for choice in choices] == ["many faces missed"] * 2 + ["a confident false box"] * 2


class TestPlot:
    def test_ticks(self) -> None:
        np.testing.assert_allclose(Axis(0, 1, 0, 100).ticks(), [0, 0.2, 0.4, 0.6, 0.8, 1])
        np.testing.assert_allclose(Axis(0, 0.1, 0, 100).ticks(), [0, 0.02, 0.04, 0.06, 0.08, 0.1])
        np.testing.assert_allclose(Axis(1, 3000, 0, 100, log=True).ticks(), [1, 10, 100, 1000])
        np.testing.assert_allclose(Axis(1, 60, 0, 100, log=True).ticks(), [1, 2, 5, 10, 20, 50])
        np.testing.assert_allclose(Axis(1e-6, 1, 0, 100, log=True).ticks(), 10.0 ** np.arange(-6, 1))

    @pytest.mark.parametrize(("least", "step"), [(0.2, 0.2), (0.21, 0.5), (6, 10), (1, 1), (0.03, 0.05), (400, 500)])
    def test_round_step(self, least: float, step: float) -> None:
        assert round_step(least) == pytest.approx(step)

    def test_place(self) -> None:
        assert Axis(0, 2, 100, 0).place(np.array([0, 1, 2, 5])).tolist() == [100, 50, 0, 0]
        np.testing.assert_allclose(Axis(1, 100, 0, 10, log=True).place(np.array([1, 10, 100])), [0, 5, 10])

    def test_line_chart_draws_the_points_where_the_ticks_are(self) -> None:
        line = Line("net <1>", np.array([0.0, 0.6, 1.0]), np.array([1.0, 0.6, 0.0]), 0)
        drawn = ET.fromstring(line_chart("PR & more", [line], "recall", "precision"))
        points = [tuple(map(float, p.split(","))) for p in drawn.find(".//polyline").get("points").split()]
        ticks = {text.text: text for text in drawn.iter("text") if text.get("text-anchor") == "middle"}
        assert float(ticks["0.6"].get("x")) == pytest.approx(points[1][0], abs=0.5)
        heights = {t.text: float(t.get("y")) - 4 for t in drawn.iter("text") if t.get("text-anchor") == "end"}
        assert heights["0.6"] == pytest.approx(points[1][1], abs=0.5)
        assert heights["1"] == pytest.approx(points[0][1], abs=0.5)
        assert "net <1>" in "".join(drawn.itertext())
        assert {"recall", "precision", "PR & more"} <= set(drawn.itertext())

    def test_false_positives_have_a_logarithmic_axis(self) -> None:
        x = np.array([0.0, 0, 1, 10, 100, 1000])
        line = Line("discrete", x, np.linspace(0.1, 0.9, 6), 0)
        drawn = ET.fromstring(line_chart("", [line], "false positives", "recall", log_x=True))
        points = [tuple(map(float, p.split(","))) for p in drawn.find(".//polyline").get("points").split()]
        assert len(points) == 4  # what lies left of the axis is not drawn as a hook along it
        np.testing.assert_allclose(np.diff([p[0] for p in points]), points[1][0] - points[0][0], atol=0.6)
        assert "false positives (log)" in set(drawn.itertext())

    def test_long_lines_are_thinned_but_keep_their_ends(self) -> None:
        x = np.linspace(0, 1, 100_000)
        text = line_chart("", [Line("net", x, x, 0)], "recall", "precision")
        assert len(text) < 30_000
        points = ET.fromstring(text).find(".//polyline").get("points").split()
        short = line_chart("", [Line("net", x[[0, -1]], x[[0, -1]], 0)], "recall", "precision")
        assert [points[0], points[-1]] == ET.fromstring(short).find(".//polyline").get("points").split()

    def test_a_chart_without_points_says_so(self) -> None:
        assert "no points" in line_chart("x", [Line("net", np.zeros(0), np.zeros(0), 0)], "recall", "precision")

    def test_bars_reach_their_values(self) -> None:
        rows = [Bars("a", [0.5, 1.0], [0.75, 1.0], 0), Bars("b", [0.0, 0.25], [0.0, 0.25], 1)]
        drawn = ET.fromstring(bar_chart("", ["small", "large"], rows, "size", "found"))
        full = [float(bar.get("height")) for bar in drawn.iter("rect") if bar.get("class") == "full"]
        whole = max(full)
        np.testing.assert_allclose([h / whole for h in full], [0.5, 0, 1, 0.25], atol=1e-3)
        faint = [float(bar.get("height")) for bar in drawn.iter("rect") if bar.get("class") == "faint"]
        np.testing.assert_allclose([h / whole for h in faint], [0.75, 0, 1, 0.25], atol=1e-3)


class TestCharts:
    def test_one_detector_shows_its_curves_together(self) -> None:
        text = charts([result()])
        assert text.count("<polyline") == 2
        assert text.count('<figure class="chart lines"') == 1
        assert "easy  0.900" in text

    def test_several_detectors_share_a_chart_for_each_curve(self) -> None:
        text = charts([result("one"), result("two")])
        assert text.count('<figure class="chart lines"') == 2
        assert text.count("A one") == 4  # legend and tip in both
        assert text.count("var(--s1)") == 4

    def test_many_curves_of_one_detector_are_grouped(self) -> None:
        points = np.linspace(0, 1, 5)
        names = [f"{subset} @{t / 100:.2f}" for subset in ("easy", "hard") for t in range(50, 100, 5)]
        curves = tuple(Curve(name, points, points, "recall", "precision") for name in names)
        text = charts([result(curves=curves)])
        assert text.count('<figure class="chart lines"') == 2
        assert text.count("<polyline") == 20


VOID = {"meta", "br", "img", "link", "hr", "input"}


class Reader(HTMLParser):
    """Collects what a page refers to, and checks that its tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.links, self.tags = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def evidence(tmp_path: Path) -> BoxEvidence:
    rng = np.random.default_rng(0)
    pictures = {name: tmp_path / f"{name}.png" for name in ("a", "b", "empty")}
    for path in pictures.values():
        images.write(path, rng.integers(0, 255, (1200, 1500, 3), np.uint8))
    mistakes = replace(find_mistakes(FOUND, TRUTH), threshold=0.5)
    return BoxEvidence([mistakes], {}, pictures)


class TestReport:
    def test_needs_nothing_else(self, tmp_path: Path, evidence: BoxEvidence) -> None:
        path = write_report(tmp_path / "out", [result()], evidence)
        assert path == tmp_path / "out/widerface.html"
        text = path.read_text(encoding="utf-8")
        page = Reader(text)
        assert page.links
        assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
        assert "script" not in page.tags
        assert "link" not in page.tags
        assert "http" not in text
        assert "url(" not in text
        assert "prefers-color-scheme: dark" in text
        assert "@media print" in text

    def test_says_what_the_figures_are(self, tmp_path: Path, evidence: BoxEvidence) -> None:
        text = write_report(tmp_path, [result()], evidence).read_text(encoding="utf-8")
        for expected in (
            "2-image SUBSET of 3,226",
            "a note",
            "0.1234",
            "ab" * 32,
            "long side 640",
            "0.1.0",
            "1,234",
        ):
            assert expected in text
        assert "a: 1 of 2 faces missed, 3 false boxes" in text
        full = write_report(tmp_path, [result(images=3226)]).read_text(encoding="utf-8")
        assert "all 3,226 images" in full
        assert 'class="subset"' not in full

    def test_pictures_show_each_kind_of_box(self, tmp_path: Path, evidence: BoxEvidence) -> None:
        text = write_report(tmp_path, [result()], evidence).read_text(encoding="utf-8")
        figure = next(f for f in re.findall(r'<figure class="picture.*?</figure>', text, re.S) if "a: 1 of 2" in f)
        boxes = dict(re.findall(r'<path class="box (\w+)" d="([^"]+)"', figure))
        assert boxes["hit"] == "M0.0 0.0H20.0V20.0H0.0Z"
        assert boxes["truth"] == "M0.0 0.0H20.0V20.0H0.0Z"
        assert boxes["missed"] == "M100.0 0.0H180.0V80.0H100.0Z"
        assert boxes["neutral"] == "M40.0 0.0H60.0V20.0H40.0Z"
        assert boxes["false"].count("Z") == 3
        assert re.findall(r">(0\.\d\d)</text>", figure) == ["0.70", "0.65", "0.60"]

    def test_photographs_are_small(self, tmp_path: Path, evidence: BoxEvidence) -> None:
        page = Reader(write_report(tmp_path, [result()], evidence).read_text(encoding="utf-8"))
        photograph = Image.open(io.BytesIO(base64.b64decode(page.links[0].split(",")[1])))
        assert max(photograph.size) == LONG_SIDE
        assert photograph.size == (960, 768)

    def test_photographs_keep_their_colours(self) -> None:
        image = np.zeros((40, 60, 3), np.uint8)
        image[..., 0] = 250
        decoded = np.array(Image.open(io.BytesIO(base64.b64decode(data_uri(image).split(",")[1]))))
        assert decoded.shape == image.shape
        assert decoded[20, 30, 0] > 230
        assert decoded[20, 30, 2] < 30

    def test_several_detectors(self, tmp_path: Path, evidence: BoxEvidence) -> None:
        both = replace(evidence, mistakes=evidence.mistakes * 2)
        text = write_report(tmp_path, [result("one"), result("two")], both).read_text(encoding="utf-8")
        Reader(text)
        assert "A one" in text
        assert "B two" in text
        assert text.count("<h3>") == 2

    def test_without_photographs(self, tmp_path: Path, evidence: BoxEvidence) -> None:
        text = write_report(tmp_path, [result()], replace(evidence, pictures={})).read_text(encoding="utf-8")
        assert "the folder of images was not given" in text
        assert "data:" not in text
        assert "By face size" in text

    def test_names_cannot_break_the_page(self, tmp_path: Path) -> None:
        name = '<script>alert("1")</script>'
        text = write_report(tmp_path, [result(name), result("b")]).read_text(encoding="utf-8")
        assert "script" not in Reader(text).tags

    def test_results_must_be_of_one_protocol(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="one protocol, not of fddb, widerface"):
            write_report(tmp_path, [result(), result(protocol="fddb")])
        with pytest.raises(ConfigError, match="not of none"):
            write_report(tmp_path, [])


class TestLandmarks:
    @pytest.fixture
    def truth(self, tmp_path: Path) -> landmarks.Truth:
        points = np.array([(20, 20), (40, 20), (30, 30), (22, 40), (38, 40)], float)
        lines = []
        for i in range(3):
            rows = " ".join(f"{x} {y} 0" for x, y in points + 5 * i)
            lines += [f"# event/{i}.png", f"{10 + 5 * i} {10 + 5 * i} 40 40 {rows}"]
        (tmp_path / "label.txt").write_text("\n".join(lines) + "\n")
        return landmarks.load_truth(tmp_path / "label.txt", landmarks.WIDER_FACE)

    def found(self, truth: landmarks.Truth) -> dict[str, Faces]:
        """The first off by 4 px (NME .1), the second right, the third not found."""
        found = {}
        for i, name in enumerate(truth.images):
            points = truth.points[i] + ((4, 0) if i == 0 else (0, 0))
            found[name] = Faces(truth.boxes[i][None], np.ones(1), points[None])
        return found | {truth.images[2]: Faces.empty()}

    def test_errors_agree_with_the_protocol(self, truth: landmarks.Truth) -> None:
        found = self.found(truth)
        mistakes = find_landmark_mistakes(found, truth)
        np.testing.assert_allclose(mistakes.errors, [0.1, 0, np.inf], atol=1e-6)
        judged = landmarks.evaluate(found, truth, provenance=Provenance("net"))
        finite = mistakes.errors[np.isfinite(mistakes.errors)]
        assert judged.metrics["nme"] == pytest.approx(finite.mean())
        (row,) = error_rows(mistakes)
        assert (row.group, row.faces, row.found) == ("32–64 px", 3, pytest.approx(2 / 3))
        assert row.nme == pytest.approx(0.05)
        assert worst_faces(mistakes, 3) == [0, 1, 2]
        assert worst_faces(mistakes, 1) == [0]

    def test_points_of_arrays(self, truth: landmarks.Truth) -> None:
        found = {name: truth.points[i] + (0, 8) for i, name in enumerate(truth.images)}
        np.testing.assert_allclose(find_landmark_mistakes(found, truth).errors, 0.2)

    def test_report(self, truth: landmarks.Truth, tmp_path: Path) -> None:
        pictures = {name: tmp_path / f"{i}.png" for i, name in enumerate(truth.images)}
        for path in pictures.values():
            images.write(path, np.full((80, 90, 3), 90, np.uint8))
        found = self.found(truth)
        judged = landmarks.evaluate(found, truth, provenance=Provenance("net"))
        seen = LandmarkEvidence([find_landmark_mistakes(found, truth)], pictures)
        text = write_report(tmp_path, [judged], seen).read_text(encoding="utf-8")
        assert len(Reader(text).links) == 3
        assert "event/0: NME 0.100" in text
        assert "event/2: not found" in text
        # room of 10 px around the first box: its cut begins at the border, so its points stay where they are
        assert 'class="box truth" d="M19.5 19.5l1.0 1.0' in text
        assert 'class="box hit" d="M23.5 19.5l1.0 1.0' in text


class TestTable:
    def test_scope_comes_first(self) -> None:
        lines = terminal_table([result()]).splitlines()
        assert lines[0] == "widerface · 2-image SUBSET of 3,226"
        assert lines[3].split() == ["easy", "0.9000"]
        assert lines[-2] == "note: a note"
        assert lines[-1].startswith("net: size long side 640, augmentation none, lowest score 0.02, NMS 0.4, ")
        assert ", sha256 abab" in lines[-1]

    def test_every_setting_is_said(self) -> None:
        judged = result(provenance=Provenance("net", settings={"device": "cpu", "box style": "dx 0"}))
        assert ", device cpu, box style dx 0, sha256 " in terminal_table([judged])

    def test_several_detectors_are_columns(self) -> None:
        other = result("two", metrics={"easy": 0.5})
        lines = terminal_table([result("one"), other]).splitlines()
        assert lines[2].split() == ["A", "B"]
        assert [lines[3].split(), lines[4].split()] == [["easy", "0.9000", "0.5000"], ["hard", "0.1234", "–"]]
        assert lines[-2].startswith("A one: ")
        assert lines[-1].startswith("B two: ")

    def test_unknown_is_said(self) -> None:
        text = terminal_table([result(provenance=Provenance("net"))])
        assert "size unknown, augmentation unknown, lowest score unknown, NMS unknown, sha256 unknown" in text

    def test_letters(self) -> None:
        assert [letter(i) for i in (0, 25, 26, 52)] == ["A", "Z", "A2", "A3"]


SAVED = {"e/a": faces((1, 2, 30, 40, 0.5)), "e/b": faces()}


class TestSaved:
    @pytest.mark.parametrize("kind", FORMATS)
    def test_saved_predictions_keep_their_provenance(self, kind: str, tmp_path: Path) -> None:
        from facesmith.evaluation import predictions

        origin = Provenance("net/1", "ab" * 32, "original", "none", 0.02, 0.4, "0.1.0", {"device": "cpu"})
        path = save(SAVED, tmp_path, FORMATS[kind], origin)
        again = provenance_of(path)
        assert replace(again, settings={"device": "cpu"}) == origin
        assert again.settings["predictions"]
        read = predictions.read(path)
        assert list(read) == list(SAVED)
        np.testing.assert_allclose(read["e/a"].boxes, SAVED["e/a"].boxes)

    def test_changed_predictions_lose_it(self, tmp_path: Path) -> None:
        path = save(SAVED, tmp_path, FORMATS["wider"], Provenance("net", "ab" * 32, "original"))
        file = path / "e/a.txt"
        file.write_text(file.read_text().replace("0.5", "0.6"))
        found = provenance_of(path)
        assert (found.detector, found.size_rule) == ("net", None)
        assert found.checksum != "ab" * 32

    def test_files_of_others_have_name_and_checksum(self, tmp_path: Path) -> None:
        (tmp_path / "theirs.txt").write_text("a\n0\n")
        found = provenance_of(tmp_path / "theirs.txt")
        assert found.detector == "theirs"
        assert found.checksum == hashlib.sha256(b"a\n0\n").hexdigest()
        assert found.size_rule is None

    def test_errors(self, tmp_path: Path) -> None:
        with pytest.raises(LabelError, match="nothing"):
            provenance_of(tmp_path / "nothing")
        (tmp_path / "x.txt").write_text("a\n0\n")
        (tmp_path / "x.txt.provenance.json").write_text("{}")
        with pytest.raises(LabelError, match="not a record of predictions"):
            provenance_of(tmp_path / "x.txt")
