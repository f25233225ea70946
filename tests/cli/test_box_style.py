import json
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from conftest import CELL, LANDMARKS
from facesmith import images
from facesmith.box_styles import FDDB, WIDER, BoxStyle, keep, kept_file, offsets
from facesmith.cli import main
from facesmith.cli.box_style import ELLIPSE_TO_BOX

SIDE = 2 * CELL
"""Of a face: the pictures are 2,560 px wide, and auto shows the network half of that."""

FACES = {"2002/a": [(0, 1, 250), (3, 2, 200)], "2002/b": [(2, 1, 150)]}
"""Image -> faces that the tiny network finds: column, row, brightness."""

STYLE = BoxStyle(0.1, -0.2, 1.8, 2.2)
"""About 35 × 43 pixels: large enough to count in every benchmark."""

NUMBERS = [0.1, -0.2, 1.8, 2.2]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name, faces in FACES.items():
        image = np.zeros((4 * SIDE, 2560, 3), np.uint8)
        for x, y, brightness in faces:
            image[SIDE * y : SIDE * (y + 1), SIDE * x : SIDE * (x + 1)] = brightness
        images.write(tmp_path / f"images/{name}.png", image)
    return tmp_path / "images"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``facesmith``: exit code, stdout, stderr."""

    def command(*arguments: object) -> tuple[int, str, str]:
        code = main([*map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def landmarks(faces: list[tuple[int, int, int]]) -> npt.NDArray[np.float32]:
    """The tiny network's landmarks (n, 5, 2)."""
    return np.stack([2 * LANDMARKS + (SIDE * x, SIDE * y) for x, y, _ in faces]).astype(np.float32)


def write_boxes(path: Path, flag: str = "") -> Path:
    """Labels in :data:`STYLE`, in the second picture also a face that the network does not find."""
    lines = []
    for name, faces in FACES.items():
        lines.append(f"# {name}.png")
        lines += [f"{x1} {y1} {x2 - x1} {y2 - y1} {flag}" for x1, y1, x2, y2 in STYLE.boxes(landmarks(faces)).tolist()]
    path.write_text("\n".join(lines) + f"\n600 0 40 40 {flag}\n")
    return path


def write_ellipses(folder: Path, style: BoxStyle) -> Path:
    """FDDB's list of upright ellipses in boxes of ``style``."""
    text = ""
    for name, faces in FACES.items():
        text += f"{name}\n{len(faces)}\n"
        for x1, y1, x2, y2 in style.boxes(landmarks(faces)).tolist():
            text += f"{(y2 - y1) / 2} {(x2 - x1) / 2} {np.pi / 2} {(x1 + x2) / 2} {(y1 + y2) / 2} 1\n"
    (folder / "FDDB-fold-01-ellipseList.txt").write_text(text)
    return folder


def printed(out: str) -> tuple[list[float], list[float]]:
    """The medians, and their spread; the last line is a flag that means the medians."""
    _, head, medians, spread, *_, use = out.splitlines()
    style = BoxStyle.parse(use.removeprefix("use it: --box-style="))
    assert list(vars(style).values()) == [float(word) for word in medians.split()[:4]]
    assert head.split() == ["dx", "dy", "sx", "sy"]
    assert medians.endswith("  median")
    assert spread.endswith("  median absolute deviation")
    return [float(word) for word in medians.split()[:4]], [float(word) for word in spread.split()[:4]]


