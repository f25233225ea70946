"""Weights files: safetensors that carry their own configuration."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from facesmith import configs, files
from facesmith.detectors.base import DetectorNetwork
from facesmith.detectors.bfbox.config import BFBoxConfig
from facesmith.detectors.bfbox.model import BFBox
from facesmith.detectors.damofd.config import DamoFDConfig
from facesmith.detectors.damofd.model import DamoFD
from facesmith.detectors.kpnet.associative import Associative
from facesmith.detectors.kpnet.config import AssociativeConfig, KPNetConfig
from facesmith.detectors.kpnet.model import KPNet
from facesmith.detectors.retinaface.config import RetinaFaceConfig
from facesmith.detectors.retinaface.model import RetinaFace
from facesmith.errors import ConfigError, ModelError

DETECTORS: dict[str, tuple[type[Any], type[DetectorNetwork]]] = {
    "retinaface": (RetinaFaceConfig, RetinaFace),
    "damofd": (DamoFDConfig, DamoFD),
    "bfbox": (BFBoxConfig, BFBox),
    "kpnet": (KPNetConfig, KPNet),
    "kpnet-associative": (AssociativeConfig, Associative),
}
"""Kind -> its configuration and its network."""


def kind_of(model: DetectorNetwork) -> str:
    """The kind of ``model``, as written into its file.

    Raises:
        ModelError: its class is not among :data:`DETECTORS`.
    """
    for kind, (_, network) in DETECTORS.items():
        if type(model) is network:
            return kind
    raise ModelError(f"{type(model).__name__} is none of the detectors {', '.join(DETECTORS)}")


def build(config: Any) -> DetectorNetwork:
    """The untrained network that ``config``, a configuration of one of :data:`DETECTORS`, describes."""
    return next(network for kind, network in DETECTORS.values() if kind is type(config))(config)


def configuration(facts: Mapping[str, Any], where: Path) -> Any:
    """The configuration in ``facts``, which hold ``detector`` and ``config`` and were read from ``where``.

    Raises:
        ModelError: an unknown kind of detector, or a configuration that is not of that kind.
    """
    if facts["detector"] not in DETECTORS:
        raise ModelError(f"{where}: unknown detector {facts['detector']!r}; known: {', '.join(DETECTORS)}")
    try:
        return configs.from_json(DETECTORS[facts["detector"]][0], facts["config"])
    except ConfigError as error:
        raise ModelError(f"{where}: its configuration cannot be used: {error}") from error


def read_description(path: Path) -> tuple[str, Any]:
    """Name and configuration of the network that ``facesmith search`` described in ``best.json``.

    Raises:
        ModelError: it is not such a file.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        name = facts["name"]
        complete = {"detector", "config"} <= facts.keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: is not a readable description of a network: {error!r}") from error
    if not complete or not isinstance(name, str):
        raise ModelError(f"{path}: expected name, detector and config, as in best.json of `facesmith search`")
    return name, configuration(facts, path)


def save_weights(path: Path, model: DetectorNetwork, *, name: str, **facts: Any) -> None:
    """Write ``model``'s tensors, with name, kind, configuration and ``facts`` as JSON metadata."""
    metadata = {"name": name, "detector": kind_of(model), "config": configs.to_json(model.config), **facts}
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with files.replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"facesmith": json.dumps(metadata)})


def read_metadata(path: Path) -> dict[str, Any]:
    """The JSON metadata of a weights file: ``name``, ``detector``, ``config`` and whatever else was written.

    Raises:
        ModelError: it is not a safetensors file written by :func:`save_weights`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: is not a readable safetensors file: {error}") from error
    try:
        facts: dict[str, Any] = json.loads(metadata["facesmith"])
        complete = {"name", "detector", "config"} <= facts.keys()
    except (KeyError, ValueError, AttributeError):
        complete = False
    if not complete:
        raise ModelError(
            f"{path}: has no facesmith metadata with name, detector and config; "
            "expected a file written by 'facesmith train'"
        )
    return facts


def load_model(path: Path) -> DetectorNetwork:
    """The network of a weights file, in evaluation mode.

    Raises:
        ModelError: not such a file, an unknown kind of detector, or tensors that do not fit.
    """
    facts = read_metadata(path)
    model = build(configuration(facts, path))
    load_weights(path, model)
    return model.eval()


def load_weights(path: Path, model: DetectorNetwork) -> None:
    """Fill ``model`` from a weights file; every tensor must be there and fit.

    Raises:
        ModelError: keys or shapes differ.
    """
    _fill(path, model.load_state_dict)


def start_from(path: Path, model: DetectorNetwork) -> None:
    """Fill ``model`` from a weights file to train on from; what may be missing says ``DetectorNetwork.start_from``.

    Raises:
        ModelError: keys or shapes differ.
    """
    _fill(path, model.start_from)


def _fill(path: Path, take: Callable[[dict[str, Any]], object]) -> None:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dictionary
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: is not a readable safetensors file: {error}") from error
    try:
        take(tensors)
    except RuntimeError as error:
        raise ModelError(f"{path}: does not fit the network: {error}") from error
