"""``facesmith anonymize`` from end to end: with the tiny model, whose faces are white squares of 16 pixels."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from facesmith import images
from facesmith.media.video import VideoReader
from videos import sound_packets, write_video

Run = Callable[..., tuple[int, str, str]]
Image = npt.NDArray[np.uint8]

DIM = 24
"""A face this dark has a score below 0.1: it is missed."""

UNEVEN = [0, 20, 47, 60, 90, 100, 120, 140, 160, 181, 200, 300]


def frame(*faces: tuple[int, int, int]) -> Image:
    """Black, with a square at each (x, y) of some brightness."""
    image = np.zeros((64, 96, 3), np.uint8)
    for x, y, brightness in faces:
        image[y : y + 16, x : x + 16] = brightness
    return image


def flickering(path: Path, **options: Any) -> Path:
    """12 frames: one face at (16, 16) that is missed in 0, 1, 5, 6 and 11, one at (64, 32) from frame 4 on."""
    missed = (0, 1, 5, 6, 11)
    frames = [frame((16, 16, DIM if i in missed else 255), (64, 32, 255 if i >= 4 else 0)) for i in range(12)]
    return write_video(path, frames, UNEVEN, **options)


def read(path: Path) -> list[Image]:
    with VideoReader(path) as reader:
        return [each.image for each in reader]


def left(image: Image) -> int:
    """The brightest that is left of the first face."""
    return int(image[17:31, 17:31].max())


def right(image: Image) -> int:
    return int(image[33:47, 65:79].max())


@pytest.fixture
def run(tiny_command: Callable[[str], Run]) -> Run:
    """Run ``facesmith anonymize`` with the tiny model in an empty folder: exit code, stdout, stderr."""
    return tiny_command("anonymize")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_picture(run: Run) -> None:
    images.write(Path("a.png"), frame((16, 16, 255), (48, 16, 90)))
    assert run("a.png", "--out", "out", "--method", "box") == (0, "a.png\tout/a.png\t2\t0\t-\n", "")
    assert not images.read("out/a.png").any()
    assert run("a.png", "--out", "out", "--method", "box", "--threshold", "0.5")[1] == "a.png\tout/a.png\t1\t0\t-\n"
    assert images.read("out/a.png").max() == 90


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_video_keeps_frames_times_and_sound_but_no_face(run: Run, name: str) -> None:
    source, target = flickering(Path(name)), Path("out") / name
    assert run(name, "--out", "out", "--method", "box") == (0, f"{name}\tout/{name}\t24\t0\t1,2\n", "")
    with VideoReader(source) as before, VideoReader(target) as after:
        assert (after.format.width, after.format.height) == (96, 64)
        assert [each.time for each in after] == [each.time for each in before]
    assert sound_packets(source)
    assert sound_packets(target) == sound_packets(source)
    assert all(left(image) > 15 for image in read(source))
    for image in read(target):  # also where the face was missed: before, between, after
        assert left(image) < 8
        assert right(image) < 8


def test_without_momentum_the_missed_faces_show(run: Run) -> None:
    """So the test above can fail. Between two sightings a face is hidden all the same."""
    flickering(Path("v.mp4"))
    run("v.mp4", "--out", "out", "--method", "box", "--momentum", "0")
    shown = [i for i, image in enumerate(read(Path("out/v.mp4"))) if left(image) > 15]
    assert shown == [0, 1, 11]


def test_a_doubtful_face_is_hidden_while_it_is_tracked(run: Run) -> None:
    write_video(Path("v.mp4"), [frame((16, 16, 255))] * 3 + [frame((16, 16, 60))] * 3 + [frame((64, 32, 60))] * 3)
    assert run("v.mp4", "--out", "out", "--momentum", "0")[1] == "v.mp4\tout/v.mp4\t6\t0\t1\n"


def test_keep_a_track(run: Run) -> None:
    flickering(Path("v.mp4"))
    assert run("v.mp4", "--out", "out", "--method", "box", "--keep", "2")[1] == "v.mp4\tout/v.mp4\t12\t12\t1,2\n"
    after = read(Path("out/v.mp4"))
    assert [right(image) > 200 for image in after] == [i >= 4 for i in range(12)]
    assert all(left(image) < 8 for image in after)
    code, _, stderr = run("v.mp4", "--out", "out", "--keep", "2", "9")
    assert (code, stderr) == (1, "facesmith: warning: --keep: no such track: [9]\n")


def test_keep_a_region(run: Run) -> None:
    flickering(Path("v.mp4"))
    run("v.mp4", "--out", "out", "--method", "box", "--keep-region", "0", "0", "40", "40", "90", "60", "95", "63")
    after = read(Path("out/v.mp4"))
    assert all(left(image) > 15 for image in after)
    assert all(right(image) < 8 for image in after)


def test_analyse_edit_render(run: Run) -> None:
    flickering(Path("v.mp4"))
    images.write(Path("a.png"), frame((16, 16, 255)))
    arguments = ("v.mp4", "a.png", "--plan", "plan.jsonl", "--analyse-only")
    assert run(*arguments) == (0, "v.mp4\tplan.jsonl\t24\t0\t1,2\na.png\tplan.jsonl\t1\t0\t-\n", "")
    assert sorted(path.name for path in Path().iterdir()) == ["a.png", "plan.jsonl", "v.mp4"]
    rows = lines(Path("plan.jsonl"))
    assert [row.get("frame") for row in rows] == [*range(12), None]
    assert [row["time"] for row in rows[:12]] == pytest.approx([pts / 600 for pts in UNEVEN], abs=1e-6)
    assert rows[2]["faces"][0] == {
        "box": [16, 16, 32, 32],
        "score": pytest.approx(1, abs=0.02),
        "track_id": 1,
        "keep": False,
        "carried": False,
    }
    assert [face["carried"] for face in rows[5]["faces"]] == [False, True]

    for row in rows[:3]:
        for face in row["faces"]:
            face["keep"] = face["track_id"] == 1
    rows[12]["faces"].append({"box": [60, 0, 96, 20]})
    images.write(Path("a.png"), frame((16, 16, 255), (64, 0, 200)))
    Path("plan.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = "v.mp4\tout/v.mp4\t21\t3\t1,2\na.png\tout/a.png\t2\t0\t-\n"
    assert run("--plan", "plan.jsonl", "--out", "out", "--method", "box") == (0, output, "")
    assert [left(image) > 15 for image in read(Path("out/v.mp4"))] == [i < 3 for i in range(12)]
    assert not images.read("out/a.png").any()


def test_the_plan_and_the_short_way_agree(run: Run) -> None:
    flickering(Path("v.mp4"))
    run("v.mp4", "--out", "one", "--method", "pixelate")
    run("v.mp4", "--plan", "plan.jsonl", "--analyse-only")
    run("--plan", "plan.jsonl", "--out", "two", "--method", "pixelate")
    for a, b in zip(read(Path("one/v.mp4")), read(Path("two/v.mp4")), strict=True):
        assert np.array_equal(a, b)


def test_folders_names_and_numbers(run: Run) -> None:
    Path("in/day").mkdir(parents=True)
    flickering(Path("in/day/v.avi"), codec="mpeg4", sound=None)
    flickering(Path("in/w.mp4"))
    images.write(Path("in/a.png"), frame((16, 16, 255)))
    images.write(Path("in/b.bmp"), frame())
    Path("in/notes.txt").write_text("no picture")
    code, stdout, stderr = run("in", "--out", "in/out")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines() == [
        "in/a.png\tin/out/a.png\t1\t0\t-",
        "in/b.bmp\tin/out/b.bmp.jpg\t0\t0\t-",
        "in/w.mp4\tin/out/w.mp4\t24\t0\t1,2",
        "in/day/v.avi\tin/out/day/v.avi.mkv\t24\t0\t3,4",
    ]
    assert run("in", "--out", "in/out")[1] == stdout  # its own results are no input


def test_resume(run: Run) -> None:
    Path("in").mkdir()
    flickering(Path("in/v.mp4"))
    images.write(Path("in/a.png"), frame((16, 16, 255)))
    run("in", "--out", "out")
    Path("out/v.mp4").unlink()
    before = Path("out/a.png").stat().st_mtime_ns
    assert run("in", "--out", "out", "--resume") == (0, "in/v.mp4\tout/v.mp4\t24\t0\t1,2\n", "")
    assert Path("out/a.png").stat().st_mtime_ns == before


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(run: Run) -> None:
    images.write(Path("a.png"), frame((16, 16, 255)))
    Path("broken.mp4").write_text("nothing")
    Path("broken.png").write_text("nothing")
    code, stdout, stderr = run("broken.mp4", "gone.mp4", "broken.png", "a.png", "--out", "out")
    assert code == 1
    assert stdout == "a.png\tout/a.png\t1\t0\t-\n"
    warnings = stderr.splitlines()
    assert len(warnings) == 3
    assert warnings[0].startswith("facesmith: warning: broken.mp4: damaged, cut short or no video")
    assert warnings[1] == "facesmith: warning: gone.mp4: no such file or folder"
    assert warnings[2].startswith("facesmith: warning: broken.png: ")
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]


def test_a_plan_for_another_file(run: Run) -> None:
    flickering(Path("v.mp4"))
    run("v.mp4", "--plan", "plan.jsonl", "--analyse-only")
    write_video(Path("v.mp4"), [frame()] * 13)
    expected = "facesmith: warning: v.mp4: has 13 frames, its plan 12; analyse it again\n"
    assert run("--plan", "plan.jsonl", "--out", "out") == (1, "", expected)
    write_video(Path("v.mp4"), [frame()[:32]] * 12)
    expected = "facesmith: warning: v.mp4: is 96 x 32 pixels, its plan 96 x 64; analyse it again\n"
    assert run("--plan", "plan.jsonl", "--out", "out") == (1, "", expected)
    assert not any(Path("out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png"], "name the folder for the results"),
        (["--out", "out"], "name at least one picture, video or folder"),
        (["a.png", "--analyse-only"], "--analyse-only needs --plan FILE"),
        (["a.png", "--analyse-only", "--plan", "p", "--out", "out"], "--analyse-only writes the plan only"),
        (["a.png", "--plan", "p", "--out", "out"], "the paths stand in the plan"),
        (["--plan", "none.jsonl", "--out", "out"], "none.jsonl: No such file"),
        (["a.png", "--out", "."], "holds the input a.png"),
        (["a.png", "--out", "out", "--margin", "-1"], "margin must lie between"),
        (["a.png", "--out", "out", "--momentum", "-1"], "momentum needs 0 or more"),
        (["a.png", "--out", "out", "--threshold", "2"], "threshold must lie between 0 and 1"),
        (["a.png", "--out", "out", "--method", "mask"], "tiny has no mesh branch"),
        (["a.png", "--out", "out", "--keep-region", "9", "0", "5", "5"], "a region is X1 Y1 X2 Y2"),
    ],
)
def test_wrong_settings(run: Run, arguments: list[str], message: str) -> None:
    images.write(Path("a.png"), frame())
    code, stdout, stderr = run(*arguments)
    assert (code, stdout) == (2, "")
    assert message in stderr
    assert stderr.count("\n") == 1
    assert not Path("out").exists()


def test_a_plan_without_outlines_cannot_be_masked(run: Run) -> None:
    images.write(Path("a.png"), frame((16, 16, 255)))
    run("a.png", "--plan", "plan.jsonl", "--analyse-only")
    code, _, stderr = run("--plan", "plan.jsonl", "--out", "out", "--method", "mask")
    assert (code, Path("out/a.png").exists()) == (2, False)
    assert stderr == "facesmith: a.png: its plan has no outlines for masks; analyse it with --method mask\n"


def test_a_plan_may_not_write_over_its_input(run: Run) -> None:
    images.write(Path("in/a.png"), frame())
    run("in", "--plan", "plan.jsonl", "--analyse-only")
    code, _, stderr = run("--plan", "plan.jsonl", "--out", "in")
    assert (code, "holds the input" in stderr) == (2, True)
