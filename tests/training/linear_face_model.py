"""A small linear face model in the layout of ICT-FaceKit's ``ict_face.npz``, made from our own template."""

from pathlib import Path

import numpy as np

from facesmith.detectors.retinaface.mesh.template import face_plane, landmarks68, template_vertices
from facesmith.detectors.retinaface.mesh.topology import Level

LEVEL = Level(32)
"""The mesh of the usual decoder."""


def write_linear_face_model(path: Path) -> Path:
    """Vertices in cm; two identities (wider, longer), an expression (open mouth) and one of the eyeballs.

    A second, outer skin stands for ears and neck behind ``narrow_vertices``.
    """
    vertices, plane = 10 * template_vertices(LEVEL), face_plane(LEVEL)
    count = len(vertices)
    wider, longer = vertices * (0.1, 0, 0), vertices * (0, 0.1, 0)
    jaw = np.where(plane[:, 1:] < -0.4, (0.0, -1.0, -0.3), 0.0)
    rest = np.zeros((count, 3))
    offsets = [np.vstack([one, rest]).astype(np.float16) for one in (wider, longer, jaw, wider)]
    np.savez(
        path,
        vertices=np.vstack([vertices, vertices + (0, 0, 50)]),
        triangles=np.vstack([LEVEL.triangles, LEVEL.triangles + count]),
        uv=np.vstack([plane, plane + 10]),
        narrow_vertices=np.int64(count),
        landmarks68=landmarks68(LEVEL),
        identity=np.stack(offsets[:2]),
        expression=np.stack(offsets[2:]),
        expression_names=np.array(["jawOpen", "eyeLookUp_L"]),
    )
    return path
