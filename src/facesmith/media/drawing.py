"""Faces drawn into a picture: boxes, scores, landmarks."""

import functools

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from facesmith import images
from facesmith.faces import Faces, Landmark

Colour = tuple[int, int, int]

BOX_COLOUR: Colour = (64, 224, 120)
TRACK_COLOURS: tuple[Colour, ...] = (
    (64, 224, 120),
    (255, 176, 46),
    (92, 172, 255),
    (255, 110, 164),
    (190, 142, 255),
    (64, 220, 220),
    (240, 226, 70),
    (255, 128, 88),
)
"""A track keeps the colour ``TRACK_COLOURS[track_id % 8]``."""

LANDMARK_COLOURS: dict[Landmark, Colour] = {
    Landmark.LEFT_EYE: (255, 64, 64),
    Landmark.RIGHT_EYE: (64, 128, 255),
    Landmark.NOSE: (255, 226, 48),
    Landmark.LEFT_MOUTH: (255, 104, 232),
    Landmark.RIGHT_MOUTH: (48, 240, 240),
}

_DARK: Colour = (16, 20, 24)
_SHIFT = 4  # OpenCV takes positions in 1/16 pixel


def draw(
    image: npt.NDArray[np.uint8], faces: Faces, *, scores: bool = True, landmarks: bool = True
) -> npt.NDArray[np.uint8]:
    """Draw ``faces`` into a copy of ``image``; better faces lie on top.

    Lines, dots and letters grow with the picture, so that it can be shown at any size, but never so far that
    they cover a small face. Tracks have a colour each, and their number before the score.

    Args:
        image: any array that :func:`facesmith.images.read` takes.
        faces: in pixels of ``image``; what lies outside is cut off.
        scores: write the score of each face, with two decimals.
        landmarks: draw those landmarks that are there.

    Returns:
        (H, W, 3) uint8, RGB; never ``image`` itself.

    Raises:
        ImageError: ``image`` is not usable as one.
    """
    canvas = images.read(image).copy()
    faces = faces[np.argsort(faces.scores, kind="stable")]
    for face in faces:
        _draw_box(canvas, face)
    if landmarks and faces.landmarks is not None:
        for face in faces:
            _draw_landmarks(canvas, face)
    for face in faces:
        _draw_label(canvas, face, scores)
    return canvas


def _draw_box(canvas: npt.NDArray[np.uint8], face: Faces) -> None:
    width = _line_width(canvas, face)
    edge = 2 * width + 8  # far enough outside to be invisible; OpenCV draws no box of a million pixels
    low, high = np.array([-edge, -edge]), np.array(canvas.shape[1::-1]) + edge
    corners = np.clip(face.boxes.reshape(2, 2), low, high)
    first, last = _fixed(corners[0]), _fixed(corners[1])
    if width > 1:  # a dark rim tells the line from any background
        cv2.rectangle(canvas, first, last, _DARK, width + 2, cv2.LINE_AA, _SHIFT)
    cv2.rectangle(canvas, first, last, _colour(face), width, cv2.LINE_AA, _SHIFT)


def _draw_landmarks(canvas: npt.NDArray[np.uint8], face: Faces) -> None:
    assert face.landmarks is not None
    size = np.array(canvas.shape[1::-1])
    radius = max(1.0, min(size.max() / 180, _side(face) / 24))
    for name, point in zip(Landmark, face.landmarks[0], strict=True):
        if not ((point > -2 * radius) & (point < size + 2 * radius)).all():  # outside, or NaN
            continue
        if radius > 1.5:
            _dot(canvas, point, radius * 1.15 + 0.8, _DARK)
        _dot(canvas, point, radius, LANDMARK_COLOURS[name])


def _draw_label(canvas: npt.NDArray[np.uint8], face: Faces, score: bool) -> None:
    parts = []
    if face.track_ids is not None and face.track_ids[0] >= 0:
        parts.append(f"#{face.track_ids[0]}")
    if score:
        parts.append(f"{face.scores[0]:.2f}")
    if not parts:
        return
    height, width = canvas.shape[:2]
    size = max(10, round(min(max(width, height) / 42, _side(face) * 0.3)))
    ink = _text(" ".join(parts), size)
    label = _DARK + (np.array(_colour(face)) - _DARK) * (255 - ink[:, :, None]) / 255.0
    x1, y1, x2, y2 = face.boxes[0]
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return
    rim = _line_width(canvas, face) / 2 + 1
    y = _free_place(y1 - rim - len(ink), y2 + rim, len(ink), height)
    x = int(np.clip(round(x1 - rim), 0, max(width - ink.shape[1], 0)))
    place = canvas[y : y + ink.shape[0], x : x + ink.shape[1]]
    place[:] = label[: place.shape[0], : place.shape[1]].round()


def _free_place(above: float, below: float, label: int, height: int) -> int:
    """The row where a label starts: above its box, else below, else at the upper edge of the picture."""
    if above >= -0.3 * label or below + label > height:
        return max(0, min(round(above), height - label))
    return round(below)


@functools.lru_cache(maxsize=256)
def _text(text: str, size: int) -> npt.NDArray[np.uint8]:
    """(h, w) coverage, 0 to 255, of ``text`` with a margin around it; equally high for all texts."""
    font = ImageFont.load_default(size)
    left, _, right, _ = font.getbbox(text)
    _, top, _, bottom = font.getbbox("#0123456789.")
    margin = max(2, round(size * 0.22))
    picture = Image.new("L", (round(right - left) + 2 * margin, round(bottom - top) + 2 * margin))
    ImageDraw.Draw(picture).text((margin - left, margin - top), text, fill=255, font=font)
    return np.array(picture)


def _side(face: Faces) -> float:
    """The shorter side of the box."""
    return max(0.0, float(min(face.widths[0], face.heights[0])))


def _line_width(canvas: npt.NDArray[np.uint8], face: Faces) -> int:
    width: float = min(max(canvas.shape[:2]) / 300, _side(face) / 20)
    return max(1, round(width))


def _colour(face: Faces) -> Colour:
    if face.track_ids is None or face.track_ids[0] < 0:
        return BOX_COLOUR
    return TRACK_COLOURS[int(face.track_ids[0]) % len(TRACK_COLOURS)]


def _dot(canvas: npt.NDArray[np.uint8], centre: npt.NDArray[np.float32], radius: float, colour: Colour) -> None:
    fixed_radius = round(radius * (1 << _SHIFT))
    cv2.circle(canvas, _fixed(centre), fixed_radius, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _fixed(point: npt.NDArray[np.float32]) -> tuple[int, int]:
    """A point in the fixed-point form of OpenCV, which counts from the centre of the first pixel."""
    x, y = np.round((point - 0.5) * (1 << _SHIFT)).astype(int)
    return int(x), int(y)
