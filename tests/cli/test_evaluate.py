import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from facesmith import images
from facesmith.cli import main
from facesmith.evaluation import malf
from facesmith.evaluation.embedding import Embeddings

CELLS = {"0--Parade/a": [(0, 0, 250), (2, 1, 200)], "0--Parade/b": [(3, 2, 150)], "9--Press/c": [(1, 1, 100)]}
"""Image -> the tiny network's faces, 16×16 cells: column, row, brightness."""

LINES = {name: [f"{16 * x} {16 * y} 16 16" for x, y, _ in cells] for name, cells in CELLS.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images, and labels that the tiny network finds all of."""
    for name, cells in CELLS.items():
        image = np.zeros((48, 80, 3), np.uint8)
        for x, y, brightness in cells:
            image[16 * y : 16 * y + 16, 16 * x : 16 * x + 16] = brightness
        images.write(tmp_path / f"images/{name}.png", image)
    write_labels(tmp_path / "label.txt", LINES)
    return tmp_path


def write_labels(path: Path, lines: dict[str, list[str]]) -> None:
    path.write_text("".join(f"# {name}.jpg\n" + "".join(f"{row}\n" for row in rows) for name, rows in lines.items()))


@pytest.fixture
def evaluate(folder: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run ``facesmith evaluate`` within the folder; its standard output."""

    def run(*arguments: object) -> str:
        code = main(["evaluate", *map(str, arguments)])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out

    return run


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which ``facesmith`` refuses."""
    assert main([*map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def written(path: Path) -> list[dict]:
    return json.loads(path.read_text())["results"]


class TestWiderFace:
    def test_model(self, evaluate: Callable[..., str], folder: Path, tiny_model: Path) -> None:
        out = evaluate(
            "widerface", "--truth", folder / "label.txt", "--images", folder / "images",
            "--model", tiny_model, "--threads", 1, "--json", folder / "result.json", "--report", folder / "report",
        )  # fmt: skip
        assert out.splitlines()[0] == "widerface · 3 images"
        assert "1.0000" in out
        (result,) = written(folder / "result.json")
        assert result["metrics"] == {"all": 1.0}
        assert (result["images"], result["protocol"], result["version"]) == (3, "widerface", "1")
        origin = result["provenance"]
        assert (origin["detector"], origin["size_rule"], origin["augmentation"]) == (
            "tiny",
            "original",
            "none",
        )
        assert (origin["score_threshold"], origin["nms"]) == (0.02, 0.4)
        assert len(origin["checksum"]) == 64
        assert origin["package"]
        page = (folder / "report/widerface.html").read_text(encoding="utf-8")
        assert "Worst pictures" in page
        assert f"report: {folder / 'report/widerface.html'}" in out

    def test_subset_is_said_loudly(self, evaluate: Callable[..., str], folder: Path, tiny_model: Path) -> None:
        write_official_lists(folder / "lists")
        (folder / "images/9--Press/c.png").unlink()
        out = evaluate(
            "widerface", "--truth", folder / "lists", "--images", folder / "images", "--model", tiny_model,
            "--json", folder / "result.json",
        )  # fmt: skip
        assert out.splitlines()[0] == "widerface · 2-image SUBSET of 3,226"
        (result,) = written(folder / "result.json")
        assert (result["images"], result["official_images"]) == (2, 3226)
        assert set(result["metrics"]) == {"easy", "medium", "hard"}

    def test_saved_predictions_give_the_same_figures(
        self, evaluate: Callable[..., str], folder: Path, tiny_model: Path
    ) -> None:
        shared = ["widerface", "--truth", folder / "label.txt"]
        for kind in ("wider", "fddb", "coco", "jsonl"):
            out = folder / kind
            evaluate(
                *shared, "--images", folder / "images", "--model", tiny_model, "--size", "160",
                "--save-predictions", out, "--save-format", kind, "--json", folder / "direct.json",
            )  # fmt: skip
            saved = next(path for path in out.iterdir() if "provenance" not in path.name)
            evaluate(*shared, "--predictions", saved, "--json", folder / "read.json")
            (direct,), (read,) = written(folder / "direct.json"), written(folder / "read.json")
            assert read["metrics"] == pytest.approx(direct["metrics"])
            assert read["provenance"]["size_rule"] == "long side 160"
            assert read["provenance"]["checksum"] == direct["provenance"]["checksum"]

    def test_several_detectors(self, evaluate: Callable[..., str], folder: Path, tiny_model: Path) -> None:
        shared = ["widerface", "--truth", folder / "label.txt", "--images", folder / "images"]
        evaluate(*shared, "--model", tiny_model, "--size", "40", "--save-predictions", folder / "saved")
        out = evaluate(
            *shared, "--model", tiny_model, "--predictions", folder / "saved/tiny", "--report", folder,
            "--json", folder / "both.json",
        )  # fmt: skip
        assert out.splitlines()[2].split() == ["A", "B"]
        names = [one["provenance"]["detector"] for one in written(folder / "both.json")]
        assert names == ["tiny (original)", "tiny (long side 40)"]
        page = (folder / "widerface.html").read_text(encoding="utf-8")
        assert "B tiny (long side 40)" in page

    def test_predictions_of_more_images_than_are_judged(self, evaluate: Callable[..., str], folder: Path) -> None:
        write_jsonl(folder / "net.jsonl", CELLS)
        (folder / "images/9--Press/c.png").unlink()
        out = evaluate(
            "widerface", "--truth", folder / "label.txt", "--predictions", folder / "net.jsonl",
            "--images", folder / "images",
        )  # fmt: skip
        assert out.splitlines()[0] == "widerface · 2 images"

    def test_challenge(self, evaluate: Callable[..., str], folder: Path, tiny_model: Path) -> None:
        out = evaluate(
            "widerface-challenge", "--truth", folder / "label.txt", "--images", folder / "images",
            "--model", tiny_model, "--augment", "flip",
        )  # fmt: skip
        assert "all @0.95  1.0000" in out
        assert "augmentation horizontal flip, box voting" in out


class TestOtherProtocols:
    """Each verb, from files that its predictions fit exactly."""

    def judged(self, evaluate: Callable[..., str], folder: Path, *arguments: object) -> dict:
        evaluate(*arguments, "--json", folder / "result.json")
        return written(folder / "result.json")[0]

    def test_fddb(self, evaluate: Callable[..., str], folder: Path, tiny_model: Path) -> None:
        rows = {name: [f"8 8 0 {16 * x + 8} {16 * y + 8} 1" for x, y, _ in cells] for name, cells in CELLS.items()}
        rows["0--Parade/missing"] = ["8 8 0 8 8 1"]
        text = "".join(f"{n}\n{len(lines)}\n" + "\n".join(lines) + "\n" for n, lines in rows.items())
        (folder / "FDDB-fold-01-ellipseList.txt").write_text(text)
        shared = ["fddb", "--truth", folder, "--images", folder / "images"]
        result = self.judged(evaluate, folder, *shared, "--model", tiny_model, "--report", folder)
        assert (result["images"], result["official_images"]) == (3, 2845)
        assert result["metrics"]["discrete @1"] == 1.0
        # predictions may be for all of FDDB, also where some images are there only
        write_jsonl(folder / "net.jsonl", {**CELLS, "0--Parade/missing": []})
        assert self.judged(evaluate, folder, *shared, "--predictions", folder / "net.jsonl")["images"] == 3

    def test_fddb_turned_by_fold_and_by_list(
        self, evaluate: Callable[..., str], folder: Path, tiny_model: Path
    ) -> None:
        """Pictures and ellipses turn together; the bright cells are found again wherever they lie."""
        for number, (name, cells) in enumerate(CELLS.items(), 1):
            lines = [f"8 8 0 {16 * x + 8} {16 * y + 8} 1" for x, y, _ in cells]
            text = "\n".join((name, str(len(lines)), *lines)) + "\n"
            (folder / f"FDDB-fold-{number:02d}-ellipseList.txt").write_text(text)
        shared = ["fddb", "--truth", folder, "--images", folder / "images", "--model", tiny_model]
        for degrees in (90, -90, 180):
            result = self.judged(evaluate, folder, *shared, "--rotate", degrees, "--report", folder)
            assert result["metrics"]["discrete @1"] == 1.0
            assert result["provenance"]["settings"]["turned"].strip("+°") == str(degrees)
            assert f"{degrees:+d}°" in result["notes"][-1]
        (folder / "only.txt").write_text(f"{next(iter(CELLS))}\n")
        for choice in (["--fold", 1], ["--only", folder / "only.txt"]):
            assert self.judged(evaluate, folder, *shared, *choice)["images"] == 1

    @pytest.mark.parametrize("protocol", ["afw", "pascal", "malf"])
    def test_boxes(self, protocol: str, evaluate: Callable[..., str], folder: Path) -> None:
        boxes = {"a": [(10, 10, 60, 60), (100, 100, 50, 50)], "b": [(5, 5, 40, 40)]}
        lines = {n: [" ".join(map(str, box)) + " 0" for box in rows] for n, rows in boxes.items()}
        write_labels(folder / "boxes.txt", lines)
        text = "".join(
            json.dumps({"path": n, "faces": [{"box": [x, y, x + w, y + h], "score": 0.9} for x, y, w, h in rows]})
            + "\n"
            for n, rows in boxes.items()
        )
        (folder / "net.jsonl").write_text(text)
        shared = [protocol, "--truth", folder / "boxes.txt", "--predictions", folder / "net.jsonl"]
        assert self.judged(evaluate, folder, *shared, "--report", folder)["metrics"]["AP"] == pytest.approx(1)

    def test_coco(self, evaluate: Callable[..., str], folder: Path, tiny_model: Path) -> None:
        document = {
            "images": [{"id": 7 + i, "file_name": f"{name}.png"} for i, name in enumerate(CELLS)],
            "annotations": [
                {"image_id": 7 + i, "bbox": [16 * x, 16 * y, 16, 16]}
                for i, cells in enumerate(CELLS.values())
                for x, y, _ in cells
            ],
        }
        (folder / "truth.json").write_text(json.dumps(document))
        shared = ["coco", "--truth", folder / "truth.json"]
        result = self.judged(
            evaluate, folder, *shared, "--images", folder / "images", "--model", tiny_model,
            "--save-predictions", folder / "saved", "--report", folder,
        )  # fmt: skip
        assert result["metrics"]["AP"] == pytest.approx(1)
        again = self.judged(evaluate, folder, *shared, "--predictions", folder / "saved/tiny.json")
        assert again["metrics"] == result["metrics"]
        saved = json.loads((folder / "saved/tiny.json").read_text())
        assert {row["image_id"] for row in saved} == {7, 8, 9}  # as in the annotation file
        # a file with its own list of images counts by that list
        own = {"images": [{"id": 8, "file_name": "0--Parade/a.png"}]}
        own["annotations"] = [{"image_id": 8, "bbox": [0, 0, 16, 16], "score": 0.5}]
        (folder / "own.json").write_text(json.dumps(own))
        third = self.judged(evaluate, folder, *shared, "--predictions", folder / "own.json")
        assert (third["images"], third["metrics"]["AR_100"]) == (1, pytest.approx(0.5))

    def test_widerface_landmarks(self, evaluate: Callable[..., str], folder: Path, tiny_model: Path) -> None:
        offsets = [(5, 6), (11, 6), (8, 9), (6, 12), (10, 12)]
        rows = {
            name: [
                f"{16 * x} {16 * y} 16 16 " + " ".join(f"{16 * x + dx} {16 * y + dy} 0" for dx, dy in offsets)
                for x, y, _ in cells
            ]
            for name, cells in CELLS.items()
        }
        write_labels(folder / "landmarks.txt", rows)
        result = self.judged(
            evaluate, folder, "widerface-landmarks", "--truth", folder / "landmarks.txt", "--images",
            folder / "images", "--model", tiny_model, "--report", folder,
        )  # fmt: skip
        assert result["metrics"]["nme"] == pytest.approx(0, abs=1e-6)
        assert "Worst faces" in (folder / "widerface-landmarks.html").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("protocol", "labelled", "judged", "metric"),
        [
            ("aflw", 19, 19, "nme_all"),
            ("aflw5", 19, 5, "nme_all"),
            ("aflw2000-3d", 68, 68, "nme"),
            ("300w", 68, 68, "nme"),
            ("frames", 68, 5, "nme_box"),
            ("frames-68", 68, 68, "nme"),
        ],
    )
    def test_points(
        self,
        protocol: str,
        labelled: int,
        judged: int,
        metric: str,
        evaluate: Callable[..., str],
        folder: Path,
    ) -> None:
        rng = np.random.default_rng(0)
        points = {name: rng.uniform(0, 100, (labelled, 2)) for name in ("a", "b")}
        write_points(folder / "truth.jsonl", points, box=[0, 0, 100, 100], yaw=10)
        off = {name: value[:judged] if judged == labelled else np.zeros((judged, 2)) for name, value in points.items()}
        write_points(folder / "net.jsonl", off)
        shared = [protocol, "--truth", folder / "truth.jsonl", "--predictions", folder / "net.jsonl"]
        value = self.judged(evaluate, folder, *shared, "--report", folder)["metrics"][metric]
        assert value == 0 if judged == labelled else value > 0.1

    def test_dense(self, evaluate: Callable[..., str], folder: Path) -> None:
        rng = np.random.default_rng(0)
        for name in ("a", "b"):
            vertices, points = rng.uniform(0, 100, (30, 3)), rng.uniform(0, 100, (68, 2))
            (folder / "truth").mkdir(exist_ok=True)
            (folder / "net").mkdir(exist_ok=True)
            np.savez(folder / f"truth/{name}.npz", vertices=vertices, landmarks=points, yaw=0)
            np.save(folder / f"net/{name}.npy", vertices)
        shared = ["aflw2000-3d", "--dense", "--truth", folder / "truth", "--predictions", folder / "net"]
        result = self.judged(evaluate, folder, *shared)
        assert result["protocol"] == "aflw2000-3d-mesh"
        assert result["metrics"]["nme"] == 0

    @pytest.mark.parametrize("benchmark", ["lfw", "cfp-fp", "agedb-30", "ijbc"])
    def test_verification(self, benchmark: str, evaluate: Callable[..., str], folder: Path) -> None:
        rng = np.random.default_rng(0)
        persons = rng.normal(size=(20, 8))
        names = [f"p{i}/{j}" for i in range(20) for j in range(2)]
        features = np.repeat(persons, 2, axis=0).astype(np.float32)
        Embeddings(tuple(names), features).save(folder / "net.npz")
        shared = ["verification", benchmark, "--embeddings", folder / "net.npz"]
        if benchmark == "ijbc":
            media = "".join(f"{name}.jpg {i} {i}\n" for i, name in enumerate(names))
            (folder / "media.txt").write_text(media)
            pairs = [f"{2 * i} {2 * i + 1} 1" for i in range(20)] + [f"{2 * i} {2 * i + 3} 0" for i in range(18)]
            (folder / "pairs.txt").write_text("\n".join(pairs) + "\n")
            shared += ["--truth", folder / "media.txt", "--pairs", folder / "pairs.txt"]
        else:
            pairs = [f"1 p{i}/0 p{i}/1\n0 p{i}/0 p{(i + 1) % 20}/1\n" for i in range(20)]
            (folder / "pairs.txt").write_text("".join(pairs))
            shared += ["--truth", folder / "pairs.txt"]
        result = self.judged(evaluate, folder, *shared, "--report", folder)
        metric = "TAR@1e-01" if benchmark == "ijbc" else "accuracy"
        assert result["metrics"][metric] == pytest.approx(1)

    def test_verification_runs_a_detector(self, evaluate: Callable[..., str], folder: Path, tiny_model: Path) -> None:
        write_recognition(folder / "recognition.onnx")
        pairs = "1 0--Parade/a 0--Parade/a\n0 0--Parade/a 0--Parade/b\n" * 10
        (folder / "pairs.txt").write_text(pairs)
        result = self.judged(
            evaluate, folder, "verification", "agedb-30", "--truth", folder / "pairs.txt", "--images",
            folder / "images", "--recognition", folder / "recognition.onnx", "--model", tiny_model,
            "--save-embeddings", folder / "saved", "--size", "80",
        )  # fmt: skip
        origin = result["provenance"]
        assert (origin["size_rule"], origin["score_threshold"]) == ("long side 80", 0.5)
        assert origin["settings"]["recognition"] == "recognition.onnx"
        assert len(origin["settings"]["recognition_sha256"]) == 64
        assert (folder / "saved/tiny.npz").exists()


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--predictions", "nothing"], "nothing: cannot be read"),
            ([], "--images DIR is needed"),
            (["--images", "nowhere", "--model", "MODEL"], "no such folder"),
            (["--images", "images", "--model", "nothing.onnx"], "cannot read model file"),
            (["--images", "images", "--model", "MODEL", "--size", "big"], "no such size rule"),
            (["--images", "images", "--model", "MODEL", "--threshold", "2"], "between 0 and 1"),
            (
                ["--images", "images", "--model", "MODEL", "--augment", "pyramid", "--size", "640"],
                "sizes of its own",
            ),
            (["--images", "images", "--model", "MODEL", "--device", "tpu"], "no such device"),
            (["--images", "images", "--model", "MODEL", "MODEL"], "given twice"),
            (["--images", "images", "--model", "MODEL", "--save-format", "coco"], "needs --save-predictions"),
            (["--predictions", "net.jsonl", "--size", "vga"], "are for models"),
            (["--predictions", "unknown.jsonl"], "did you mean '0--Parade/a'"),
            (["--predictions", "half.jsonl", "--images", "images"], "no predictions for 2 of 3 images"),
        ],
    )
    def test_bad_input_is_one_line(
        self,
        arguments: list[str],
        message: str,
        folder: Path,
        tiny_model: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(folder)
        write_jsonl(folder / "net.jsonl", CELLS)
        write_jsonl(folder / "unknown.jsonl", {"0--Parade/aa": []})
        write_jsonl(folder / "half.jsonl", {"0--Parade/a": []})
        given = [str(tiny_model) if argument == "MODEL" else argument for argument in arguments]
        assert message in refused(capsys, "evaluate", "widerface", "--truth", "label.txt", *given)

    def test_an_unreadable_picture_stops_the_evaluation(
        self, folder: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "images/0--Parade/b.png").write_bytes(b"not a picture")
        shared = ["evaluate", "widerface", "--truth", folder / "label.txt", "--images", folder / "images"]
        assert "b.png" in refused(capsys, *shared, "--model", tiny_model, "--json", folder / "x.json")
        assert not (folder / "x.json").exists()

    def test_missing_truth(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shared = ["evaluate", "widerface", "--truth", folder / "nothing.txt", "--images", folder / "images"]
        assert "nothing.txt" in refused(capsys, *shared)

    def test_fddb_needs_images(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "--images" in refused(capsys, "evaluate", "fddb", "--truth", folder, "--predictions", folder)

    def test_detectors_without_meshes_have_no_68_points(
        self, folder: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_points(folder / "truth.jsonl", {"a": np.random.default_rng(0).uniform(0, 9, (68, 2))})
        shared = ["evaluate", "300w", "--truth", folder / "truth.jsonl", "--images", folder / "images"]
        assert "tiny has no mesh branch" in refused(capsys, *shared, "--model", tiny_model)

    @pytest.mark.parametrize(
        "arguments", [["widerfase"], ["widerface"], ["widerface", "--truth", "x", "--thresold", "1"]]
    )
    def test_wrong_flags(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stop:
            main(["evaluate", *arguments])
        assert stop.value.code == 2
        assert capsys.readouterr().err


class TestSubmit:
    def test_widerface(self, folder: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shared = ["submit", "widerface", "--images", folder / "images", "--out", folder / "out"]
        assert main([*map(str, shared), "--model", str(tiny_model)]) == 0
        out = capsys.readouterr().out
        assert "predictions for 3 images" in out
        assert "SUBSET" in out
        assert "size original, augmentation none" in out
        lines = (folder / "out/0--Parade/b.txt").read_text().splitlines()
        assert lines[:2] == ["b", "1"]
        assert [float(word) for word in lines[2].split()] == pytest.approx([48, 32, 16, 16, 150 / 255])

    def test_widerface_wants_events(self, folder: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shared = ["submit", "widerface", "--images", folder, "--out", folder / "out", "--model", tiny_model]
        assert "one folder an event" in refused(capsys, *shared)
        assert not (folder / "out").exists()

    def test_malf(
        self,
        folder: Path,
        tiny_model: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        shared = [
            "submit",
            "malf",
            "--images",
            folder / "images",
            "--out",
            folder / "out",
            "--model",
            tiny_model,
        ]
        assert "holds 3 images; a MALF submission covers its 5,000" in refused(capsys, *shared)
        monkeypatch.setattr(malf, "TEST_IMAGES", 3)
        assert main([*map(str, shared)]) == 0
        lines = (folder / "out/malf.txt").read_text().splitlines()
        assert lines[:2] == ["0--Parade/a", "2"]


def test_torch_is_never_imported(folder: Path, tiny_model: Path) -> None:
    program = (
        "import sys\nfrom facesmith.cli import main\ncode = main(sys.argv[1:])\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\nsys.exit(code)\n"
    )
    shared = [
        "evaluate",
        "widerface",
        "--truth",
        folder / "label.txt",
        "--images",
        folder / "images",
        "--model",
        tiny_model,
    ]
    outputs = [
        "--report",
        folder / "report",
        "--json",
        folder / "x.json",
        "--save-predictions",
        folder / "saved",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, [*shared, *outputs])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no progress bar where there is no terminal


def write_jsonl(path: Path, cells: dict[str, list[tuple[int, int, int]]]) -> None:
    rows = [
        {
            "path": name,
            "faces": [{"box": [16 * x, 16 * y, 16 * x + 16, 16 * y + 16], "score": b / 255} for x, y, b in faces],
        }
        for name, faces in cells.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_points(path: Path, points: dict[str, np.ndarray], **more: object) -> None:
    rows = [{"image": name, "points": value.tolist(), **more} for name, value in points.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_official_lists(folder: Path) -> None:
    """WIDER FACE's four files in their MATLAB layout, with the images of ``CELLS``."""
    folder.mkdir()
    events = list(dict.fromkeys(name.split("/")[0] for name in CELLS))
    inner = {event: [name for name in CELLS if name.startswith(event)] for event in events}

    def cells(values: list) -> np.ndarray:
        column = np.empty((len(values), 1), object)
        for i, value in enumerate(values):
            column[i, 0] = value
        return column

    def by_image(make: Callable[[str], np.ndarray]) -> np.ndarray:
        return cells([cells([make(name) for name in inner[event]]) for event in events])

    names = {
        "event_list": cells(events),
        "file_list": cells([cells([n.split("/")[1] for n in inner[event]]) for event in events]),
    }
    boxes = by_image(lambda name: np.array([[16 * x, 16 * y, 16, 16] for x, y, _ in CELLS[name]], float))
    levels = {
        f"{attribute}_label_list": by_image(lambda name: np.zeros((len(CELLS[name]), 1)))
        for attribute in ("blur", "expression", "illumination", "invalid", "occlusion", "pose")
    }
    scipy.io.savemat(folder / "wider_face_val.mat", {**names, "face_bbx_list": boxes, **levels})
    every = by_image(lambda name: np.arange(1, len(CELLS[name]) + 1)[:, None].astype(float))
    for subset in ("easy", "medium", "hard"):
        scipy.io.savemat(folder / f"wider_{subset}_val.mat", {**names, "gt_list": every})


def write_recognition(path: Path) -> None:
    """A network whose feature is the mean colour."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["m"]), helper.make_node("Flatten", ["m"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
