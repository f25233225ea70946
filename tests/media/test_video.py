"""What goes into a video file comes out of it: frames, their times, their turn, the sound."""

import gc
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from facesmith.errors import VideoError
from facesmith.media import video
from videos import sound_packets, write_video

UNEVEN = [0, 20, 47, 60, 150, 170]


def corner(width: int = 64, height: int = 48, count: int = 6) -> list[npt.NDArray[np.uint8]]:
    """Grey frames that get brighter, with a white upper left quarter."""
    frames = [np.full((height, width, 3), 30 + 15 * i, np.uint8) for i in range(count)]
    for frame in frames:
        frame[: height // 2, : width // 2] = 250
    return frames


def read(path: Path) -> list[video.Frame]:
    with video.VideoReader(path) as reader:
        return list(reader)


def copy(source: Path, target: Path) -> None:
    with video.VideoReader(source) as reader, video.create(target, reader.format, sound_from=source) as writer:
        for frame in reader:
            writer.write(frame)


def close(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8], tolerance: int = 8) -> bool:
    return a.shape == b.shape and int(np.abs(a.astype(int) - b).max()) <= tolerance


def test_frames_come_with_their_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", corner(), UNEVEN)
    frames = read(path)
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.time for frame in frames] == pytest.approx([pts / 600 for pts in UNEVEN], abs=1e-9)
    assert all(close(frame.image, image) for frame, image in zip(frames, corner(), strict=True))
    with video.VideoReader(path) as reader:
        assert (reader.format.width, reader.format.height, reader.expected_frames) == (64, 48, 6)


@pytest.mark.parametrize(
    ("name", "sound"),
    [("b.mp4", "aac"), ("b.m4v", "aac"), ("b.mov", "pcm_s16le"), ("b.mkv", "flac"), ("b.webm", "libopus")],
)
def test_a_copy_keeps_frames_times_and_sound(tmp_path: Path, name: str, sound: str) -> None:
    suffix = Path(name).suffix
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    source = write_video(tmp_path / f"a{suffix.replace('m4v', 'mp4')}", corner(), UNEVEN, codec=codec, sound=sound)
    copy(source, tmp_path / name)
    before, after = read(source), read(tmp_path / name)
    assert [frame.time for frame in after] == [frame.time for frame in before]
    assert after[-1].duration == before[-1].duration  # so that the whole is as long as it was
    assert all(close(a.image, b.image) for a, b in zip(before, after, strict=True))
    assert sound_packets(source)
    assert sound_packets(tmp_path / name) == sound_packets(source)


