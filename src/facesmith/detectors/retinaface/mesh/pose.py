"""Head pose from a mesh's vertices, in numpy: for users of an exported detector, who have no camera parameters."""

import numpy as np
import numpy.typing as npt

from facesmith.errors import ConfigError

FloatArray = npt.NDArray[np.floating]


def pose_of_vertices(vertices: FloatArray, reference: FloatArray) -> npt.NDArray[np.float64]:
    """Yaw, pitch, roll of the rotation that takes the reference face nearest to each face (Kabsch, least squares).

    Scale and place do not matter. The convention is ``camera.head_pose``'s: degrees; yaw is positive for a face
    turned to the right of the image, pitch for one that looks up, roll for one that leans clockwise in the image;
    R = Rz(-roll) · Ry(yaw) · Rx(-pitch). Unlike the camera's pose it contains what perspective adds.

    Args:
        vertices: (K, n, 3) x right, y down, z towards the viewer, in one unit (image pixels).
        reference: (n, 3) a face that looks straight at the viewer: x right, y **up**, z towards the viewer
            (``template.template_vertices`` or a decoder's ``mean``).

    Returns:
        (K, 3) float64.

    Raises:
        ConfigError: the two have different numbers of vertices.
    """
    if vertices.ndim != 3 or vertices.shape[1:] != reference.shape or reference.shape[1:] != (3,):
        raise ConfigError(
            f"pose needs (K, n, 3) vertices and (n, 3) reference, not {vertices.shape}, {reference.shape}"
        )
    seen = vertices.astype(np.float64) * (1, -1, 1)
    centred = reference - reference.mean(axis=0)
    covariance = np.einsum("kni,nj->kij", seen - seen.mean(axis=1, keepdims=True), centred)
    u, _, vt = np.linalg.svd(covariance)
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]  # no mirror images
    rotation = u @ vt
    yaw = np.arcsin(np.clip(-rotation[:, 2, 0], -1, 1))
    pitch = -np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    roll = -np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    angles: npt.NDArray[np.float64] = np.degrees(np.stack([yaw, pitch, roll], axis=1))
    return angles
