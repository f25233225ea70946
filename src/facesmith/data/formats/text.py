"""Label files in lines: RetinaFace's layout and WIDER FACE's own.

Pixels of the upright picture, origin at the outer corner of its top-left pixel; ``x y w h`` with x2 = x + w.

RetinaFace's: ``# relative/path`` and a line a face, ``x y w h``, optionally followed by five times ``x y flag``
(left eye, right eye, nose, left mouth corner, right mouth corner; −1 −1: none) and a blur value. 19 landmarks a face,
AFLW's without the ears, take the place of the five in the same way (:data:`facesmith.faces.FIVE_OF` has their order). A
face with landmarks and the box −1 −1 −1 −1 gets its box from the five, in WIDER FACE's style. It cannot mark faces as
ignored.

WIDER FACE's own: a line with the path, a line with the count, then ``x y w h blur expression illumination invalid
occlusion pose`` a face (one line of zeros where the count is 0). Faces marked invalid are ignored. It has no landmarks.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facesmith import files
from facesmith.data.formats.names import picture_root
from facesmith.data.labelled import Face, LabelledImage, LabelSet, labelled_images
from facesmith.errors import LabelError
from facesmith.faces import FIVE_OF

FloatArray = npt.NDArray[np.float32]


def read(path: Path) -> LabelSet:
    """Read a label file, recognising which of the two layouts it has by the first line.

    Raises:
        LabelError: the file is missing, empty or malformed, or names an image twice; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot be read as a label file: {error}") from error
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise LabelError(f"{path}: is empty; expected '# relative/path' and a line a face")
    faces: dict[str, list[Face]] = {}
    for number, name, rows in _retinaface_blocks(path, lines) if first.startswith("#") else _wider_blocks(path, lines):
        if name in faces:
            raise LabelError(f"{path}:{number}: image {name!r} was named before")
        faces[name] = rows
    return LabelSet(path.stem, picture_root(path, faces), labelled_images(path, faces))


def write_retinaface(labels: LabelSet, path: Path) -> None:
    """Write RetinaFace's layout, to 1/1000 pixel. Ignored faces are left out."""
    lines = []
    for image in labels.images:
        lines.append(f"# {image.path}")
        kept = ~image.ignored
        lines += [_retinaface_line(*row) for row in zip(_xywh(image)[kept], image.landmarks[kept], strict=True)]
    files.write_text(path, "\n".join(lines) + "\n")


def write_wider(labels: LabelSet, path: Path) -> None:
    """Write WIDER FACE's layout, to 1/1000 pixel. Landmarks are left out."""
    lines = []
    for image in labels.images:
        lines += [image.path, str(len(image.boxes))]
        rows = zip(_xywh(image), image.ignored.tolist(), strict=True)
        lines += [f"{_numbers_text(box)} 0 0 0 {int(ignored)} 0 0" for box, ignored in rows] or [" ".join("0" * 10)]
    files.write_text(path, "\n".join(lines) + "\n")


def _xywh(image: LabelledImage) -> npt.NDArray[np.float64]:
    boxes = image.boxes.astype(np.float64)
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)


def _retinaface_line(box: npt.NDArray[np.float64], points: FloatArray) -> str:
    flagged = np.full((len(points), 3), -1.0)
    if np.isfinite(points).all():
        flagged[:, :2], flagged[:, 2] = points, 0
    return f"{_numbers_text(box)} {_numbers_text(flagged.ravel())}"


def _numbers_text(values: npt.NDArray[np.float64]) -> str:
    return " ".join(f"{value:.3f}".rstrip("0").rstrip(".") for value in values.tolist())


def _retinaface_blocks(path: Path, lines: list[str]) -> Iterator[tuple[int, str, list[Face]]]:
    start, name, rows, points = 0, "", list[Face](), 0
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            if name:
                yield start, name, rows
            start, name, rows = number, line[1:].strip(), []
            if not name:
                raise LabelError(f"{path}:{number}: '#' must be followed by an image path")
        elif line.strip():
            row = _retinaface_face(path, number, line)
            count = 0 if row.points is None else len(np.asarray(row.points))
            points = points or count
            if count not in (0, points):
                raise LabelError(
                    f"{path}:{number}: {count} landmarks, where lines before have {points}; "
                    "a file has one number of landmarks"
                )
            rows.append(row)
    yield start, name, rows


def _retinaface_face(path: Path, number: int, line: str) -> Face:
    values = _numbers(path, number, line)
    box = None if len(values) > 4 and (values[:4] == -1).all() else _corners(values)
    if len(values) == 4:
        return Face(box)
    for count in FIVE_OF:
        if len(values) - 4 - 3 * count in (0, 1):  # there may be a blur value
            points = values[4 : 4 + 3 * count].reshape(count, 3)[:, :2]
            points[(points == -1).all(axis=1)] = np.nan
            return Face(box, points)
    raise LabelError(f"{path}:{number}: {len(values)} numbers; expected x y w h, or these and 5 or 19 times x y flag")


def _wider_blocks(path: Path, lines: list[str]) -> Iterator[tuple[int, str, list[Face]]]:
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        name = lines[at].strip()
        try:
            count = int(lines[at + 1])
        except (IndexError, ValueError):
            count = -1
        if count < 0:
            raise LabelError(f"{path}:{at + 2}: expected the number of faces of {name}")
        rows = list[Face]()
        for number in range(at + 3, at + 3 + max(count, 1)):
            if number > len(lines):
                raise LabelError(f"{path}:{number}: the file ends within the {count} faces of {name}")
            values = _numbers(path, number, lines[number - 1])
            if len(values) not in (4, 10):
                raise LabelError(f"{path}:{number}: {len(values)} numbers; expected x y w h and six attributes")
            rows.append(Face(_corners(values), None, len(values) == 10 and bool(values[7] == 1)))
        yield at + 1, name, rows if count else []
        at += 2 + max(count, 1)


def _corners(values: FloatArray) -> FloatArray:
    return np.concatenate((values[:2], values[:2] + values[2:4]))


def _numbers(path: Path, number: int, line: str) -> FloatArray:
    try:
        values = np.array([float(word) for word in line.split()])
    except ValueError:
        raise LabelError(f"{path}:{number}: not a line of numbers: {line.strip()[:60]!r}") from None
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise LabelError(f"{path}:{number}: NaN or infinity in {line.strip()[:60]!r}")
    return values.astype(np.float32)
