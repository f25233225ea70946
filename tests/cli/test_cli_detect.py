import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facesmith import images
from facesmith.cli import main

Run = Callable[..., tuple[int, str, str]]


def square(path: Path, x: int = 16, y: int = 0, *, width: int = 64, height: int = 48, shades: int = 1) -> Path:
    """Write a black picture with a white 16×16 square and darker ones to its right: faces to ``tiny``."""
    image = np.zeros((height, width, 3), np.uint8)
    for i in range(shades):
        image[y : y + 16, x + 16 * i : x + 16 * i + 16] = 255 - 51 * i
    images.write(path, image)
    return path


@pytest.fixture
def run(tiny_command: Callable[[str], Run]) -> Run:
    """Run ``facesmith detect`` with the tiny model in an empty folder: exit code, stdout, stderr."""
    return tiny_command("detect")


def test_a_line_a_face(run: Run) -> None:
    square(Path("a.png"), shades=2)
    assert run("a.png") == (
        0,
        "a.png\t16.0\t0.0\t32.0\t16.0\t1.000\na.png\t32.0\t0.0\t48.0\t16.0\t0.800\n",
        "",
    )
    assert run("a.png", "--threshold", "0.9")[1].count("\n") == 1


def test_no_face(run: Run) -> None:
    images.write(Path("a.png"), np.zeros((9, 9, 3), np.uint8))
    assert run("a.png") == (0, "", "")
    assert json.loads(run("a.png", "--jsonl")[1]) == {"path": "a.png", "width": 9, "height": 9, "faces": []}


def test_json(run: Run) -> None:
    square(Path("p/a.png"))
    square(Path("p/b.png"), 0, 32, shades=2)
    code, out, _ = run("p", "--json")
    first, second = json.loads(out)
    assert code == 0
    assert first == {
        "path": os.path.join("p", "a.png"),
        "width": 64,
        "height": 48,
        "faces": [
            {
                "box": [16, 0, 32, 16],
                "score": 1,
                "landmarks": [[21, 6], [27, 6], [24, 9], [22, 12], [26, 12]],
            }
        ],
    }
    assert [face["box"] for face in second["faces"]] == [[0, 32, 16, 48], [16, 32, 32, 48]]
    assert [json.loads(line) for line in run("p", "--jsonl")[1].splitlines()] == [first, second]


def test_results_are_in_input_order(run: Run) -> None:
    for i in range(12):
        square(Path(f"{i:02}.png"), width=1500 if i % 3 == 0 else 40, height=64)
    order = [f"{i:02}.png" for i in (5, 0, 11, *range(12))]
    _, out, _ = run(*order, "--jsonl")
    assert [json.loads(line)["path"] for line in out.splitlines()] == order


def test_a_broken_file_is_one_warning_and_the_rest_go_on(run: Run) -> None:
    square(Path("p/a.png"))
    Path("p/b.jpg").write_bytes(b"")
    Path("p/c.png").write_bytes(Path("p/a.png").read_bytes()[:60])
    square(Path("p/d.png"))
    code, out, err = run("p", "missing.png", "--jsonl")
    assert code == 1
    assert [json.loads(line)["path"] for line in out.splitlines()] == ["p/a.png", "p/d.png"]
    lines = err.splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, ("p/b.jpg", "p/c.png", "missing.png"), strict=True):
        assert line.startswith(f"facesmith: warning: {name}: ")
    code, out, _ = run("p", "--json")
    assert (code, len(json.loads(out))) == (1, 2)


def test_nothing_readable_is_still_json(run: Run) -> None:
    Path("empty").mkdir()
    code, out, err = run("empty", "--json")
    assert (code, json.loads(out)) == (1, [])
    assert err == "facesmith: warning: empty: no pictures or videos in this folder\n"


def test_save_draws_and_keeps_folders(run: Run) -> None:
    square(Path("p/a.png"))
    square(Path("p/x/a.png"))
    square(Path("q/a.png"), 32)
    square(Path("p/b.bmp"))
    assert run("p", "q", "--save", "out")[0] == 0
    written = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*.*"))
    assert written == ["a-2.png", "a.png", "b.bmp.jpg", "x/a.png"]
    before, after = images.read("p/a.png"), images.read("out/a.png")
    assert before.shape == after.shape
    assert (before != after).any()
    assert (images.read("out/a-2.png") != after).any()


