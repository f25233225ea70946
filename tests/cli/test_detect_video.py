"""``facesmith detect`` on videos and cameras, with the tiny model, whose faces are white squares of 16 pixels."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import facesmith.media
from facesmith import images
from facesmith.cli import detect, detect_video
from facesmith.media.camera import Camera
from facesmith.media.video import VideoReader
from videos import sound_packets, write_video

Run = Callable[..., tuple[int, str, str]]
Image = npt.NDArray[np.uint8]

UNEVEN = [0, 20, 47, 60, 90, 100, 120, 140, 160, 181, 200, 300]


def frame(*faces: tuple[int, int, int], width: int = 96) -> Image:
    """Black, with a square at each (x, y) of some brightness."""
    image = np.zeros((64, width, 3), np.uint8)
    for x, y, brightness in faces:
        image[y : y + 16, x : x + 16] = brightness
    return image


def clip(path: Path, **options: Any) -> Path:
    """12 frames: one face at (16, 16) that is missed in frames 5 and 6, one at (64, 32) from frame 4 on."""
    frames = [frame((16, 16, 0 if i in (5, 6) else 255), (64, 32, 255 if i >= 4 else 0)) for i in range(12)]
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, frames, UNEVEN, **options)


def read(path: Path) -> list[Image]:
    with VideoReader(path) as reader:
        return [each.image for each in reader]


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def ids(row: dict[str, Any]) -> list[int]:
    return sorted(face["track_id"] for face in row["faces"])


@pytest.fixture
def run(tiny_command: Callable[[str], Run]) -> Run:
    """Run ``facesmith detect`` with the tiny model in an empty folder: exit code, stdout, stderr."""
    return tiny_command("detect")


def test_a_line_a_frame(run: Run) -> None:
    clip(Path("v.mp4"))
    code, out, err = run("v.mp4", "--jsonl")
    assert (code, err) == (0, "")
    found = rows(out)
    assert [row["frame"] for row in found] == list(range(12))
    assert [row["time"] for row in found] == pytest.approx([pts / 600 for pts in UNEVEN], abs=1e-6)
    assert [ids(row) for row in found] == [[1]] * 4 + [[1, 2]] + [[2]] * 2 + [[1, 2]] * 5  # 1 is the same after a miss
    head = {"path": "v.mp4", "frame": 0, "time": 0.0, "detected": True, "width": 96, "height": 64}
    assert {key: found[0][key] for key in head} == head
    assert [*found[0]][:-1] == [*head]
    assert found[0]["faces"][0]["box"] == [16, 16, 32, 32]
    assert json.loads(run("v.mp4", "--json")[1]) == found
    assert run("v.mp4")[1].splitlines()[4:6] == [
        "v.mp4\t16.0\t16.0\t32.0\t32.0\t1.000\t4\t0.150\t1",
        "v.mp4\t64.0\t32.0\t80.0\t48.0\t1.000\t4\t0.150\t2",
    ]


def test_a_doubtful_face_carries_on_a_track_only(run: Run) -> None:
    write_video(Path("v.mp4"), [frame((16, 16, 255), (64, 32, 80)), frame((16, 16, 80), (64, 32, 80))])
    found = rows(run("v.mp4", "--jsonl")[1])
    assert [ids(row) for row in found] == [[1], [1]]
    assert found[1]["faces"][0]["score"] == pytest.approx(80 / 255, abs=0.02)


def test_every_third_frame(run: Run) -> None:
    write_video(Path("v.mp4"), [frame((16, 16, 255))] * 12)
    found = rows(run("v.mp4", "--jsonl", "--every", "3")[1])
    assert [row["detected"] for row in found] == [i % 3 == 0 for i in range(12)]
    assert [ids(row) for row in found] == [[1]] * 12
    assert all("landmarks" in face for row in found for face in row["faces"])


def test_pictures_and_videos_together(run: Run) -> None:
    for i in range(9):
        images.write(Path(f"in/{i}.png"), frame((16, 16, 255)))
    clip(Path("in/4b.mp4"))
    clip(Path("in/day.mkv"))
    Path("in/broken.mp4").write_text("nothing")
    code, out, err = run("in", "--jsonl")
    assert code == 1
    assert err.startswith("facesmith: warning: in/broken.mp4: damaged, cut short or no video")
    assert err.count("\n") == 1
    names = [*(f"{i}.png" for i in range(5)), *["4b.mp4"] * 12, *(f"{i}.png" for i in range(5, 9)), *["day.mkv"] * 12]
    assert [row["path"] for row in rows(out)] == [f"in/{name}" for name in names]
    assert [row.get("frame") for row in rows(out)][4:6] == [None, 0]


def test_a_turned_video_is_upright(run: Run) -> None:
    write_video(Path("v.mp4"), [frame((0, 0, 255))] * 3, matrix=(0, 1, -1, 0))
    row = rows(run("v.mp4", "--jsonl")[1])[0]
    assert (row["width"], row["height"]) == (64, 96)
    assert row["faces"][0]["box"] == [48, 0, 64, 16]


@pytest.mark.parametrize(("name", "written"), [("v.mp4", "v.mp4"), ("v.mkv", "v.mkv"), ("v.avi", "v.avi.mkv")])
def test_save(run: Run, name: str, written: str) -> None:
    if name == "v.avi":
        source = write_video(Path(name), [frame((16, 16, 255))] * 12, codec="mpeg4", sound=None)
    else:
        source = clip(Path("in") / name)
    images.write(Path("in/a.png"), frame((16, 16, 255)))
    assert run(str(source), "in", "--save", "out")[0] == 0
    target = Path("out") / written
    with VideoReader(source) as before, VideoReader(target) as after:
        assert [each.time for each in after] == pytest.approx([each.time for each in before], abs=0.0006)
    if name != "v.avi":
        assert sound_packets(source)
        assert sound_packets(target) == sound_packets(source)
    for before_image, after_image in zip(read(source)[:5], read(target)[:5], strict=True):
        difference = np.abs(before_image.astype(int) - after_image).max(axis=2)
        assert difference[14:34, 14:34].max() > 60
        assert difference[50:].max() < 20
    assert Path("out/a.png").exists()


def test_crops(run: Run) -> None:
    clip(Path("in/v.mp4"))
    assert run("in", "--crops", "out", "--every", "4")[0] == 0
    written = sorted(path.name for path in Path("out").iterdir())
    assert written == [
        f"v.mp4-{name}.png" for name in ("000000-0000", "000004-0000", "000004-0001", "000008-0000", "000008-0001")
    ]
    assert images.read(Path("out") / written[0]).shape == (112, 112, 3)


ARGUMENTS = ("a.png", "v.mp4", "b.png", "w.mkv", "--every", "2", "--out", "results/r.jsonl")


@pytest.fixture
def whole(run: Run) -> bytes:
    """What an uninterrupted run writes of two pictures and two videos."""
    for name in ("a.png", "b.png"):
        images.write(Path(name), frame((16, 16, 255)))
    clip(Path("v.mp4"))
    clip(Path("w.mkv"))
    assert run(*ARGUMENTS) == (0, "", "")
    data = Path("results/r.jsonl").read_bytes()
    assert len(data.splitlines()) == 26
    return data


@pytest.mark.parametrize(("lines", "more"), [(0, 0), (1, 0), (5, 30), (13, 0), (14, 5), (20, 0), (26, 0)])
def test_resume(run: Run, whole: bytes, lines: int, more: int) -> None:
    """Killed after some lines, or in the middle of one."""
    path = Path("results/r.jsonl")
    before = b"".join(whole.splitlines(keepends=True)[:lines])
    path.write_bytes(whole[: len(before) + more])
    assert run(*ARGUMENTS, "--resume") == (0, "", "")
    assert path.read_bytes() == whole


def test_a_resumed_run_draws_the_whole_video(run: Run, whole: bytes) -> None:
    run(*ARGUMENTS[:-1], "other.jsonl", "--save", "one")
    Path("other.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:8]))
    assert run(*ARGUMENTS[:-1], "other.jsonl", "--save", "two", "--resume") == (0, "", "")
    assert Path("other.jsonl").read_bytes() == whole
    assert sound_packets(Path("two/v.mp4")) == sound_packets(Path("v.mp4"))
    for name in ("v.mp4", "w.mkv"):
        for a, b in zip(read(Path("one") / name), read(Path("two") / name), strict=True):
            assert np.array_equal(a, b)


def test_only_frames_that_are_new_are_looked_at(run: Run, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    find = detect.Detect._find
    monkeypatch.setattr(detect.Detect, "_find", lambda *arguments: looked.append(1) or find(*arguments))
    Path("results/r.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:20]))
    run(*ARGUMENTS, "--resume")
    assert len(looked) == 3  # frames 6, 8, 10 of w.mkv


def test_results_are_not_written_over(run: Run, whole: bytes) -> None:
    code, out, err = run(*ARGUMENTS)
    assert (code, out) == (2, "")
    assert err == (
        "facesmith: results/r.jsonl holds results already; add --resume to go on with them, or name another file\n"
    )
    assert Path("results/r.jsonl").read_bytes() == whole


def test_resuming_something_else(run: Run, whole: bytes) -> None:
    path = Path("results/r.jsonl")
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:8]))
    code, _, err = run(*ARGUMENTS[:4], "--out", str(path), "--resume")
    assert code == 1
    assert "v.mp4: results/r.jsonl goes on at frame 7, but frame 1 has other tracks: repeat the settings" in err
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:8]))
    write_video(Path("v.mp4"), [frame()] * 12)
    code, _, err = run(*ARGUMENTS, "--resume")
    assert code == 1
    assert "v.mp4: results/r.jsonl goes on at frame 7, but frame 2 differs: this is another video" in err
    path.write_text("a,b,c\n")
    code, _, err = run(*ARGUMENTS, "--resume")
    assert code == 2
    assert err == "facesmith: results/r.jsonl:1: not a line that `facesmith detect` writes; name another file\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_run_goes_on(run: Run, tiny_model: Path, kill: signal.Signals) -> None:
    frames = [frame((16 + i // 16, 16, 255), width=160) for i in range(400)]
    write_video(Path("v.mp4"), frames)
    assert run("v.mp4", "--out", "whole.jsonl")[0] == 0
    arguments = ["v.mp4", "--out", "r.jsonl", "--save", "out"]
    command = [sys.executable, "-m", "facesmith", "detect", *arguments, "--model", str(tiny_model)]
    command += ["--size", "original", "--threads", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        end = time.monotonic() + 60
        while not Path("r.jsonl").exists() or Path("r.jsonl").stat().st_size == 0:
            assert time.monotonic() < end
            time.sleep(0.005)
        process.send_signal(kill)
        stopped = process.stderr.read()
        code = process.wait()
    done = Path("r.jsonl").read_bytes().count(b"\n")
    assert 0 < done < 400
    assert not Path("out/v.mp4").exists()
    if kill == signal.SIGINT:
        assert (code, not any(Path("out").iterdir())) == (130, True)
        assert stopped == "\nfacesmith: stopped; the same command with --resume goes on with r.jsonl\n"
    assert run(*arguments, "--resume") == (0, "", "")
    assert Path("r.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert len(read(Path("out/v.mp4"))) == 400


def test_without_pyav_pictures_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clip(Path("in/v.mp4"))
    images.write(Path("in/w.png"), frame((16, 16, 255)))
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "facesmith.media.video")
    monkeypatch.delattr(facesmith.media, "video")
    code, out, err = run("in", "--jsonl")
    assert (code, [row["path"] for row in rows(out)]) == (1, ["in/w.png"])
    assert err == "facesmith: warning: videos need PyAV: pip install 'facesmith[video]'\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["v.mp4", "--resume"], "--resume needs --out FILE"),
        (["v.mp4", "--json", "--out", "r"], "--json and --out exclude each other"),
        (["v.mp4", "--every", "0"], "--every is 1 frame or more, not 0"),
        (["v.mp4", "--out", "r", "--resume", "--mesh", "--save", "out"], "leave out --mesh or --save"),
        (["camera:0", "v.mp4"], "a camera stands alone"),
        (["camera:0", "--out", "r", "--resume"], "a camera stands alone"),
        (["camera:none.avi"], "camera:none.avi: no such camera"),
        (["v.mp4", "--save", "."], "holds the input v.mp4"),
    ],
)
def test_wrong_settings(run: Run, arguments: list[str], message: str) -> None:
    clip(Path("v.mp4"))
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


class FakeCapture:
    """A camera with a face, whose pictures come as they are taken; ``at`` maps some of them to what happens then."""

    def __init__(self, at: dict[int, Callable[[], object]], pictures: int = 100_000) -> None:
        self.at, self.pictures, self.given = at, pictures, 0

    def __call__(self, source: int | str) -> "FakeCapture":
        return self

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, Image | None]:
        if self.given == self.pictures:
            return False, None
        time.sleep(0.005)
        self.at.get(self.given, lambda: None)()
        self.given += 1
        return True, frame((16, 16, 255))

    def release(self) -> None:
        pass


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a fake camera in the place of all."""

    def replace(at: dict[int, Callable[[], object]], **options: int) -> None:
        fake = functools.partial(Camera, open_capture=FakeCapture(at, **options))
        monkeypatch.setattr(detect_video, "Camera", fake)

    return replace


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_camera_until_it_is_stopped(run: Run, camera: Callable[..., None], number: signal.Signals) -> None:
    before = signal.getsignal(number)
    camera({40: lambda: os.kill(os.getpid(), number)})
    code, out, err = run("camera:0", "--jsonl", "--save", "out")
    assert (code, err) == (0, "")
    found = rows(out)
    assert 2 <= len(found) <= 60
    assert all((row["path"], row["width"], ids(row)) == ("camera:0", 96, [1]) for row in found)
    assert [row["frame"] for row in found] == sorted({row["frame"] for row in found})
    with VideoReader("out/camera-0.mp4") as reader:  # what was drawn is a whole file
        assert [each.time for each in reader] == pytest.approx([row["time"] for row in found], abs=0.002)
    assert signal.getsignal(number) == before