def test_a_copy_without_sound_in_another_container(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.avi", corner(), codec="mpeg4", sound=None)
    copy(source, tmp_path / "b.mkv")
    assert [f.time for f in read(tmp_path / "b.mkv")] == pytest.approx([f.time for f in read(source)], abs=0.0005)
    with av.open(tmp_path / "b.mkv") as container:
        assert not container.streams.audio


@pytest.mark.parametrize(
    ("matrix", "white"),
    [
        ((1, 0, 0, 1), (0, 0)),
        ((0, 1, -1, 0), (0, 1)),  # a phone held upright: a quarter turn clockwise
        ((-1, 0, 0, -1), (1, 1)),
        ((0, -1, 1, 0), (1, 0)),
        ((-1, 0, 0, 1), (0, 1)),
        ((1, 0, 0, -1), (1, 0)),
        ((0, 1, 1, 0), (0, 0)),
        ((0, -1, -1, 0), (1, 1)),
    ],
)
def test_turned_videos_are_upright(tmp_path: Path, matrix: tuple[int, int, int, int], white: tuple[int, int]) -> None:
    source = write_video(tmp_path / "a.mp4", corner(64, 32), matrix=matrix)
    copy(source, tmp_path / "b.mp4")
    for path in (source, tmp_path / "b.mp4"):
        image = read(path)[0].image
        assert image.shape == ((64, 32, 3) if matrix[0] == 0 else (32, 64, 3))
        height, width = image.shape[0] // 2, image.shape[1] // 2
        quarters = [[int(image[y : y + height, x : x + width].mean()) for x in (0, width)] for y in (0, height)]
        assert np.unravel_index(np.argmax(quarters), (2, 2)) == white
        assert sum(value > 200 for row in quarters for value in row) == 1


@pytest.mark.parametrize("colour", [1, 2, 6, 9])
def test_colours_stay_and_so_do_their_tags(tmp_path: Path, colour: int) -> None:
    frame = np.zeros((32, 48, 3), np.uint8)
    frame[:, :16], frame[:, 16:32], frame[:, 32:] = (220, 40, 30), (30, 200, 60), (40, 50, 210)
    source = write_video(tmp_path / "a.mp4", [frame] * 3, colour=colour)
    copy(source, tmp_path / "b.mp4")
    planes = []
    for path in (source, tmp_path / "b.mp4"):
        assert close(read(path)[0].image[:, ::16][:, :3], frame[:, ::16][:, :3], 40)  # edges of colour are soft
        with av.open(path) as container:
            picture = next(container.decode(video=0))
            assert picture.colorspace == colour
            planes.append(picture.to_ndarray())
    assert close(*planes, tolerance=4)


def test_frames_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None waits for the garbage collector, which seldom comes: in large videos that would be gigabytes."""
    monkeypatch.setattr(video, "available_cpus", lambda: 1)  # each thread holds a frame
    path = write_video(tmp_path / "a.mp4", corner(count=6) * 7)
    gc.collect()
    gc.disable()
    try:
        with video.VideoReader(path) as reader:
            for frame in reader:
                assert sum(type(each) is av.VideoFrame for each in gc.get_objects()) < 12, frame.index
    finally:
        gc.enable()


def test_odd_sizes_stay(tmp_path: Path) -> None:
    images = corner(33, 21)
    form = video.VideoFormat(33, 21, Fraction(1, 30))
    for name in ("a.mp4", "a.webm"):
        with video.create(tmp_path / name, form) as writer:
            for i, image in enumerate(images):
                writer.write(video.Frame(image, i, i, 1, i / 30))
        assert [frame.image.shape for frame in read(tmp_path / name)] == [(21, 33, 3)] * 6


def test_timestamps_that_do_not_rise(tmp_path: Path) -> None:
    """An encoder takes rising ones only; no frame may get lost by that."""
    source = write_video(tmp_path / "a.mkv", corner(), codec="mpeg4", sound=None)
    with av.open(source) as old, av.open(tmp_path / "b.mkv", "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet, time in zip(old.demux(video=0), [0, 33, 33, 66, 66, 99], strict=False):
            packet.pts = packet.dts = time
            packet.stream = stream
            new.mux(packet)
    with av.open(tmp_path / "b.mkv") as container:
        assert [frame.pts for frame in container.decode(video=0)] == [0, 33, 33, 66, 66, 99]
    copy(tmp_path / "b.mkv", tmp_path / "c.mkv")
    assert [frame.pts for frame in read(tmp_path / "c.mkv")] == [0, 33, 34, 66, 67, 99]


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    source, target = write_video(tmp_path / "a.mp4", corner()), tmp_path / "b.mp4"
    target.write_bytes(b"old")

    def stop_in_the_middle() -> None:
        with video.VideoReader(source) as reader, video.create(target, reader.format, sound_from=source) as writer:
            for frame in reader:
                writer.write(frame if frame.index < 3 else replace(frame, image=frame.image[:, :60]))

    with pytest.raises(VideoError, match=r"frames are \(48, 64, 3\) uint8, not \(48, 60, 3\)"):
        stop_in_the_middle()
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_files_that_are_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"none.mp4: No such file"):
        video.VideoReader(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("no video " * 99)
    with pytest.raises(VideoError, match=r"text.mp4: damaged, cut short or no video"):
        video.VideoReader(tmp_path / "text.mp4")
    whole = write_video(tmp_path / "whole.mp4", corner())
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"cut.mp4: damaged, cut short or no video"):
        video.VideoReader(tmp_path / "cut.mp4")
    with av.open(tmp_path / "sound.mp4", "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        wave = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), format="s16", layout="mono")
        wave.sample_rate = 8000
        container.mux(stream.encode(wave))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match=r"sound.mp4: holds no video"):
        video.VideoReader(tmp_path / "sound.mp4")


def test_what_cannot_be_written(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mov", corner(), sound="pcm_s16le")
    with pytest.raises(VideoError, match=r"b.avi: videos are written as .mp4"):
        copy(source, tmp_path / "b.avi")
    with pytest.raises(VideoError, match=r"b.webm: cannot be written"):
        copy(source, tmp_path / "b.webm")  # WebM holds no PCM
    assert [path.name for path in tmp_path.iterdir()] == ["a.mov"]


def test_without_pyav() -> None:
    code = "import sys; sys.modules['av'] = None\nimport facesmith.media.video"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert "MissingExtraError: videos need PyAV: pip install 'facesmith[video]'" in result.stderr
