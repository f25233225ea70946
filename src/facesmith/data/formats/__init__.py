"""Label formats: each has a module with a reader and a writer of :class:`~facesmith.data.labelled.LabelSet`.

All use pixels of the upright picture (or shares of its size) with the origin at the outer corner of its top-left pixel,
and upright boxes. What each can hold beyond boxes and landmarks is in :data:`FORMATS`.
"""

import json
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from facesmith import images
from facesmith.data.formats import coco, cvat, detections, json_files, label_studio, text, yolo
from facesmith.data.labelled import Face, LabelSet, labelled_images
from facesmith.errors import LabelError

UNDERSTOOD = (
    "NAME.txt, .json or .xml label files beside the folders that their paths name, YOLO's data.yaml or images and "
    "labels, wider_face_split/, train/label.txt"
)


class Format(StrEnum):
    """A format that labels are written in, as the command line calls it."""

    RETINAFACE = "retinaface"
    WIDER = "wider"
    COCO = "coco"
    YOLO = "yolo"
    CVAT = "cvat"
    LABEL_STUDIO = "label-studio"


class Description(NamedTuple):
    """What a format is like.

    Attributes:
        suffix: of its files; empty where it is a folder.
        write: writes one set to a file; ``None`` where it is a folder (:func:`facesmith.data.formats.yolo.write`).
        landmarks: whether it holds landmarks.
        ignored: whether it can mark faces as ignored.
    """

    suffix: str
    write: Callable[[LabelSet, Path], None] | None
    landmarks: bool = True
    ignored: bool = True


FORMATS = {
    Format.RETINAFACE: Description(".txt", text.write_retinaface, ignored=False),
    Format.WIDER: Description(".txt", text.write_wider, landmarks=False),
    Format.COCO: Description(".json", coco.write),
    Format.YOLO: Description("", None),
    Format.CVAT: Description(".xml", cvat.write),
    Format.LABEL_STUDIO: Description(".json", label_studio.write),
}


def read(path: Path) -> list[LabelSet]:
    """All label sets of a file or folder; photographs without faces in ``background/`` are one.

    Raises:
        LabelError: nothing is there, two sets have one name, or a file is malformed; names file and line.
        ImageError: a format needs the size of a picture that cannot be read.
    """
    if not path.exists():
        raise LabelError(f"{path}: no such file or folder; expected {UNDERSTOOD}")
    if not path.is_dir():
        return read_file(path)
    sets = [*(yolo.read(path) if yolo.is_yolo(path) else _label_files(path)), *_background(path)]
    if not sets:
        raise LabelError(f"{path}: no labels found; expected {UNDERSTOOD}")
    names = [one.name for one in sets]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise LabelError(f"{path}: two sets of labels are called {min(doubled)}; rename or move one of them")
    return sets


def read_file(path: Path) -> list[LabelSet]:
    """The label sets of a file; only a YOLO data.yaml has more than one.

    A file that ends in .yaml or .yml is YOLO's, one that starts with ``<`` CVAT's. Of JSON files, an object with
    ``images`` is COCO's, a list of objects with ``data`` is Label Studio's; a list of objects with ``faces``, or one
    a line, comes from ``facesmith detect``. Everything else is text in lines.

    Raises:
        LabelError: the file is missing or malformed; names the line.
    """
    if path.suffix.lower() in (".yaml", ".yml") or path.is_dir():
        return yolo.read(path)
    start = _start(path)
    if start.startswith("<"):
        return [cvat.read(path)]
    if start.startswith("{") and '"path"' in start.partition("\n")[0]:
        return [detections.read(path, _json_lines(path))]
    return [_read_json(path) if start.startswith(("{", "[")) else text.read(path)]


def write(sets: Sequence[LabelSet], out: Path, to: Format) -> list[Path]:
    """Write ``sets`` in the format ``to``; what was written.

    YOLO takes a folder. For the others ``out`` is a file, or, for more than one set, a folder for a file each.

    Raises:
        LabelError: ``out`` does not fit to the number of sets.
        ImageError: a picture that is needed cannot be read.
    """
    suffix, write_one = FORMATS[to].suffix, FORMATS[to].write
    if write_one is None:
        yolo.write(sets, out)
        return [out / "data.yaml"]
    if len(sets) == 1 and not out.is_dir():
        if out.suffix.lower() != suffix:
            raise LabelError(f"{out}: {to.value} is a {suffix} file")
        write_one(sets[0], out)
        return [out]
    if out.suffix:
        names = ", ".join(one.name for one in sets)
        raise LabelError(f"{out}: there are {len(sets)} sets ({names}); name a folder, which gets a file for each")
    written = [out / f"{one.name}{suffix}" for one in sets]
    for one, path in zip(sets, written, strict=True):
        write_one(one, path)
    return written


def _start(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.read(4096).lstrip()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot be read as a label file: {error}") from error


def _read_json(path: Path) -> LabelSet:
    document = json_files.load(path)
    if isinstance(document, dict) and "images" in document:
        return coco.read(path, document)
    first = document[0] if isinstance(document, list) and document else None
    if isinstance(first, dict) and "faces" in first:
        return detections.read(path, ((f"{path}: entry {i}", row) for i, row in enumerate(document)))
    if isinstance(first, dict) and "data" in first:
        return label_studio.read(path, document)
    raise LabelError(
        f"{path}: no labels; expected COCO's object with images and annotations, Label Studio's list of tasks, or what "
        "`facesmith detect --json` writes"
    )


def _json_lines(path: Path) -> list[tuple[str, object]]:
    entries = list[tuple[str, object]]()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip():
            try:
                entries.append((f"{path}:{number}", json.loads(line)))
            except ValueError as error:
                raise LabelError(f"{path}:{number}: no JSON: {error}") from error
    return entries


def _label_files(folder: Path) -> list[LabelSet]:
    files = [path for suffix in ("txt", "json", "xml") for path in sorted(folder.glob(f"*.{suffix}"))]
    files += sorted(folder.glob("annotations/*.json")) + sorted(folder.glob("*/_annotations.coco.json"))
    sets = [one for path in files for one in read_file(path)]
    for path, root in (
        (folder / "wider_face_split/wider_face_train_bbx_gt.txt", folder / "WIDER_train/images"),
        (folder / "wider_face_split/wider_face_val_bbx_gt.txt", folder / "WIDER_val/images"),
        (folder / "train/label.txt", folder / "train/images"),
        (folder / "val/label.txt", folder / "val/images"),
    ):
        if path.is_file():
            one = text.read(path)
            sets.append(LabelSet("val-label" if path.parent.name == "val" else one.name, root, one.images))
    return sets


def _background(folder: Path) -> list[LabelSet]:
    root = folder / "background"
    paths = sorted(path for path in root.rglob("*") if images.is_image_path(path))
    faces: dict[str, list[Face]] = {path.relative_to(root).as_posix(): [] for path in paths}
    return [LabelSet("background", root, labelled_images(root, faces))] if paths else []
