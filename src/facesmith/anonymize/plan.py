"""The plan: which faces lie where in a picture or video and which of them stay visible; as a file to edit.

A JSON line a picture or frame::

    {"path": "clips/a.mp4", "name": "a.mp4", "width": 640, "height": 480, "frame": 0, "time": 0.0,
     "faces": [{"box": [x1, y1, x2, y2], "score": 0.98, "track_id": 1, "keep": false, "carried": false}]}

``name`` is the file to write, within the output folder. ``frame`` and ``time`` (seconds) are missing for a picture.
A face needs a ``box`` only, in pixels of the upright picture; it is hidden unless ``keep`` is true. ``carried``: not
seen in this frame, but expected there. Where the plan was made for masks, a face also has its ``outline``: the points
[[x, y], …] of a closed curve.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith.errors import LabelError
from facesmith.faces import Faces, FloatArray, IntArray

Mask = npt.NDArray[np.bool_]
Region = tuple[float, float, float, float]

_LINE = {"path": str, "name": str, "width": int, "height": int, "frame": int, "time": (int, float), "faces": list}
_FACE = {"box": list, "score": (int, float), "track_id": int, "keep": bool, "carried": bool, "outline": list}


class Hidden(NamedTuple):
    """The faces to hide in one picture or frame.

    Attributes:
        boxes: (k, 4) float32 pixels.
        outlines: of each, (p, 2) float32 pixels, p = 0 where it has none; ``None``: none of the plan's faces has.
    """

    boxes: FloatArray
    outlines: tuple[FloatArray, ...] | None


@dataclass(frozen=True, eq=False)
class Plan:
    """What to do with one picture or video.

    Attributes:
        path: the file.
        name: where its result goes, relative to the output folder.
        width, height: of the upright picture or frames, in pixels.
        times: (frames,) when each frame is shown, in seconds; ``None`` for a picture.
        frame: (n,) int64, the frame of each face, rising; 0 in a picture.
        faces: n faces with track ids, without landmarks.
        keep: (n,) bool: stays visible.
        carried: (n,) bool: not seen, but expected.
        outlines: n times (p, 2) float32 pixels, p = 0 where a face has none; ``None``: none has.
    """

    path: str
    name: PurePath
    width: int
    height: int
    times: tuple[float, ...] | None
    frame: IntArray
    faces: Faces
    keep: Mask
    carried: Mask
    outlines: tuple[FloatArray, ...] | None = None

    def keeping(self, track_ids: Iterable[int], regions: Sequence[Region]) -> "Plan":
        """The same, where also the faces of ``track_ids`` and those with their centre in one of ``regions`` stay."""
        centres = (self.faces.boxes[:, None, :2] + self.faces.boxes[:, None, 2:]) / 2  # (n, 1, 2)
        areas = np.asarray(regions, np.float32).reshape(-1, 4)
        within: Mask = np.all((centres >= areas[:, :2]) & (centres <= areas[:, 2:]), axis=2)  # (n, regions)
        chosen = np.isin(_ids(self.faces), np.fromiter(track_ids, np.int64)) & (_ids(self.faces) >= 0)
        return replace(self, keep=self.keep | within.any(axis=1) | chosen)

    def hidden(self, frame: int = 0) -> Hidden:
        """What to hide in ``frame``."""
        first, last = np.searchsorted(self.frame, [frame, frame + 1])
        chosen = first + np.flatnonzero(~self.keep[first:last])
        outlines = None if self.outlines is None else tuple(self.outlines[i] for i in chosen)
        return Hidden(self.faces.boxes[chosen], outlines)

    @property
    def track_ids(self) -> set[int]:
        """The tracks that there are."""
        return set(np.unique(_ids(self.faces)).tolist()) - {-1}


def write(stream: IO[str], plan: Plan) -> None:
    """Append ``plan`` to ``stream``."""
    head = {"path": plan.path, "name": plan.name.as_posix(), "width": plan.width, "height": plan.height}
    times: Sequence[float | None] = (None,) if plan.times is None else plan.times
    bounds = np.searchsorted(plan.frame, np.arange(len(times) + 1)).tolist()
    for frame, time in enumerate(times):
        here = slice(bounds[frame], bounds[frame + 1])
        rows = plan.faces[here].to_dicts()
        for row, keep, carried in zip(rows, plan.keep[here].tolist(), plan.carried[here].tolist(), strict=True):
            row.update(keep=keep, carried=carried)
        if plan.outlines is not None:
            for row, outline in zip(rows, plan.outlines[here], strict=True):
                if len(outline):
                    row["outline"] = [[round(v, 1) for v in point] for point in outline.tolist()]
        place = {} if time is None else {"frame": frame, "time": round(time, 6)}
        print(json.dumps({**head, **place, "faces": rows}), file=stream)


def read(path: Path) -> Iterator[Plan]:
    """The plans of a file, one after the other; holds the lines of one at a time.

    Raises:
        LabelError: a line is malformed, or frames of a video are missing or not in order; file and line are named.
        OSError: the file cannot be read.
    """
    with path.open(encoding="utf-8") as stream:
        lines = (_line(f"{path}:{number}", text) for number, text in enumerate(stream, 1) if text.strip())
        for _, group in itertools.groupby(lines, key=lambda line: (line[1]["path"], line[1]["name"])):
            yield _plan(list(group))


def _line(place: str, text: str) -> tuple[str, dict[str, Any]]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise LabelError(f"{place}: not JSON ({error})") from error
    _check(place, row, _LINE, {"path", "name", "width", "height", "faces"})
    name = PurePath(row["name"])
    if name.is_absolute() or ".." in name.parts or not name.name:
        raise LabelError(f"{place}: the name {row['name']!r} is not a file within the output folder")
    if ("frame" in row) != ("time" in row):
        raise LabelError(f"{place}: frame and time stand together in a video's line, and not in a picture's")
    for face in row["faces"]:
        _check(place, face, _FACE, {"box"})
        box = face["box"]
        if len(box) != 4 or not all(type(v) in (int, float) and np.isfinite(v) for v in box):
            raise LabelError(f"{place}: a box is four numbers x1, y1, x2, y2, not {box}")
        if "outline" in face:
            _check_outline(place, face["outline"])
    return place, row


def _check(place: str, row: Any, known: dict[str, Any], needed: set[str]) -> None:
    if not isinstance(row, dict):
        raise LabelError(f"{place}: {json.dumps(row)[:60]} stands where a JSON object belongs")
    if missing := sorted(needed - row.keys()):
        raise LabelError(f"{place}: {', '.join(missing)} is missing")
    for key, value in row.items():
        if key not in known:
            raise LabelError(f"{place}: unknown key {key!r}; there are {', '.join(known)}")
        if not isinstance(value, known[key]) or (isinstance(value, bool) and known[key] is not bool):
            raise LabelError(f"{place}: {key} cannot be {json.dumps(value)[:60]}")


def _check_outline(place: str, outline: list[Any]) -> None:
    numbers = [v for point in outline if isinstance(point, list) and len(point) == 2 for v in point]
    right = all(type(v) in (int, float) and np.isfinite(v) for v in numbers)
    if len(outline) < 3 or len(numbers) != 2 * len(outline) or not right:
        raise LabelError(f"{place}: an outline is three points [x, y] or more, not {json.dumps(outline)[:60]}")


def _plan(lines: list[tuple[str, dict[str, Any]]]) -> Plan:
    first = lines[0][1]
    moving = "frame" in first
    for index, (place, row) in enumerate(lines):
        if moving and row.get("frame") != index:
            raise LabelError(f"{place}: frame {index} of {first['path']} belongs here; a video's frames are all there")
        if not moving and index:
            raise LabelError(f"{place}: {first['path']} stands twice")
        if (row["width"], row["height"]) != (first["width"], first["height"]):
            raise LabelError(f"{place}: width and height differ from the video's other frames")
    faces = [{"score": 1.0, "track_id": -1, **face} for _, row in lines for face in row["faces"]]
    return Plan(
        first["path"],
        PurePath(first["name"]),
        first["width"],
        first["height"],
        tuple(row["time"] for _, row in lines) if moving else None,
        np.repeat(np.arange(len(lines)), [len(row["faces"]) for _, row in lines]),
        _faces(faces),
        np.array([face.get("keep", False) for face in faces], bool),
        np.array([face.get("carried", False) for face in faces], bool),
        _outlines(faces),
    )


def _faces(rows: list[dict[str, Any]]) -> Faces:
    return Faces(
        np.array([row["box"] for row in rows], np.float32).reshape(-1, 4),
        np.array([row["score"] for row in rows], np.float32),
        track_ids=np.array([row["track_id"] for row in rows], np.int64),
    )


def _outlines(rows: list[dict[str, Any]]) -> tuple[FloatArray, ...] | None:
    if rows and not any("outline" in row for row in rows):
        return None
    return tuple(np.array(row.get("outline", []), np.float32).reshape(-1, 2) for row in rows)


def _ids(faces: Faces) -> IntArray:
    return np.full(len(faces), -1, np.int64) if faces.track_ids is None else faces.track_ids
