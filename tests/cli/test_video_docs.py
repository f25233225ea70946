"""Every command and example of docs/video.md, on a photograph that moves."""

import json
import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesmith import cli, images, load
from facesmith.anonymize.plan import _line
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


def test_every_command(party: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In their order: each ends well, and hides the face in every frame unless it says that it stays."""
    monkeypatch.chdir(party)
    detector = load(threads=1)
    with VideoReader("party.mp4") as reader:
        source = list(reader)
    boxes = [detector.detect(each.image).boxes for each in source]
    assert [len(each) for each in boxes] == [1] * 8
    assert len(COMMANDS) == 9
    for command in COMMANDS:
        assert cli.main([*shlex.split(command)[1:], "--threads", "1"]) == 0, command
        assert capsys.readouterr().err == ""
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


def test_the_example_line_is_what_is_written() -> None:
    (example,) = blocks("json")
    row = json.loads(example)
    assert _line("docs", json.dumps(row))[1] == row


def test_the_python_examples(party: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(party)
    exec("import dataclasses\n" + "\n".join(blocks("python")), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 8
    assert all(line.endswith("[1]") for line in printed)
    with VideoReader("party.mp4") as before, VideoReader("mirrored.mp4") as after:
        for a, b in zip(before, after, strict=True):
            assert np.abs(a.image[:, ::-1].astype(int) - b.image).mean() < 4