def test_crops(run: Run) -> None:
    square(Path("p/a.png"), shades=2)
    square(Path("p/x/a.png"))
    assert run("p", "--crops", "out/crops")[0] == 0
    written = sorted(path.relative_to("out/crops").as_posix() for path in Path("out").rglob("*.*"))
    assert written == ["a.png-0000.png", "a.png-0001.png", "x/a.png-0000.png"]
    assert images.read("out/crops/a.png-0000.png").shape == (112, 112, 3)


def test_inputs_are_never_overwritten(run: Run) -> None:
    before = square(Path("p/a.png")).read_bytes()
    for folder in ("p", ".", "p/../p"):
        code, out, err = run("p/a.png", "--save", folder)
        assert (code, out) == (2, "")
        assert "holds the input p/a.png" in err
    assert Path("p/a.png").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name at least one file"),
        (["a.png", "--json", "--jsonl"], "--json and --jsonl exclude each other"),
        (["a.png", "--threshold", "2"], "threshold must lie between 0 and 1"),
        (["a.png", "--device", "gpu"], "no such device: 'gpu'"),
        (["a.png", "--save", "a.png/x"], "a.png"),
    ],
)
def test_wrong_settings_are_one_line(run: Run, arguments: list[str], message: str) -> None:
    square(Path("a.png"))
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("facesmith: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("flag", "value"), [("--size", "huge"), ("--model", "no-such-model"), ("--threads", "0")])
def test_wrong_values_are_one_line(run: Run, flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    square(Path("a.png"))
    assert main(["detect", "a.png", flag, value]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_threshold_is_checked_before_pictures_are_read(run: Run) -> None:
    assert run("missing.png", "--threshold", "-1")[0] == 2


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="file names must be valid text here")
def test_file_names_that_are_no_text(run: Run, tiny_model: Path) -> None:
    square(Path("ok.png"))
    os.rename(b"ok.png", b"\xff \xc3\xa9.png")
    command = [sys.executable, "-m", "facesmith", "detect", ".", "--model", tiny_model, "--size", "original"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert done.stdout.split(b"\t")[0] == b"./\xff \xc3\xa9.png"
    done = subprocess.run([*command, "--json"], capture_output=True, env=environment, check=True)
    assert os.fsencode(json.loads(done.stdout)[0]["path"]) == b"./\xff \xc3\xa9.png"


def start(tiny_model: Path, *arguments: str) -> "subprocess.Popen[str]":
    """``facesmith detect`` in a process of its own, with pipes; says at its end which modules it imported."""
    code = (
        "import sys; from facesmith.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "heavy = [m for m in ('torch', 'scipy', 'matplotlib', 'onnx') if m in sys.modules]\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "detect", *arguments, "--model", str(tiny_model), "--threads", "2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_stdin_gives_results_at_once_and_torch_stays_out(run: Run, tiny_model: Path) -> None:
    square(Path("a.png"))
    square(Path("p/b.png"))
    with start(tiny_model, "-", "--jsonl", "--size", "original") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("a.png\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["path"] == "a.png"  # while stdin is still open
        process.stdin.write("\np\r\nmissing.png")
        process.stdin.close()
        assert json.loads(process.stdout.readline())["path"] == os.path.join("p", "b.png")
        assert process.stderr.read() == "facesmith: warning: missing.png: no such file or folder\n"
        assert process.wait() == 1


def test_a_closed_pipe_ends_without_traceback(run: Run, tiny_model: Path) -> None:
    square(Path("a.png"))
    with start(tiny_model, *["a.png"] * 4000, "--jsonl") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 141


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("waiting", [False, True])
def test_an_interrupt_ends_without_traceback(run: Run, tiny_model: Path, waiting: bool) -> None:
    square(Path("a.png"))
    arguments = ["a.png", "-"] if waiting else ["a.png"] * 4000
    with start(tiny_model, *arguments, "--jsonl") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        if waiting:
            time.sleep(0.1)  # for the thread that reads stdin
        process.send_signal(signal.SIGINT)
        while process.stdout.readline():
            pass
        assert process.stderr.read() == ""
        assert process.wait() == 130
