"""Pictures in and out: everything becomes one uint8 RGB array.

OpenCV decodes plain JPEG and WebP, because that is fastest; Pillow reads every header and decodes the rest,
because it knows the odd modes and reports damage without writing to stderr.
"""

import io
import os
import re
import stat
from pathlib import Path
from typing import IO, Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, JpegImagePlugin

from facesmith import files
from facesmith.errors import ImageError, ImageTooLargeError

RGB: TypeAlias = npt.NDArray[np.uint8]
Source: TypeAlias = "str | os.PathLike[str] | bytes | npt.NDArray[Any] | Image.Image"

MAX_PIXELS = 200_000_000
"""Default size limit of :func:`read`: a 16,320 x 12,240 phone picture just fits and takes 600 MB decoded."""

MAX_SCANS = 100
"""Most scans of a JPEG; progressive ones have about 10. A file of a few megabytes could ask for 100,000 passes over
50 megapixels, which take half an hour."""

# fmt: off
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".heic", ".heif",
))
# fmt: on
"""Suffixes, in lower case, of the files taken for pictures when a folder is walked."""

# HEIF is here for those who have registered a Pillow plug-in for it. EPS, PSD and the like are left out on
# purpose: some of them start other programs, and none holds a photograph.
_FORMATS = ("PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
_ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".png": ("PNG", {"compress_level": 4}),
    ".webp": ("WEBP", {"quality": 90}),
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
}
# A marker that begins a segment or ends the picture: not one that stands alone, nor an escaped byte of a scan.
_SEGMENT = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd8])", re.DOTALL)
_MAX_SEGMENTS = 10_000

# Older OpenCV decodes to BGR only. Which formats it turns by their EXIF orientation differs by version, so it
# shall turn none.
_TO_RGB: int | None = getattr(cv2, "IMREAD_COLOR_RGB", None)
_FLAGS: int = (cv2.IMREAD_COLOR if _TO_RGB is None else _TO_RGB) | cv2.IMREAD_IGNORE_ORIENTATION


def read(source: Source, *, max_pixels: int = MAX_PIXELS) -> RGB:
    """Read a picture as an RGB array, upright.

    Args:
        source: a path; the bytes of a file; a PIL image; or a uint8 or uint16 array of shape (H, W),
            (H, W, 1), (H, W, 3) or (H, W, 4), with channels in the order RGB or RGBA.
        max_pixels: width x height above which a file, bytes or a PIL image is refused. Files and bytes are
            judged by their header, before anything is decoded.

    Returns:
        (H, W, 3) uint8, RGB, C-contiguous. A uint8 (H, W, 3) array comes back without a copy.

    What happens to special pictures:

    - The EXIF orientation is applied (all eight values), except to arrays, which carry none.
    - Transparent pixels are laid over white, as a viewer would show them; what they hide stays hidden.
    - 16-bit values are taken as full range and scaled (``value >> 8``, so 65535 becomes 255), never clipped.
    - CMYK JPEGs are taken as stored inverted, as Photoshop does it; so do browsers, Pillow and OpenCV.
    - Animations and files of many pages give their first frame; a PIL image gives its current one.
    - Float and other integer arrays are refused: whether 1.0 is white or nearly black cannot be known.
    - Colour profiles are ignored.

    Raises:
        ImageTooLargeError: it has more than ``max_pixels``.
        ImageError: ``source`` cannot be read for whatever other reason; the message names source and reason.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        name = f"PIL image ({source.mode}, {source.width}x{source.height})"
        _check_size(source, name, max_pixels)
        return _from_pillow(source, name)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_stream(io.BytesIO(source), "image bytes", max_pixels)
    if not isinstance(source, str | os.PathLike):
        raise ImageError(f"an image is a path, bytes, a numpy array or a PIL image, not {_describe(source)}")
    name = os.fsdecode(source)
    try:
        _check_is_file(name)
        with open(name, "rb") as stream:
            return _from_stream(stream, name, max_pixels)
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a path that no system call takes
        raise ImageError(f"{name}: {getattr(error, 'strerror', None) or error}") from error


def size(source: "str | os.PathLike[str]", *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of the picture file ``source`` as :func:`read` gives it, upright; only its header is read.

    Raises:
        ImageError: the header cannot be read, or states more than ``max_pixels``.
    """
    name = os.fsdecode(source)
    try:
        _check_is_file(name)
        with open(name, "rb") as stream:
            picture = _open(stream, name)
            _check_size(picture, name, max_pixels)
            return (picture.height, picture.width) if _orientation(picture) >= 5 else (picture.width, picture.height)
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: {getattr(error, 'strerror', None) or error}") from error


