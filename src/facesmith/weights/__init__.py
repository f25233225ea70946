"""The table of weights: what each shipped model is, where it comes from, what was measured, what it may be
used for.

The table is ``records.json`` beside this file; the ONNX files lie there too, so that models load offline.
"""

import difflib
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any, Self

from facesmith.errors import ModelError

DEFAULT = "retinaface-mobilenet0.25"
"""The model that runs where none is named."""

MESHES = "retinaface-mobilenet0.25-mesh"
"""The model that runs where none is named and meshes are asked for."""


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        value: a fraction for AP, recall or NME; milliseconds for times.
        protocol: how it was measured, with size rule, augmentation and thresholds.
        scope: on which images, e.g. ``"137-image SUBSET of 3,226"``.
    """

    value: float
    protocol: str
    scope: str


@dataclass(frozen=True)
class WeightRecord:
    """One shipped model.

    Attributes:
        name: what ``facesmith.load`` and ``--model`` take.
        file: file name beside the table.
        sha256: checksum of the file, lower-case hexadecimal.
        bytes: size of the file.
        licence: of the file, and what is known of the training photographs' licences.
        training_data: the data sets.
        command: the command that trained it.
        input: what it takes, in words.
        parameters: count of learnt numbers.
        face_size_range: smallest and largest face side in pixels of the network's input that it was trained
        for.
        figures: name -> figure.
        found_faces: smallest and largest face side, in pixels of the network's input, that it was measured to find
            (`benchmarks/face_sizes.py` says how); ``None``: not measured.
    """

    name: str
    file: str
    sha256: str
    bytes: int
    licence: str
    training_data: str
    command: str
    input: str
    parameters: int
    face_size_range: tuple[float, float]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    found_faces: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record's entry in ``records.json``."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        row["face_size_range"] = list(self.face_size_range)
        row["found_faces"] = None if self.found_faces is None else list(self.found_faces)
        row["figures"] = {name: asdict(figure) for name, figure in self.figures.items()}
        return row

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            ModelError: an entry is missing, unknown or malformed.
        """
        try:
            smallest, largest = row["face_size_range"]
            figures = {name: Figure(**figure) for name, figure in row.get("figures", {}).items()}
            found = None
            if row.get("found_faces") is not None:
                least, most = row["found_faces"]
                found = float(least), float(most)
            trained = float(smallest), float(largest)
            return cls(**{**row, "face_size_range": trained, "figures": figures, "found_faces": found})
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"malformed record of weights {row!r}: {error}") from error


@functools.cache
def records() -> Mapping[str, WeightRecord]:
    """All shipped models by name, in the table's order."""
    table = json.loads(_folder().joinpath("records.json").read_text(encoding="utf-8"))
    models = [WeightRecord.from_dict(row) for row in table["models"]]
    return MappingProxyType({model.name: model for model in models})


def read(record: WeightRecord) -> bytes:
    """The model file's bytes, checked against the record.

    Raises:
        ModelError: the file is missing or is not the one that was released.
    """
    try:
        data = _folder().joinpath(record.file).read_bytes()
    except OSError as error:
        raise ModelError(
            f"the file of model {record.name} is missing ({record.file}); install facesmith anew"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != record.sha256:
        raise ModelError(
            f"the file of model {record.name} is damaged: its sha256 is {found}, not {record.sha256}; "
            "install facesmith anew"
        )
    return data


def unknown(name: str) -> str:
    """What to say of a model name that is not in the table."""
    known = list(records())
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]}?" if close else ""
    listed = ", ".join(known) or "none"
    return f"no model is called {name!r}{hint} (known: {listed}; else a path ending in .onnx, .xml or .safetensors)"


def _folder() -> Traversable:
    return resources.files(__name__)
