"""YOLO-pose: a folder of pictures, beside it a folder of text files, a line a face.

``class cx cy w h`` and ``x y v`` of each landmark, as shares of the upright picture's width and height, origin at the
outer corner of its top-left pixel; v = 0 where a landmark is not labelled. Boxes without landmarks (YOLO's detection
form) and landmarks without v, where 0 0 is none, are read as well. The text file of ``images/a/b.jpg`` is
``labels/a/b.txt``; a picture without one is a background. ``data.yaml`` names the classes and the splits' folders;
without it the splits are the folders of ``images``, or ``train/images``, ``valid/images`` …
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facesmith import files, images
from facesmith.data.formats import plain_yaml
from facesmith.data.formats.names import FACE, IGNORED, face_classes, is_validation
from facesmith.data.labelled import Face, LabelledImage, LabelSet, Size, labelled_images
from facesmith.errors import ImageError, LabelError
from facesmith.faces import FIVE_OF, LANDMARK_FLIPS

FloatArray = npt.NDArray[np.float32]

DESCRIPTIONS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_SPLITS = ("train", "val", "valid", "validation", "test")
_FARTHEST = 3.0  # a share beyond this on either side is no share but pixels


def is_yolo(folder: Path) -> bool:
    """Whether ``folder`` has this layout."""
    return any((folder / name).is_file() for name in DESCRIPTIONS) or bool(_split_folders(folder))


def read(path: Path) -> list[LabelSet]:
    """Read a data.yaml, or a folder of this layout: one set a split.

    Raises:
        LabelError: nothing is there, or a file is malformed; names the line.
        ImageError: the size of a picture with faces cannot be read.
    """
    description = _description_of(path)
    document = None if description is None else plain_yaml.load(description)
    folders = _split_folders(path) if path.is_dir() else {}
    if document is not None and description is not None and (path.is_file() or description.parent == path.resolve()):
        folders = _described(document, description)
    if not folders:
        raise LabelError(f"{path}: no pictures; expected folders images and labels, or train/images and train/labels")
    classes = None if document is None else _classes(document, str(description))
    return [_read_split(name, folder, classes) for name, folder in folders.items()]


def write(sets: Sequence[LabelSet], folder: Path) -> None:
    """Write ``images/NAME``, ``labels/NAME`` and ``data.yaml`` for the sets, whose pictures are hard-linked where the
    file system allows it, else copied.

    YOLO's own loader refuses whatever lies outside the picture, so boxes are cut at its border, and a face with a
    landmark outside loses its landmarks. Ignored faces become a class of their own.

    Raises:
        LabelError: two pictures of a set differ in their suffix only.
        ImageError: a picture is missing or its size cannot be read.
    """
    ignored = any(image.ignored.any() for one in sets for image in one.images)
    for one in sets:
        taken = set[Path]()
        for image in one.images:
            text = (folder / "labels" / one.name / image.path).with_suffix(".txt")
            if text in taken:
                raise LabelError(f"{one.name}: two pictures {image.path} that differ in their suffix only")
            taken.add(text)
            files.write_text(text, _lines(image, one.size(image.path)))
            _place(one.root / image.path, folder / "images" / one.name / image.path)
    points = max((one.points for one in sets), default=5)
    files.write_text(folder / "data.yaml", _description([one.name for one in sets], points, ignored))


def cut(labels: LabelSet) -> tuple[int, int]:
    """How many boxes :func:`write` cuts at the border, and how many faces lose their landmarks to it."""
    boxes = points = 0
    for image in labels.images:
        if len(image.boxes):
            size = np.array(labels.size(image.path), np.float32)
            boxes += int(((image.boxes < 0) | (image.boxes > np.tile(size, 2))).any(axis=1).sum())
            points += int(((image.landmarks < 0) | (image.landmarks > size)).any(axis=(1, 2)).sum())
    return boxes, points


def _lines(image: LabelledImage, size: Size) -> str:
    scale = np.array(size, np.float64)
    corners = np.clip(image.boxes.reshape(-1, 2, 2) / scale, 0, 1)
    kept = (corners[:, 1] > corners[:, 0]).all(axis=1)
    boxes = np.concatenate((corners.mean(axis=1), corners[:, 1] - corners[:, 0]), axis=1)
    points = np.full((*image.landmarks.shape[:2], 3), 2.0)
    points[:, :, :2] = image.landmarks / scale
    inside = ((points[:, :, :2] >= 0) & (points[:, :, :2] <= 1)).all(axis=(1, 2))
    points[~inside] = 0
    rows = np.concatenate((boxes, points.reshape(len(points), 3 * points.shape[1])), axis=1)[kept]
    return "".join(
        f"{int(ignored)} {' '.join(f'{value:.8f}'.rstrip('0').rstrip('.') for value in row)}\n"
        for ignored, row in zip(image.ignored[kept].tolist(), rows.tolist(), strict=True)
    )


def _place(source: Path, target: Path) -> None:
    if not source.is_file():
        raise ImageError(f"{source}: no such picture; --images names the folder of pictures")
    if target.exists():
        if os.path.samefile(source, target):
            return
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _description(names: Sequence[str], points: int, ignored: bool) -> str:
    training = [f"images/{name}" for name in names if not is_validation(name)]
    validation = [f"images/{name}" for name in names if is_validation(name)]
    return "\n".join(
        (
            f"train: [{', '.join(training)}]",
            f"val: [{', '.join(validation)}]",
            f"kpt_shape: [{points}, 3]",
            f"flip_idx: [{', '.join(map(str, LANDMARK_FLIPS[points]))}]",
            "names:",
            f"  0: {FACE}",
            *((f"  1: {IGNORED}",) if ignored else ()),
            "",
        )
    )


def _description_of(path: Path) -> Path | None:
    """``path`` if it is a file, the data.yaml in it, or that of the data set whose split it is."""
    if path.is_file():
        return path
    path = path.resolve()
    places = [path]
    if "images" in path.parts:
        base = _labels_of(path)
        while base.name != "labels":
            base = base.parent
        places += base.parents[:2]
    return next((place / name for place in places for name in DESCRIPTIONS if (place / name).is_file()), None)


def _described(document: dict[str, Any], path: Path) -> dict[str, Path]:
    """Split -> folder of pictures, as the data.yaml at ``path`` has them."""
    base = Path(str(document.get("path") or ".").strip())
    bases = [path.parent / base, path.parent]  # Ultralytics' ``path`` is often one of another machine
    folders: dict[str, Path] = {}
    for split in _SPLITS:
        entry = document.get(split) or []
        entries = [entry] if isinstance(entry, str) else entry
        if not isinstance(entries, list):
            raise LabelError(f"{path}: {split} must be a folder or a list of folders, not {entry!r}")
        for place in entries:
            folder = _existing(str(place), bases, f"{path}: {split}")
            folders[_name(folder, split, alone=len(entries) == 1)] = folder
    return folders


def _classes(document: dict[str, Any], path: str) -> dict[int, bool]:
    """Class -> whether its faces are ignored."""
    names = document.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(str(key).isdecimal() for key in names):
        raise LabelError(f"{path}: expected names, a list of classes or their numbers and names")
    return face_classes({int(key): str(name) for key, name in names.items()}, f"{path}: names")


def _name(folder: Path, split: str, *, alone: bool) -> str:
    """The folder's name, if that tells training from validation as ``split`` does, else with the split's."""
    if folder.name != "images" and is_validation(folder.name) == is_validation(split):
        return folder.name
    return split if alone else f"{split}-{folder.name}"


def _existing(place: str, bases: Sequence[Path], where: str) -> Path:
    # Roboflow writes ../train/images and means train/images.
    for base in bases:
        for inner in (place, place.removeprefix("../")):
            if (base / inner).is_dir():
                return (base / inner).resolve()
    raise LabelError(f"{where}: no folder {place!r} beside it")


def _split_folders(folder: Path) -> dict[str, Path]:
    """Split -> folder of pictures, without a data.yaml."""
    folder = folder.resolve()
    if "images" in folder.parts and _labels_of(folder).is_dir():
        return {folder.parent.name if folder.parent.name in _SPLITS else folder.name: folder}
    if (folder / "images").is_dir() and next((folder / "labels").rglob("*.txt"), None):
        splits = [inner for inner in sorted((folder / "images").iterdir()) if inner.is_dir()]
        named = [inner for inner in splits if inner.name in _SPLITS]
        return {inner.name: inner for inner in named} or {"images": folder / "images"}
    inner = {name: folder / name / "images" for name in _SPLITS if (folder / name / "labels").is_dir()}
    return {name: place for name, place in inner.items() if place.is_dir()}


def _labels_of(pictures: Path) -> Path:
    """``…/images/x`` -> ``…/labels/x``: the last part called images."""
    parts = list(pictures.parts)
    last = max(i for i, part in enumerate(parts) if part == "images")
    parts[last] = "labels"
    return Path(*parts)


def _read_split(name: str, folder: Path, classes: dict[int, bool] | None) -> LabelSet:
    if "images" not in folder.parts:
        raise LabelError(
            f"{folder}: a folder of pictures must be called images or lie in one: labels/ stands beside it"
        )
    labels = _labels_of(folder)
    if not labels.is_dir():
        raise LabelError(f"{labels}: no such folder; it should hold the labels of {folder}")
    faces: dict[str, list[Face]] = {}
    sizes: dict[str, Size] = {}
    texts = set[Path]()
    for picture in sorted(path for path in folder.rglob("*") if images.is_image_path(path)):
        path = picture.relative_to(folder)
        text = (labels / path).with_suffix(".txt")
        if text in texts:
            raise LabelError(f"{text}: the labels of two pictures, of which one is {picture}")
        texts.add(text)
        rows = list(_rows(text, classes)) if text.is_file() else []
        if rows:
            sizes[path.as_posix()] = images.size(picture)
        faces[path.as_posix()] = [_scaled(row, sizes[path.as_posix()]) for row in rows]
    orphans = sorted(set(labels.rglob("*.txt")) - texts - {labels / "classes.txt"})
    if orphans:
        raise LabelError(f"{orphans[0]}: labels without a picture in {folder} ({len(orphans)} such files)")
    return LabelSet(name, folder, labelled_images(labels, faces), sizes)


def _rows(text: Path, classes: dict[int, bool] | None) -> Iterator[Face]:
    """Faces in shares of the picture; lines of other classes are passed over."""
    try:
        lines = text.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{text}: cannot be read as a label file: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{text}:{number}"
        try:
            values = np.array([float(word) for word in line.split()])
        except ValueError:
            raise LabelError(f"{where}: not a line of numbers: {line[:60]!r}") from None
        lengths = {5: 0} | {5 + width * count: width for count in FIVE_OF for width in (2, 3)}
        if len(values) not in lengths or not np.isfinite(values).all() or values[0] % 1 or values[0] < 0:
            raise LabelError(
                f"{where}: {len(values)} numbers, {line[:40]!r}; expected class cx cy w h, or these and x y v of 5 or "
                "19 landmarks"
            )
        if (np.abs(values[1:5]) > _FARTHEST).any() or (values[3:5] < 0).any():
            raise LabelError(f"{where}: cx cy w h must be shares of the picture, 0 to 1, not {values[1:5].tolist()}")
        if classes is None and values[0] > 0:
            raise LabelError(f"{where}: class {int(values[0])}, but no data.yaml that names the classes")
        ignored = (classes or {0: False}).get(int(values[0]))
        if ignored is not None:
            yield Face(values[1:5], _points(values[5:], lengths[len(values)]), ignored)


def _points(values: npt.NDArray[np.float64], width: int) -> FloatArray | None:
    if not len(values):
        return None
    rows = values.reshape(-1, width).astype(np.float32)
    rows[(rows == 0).all(axis=1) if width == 2 else rows[:, 2] == 0] = np.nan
    return rows[:, :2]


def _scaled(face: Face, size: Size) -> Face:
    centre, half = np.array(face.box)[:2] * size, np.array(face.box)[2:] * size / 2
    points = None if face.points is None else np.array(face.points) * size
    return Face(np.concatenate((centre - half, centre + half)), points, face.ignored)