def is_image_path(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` has the suffix of a picture that :func:`read` takes; upper and lower case alike."""
    return Path(path).suffix.lower() in SUFFIXES


def write(path: str | os.PathLike[str], image: npt.NDArray[np.uint8]) -> None:
    """Write an (H, W, 3) uint8 RGB array, in the format of the suffix, whole or not at all.

    JPEG is written at quality 95 without chroma subsampling, WebP at quality 90, the others without loss.
    Parent folders are created.

    Raises:
        ImageError: the suffix is unknown, ``image`` is not an (H, W, 3) uint8 array, or the format cannot
            hold it (JPEG ends at 65,500 pixels a side, WebP at 16,383).
        OSError: the file cannot be written.
    """
    files.write_bytes(path, encode(path, image))


def encode(path: str | os.PathLike[str], image: npt.NDArray[np.uint8]) -> bytes:
    """What :func:`write` writes; ``path`` gives the format and is named in errors.

    Raises:
        ImageError: as :func:`write`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _ENCODERS:
        raise ImageError(f"{path}: cannot write {suffix or 'a name without suffix'}; use {', '.join(_ENCODERS)}")
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"{path}: only (H, W, 3) uint8 RGB arrays are written, not {_describe(image)}")
    encoding, options = _ENCODERS[suffix]
    buffer = io.BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(image)).save(buffer, encoding, **options)
    except Exception as error:  # each of Pillow's encoders fails with exceptions of its own
        raise ImageError(f"{path}: cannot be encoded as {encoding}: {_describe(image)} ({error})") from error
    return buffer.getvalue()


def _check_is_file(name: str) -> None:
    status = os.stat(name)
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{name}: a folder, not a picture")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{name}: not a regular file")


def _from_stream(stream: IO[bytes], name: str, max_pixels: int) -> RGB:
    picture = _open(stream, name)
    _check_size(picture, name, max_pixels)
    plain, jpeg = _is_plain(picture), picture.format == "JPEG"
    if plain or jpeg:
        stream.seek(0)
        data = stream.read()
        if jpeg:
            _check_scans(data, name)
        pixels = _decode(data, picture) if plain else None
        if pixels is not None:
            return _upright(pixels, _orientation(picture))
        stream.seek(0)
        picture = _open(stream, name)
    return _from_pillow(picture, name)


def _open(stream: IO[bytes], name: str) -> ImageFile.ImageFile:
    """Read the header only.

    Not by ``PIL.Image.open``, which applies size limits of its own and follows the index of multi-picture
    JPEGs.
    """
    prefix = stream.read(16)
    stream.seek(0)
    if not prefix:
        raise ImageError(f"{name}: empty (0 bytes)")
    try:
        if prefix.startswith(b"\xff\xd8\xff"):
            return JpegImagePlugin.JpegImageFile(stream)
        Image.init()
        for known in _FORMATS:
            factory, accept = Image.OPEN.get(known, (None, None))
            if factory is not None and accept is not None and accept(prefix) is True:
                return factory(stream, "")
    except Exception as error:  # a damaged header may raise nearly anything
        detail = f"{type(error).__name__}: {error}"
        raise ImageError(f"{name}: damaged or cut short, its header cannot be read ({detail})") from error
    readable = ", ".join(("JPEG", *(known for known in _FORMATS if known in Image.OPEN)))
    raise ImageError(f"{name}: not a picture in a format that can be read here ({readable})")


def _check_size(picture: Image.Image, name: str, max_pixels: int) -> None:
    width, height = picture.size
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{name}: {width} x {height} = {width * height:,} pixels, above the limit of {max_pixels:,}; "
            "raise max_pixels if this is no decompression bomb"
        )


def _check_scans(data: bytes, name: str) -> None:
    """Refuse JPEGs of more than ``MAX_SCANS`` scans; the markers are found as libjpeg finds them."""
    scans = at = 0
    for _ in range(_MAX_SEGMENTS):
        marker = _SEGMENT.search(data, at)
        if marker is None or marker[1] == b"\xd9":
            return
        scans += marker[1] == b"\xda"
        if scans > MAX_SCANS:
            raise ImageError(
                f"{name}: a JPEG of more than {MAX_SCANS} scans, each of which takes a pass over the picture"
            )
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    raise ImageError(f"{name}: a JPEG of more than {_MAX_SEGMENTS} segments")


def _is_plain(picture: ImageFile.ImageFile) -> bool:
    """Whether OpenCV decodes this one right: 8-bit grey or RGB without alpha, one frame."""
    if picture.mode not in ("L", "RGB"):
        return False
    if picture.format == "WEBP":
        return not getattr(picture, "is_animated", False)
    return picture.format == "JPEG"


def _decode(data: bytes, picture: ImageFile.ImageFile) -> RGB | None:
    """Decode with OpenCV, not turned; ``None`` where Pillow shall decide what is wrong.

    Damage *within* the scan of a JPEG stays libjpeg's affair: it prints a line to stderr and fills in what it
    can. Neither OpenCV nor Pillow lets one know of it.
    """
    if picture.format == "JPEG" and not _jpeg_has_end(data):
        return None
    pixels: Any
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error:
        return None
    if pixels is None or pixels.shape != (picture.height, picture.width, 3):
        return None
    if _TO_RGB is None:
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    rgb: RGB = pixels
    return rgb


def _jpeg_has_end(data: bytes) -> bool:
    """Whether an end-of-image marker follows the last start of scan.

    Where it is missing, older OpenCV fills what was cut off with grey and says nothing. Neither marker can
    occur within a scan. The end of an embedded thumbnail does not count: the picture's own scan comes later.
    """
    end = data.rfind(b"\xff\xd9")
    return end >= 0 and data.find(b"\xff\xda", end) < 0


def _from_pillow(picture: Image.Image, name: str) -> RGB:
    try:
        picture.load()
        pixels = _pillow_pixels(picture, name)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        kind = picture.format or "PIL image"
        detail = f"{type(error).__name__}: {error}"
        raise ImageError(f"{name}: damaged, cut short or an unsupported kind of {kind} ({detail})") from error
    return _upright(pixels, _orientation(picture))


def _pillow_pixels(picture: Image.Image, name: str) -> RGB:
    if picture.mode.startswith("I;16"):
        return _from_array(np.asarray(picture))
    if picture.mode == "I" and picture.format == "PPM":  # a PGM with more than 8 bits, scaled to 16 by Pillow
        return _from_array(np.asarray(picture).astype(np.uint16))
    if picture.mode in ("I", "F"):
        kind = "32-bit integer" if picture.mode == "I" else "float"
        raise ImageError(f"{name}: {kind} pixels (mode {picture.mode}) have no known white; scale to 8 bits")
    if picture.has_transparency_data or picture.mode == "RGBa":
        return _over_white(picture.convert("RGBA"))
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _over_white(picture: Image.Image) -> RGB:
    white = Image.new("RGBA", picture.size, "white")
    return np.array(Image.alpha_composite(white, picture).convert("RGB"))


def _from_array(array: npt.NDArray[Any]) -> RGB:
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise ImageError(f"{_describe(array)}: {_dtype_hint(array)}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        wanted = "an image has the shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"
        raise ImageError(f"{_describe(array)}: {wanted}{_shape_hint(array.shape)}")
    if array.size == 0:
        raise ImageError(f"{_describe(array)}: has no pixels")
    if array.dtype.itemsize == 2:
        array = (array >> 8).astype(np.uint8)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    if array.shape[2] == 4:
        return _over_white(Image.fromarray(np.ascontiguousarray(array)))
    return np.ascontiguousarray(array)


def _describe(array: Any) -> str:
    if not isinstance(array, np.ndarray):
        return f"{type(array).__module__}.{type(array).__qualname__}"
    return f"{array.dtype} array of shape {array.shape}"


def _dtype_hint(array: npt.NDArray[Any]) -> str:
    if array.dtype.kind == "f" and array.size:
        if not np.isfinite(array).all():
            return "holds NaN or infinity; an image is uint8 (or uint16)"
        if array.min() >= 0 and array.max() <= 1:
            return "an image is uint8; if 1.0 is white, pass (image * 255).round().astype(np.uint8)"
        if array.min() >= 0 and array.max() <= 255:
            return "an image is uint8; if 255.0 is white, pass image.round().astype(np.uint8)"
    return "an image is uint8 with values from 0 to 255 (or uint16 from 0 to 65535); scale and convert it"


def _shape_hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return "; channels come last: pass image.transpose(1, 2, 0)"
    if len(shape) == 4:
        return "; pass the images of a batch one by one"
    return ""


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation 1...8; 1 where there is none, or none that makes sense.

    Not by Pillow's ``getexif``, which warns of any damage in the EXIF data, needed or not.
    """
    exif = picture.info.get("exif")
    if not isinstance(exif, bytes):
        return 1
    exif = exif.removeprefix(b"Exif\x00\x00")
    order: Any = {b"II": "little", b"MM": "big"}.get(exif[:2])
    if order is None:
        return 1

    def number(start: int, size: int) -> int:
        return int.from_bytes(exif[start : start + size], order)

    directory = number(4, 4)
    for entry in range(number(directory, 2)):
        start = directory + 2 + 12 * entry
        if start + 12 > len(exif):
            break
        if number(start, 2) == 0x0112:
            value = number(start + 8, 2)
            return value if number(start + 2, 2) == 3 and 1 <= value <= 8 else 1
    return 1


def _upright(pixels: RGB, orientation: int) -> RGB:
    """Undo an EXIF orientation: values from 5 on swap rows and columns; what is left are flips."""
    turned: Any = cv2.transpose(pixels) if orientation >= 5 else pixels
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    upright: RGB = turned if flip is None else cv2.flip(turned, flip)
    return upright
