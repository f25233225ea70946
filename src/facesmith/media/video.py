"""Video files in and out, frame by frame, with PyAV: pictures re-encoded, timestamps kept, sound copied.

``VideoReader`` and ``VideoWriter`` hold a few frames at a time, however long the film is.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from facesmith import files
from facesmith.errors import MissingExtraError, VideoError
from facesmith.images import RGB
from facesmith.media.frames import NO_PIXELS, Frame
from facesmith.media.video_paths import CONTAINERS, can_write
from facesmith.runtime.cpus import available_cpus

try:
    import av
    from av.codec.codec import UnknownCodecError
    from av.container import InputContainer, OutputContainer
    from av.video import VideoStream
except ImportError as error:
    raise MissingExtraError("videos need PyAV: pip install 'facesmith[video]'") from error

_X264 = ("libx264", {"crf": "18"})
_VP9 = ("libvpx-vp9", {"crf": "24", "b": "0", "cpu-used": "4", "row-mt": "1"})


Turn = tuple[int, int, int, int]


@dataclass(frozen=True)
class VideoFormat:
    """What a video's frames have in common.

    Attributes:
        width, height: in pixels, upright.
        time_base: seconds a tick.
        rate: mean number of frames a second; only a hint for the encoder.
        pixel_aspect: width / height of a pixel.
        colour: FFmpeg's numbers of the colour matrix, range, primaries and transfer curve; 2 (range: 0) where
            unknown.
    """

    width: int
    height: int
    time_base: Fraction
    rate: Fraction = Fraction(30)
    pixel_aspect: Fraction = Fraction(1)
    colour: tuple[int, int, int, int] = (2, 0, 2, 2)


class VideoReader:
    """The frames of a video file, decoded while they are taken; go through them once, inside ``with``.

    Frames are turned and mirrored as the file's display matrix says, in steps of 90 degrees. They may be taken in
    another thread than the one that leaves ``with``; that ends them.

    Args:
        path: the file.

    Attributes:
        path: the file.
        format: size, time base and so on of its frames.
        expected_frames: how many frames the file says, or its length implies; 0 where unknown. For progress bars.

    Raises:
        VideoError: there is no such file, it holds no video, or (while frames are taken) it is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._container = _opened(self.path)
        self._decoding = threading.Lock()  # closing a file that another thread decodes would crash
        self._closed = False
        try:
            stream = self._container.streams.best("video")
            if not isinstance(stream, VideoStream):
                raise VideoError(f"{self.path}: holds no video, only sound or data")
            stream.codec_context.thread_type = "AUTO"
            stream.codec_context.thread_count = available_cpus()
            self._frames = self._container.decode(stream)
            with _reading(self.path):  # the first one now: it knows how the video is turned
                self._first = next(self._frames, None)
            if self._first is None:
                raise VideoError(f"{self.path}: holds no frame; it is empty or cut short")
            # of this frame alone: one whose side data is asked for stays until the garbage collector comes
            self._turn = _turn(self._first)
            self.format = _format(stream, self._first, self._turn)
            seconds = (self._container.duration or 0) / av.time_base
            self.expected_frames = stream.frames or round(seconds * self.format.rate)
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._decoding:
            self._closed = True
            self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Frames in the order in which they are shown.

        Raises:
            VideoError: the file is damaged, or changes its frames' size.
        """
        return self.frames()

    def frames(self, wanted: Callable[[int], bool] = lambda index: True) -> Iterator[Frame]:
        """The same; frames whose index is not ``wanted`` come without pixels (0, 0, 3), which saves time.

        Raises:
            VideoError: the file is damaged, or changes its frames' size.
        """
        frame, self._first = self._first, None
        index, pts = 0, -(1 << 62)
        tick = max(1, round(1 / (self.format.rate * self.format.time_base)))
        while frame is not None:
            # a few old files leave timestamps out or give one twice; encoders take only rising ones
            pts = max(pts + 1, frame.pts) if frame.pts is not None else (pts + tick if index else 0)
            image = self._image(frame, index) if wanted(index) else NO_PIXELS
            yield Frame(image, index, pts, frame.duration or 0, float(pts * self.format.time_base))
            index += 1
            frame = self._next()

    def _next(self) -> av.VideoFrame | None:
        with self._decoding, _reading(self.path):
            return None if self._closed else next(self._frames, None)

    def _image(self, frame: av.VideoFrame, index: int) -> RGB:
        pixels: Any = frame.to_ndarray(format="rgb24")
        image = _upright(pixels, self._turn)
        if image.shape[:2] != (self.format.height, self.format.width):
            size = f"{image.shape[1]} x {image.shape[0]}"
            raise VideoError(
                f"{self.path}: frame {index} is {size} pixels, those before it "
                f"{self.format.width} x {self.format.height}; split the video there"
            )
        return image


class VideoWriter:
    """What :func:`create` yields: takes the frames of the new video one by one."""

    def __init__(self, path: str, video: VideoFormat, container: OutputContainer, sound: "_Sound") -> None:
        self._path = path
        self._format = video
        self._container = container
        self._sound = sound
        self._stream = _video_stream(container, video)
        self._durations: dict[int, int] = {}

    def write(self, frame: Frame) -> None:
        """Append ``frame``; its ``image`` may be another than was read, its ``pts`` must rise.

        Raises:
            VideoError: the image has another size than the video, or cannot be encoded.
        """
        wanted = (self._format.height, self._format.width, 3)
        if frame.image.shape != wanted or frame.image.dtype != np.uint8:
            raise VideoError(f"{self._path}: frames are {wanted} uint8, not {frame.image.shape} {frame.image.dtype}")
        matrix, full, primaries, transfer = self._format.colour
        with _writing(self._path):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image), format="rgb24").reformat(
                format=self._stream.pix_fmt, dst_colorspace=matrix, dst_color_range=full
            )
            picture.colorspace, picture.color_range = matrix, full
            picture.color_primaries, picture.color_trc = primaries, transfer
            picture.pts, picture.time_base = frame.pts, self._format.time_base
            self._durations[frame.pts] = frame.duration
            self._mux(picture)
            self._sound.copy(frame.time)

    def _finish(self) -> None:
        with _writing(self._path):
            self._mux(None)
            self._sound.copy(None)
            self._container.close()  # may still find that the disk is full

    def _mux(self, picture: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(picture):
            if packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts, 0)
            self._container.mux(packet)


@contextlib.contextmanager
def create(
    path: str | os.PathLike[str], video: VideoFormat, *, sound_from: str | os.PathLike[str] | None = None
) -> Iterator[VideoWriter]:
    """Write a video file, whole or not at all: an error inside ``with`` leaves no file, or the one that was there.

    H.264 (WebM: VP9) at a quality that the eye hardly tells from the source. Neither tags nor subtitles of the
    source are copied: they may tell who and where.

    Args:
        path: the file; its suffix (.mp4, .m4v, .mov, .mkv, .webm) gives the container. Matroska and WebM count
            time in milliseconds, the others in ``video.time_base``.
        video: the frames' size, time base and so on.
        sound_from: a file whose sound streams are copied, packet by packet, as they are.

    Raises:
        VideoError: the suffix is unknown, this PyAV has no such encoder, or the container cannot hold the sound.
        OSError: the file cannot be written.
    """
    name = os.fspath(path)
    if not can_write(name):
        raise VideoError(f"{name}: videos are written as {', '.join(CONTAINERS)}")
    container_format = CONTAINERS[Path(name).suffix.lower()]
    options = {"video_track_timescale": str(video.time_base.denominator)} if container_format in ("mp4", "mov") else {}
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(files.replacing(name))
        with _writing(name):
            container = stack.enter_context(av.open(f"file:{temporary}", "w", container_format, options=options))
            sound = _Sound(container, stack.enter_context(_opened(sound_from)) if sound_from is not None else None)
            writer = VideoWriter(name, video, container, sound)
        yield writer
        writer._finish()


class _Sound:
    """Copies the sound streams of ``source`` (``None``: there are none) into ``target``, as far as it is asked."""

    def __init__(self, target: OutputContainer, source: InputContainer | None) -> None:
        self._target = target
        streams = source.streams.audio if source is not None else ()
        self._streams = {stream.index: target.add_stream_from_template(stream) for stream in streams}
        self._packets: Iterator[av.Packet[Any]] = source.demux(*streams) if source is not None and streams else iter(())
        self._waiting: av.Packet[Any] | None = None

    def copy(self, until: float | None) -> None:
        """Write all packets up to ``until`` seconds (``None``: to the end), so that sound lies beside its pictures."""
        while (packet := self._waiting or next(self._packets, None)) is not None:
            self._waiting = None
            if packet.dts is None:  # the demuxer's mark for the end of a stream
                continue
            if until is not None and packet.dts * packet.time_base > until:
                self._waiting = packet
                return
            packet.stream = self._streams[packet.stream_index]
            self._target.mux(packet)


def _format(stream: VideoStream, first: av.VideoFrame, turn: Turn) -> VideoFormat:
    width, height, aspect = first.width, first.height, stream.sample_aspect_ratio or Fraction(1)
    if turn[0] == 0:
        width, height, aspect = height, width, 1 / aspect
    assert stream.time_base is not None
    return VideoFormat(
        width,
        height,
        stream.time_base,
        stream.average_rate or Fraction(30),
        aspect,
        (int(first.colorspace), int(first.color_range), int(first.color_primaries), int(first.color_trc)),
    )


def _video_stream(container: OutputContainer, video: VideoFormat) -> VideoStream:
    webm = container.format.name == "webm"
    name, options = _VP9 if webm else _X264
    try:
        stream = container.add_stream(name, rate=video.rate, options=dict(options))
    except UnknownCodecError as error:
        raise VideoError(f"this PyAV has no encoder {name}; PyAV's own wheels have") from error
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    context.width, context.height = video.width, video.height
    context.time_base = stream.time_base = video.time_base
    context.sample_aspect_ratio = video.pixel_aspect
    context.colorspace, context.color_range, context.color_primaries, context.color_trc = video.colour
    # H.264 halves colour in both directions; it cannot for an odd number of pixels
    context.pix_fmt = "yuv444p" if not webm and (video.width % 2 or video.height % 2) else "yuv420p"
    context.max_b_frames = 0  # else the first timestamps become negative, and containers differ in what they make of it
    context.thread_count = available_cpus()
    return stream


def _turn(frame: av.VideoFrame) -> Turn:
    """(a, b, c, d) with x' = a x + c y, y' = b x + d y from FFmpeg's display matrix, each -1, 0 or 1."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    if abs(b) > abs(a):
        return 0, int(np.sign(b)), int(np.sign(c)), 0
    return int(np.sign(a)), 0, 0, int(np.sign(d))


def _upright(image: RGB, turn: Turn) -> RGB:
    a, b, c, d = turn
    if turn == (1, 0, 0, 1):
        return image
    swapped = cv2.transpose(image) if a == 0 else image
    flips = {(1, 1): None, (-1, 1): 1, (1, -1): 0, (-1, -1): -1}
    flip = flips.get((a + c, b + d))
    upright: RGB = np.ascontiguousarray(swapped if flip is None else cv2.flip(swapped, flip))
    return upright


def _opened(path: str | os.PathLike[str]) -> InputContainer:
    with _reading(os.fspath(path)):
        return av.open(f"file:{os.fspath(path)}")  # else "a:b.mp4" would be an address


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VideoError(f"{path}: {error.strerror or error}") from error
    except av.FFmpegError as error:
        raise VideoError(f"{path}: damaged, cut short or no video ({error.strerror})") from error


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except (VideoError, OSError):
        raise
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(f"{path}: cannot be written as video ({getattr(error, 'strerror', None) or error})") from error