def test_a_camera_that_is_unplugged(run: Run, camera: Callable[..., None]) -> None:
    camera({}, pictures=30)
    code, out, err = run("camera:0", "--jsonl", "--save", "out")
    assert (code, err) == (2, "facesmith: camera:0: gives no more pictures; is it still connected?\n")
    assert len(read(Path("out/camera-0.mp4"))) == len(rows(out)) > 0


class FakePreview:
    """Notes what it is shown, and is closed by the user after some pictures."""

    def __init__(self, pictures: int) -> None:
        self.pictures, self.shown = pictures, list[Image]()

    def __enter__(self) -> "FakePreview":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def is_open(self) -> bool:
        return len(self.shown) < self.pictures

    def show(self, image: Image) -> None:
        self.shown.append(image)


def test_closing_the_preview_ends_a_camera_but_no_video(
    run: Run, camera: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    preview = FakePreview(5)
    monkeypatch.setattr(detect, "_window", lambda: preview)
    camera({})
    code, out, err = run("camera:0", "--jsonl", "--preview")
    assert (code, err) == (0, "")
    assert len(preview.shown) == 5
    assert 5 <= len(rows(out)) < 20
    assert (preview.shown[0][14:34, 14:34] != frame((16, 16, 255))[14:34, 14:34]).any()  # the box

    preview.shown.clear()
    clip(Path("v.mp4"))
    assert len(rows(run("v.mp4", "--jsonl", "--preview")[1])) == 12
    assert len(preview.shown) == 5


@pytest.fixture
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there is always a screen")
def test_a_preview_needs_a_screen(run: Run, no_screen: None) -> None:
    pytest.importorskip("tkinter")
    clip(Path("v.mp4"))
    code, out, err = run("v.mp4", "--preview", "--out", "r.jsonl")
    assert (code, out) == (2, "")
    assert err.startswith("facesmith: there is no screen for the preview")
    assert not Path("r.jsonl").exists()


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="Xvfb is not installed")
def test_a_preview_on_a_screen(run: Run, tiny_model: Path) -> None:
    pytest.importorskip("tkinter")
    clip(Path("v.mp4"))
    command = ["xvfb-run", "-a", sys.executable, "-m", "facesmith", "detect", "v.mp4", "--jsonl", "--preview"]
    done = subprocess.run([*command, "--model", tiny_model, "--size", "original"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(rows(done.stdout)) == 12