class TestFit:
    def test_labelled_landmarks(self, run: Run, tmp_path: Path) -> None:
        points = np.concatenate([landmarks(faces) for faces in FACES.values()])
        boxes = STYLE.boxes(points)
        boxes[0] += (-3, 1, 2, 6)
        lines = ["# a.jpg"]
        for (x1, y1, x2, y2), face in zip(boxes.tolist(), points.tolist(), strict=True):
            lines.append(f"{x1} {y1} {x2 - x1} {y2 - y1} " + " ".join(f"{x} {y} 0" for x, y in face))
        lines.append("5 6 70 80")
        (tmp_path / "labels.txt").write_text("\n".join(lines))
        code, out, _ = run("box-style", "labels", tmp_path / "labels.txt")
        assert code == 0
        assert out.startswith("3 of 4 faces, labelled landmarks\n")
        each = offsets(boxes, points)
        medians, spread = printed(out)
        assert medians == pytest.approx(np.median(each, axis=0).tolist(), abs=6e-4)
        deviation = np.median(abs(each - np.median(each, axis=0)), axis=0)
        assert spread == pytest.approx(deviation.tolist(), abs=6e-4)

    @pytest.mark.parametrize(("form", "flag"), [("labels", ""), ("afw", "0"), ("pascal", "0"), ("malf", "0")])
    def test_landmarks_that_a_model_finds(
        self, form: str, flag: str, run: Run, tmp_path: Path, pictures: Path, tiny_model: Path
    ) -> None:
        path = write_boxes(tmp_path / "boxes.txt", flag)
        code, out, _ = run("box-style", form, path, "--images", pictures, "--model", tiny_model, "--threads", 1)
        assert code == 0
        assert out.startswith("3 of 4 faces, landmarks of tiny\n")
        medians, spread = printed(out)
        assert medians == pytest.approx(NUMBERS, abs=6e-4)
        assert spread == pytest.approx([0] * 4, abs=6e-4)
        assert (f"kept in {kept_file()}: --box-style {form}\n" in out) == (form != "labels")
        if form != "labels":  # the fitted numbers, not those rounded to print
            assert astuple(BoxStyle.parse(form)) == pytest.approx(NUMBERS, abs=6e-4)

    def test_any_labels_by_a_name(self, run: Run, tmp_path: Path, pictures: Path, tiny_model: Path) -> None:
        path = write_boxes(tmp_path / "boxes.txt")
        shared = ["box-style", "labels", path, "--images", pictures, "--model", tiny_model]
        assert run(*shared)[0] == 0
        assert not kept_file().exists()
        assert "--box-style shop" in run(*shared, "--name", "shop")[1]
        assert astuple(BoxStyle.parse("shop")) == pytest.approx(NUMBERS, abs=6e-4)
        code, _, err = run(*shared, "--name", "wider")
        assert code == 2
        assert "cannot be kept as 'wider'" in err

    def test_faces_that_do_not_count_are_left_out(
        self, run: Run, tmp_path: Path, pictures: Path, tiny_model: Path
    ) -> None:
        path = write_boxes(tmp_path / "boxes.txt", "1")
        path.write_text(path.read_text().replace(" 1\n", " 0\n", 1))
        _, out, _ = run("box-style", "malf", path, "--images", pictures, "--model", tiny_model)
        assert out.startswith("1 of 1 faces")

    def test_fddb(self, run: Run, tmp_path: Path, pictures: Path, tiny_model: Path) -> None:
        """Upright ellipses: the rectangles that overlap them most are smaller than their bounding boxes."""
        larger = BoxStyle(STYLE.dx, STYLE.dy, STYLE.sx / ELLIPSE_TO_BOX, STYLE.sy / ELLIPSE_TO_BOX)
        folder = write_ellipses(tmp_path, larger)
        code, out, _ = run("box-style", "fddb", folder, "--images", pictures, "--model", tiny_model)
        assert code == 0
        assert out.startswith("3 of 3 faces, landmarks of tiny\n")
        assert printed(out)[0] == pytest.approx(NUMBERS, abs=6e-4)

    def test_ellipse_to_box_is_the_best_factor(self) -> None:
        """Of squares about a circle of radius 1, by counting points."""
        x, y = np.meshgrid(*[np.linspace(-1, 1, 1001)] * 2)
        circle = x**2 + y**2 <= 1
        factors = np.arange(0.8, 1.001, 0.01)
        squares = [np.maximum(abs(x), abs(y)) <= factor for factor in factors]
        overlap = [(circle & square).sum() / (circle | square).sum() for square in squares]
        assert factors[np.argmax(overlap)] == pytest.approx(ELLIPSE_TO_BOX, abs=0.011)
        assert max(overlap) == pytest.approx(0.837, abs=2e-3)


