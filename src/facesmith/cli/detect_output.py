"""What ``facesmith detect`` prints or writes, and the file in which an interrupted run goes on."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, Self

from facesmith.errors import ConfigError, FacesmithError, LabelError
from facesmith.faces import Faces

Form = Literal["text", "json", "jsonl"]


class Moment(NamedTuple):
    """Which frame of a video or camera.

    Attributes:
        frame: its number, from 0.
        time: when it is shown, in seconds.
        detected: whether the detector looked; if not, faces are where their tracks expect them.
    """

    frame: int
    time: float
    detected: bool


class Picture(NamedTuple):
    """The faces of a picture or frame, without its pixels."""

    path: str
    width: int
    height: int
    faces: Faces
    moment: Moment | None = None


def entry(picture: Picture) -> str:
    """A picture or frame as a JSON object."""
    moment = picture.moment
    when = {} if moment is None else {"frame": moment.frame, "time": round(moment.time, 6), "detected": moment.detected}
    size = {"width": picture.width, "height": picture.height}
    return json.dumps({"path": picture.path, **when, **size, "faces": picture.faces.to_dicts()})


def lines(picture: Picture) -> list[str]:
    """A line a face: path, box, score, and in a video frame, time and track number; separated by tabs."""
    faces, moment = picture.faces, picture.moment
    more = [""] * len(faces)
    if moment is not None and faces.track_ids is not None:
        more = [f"\t{moment.frame}\t{moment.time:.3f}\t{track}" for track in faces.track_ids.tolist()]
    return [
        "\t".join((picture.path, *(f"{side:.1f}" for side in box), f"{score:.3f}")) + rest
        for box, score, rest in zip(faces.boxes.tolist(), faces.scores.tolist(), more, strict=True)
    ]


def report(results: Iterable[Picture | FacesmithError], form: Form, stream: IO[str]) -> int:
    """Write each result into ``stream`` as it comes, what cannot be read as a warning on stderr; the exit code."""
    if isinstance(stream, io.TextIOWrapper):  # file names need not be valid text
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    failed, before = False, "[\n"
    for result in results:
        if isinstance(result, FacesmithError):
            failed = True
            print(f"facesmith: warning: {result}", file=sys.stderr, flush=True)
        elif form == "json":
            print(before, entry(result), sep="", end="", file=stream, flush=True)
            before = ",\n"
        elif form == "jsonl":
            print(entry(result), file=stream, flush=True)
        elif len(result.faces):
            print("\n".join(lines(result)), file=stream, flush=True)
    if form == "json":
        print("[]" if before == "[\n" else "\n]", file=stream)
    return int(failed)


class Begun(NamedTuple):
    """A video of which some frames are done.

    Attributes:
        path: the video.
        frames: how many are done, from the first.
        record: the file that holds their lines.
        start: in bytes, where these begin.
    """

    path: str
    frames: int
    record: Path
    start: int

    def rows(self) -> Iterator[dict[str, Any]]:
        """The lines of these frames."""
        with self.record.open("rb") as stream:
            stream.seek(self.start)
            for _ in range(self.frames):
                yield json.loads(next(stream))


class Record(NamedTuple):
    """What is in a file of JSON lines that an interrupted run left.

    Attributes:
        done: pictures and videos, all of which is there.
        begun: the last video, which may be there in part; ``None``: the last was a picture.
    """

    done: frozenset[str] = frozenset()
    begun: Begun | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; half a line at its end, where the run was killed, is cut off.

        Raises:
            LabelError: a line is not what ``facesmith detect`` writes.
            OSError: the file cannot be read or, to cut it, written.
        """
        done: set[str] = set()
        begun: Begun | None = None
        start = 0
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if not line.endswith(b"\n"):
                    os.truncate(path, start)
                    break
                name, frame = _line(f"{path}:{number}", line)
                if begun is not None and begun.path != name:
                    done.add(begun.path)
                    begun = None
                if frame is None:
                    done.add(name)
                else:
                    begun = Begun(name, 0, path, start) if begun is None else begun
                    if frame != begun.frames:
                        raise LabelError(f"{path}:{number}: frame {begun.frames} of {name} belongs here, not {frame}")
                    begun = begun._replace(frames=frame + 1)
                start += len(line)
        return cls(frozenset(done), begun)


@contextlib.contextmanager
def appending(path: Path, *, resume: bool) -> Iterator[tuple[Record, IO[str]]]:
    """What is in the file, and the file, open at its end; says on stderr how an interrupted run goes on.

    Raises:
        ConfigError: there is such a file, and nobody asked to ``resume``.
        LabelError: it holds something else.
        OSError: it cannot be read or written.
    """
    there = path.exists() and path.stat().st_size > 0
    if there and not resume:
        raise ConfigError(f"{path} holds results already; add --resume to go on with them, or name another file")
    record = Record.read(path) if there else Record()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", errors="surrogateescape") as stream:
        try:
            yield record, stream
        except KeyboardInterrupt:
            print(f"\nfacesmith: stopped; the same command with --resume goes on with {path}", file=sys.stderr)
            raise


def _line(place: str, line: bytes) -> tuple[str, int | None]:
    """Path and frame of a line."""
    try:
        row = json.loads(line)
        path, frame, _ = row["path"], row.get("frame"), row["faces"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LabelError(f"{place}: not a line that `facesmith detect` writes; name another file") from error
    return str(path), None if frame is None else int(frame)
