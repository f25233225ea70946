"""Small videos for tests, with sound, uneven timestamps, a turn."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

TICK = Fraction(1, 600)
RATE = 8000


def write_video(
    path: Path,
    frames: Iterable[npt.NDArray[np.uint8]],
    pts: Iterable[int] | None = None,
    *,
    codec: str = "libx264",
    sound: str | None = "aac",
    matrix: tuple[int, int, int, int] | None = None,
    colour: int = 2,
) -> Path:
    """Write ``frames`` (H, W, 3), at ``pts`` ticks of 1/600 s or 20 ticks each, and half a second of noise.

    ``matrix`` (a, b, c, d) goes into an mp4's header as its display matrix.
    """
    frames = list(frames)
    times = list(pts) if pts is not None else [20 * i for i in range(len(frames))]
    with av.open(path, "w") as container:
        video = container.add_stream(codec, rate=30, options={"crf": "10"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = TICK
        video.codec_context.colorspace = colour
        noise = container.add_stream(sound, rate=RATE, layout="mono") if sound else None
        for image, time in zip(frames, times, strict=True):
            picture = av.VideoFrame.from_ndarray(image).reformat(format="yuv420p", dst_colorspace=colour)
            picture.pts, picture.time_base = time, TICK
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if noise is not None:
            samples = np.random.default_rng(0).integers(-9000, 9000, (1, RATE // 2), np.int16)
            wave = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            wave.sample_rate, wave.pts, wave.time_base = RATE, 0, Fraction(1, RATE)
            container.mux(noise.encode(wave))
            container.mux(noise.encode(None))
    if matrix is not None:
        _turn(path, matrix)
    return path


def sound_packets(path: Path) -> list[tuple[float, bytes]]:
    """Time and bytes of every packet of sound."""
    with av.open(path) as container:
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(audio=0)
            if packet.dts is not None
        ]


def _turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Overwrite the display matrix in the first track's header."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(bytes(data))