def test_refusals(run: Run, tmp_path: Path, pictures: Path, tiny_model: Path) -> None:
    boxes = write_boxes(tmp_path / "boxes.txt")
    ellipses = write_ellipses(tmp_path, STYLE)
    for arguments, message in (
        (("labels", boxes), "no face has landmarks; give --images DIR"),
        (("fddb", ellipses), "fddb's labels have no landmarks: give --images DIR"),
        (("labels", boxes, "--model", tiny_model), "give --images DIR as well"),
        (("malf", boxes, "--images", tmp_path / "nothing"), "no such folder"),
    ):
        code, out, err = run("box-style", *arguments)
        assert (code, out) == (2, "")
        assert message in err
    images.write(pictures / "2002/b.png", np.zeros((64, 64, 3), np.uint8))
    (pictures / "2002/a.png").unlink()
    code, _, err = run("box-style", "fddb", ellipses, "--images", pictures, "--model", tiny_model)
    assert code == 2
    assert "there is none" in err


class TestUse:
    def test_detect(self, run: Run, pictures: Path, tiny_model: Path) -> None:
        shared = ["detect", pictures / "2002/a.png", "--json", "--model", tiny_model]
        (own,), (styled,) = (json.loads(run(*shared, *more)[1]) for more in ([], ["--box-style", "wider"]))
        assert [face["landmarks"] for face in styled["faces"]] == [face["landmarks"] for face in own["faces"]]
        points = np.array([face["landmarks"] for face in own["faces"]])
        boxes = np.array([face["box"] for face in styled["faces"]])
        np.testing.assert_allclose(boxes, WIDER.boxes(points), atol=0.02)
        assert abs(boxes - [face["box"] for face in own["faces"]]).max() > 1
        numbers = f"--box-style={','.join(map(str, vars(WIDER).values()))}"
        assert json.loads(run(*shared, numbers)[1]) == [styled]
        code, out, err = run(*shared, "--box-style", "afw")
        assert (code, out) == (2, "")
        assert "box style afw is not fitted here yet" in err
        keep("afw", WIDER)
        assert json.loads(run(*shared, "--box-style", "afw")[1]) == [styled]

    def test_evaluate(self, run: Run, tmp_path: Path, pictures: Path, tiny_model: Path) -> None:
        """Ellipses in boxes of the style: these overlap them more than the network's own square boxes."""
        folder, result = write_ellipses(tmp_path, FDDB), tmp_path / "result.json"
        shared = ["evaluate", "fddb", "--truth", folder, "--images", pictures, "--model", tiny_model, "--json", result]
        shared += ["--size", "1280"]
        found = []
        for more in ([], ["--box-style", "fddb"]):
            assert run(*shared, *more)[0] == 0
            found += json.loads(result.read_text())["results"]
        own, styled = found
        assert styled["metrics"]["continuous @1"] > own["metrics"]["continuous @1"] + 0.1
        assert "box style" not in own["provenance"]["settings"]
        assert styled["provenance"]["settings"]["box style"] == str(FDDB)

    def test_saved_predictions_of_another_style_are_told_apart(
        self, run: Run, tmp_path: Path, pictures: Path, tiny_model: Path
    ) -> None:
        shared = ["evaluate", "fddb", "--truth", write_ellipses(tmp_path, FDDB), "--images", pictures]
        saved = tmp_path / "saved"
        assert run(*shared, "--model", tiny_model, "--box-style", "fddb", "--save-predictions", saved)[0] == 0
        code, out, err = run(*shared, "--model", tiny_model, "--predictions", saved / "tiny.txt")
        assert code == 0, err
        assert f"boxes {FDDB}" in out
        assert "boxes as predicted" in out

    def test_styles_are_for_models(self, run: Run, tmp_path: Path, pictures: Path) -> None:
        folder = write_ellipses(tmp_path, FDDB)
        (tmp_path / "net.jsonl").write_text('{"path": "2002/a", "faces": []}\n')
        shared = ["evaluate", "fddb", "--truth", folder, "--images", pictures]
        code, _, err = run(*shared, "--predictions", tmp_path / "net.jsonl", "--box-style", "fddb")
        assert code == 2
        assert "--box-style are for models" in err
