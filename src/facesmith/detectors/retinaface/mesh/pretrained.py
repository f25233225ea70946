"""Files of mesh decoders: safetensors with the sizes in the metadata."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from facesmith import configs, files, weights
from facesmith.detectors.retinaface.mesh.config import MeshConfig
from facesmith.detectors.retinaface.mesh.decoder import MeshDecoder
from facesmith.errors import ConfigError, ModelError

SHIPPED_DECODER = Path(weights.__file__).with_name("mesh-decoder.safetensors")
"""The decoder that comes with facesmith."""

_KEY = "facesmith-mesh"


def save_decoder(path: Path, decoder: MeshDecoder, **facts: Any) -> None:
    """Write the weights in float16, with the configuration and ``facts`` as JSON metadata.

    float16 moves a vertex by less than 0.1 mm and halves the file.
    """
    tensors = {name: tensor.detach().cpu().half().contiguous() for name, tensor in decoder.state_dict().items()}
    metadata = {_KEY: json.dumps({"config": configs.to_json(decoder.config), **facts})}
    with files.replacing(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_decoder(path: Path) -> tuple[MeshDecoder, dict[str, Any]]:
    """The decoder (float32, on the CPU, in evaluation mode) and the facts that were written beside it.

    Raises:
        ModelError: the file is not a mesh decoder's, or its tensors do not fit its configuration.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
        config = configs.from_json(MeshConfig, facts.pop("config"), where=str(path))
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError, ConfigError) as error:
        raise ModelError(f"{path}: is not a mesh decoder that mesh_autoencoder wrote: {error}") from error
    decoder = MeshDecoder(config).eval()
    try:
        decoder.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"{path}: tensors do not fit the configuration: {error}") from error
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise ModelError(f"{path}: holds numbers that are not finite")
    return decoder, facts
