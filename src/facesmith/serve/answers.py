"""From the bytes of a picture to the bytes of an answer; runs in worker threads."""

import json
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from facesmith import images
from facesmith.errors import ConfigError, ImageError, ImageTooLargeError
from facesmith.faces import Faces
from facesmith.images import RGB
from facesmith.runtime import EVERYDAY_THRESHOLD, Detector
from facesmith.serve.config import ServeConfig
from facesmith.serve.refusal import Refusal

Format = Literal["json", "png", "jpeg"]

MEDIA_TYPES: dict[Format, str] = {"json": "application/json", "jpeg": "image/jpeg", "png": "image/png"}


@dataclass(frozen=True)
class Options:
    """What a request asks for.

    Attributes:
        threshold: lowest score of a face.
        size: at which the network sees the picture, see :class:`facesmith.SizeRule`.
        landmarks: give or draw the five landmarks.
        mesh: give head pose and 68 landmarks, or draw the mesh.
        vertices: give the meshes' vertices as well.
        format: of the answer.
    """

    threshold: float = EVERYDAY_THRESHOLD
    size: str = "auto"
    landmarks: bool = True
    mesh: bool = False
    vertices: bool = False
    format: Format = "json"


MESH_THRESHOLD = 0.1
"""Lowest score of a face whose mesh is given: a lower one is hardly ever a face, its mesh nonsense of any size."""


class Answer(NamedTuple):
    """What is sent, and how many faces it tells of."""

    body: bytes
    media_type: str
    faces: int


def check(detector: Detector, options: Options) -> None:
    """Raise :class:`Refusal` (422) if ``detector`` cannot do what is asked for; needs no picture."""
    try:
        detector.detect([], size=options.size, threshold=options.threshold, meshes=options.mesh)
    except ConfigError as error:
        raise Refusal(422, str(error)) from error
    if options.mesh and options.threshold < MESH_THRESHOLD:
        raise Refusal(422, f"mesh=true needs a threshold of {MESH_THRESHOLD} or more, not {options.threshold:g}")
    if options.vertices and not options.mesh:
        raise Refusal(422, "vertices=true needs mesh=true")


def read(data: bytes, config: ServeConfig) -> RGB:
    """The picture.

    Raises:
        Refusal: 400 if it cannot be read, 413 if it has too many pixels.
    """
    try:
        return images.read(data, max_pixels=config.max_pixels)
    except ImageTooLargeError as error:
        raise Refusal(413, f"the picture has more than {config.max_pixels:,} pixels, which is the limit") from error
    except ImageError as error:
        raise Refusal(400, str(error)) from error


def answer(detector: Detector, image: RGB, options: Options, config: ServeConfig) -> Answer:
    """Detect and say so in the format that is asked for.

    Raises:
        Refusal: 422 if the network's input would become too large.
    """
    height, width = image.shape[:2]
    seen = detector.size_rule(options.size).target(width, height)
    if seen[0] * seen[1] > config.max_network_pixels:
        raise Refusal(
            422,
            f"size={options.size} would show the network {seen[0]} × {seen[1]} pixels; the limit is "
            f"{config.max_network_pixels:,} pixels: ask for a smaller size",
        )
    faces = detector.detect(image, size=options.size, threshold=options.threshold, meshes=options.mesh)
    if options.format == "json":
        body = _json(detector, image, faces, options)
    else:
        body = images.encode(f"answer.{options.format}", _drawn(image, faces, options))
    return Answer(body, MEDIA_TYPES[options.format], len(faces))


def _json(detector: Detector, image: RGB, faces: Faces, options: Options) -> bytes:
    rows: list[dict[str, Any]] = faces.to_dicts()
    if not options.landmarks:
        for row in rows:
            row.pop("landmarks", None)
    if options.vertices and faces.meshes is not None:
        for row, vertices in zip(rows, np.round(faces.meshes.vertices.astype(np.float64), 1), strict=True):
            row["vertices"] = vertices.tolist()
    whole = {
        "model": detector.name,
        "width": image.shape[1],
        "height": image.shape[0],
        "threshold": options.threshold,
        "faces": rows,
    }
    return json.dumps(whole, separators=(",", ":")).encode()


def _drawn(image: RGB, faces: Faces, options: Options) -> RGB:
    from facesmith.media import drawing, mesh_drawing

    if faces.meshes is not None:
        image = mesh_drawing.draw_meshes(image, faces.meshes.vertices[::-1], faces.meshes.triangles)
    return drawing.draw(image, faces, landmarks=options.landmarks)
