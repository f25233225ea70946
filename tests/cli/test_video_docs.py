"""Every command and example of docs/video.md, on a photograph that moves."""

import functools
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest

from facesmith import cli, images, load
from facesmith.anonymize.hiding import grown
from facesmith.anonymize.plan import _line
from facesmith.cli import detect, detect_video
from facesmith.media.camera import Camera
from facesmith.media.video import VideoReader
from videos import sound_packets, write_video

DOCS = (Path(__file__).parents[2] / "docs/video.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("facesmith")]


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with party.mp4, 8 frames of a woman's face that moves, and the folder photos."""
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("party")
    photograph = np.ascontiguousarray(data.astronaut()[:320, 60:380])
    frames = [
        cv2.resize(photograph[2 * i : 256 + 2 * i, 4 * i : 256 + 4 * i], (256, 256), interpolation=cv2.INTER_AREA)
        for i in range(8)
    ]
    write_video(folder / "party.mp4", frames, [0, 20, 40, 67, 80, 100, 140, 160])
    images.write(folder / "photos/a.jpg", frames[0])
    return folder


def face_of(image: np.ndarray, faces: "list[np.ndarray]") -> np.ndarray:
    x1, y1, x2, y2 = faces[0].round().astype(int)
    return image[y1:y2, x1:x2].astype(int)


def run(command: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run a command of the docs; what it prints."""
    assert cli.main([*shlex.split(command)[1:], "--threads", "1"]) == 0, command
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_every_command_that_hides_faces(
    party: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In their order: each ends well, and hides the face in every frame unless it says that it stays."""
    monkeypatch.chdir(party)
    detector = load(threads=1)
    with VideoReader("party.mp4") as reader:
        source = list(reader)
    boxes = [detector.detect(each.image).boxes for each in source]
    assert [len(each) for each in boxes] == [1] * 8
    commands = [command for command in COMMANDS if command.startswith("facesmith anonymize")]
    assert len(commands) == 10
    for command in commands:
        run(command, capsys)
        if "--analyse-only" in command:
            continue
        target = re.search(r"--out (\S+)", command)
        assert target is not None
        path = Path(target[1]) / "party.mp4"
        assert sound_packets(path) == sound_packets(Path("party.mp4"))
        with VideoReader(path) as reader:
            for before, after, box in zip(source, reader, boxes, strict=True):
                assert after.time == before.time
                change = np.abs(face_of(after.image, box) - face_of(before.image, box)).mean()
                assert (change < 4) if target[1] in ("speaker", "stage") else (change > 15), (command, change)


def test_a_mask_hides_the_face_and_leaves_the_hair(party: Path) -> None:
    """Eyes, nose and mouth are black, the corners of the area for a box are not."""
    paths = [str(party / name) for name in ("party.mp4", "photos")]
    assert cli.main(["anonymize", *paths, "--method", "mask", "--out", str(party / "m"), "--threads", "1"]) == 0
    detector = load(threads=1)
    pairs = [(images.read(party / "photos/a.jpg"), images.read(party / "m/a.jpg"))]
    with VideoReader(party / "party.mp4") as before, VideoReader(party / "m/party.mp4") as after:
        pairs += [(a.image, b.image) for a, b in zip(before, after, strict=True)]
    for before_image, after_image in pairs:
        faces = detector.detect(before_image)
        assert faces.landmarks is not None
        for x, y in faces.landmarks[0].astype(int):
            assert after_image[y - 3 : y + 4, x - 3 : x + 4].max() < 30
        (area,) = grown(faces.boxes, 0.2)
        black = face_of((after_image.max(axis=2, keepdims=True) < 30) * 1, [area.clip(0, 255)])
        assert 0.6 < black.mean() < 0.9
        x1, y1, x2, y2 = faces.boxes[0].astype(int)
        change = np.abs(after_image.astype(int) - before_image)
        change[y1 - 20 : y2 + 20, x1 - 20 : x2 + 20] = 0
        assert change.mean() < 3


def test_a_plan_for_masks(party: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Analysed, and rendered with one face more, which has no outline."""
    monkeypatch.chdir(party)
    run("facesmith anonymize photos --method mask --analyse-only --plan masks.jsonl", capsys)
    row = json.loads(Path("masks.jsonl").read_text())
    assert [len(face["outline"]) for face in row["faces"]] == [64]
    row["faces"].append({"box": [200, 200, 240, 240]})
    Path("masks.jsonl").write_text(json.dumps(row) + "\n")
    run("facesmith anonymize --plan masks.jsonl --method mask --out more", capsys)
    run("facesmith anonymize photos --method mask --out one", capsys)
    one, more = images.read("one/a.jpg").astype(int), images.read("more/a.jpg")
    assert (np.abs(one - more)[:180, :180].max(axis=2) > 20).mean() < 0.01  # the plan rounds to tenths of a pixel
    assert more[205:235, 205:235].max() < 20 < one[205:235, 205:235].max()


def test_every_command_that_finds_faces(
    party: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(party)
    commands = [command for command in COMMANDS if command.startswith("facesmith detect party")]
    assert len(commands) == 4
    for command in commands[:2]:
        rows = [json.loads(line) for line in run(command, capsys)]
        assert [row.get("frame") for row in rows] == [*range(8), *([None] if "photos" in command else [])]
        assert [[face.get("track_id") for face in row["faces"]] for row in rows[:8]] == [[1]] * 8
        assert [row["detected"] for row in rows[:8]] == [i % 3 == 0 or "--every" not in command for i in range(8)]
    assert run(commands[2], capsys) == []
    assert sound_packets(Path("drawn/party.mp4")) == sound_packets(Path("party.mp4"))
    whole = Path("faces.jsonl").read_text().splitlines(keepends=True)
    assert len(whole) == 9
    Path("faces.jsonl").write_text("".join(whole[:4]))
    Path("drawn/party.mp4").unlink()
    assert run(commands[3], capsys) == []
    assert Path("faces.jsonl").read_text() == "".join(whole)
    assert sound_packets(Path("drawn/party.mp4")) == sound_packets(Path("party.mp4"))


def test_every_command_with_a_camera(
    party: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A window that somebody closes after three pictures ends them."""
    monkeypatch.chdir(party)
    photograph = cv2.cvtColor(images.read("photos/a.jpg"), cv2.COLOR_RGB2BGR)
    shown: list[np.ndarray] = []
    capture = SimpleNamespace(isOpened=lambda: True, read=lambda: (True, photograph), release=lambda: None)
    window = MagicMock(show=shown.append)
    window.__enter__.return_value = window
    type(window).is_open = property(lambda _: len(shown) < 3)
    monkeypatch.setattr(detect_video, "Camera", functools.partial(Camera, open_capture=lambda source: capture))
    monkeypatch.setattr(detect, "_window", lambda: window)
    commands = [command for command in COMMANDS if command.startswith("facesmith detect camera")]
    assert len(commands) == 2
    for command in commands:
        shown.clear()
        printed = run(command if "--preview" in command else f"{command} --preview", capsys)
        assert len(printed) >= 3
        assert all("camera:0" in line for line in printed)
    with VideoReader("recorded/camera-0.mp4") as reader:
        assert len(list(reader)) == len(printed)


def test_the_example_lines_are_what_is_written(
    party: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(party)
    frame, plan = (json.loads(example) for example in blocks("json"))
    assert _line("docs", json.dumps(plan))[1] == plan
    written = json.loads(run("facesmith detect party.mp4 --jsonl", capsys)[3])
    assert [*frame] == [*written]
    for key in ("path", "frame", "time", "detected", "width", "height"):
        assert frame[key] == written[key]
    (face,), (known,) = frame["faces"], written["faces"]
    assert [*face] == [*known]
    assert face["box"] == pytest.approx(known["box"], abs=1)
    assert np.array(face["landmarks"]) == pytest.approx(np.array(known["landmarks"]), abs=1)


def test_the_python_examples(party: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(party)
    exec("import dataclasses\n" + "\n".join(blocks("python")), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 8
    assert all(line.endswith("[1]") for line in printed)
    with VideoReader("party.mp4") as before, VideoReader("mirrored.mp4") as after:
        for a, b in zip(before, after, strict=True):
            assert np.abs(a.image[:, ::-1].astype(int) - b.image).mean() < 4
