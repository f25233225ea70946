"""Predictions on disk together with where they come from, so that figures from files keep their provenance.

Beside predictions that facesmith saves lies ``NAME.provenance.json``. It is believed as long as the
predictions are those that it was written for; for all other files provenance is their name and checksum.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from facesmith import files
from facesmith.errors import LabelError
from facesmith.evaluation.predictions import write_coco_json, write_fddb_text, write_jsonl, write_wider_folder
from facesmith.evaluation.result import Provenance
from facesmith.faces import Faces


class Format(NamedTuple):
    """A way to save predictions: the file's suffix (none: a folder) and the writer."""

    suffix: str
    write: Callable[[Mapping[str, Faces], Path], None]


FORMATS: Mapping[str, Format] = {
    "wider": Format("", write_wider_folder),
    "fddb": Format(".txt", write_fddb_text),
    "coco": Format(".json", write_coco_json),
    "jsonl": Format(".jsonl", write_jsonl),
}
"""The formats of :mod:`facesmith.evaluation.predictions`."""


def save(predictions: Mapping[str, Faces], folder: Path, form: Format, provenance: Provenance) -> Path:
    """Write predictions and their record into ``folder``, named after the detector."""
    path = folder / (provenance.detector.replace("/", "-") + form.suffix)
    form.write(predictions, path)
    record = {"predictions_sha256": checksum(path), "provenance": asdict(provenance)}
    files.write_text(_record_path(path), json.dumps(record, indent=1) + "\n")
    return path


def provenance_of(path: Path) -> Provenance:
    """Where the predictions at ``path`` (a file or folder) come from, as far as it is known.

    Raises:
        LabelError: nothing is there, or the record beside it is malformed.
    """
    found = checksum(path)
    unknown = Provenance(path.name if path.is_dir() else path.stem, checksum=found)
    try:
        record = json.loads(_record_path(path).read_text(encoding="utf-8"))
        if record["predictions_sha256"] != found:
            return unknown
        known = Provenance(**record["provenance"])
    except FileNotFoundError:
        return unknown
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabelError(f"{_record_path(path)}: not a record of predictions ({error!r}); delete it") from error
    return replace(known, settings={**known.settings, "predictions": found})


def checksum(path: Path) -> str:
    """sha256 of a file, or of all files of a folder with their names, in name order.

    Raises:
        LabelError: nothing can be read there.
    """
    digest = hashlib.sha256()
    try:
        if not path.is_dir():
            return hashlib.sha256(path.read_bytes()).hexdigest()
        for file in sorted(inner for inner in path.rglob("*") if inner.is_file()):
            digest.update(file.relative_to(path).as_posix().encode() + b"\0" + file.read_bytes())
    except OSError as error:
        raise LabelError(f"{path}: cannot be read as predictions: {error.strerror}") from error
    return digest.hexdigest()


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.provenance.json")
