"""``images.read`` takes every kind of picture there is and fails with one kind of error."""

import contextlib
import io
import os
import struct
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from facesmith import images
from facesmith.errors import ImageError

Image.init()  # fills Image.OPEN

# Orientation n stores a picture so that the named numpy operation makes it upright (EXIF 2.32, tag 0x0112:
# which side of the scene the stored picture's row 0 and column 0 are).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


def quadrants(height: int = 32, width: int = 48) -> np.ndarray:
    """Red, green / blue, white: no two of the eight orientations look alike."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (220, 30, 30)
    image[: height // 2, width // 2 :] = (30, 200, 30)
    image[height // 2 :, : width // 2] = (30, 30, 210)
    image[height // 2 :, width // 2 :] = 250
    return image


def smooth(height: int = 120, width: int = 160) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)


def encode(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def png(samples: np.ndarray, colour_type: int, depth: int, extra: bytes = b"", size: tuple[int, int] | None = None):
    """A PNG written by hand, for what Pillow cannot write: samples (H, W, channels)."""
    height, width = samples.shape[:2]
    rows = samples.astype(">u2" if depth == 16 else "u1").reshape(height, -1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", *(size or (width, height)), depth, colour_type, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def difference(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def check_form(image: np.ndarray, shape: tuple[int, int]) -> None:
    assert image.dtype == np.uint8
    assert image.shape == (*shape, 3)
    assert image.flags.c_contiguous


class TestFiles:
    @pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
    def test_lossless_formats_come_back_exactly(self, kind, tmp_path):
        path = tmp_path / f"a.{kind.lower()}"
        path.write_bytes(encode(quadrants(), kind))
        for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes())):
            image = images.read(source)
            check_form(image, (32, 48))
            assert difference(image, quadrants()) == 0

    def test_lossless_webp(self):
        assert difference(images.read(encode(smooth(), "WEBP", lossless=True)), smooth()) == 0

    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 95}])
    def test_jpeg_is_rgb_not_bgr(self, options):
        image = images.read(encode(quadrants(), "JPEG", **options))
        check_form(image, (32, 48))
        assert difference(image[2:10, 2:10], quadrants()[2:10, 2:10]) < 12

    def test_jpeg_equals_opencv_bit_by_bit(self):
        data = encode(smooth(), "JPEG", quality=80)
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        assert difference(images.read(data), expected) == 0

    @pytest.mark.skipif("AVIF" not in Image.OPEN, reason="this Pillow reads no AVIF")
    def test_avif(self):
        assert difference(images.read(encode(smooth(), "AVIF", quality=95)), smooth()) < 25

    def test_grey_jpeg(self):
        grey = Image.fromarray(smooth()).convert("L")
        image = images.read(encode(grey, "JPEG", quality=95))
        check_form(image, (120, 160))
        assert (image[..., 0] == image[..., 1]).all()
        assert (image[..., 0] == image[..., 2]).all()
        assert difference(image[..., 0], np.asarray(grey)) < 8

    def test_result_can_be_written_to(self):
        for kind in ("JPEG", "PNG", "WEBP", "GIF"):
            image = images.read(encode(quadrants(), kind))
            image[0, 0] = 7
            assert (image[0, 0] == 7).all()

    def test_one_pixel(self):
        pixel = np.array([[[10, 200, 90]]], np.uint8)
        assert (images.read(encode(pixel, "PNG")) == pixel).all()
        assert images.read(encode(pixel, "JPEG")).shape == (1, 1, 3)
        assert images.read(encode(pixel, "WEBP")).shape == (1, 1, 3)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG"])
    def test_very_wide(self, kind):
        image = np.zeros((20, 20_000, 3), np.uint8)
        image[:, 10_000:] = 255
        for orientation, shape in ((1, (20, 20_000)), (6, (20_000, 20))):
            read = images.read(encode(image, kind, exif=exif(orientation)))
            check_form(read, shape)
            assert read[0, 0, 0] < 10
            assert read[-1, -1, 0] > 245

    def test_paths_with_odd_names(self, tmp_path):
        path = tmp_path / "ünïcode 100% #1 [x].JPG"
        path.write_bytes(encode(quadrants(), "JPEG"))
        assert images.read(path).shape == (32, 48, 3)

    def test_suffix_does_not_matter(self, tmp_path):
        path = tmp_path / "really_a_png.jpg"
        path.write_bytes(encode(quadrants(), "PNG"))
        assert difference(images.read(path), quadrants()) == 0

    def test_animation_gives_its_first_frame(self):
        frames = [Image.fromarray(np.full((20, 30, 3), value, np.uint8)) for value in (10, 120, 240)]
        for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
            data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
            assert (images.read(data) == 10).all(), kind

    def test_multi_picture_jpeg_gives_its_first_picture(self):
        pictures = [Image.fromarray(np.full((20, 30, 3), value, np.uint8)) for value in (10, 240)]
        data = encode(pictures[0], "MPO", save_all=True, append_images=pictures[1:])
        assert difference(images.read(data), np.full((20, 30, 3), 10, np.uint8)) < 4
        damaged = data[:-50]  # the second picture is cut short; the first is whole
        assert difference(images.read(damaged), np.full((20, 30, 3), 10, np.uint8)) < 4


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("JPEG", {"quality": 95, "subsampling": 0}),
            ("PNG", {}),
            ("WEBP", {"lossless": True}),
            ("TIFF", {}),
        ],
    )
    def test_every_value_in_every_format(self, kind, options, orientation):
        tags = Image.Exif()
        tags[0x0112] = orientation
        data = encode(quadrants(), kind, exif=tags if kind == "TIFF" else tags.tobytes(), **options)
        image = images.read(data)
        expected = UPRIGHT[orientation](quadrants())
        check_form(image, expected.shape[:2])
        assert difference(image, expected) < 25
        transposed = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        assert difference(image, np.asarray(transposed.convert("RGB"))) < 25

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_modes_that_pillow_decodes(self, orientation):
        for mode in ("RGBA", "L", "P", "CMYK"):
            kind = "JPEG" if mode == "CMYK" else "PNG"
            picture = Image.fromarray(quadrants()).convert(mode)
            expected = UPRIGHT[orientation](np.asarray(picture.convert("RGB")))
            read = images.read(encode(picture, kind, exif=exif(orientation)))
            assert difference(read[2:10, 2:10], expected[2:10, 2:10]) < 25

    @pytest.mark.skipif("AVIF" not in Image.OPEN, reason="this Pillow reads no AVIF")
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_avif(self, orientation):
        data = encode(quadrants(), "AVIF", quality=100, exif=exif(orientation))
        read, expected = images.read(data), UPRIGHT[orientation](quadrants())
        assert read.shape == expected.shape
        assert np.abs(read.astype(int) - expected).mean() < 10

    def test_big_endian_exif(self):
        entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
        block = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
        assert images.read(encode(quadrants(), "JPEG", exif=block)).shape == (48, 32, 3)

    @pytest.mark.parametrize(
        "block",
        [
            b"Exif\0\0",
            b"Exif\0\0II",
            b"Exif\0\0garbage!",
            b"Exif\0\0II*\0\xff\xff\xff\xff",  # the directory lies beyond the end
            b"Exif\0\0II*\0" + struct.pack("<IHHHI", 8, 500, 0x0112, 3, 1),  # cut within an entry
            b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 0, 0, 0),  # 0 is no orientation
            b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 9, 0, 0),  # nor is 9
            b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 2, 1, 6, 0, 0),  # text instead of a number
        ],
    )
    def test_damaged_exif_is_no_orientation(self, block):
        image = images.read(encode(quadrants(), "PNG", exif=block))
        assert difference(image, quadrants()) == 0

    def test_pil_image(self):
        picture = Image.open(io.BytesIO(encode(quadrants(), "PNG", exif=exif(8))))
        assert difference(images.read(picture), UPRIGHT[8](quadrants())) == 0
        assert difference(images.read(ImageOps.exif_transpose(picture)), UPRIGHT[8](quadrants())) == 0


class TestModes:
    def test_transparent_pixels_lie_over_white(self):
        rgba = np.dstack([quadrants(), np.full((32, 48), 255, np.uint8)])
        rgba[:16, :24, 3] = 0
        rgba[16:, :24, 3] = 51  # 20% opaque
        expected = quadrants()
        expected[:16, :24] = 255
        expected[16:, :24] = np.round(0.2 * quadrants()[16:, :24].astype(float) + 0.8 * 255)
        for source in (
            rgba,
            Image.fromarray(rgba),
            encode(rgba, "PNG"),
            encode(rgba, "WEBP", lossless=True, exact=True),
        ):
            assert difference(images.read(source), expected) <= 1
        assert rgba[0, 0, 0] == 220, "the array that was passed in must not change"

    def test_grey_with_alpha(self):
        alpha = np.full((8, 9), 255, np.uint8)
        alpha[:, :3] = 0
        bands = [Image.fromarray(np.full((8, 9), 100, np.uint8)), Image.fromarray(alpha)]
        image = images.read(encode(Image.merge("LA", bands), "PNG"))
        assert (image[:, :3] == 255).all()
        assert (image[:, 3:] == 100).all()

    def test_palette(self):
        picture = Image.fromarray(quadrants()).convert("P", palette=Image.Palette.ADAPTIVE)
        assert difference(images.read(encode(picture, "PNG")), np.asarray(picture.convert("RGB"))) == 0

    @pytest.mark.parametrize("transparency", [0, b"\x00\xff\xff"])
    def test_palette_with_transparency(self, transparency):
        picture = Image.new("P", (4, 2), 1)
        picture.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 0])
        picture.paste(0, (0, 0, 2, 2))
        for kind in ("PNG", "GIF"):
            if kind == "GIF" and isinstance(transparency, bytes):
                continue
            image = images.read(encode(picture, kind, transparency=transparency))
            assert (image[:, :2] == 255).all()
            assert (image[:, 2:] == (200, 100, 50)).all()

    def test_rgb_with_a_transparent_colour(self):
        picture = Image.fromarray(quadrants())
        image = images.read(encode(picture, "PNG", transparency=(220, 30, 30)))
        assert (image[:16, :24] == 255).all()
        assert difference(image[16:], quadrants()[16:]) == 0

    def test_one_bit(self):
        bits = np.zeros((9, 13), bool)
        bits[:, 5:] = True
        image = images.read(encode(Image.fromarray(bits), "PNG"))
        assert (image == np.where(bits, 255, 0)[..., None]).all()

    @pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
    def test_16_bit_png_is_scaled_not_clipped(self, colour_type, channels):
        values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
        samples = np.repeat(values[..., None], channels, -1)
        if channels in (2, 4):
            samples[..., -1] = 65535
        image = images.read(png(samples, colour_type, 16))
        check_form(image, (16, 16))
        assert (image == (values >> 8)[..., None]).all()

    def test_16_bit_grey_png_with_orientation(self):
        values = (np.arange(6 * 4).reshape(6, 4) * 2700).astype(np.uint16)
        block = chunk(b"eXIf", exif(6).removeprefix(b"Exif\0\0"))
        image = images.read(png(values[..., None], 0, 16, extra=block))
        assert (image[..., 0] == np.rot90(values >> 8, -1)).all()

    def test_16_bit_tiff_and_pgm(self):
        values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
        for data in (
            encode(Image.fromarray(values), "TIFF"),
            b"P5 16 16 65535\n" + values.astype(">u2").tobytes(),
        ):
            assert (images.read(data) == (values >> 8)[..., None]).all()

    @pytest.mark.parametrize("mode", ["F", "I"])
    def test_pixels_without_a_known_white_are_refused(self, mode):
        picture = Image.fromarray(np.zeros((4, 4), np.float32 if mode == "F" else np.int32))
        for source in (picture, encode(picture, "TIFF")):
            with pytest.raises(ImageError, match="no known white"):
                images.read(source)

    def test_cmyk_jpeg(self):
        picture = Image.fromarray(quadrants()).convert("CMYK")
        data = encode(picture, "JPEG", quality=95)  # Pillow stores inverted values and Adobe's marker
        assert b"Adobe" in data
        assert difference(images.read(data)[2:10, 2:10], quadrants()[2:10, 2:10]) < 8
        marker = data.index(b"\xff\xee")
        length = struct.unpack(">H", data[marker + 2 : marker + 4])[0]
        bare = data[:marker] + data[marker + 2 + length :]
        assert difference(images.read(bare), images.read(data)) == 0

    def test_ycck_jpeg_of_photoshop(self):
        # Inverted ink is what is left of the light: C, M, Y = R, G, B here, and K = 255 is no black. YCCK
        # holds Y, Cb, Cr of 255 - C, 255 - M, 255 - Y (libjpeg.txt, "Special color spaces").
        ycc = cv2.cvtColor(255 - quadrants(), cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
        stored = np.dstack([ycc, np.full((32, 48), 255, np.uint8)])
        bands = [Image.fromarray(255 - stored[..., i]) for i in range(4)]  # Pillow inverts them when it writes
        data = encode(Image.merge("CMYK", bands), "JPEG", quality=95)
        transform = data.index(b"Adobe") + 11
        assert data[transform] == 0
        image = images.read(data[:transform] + b"\x02" + data[transform + 1 :])
        for corner in (np.s_[2:10, 2:10], np.s_[-10:-2, 2:10], np.s_[2:10, -10:-2], np.s_[-10:-2, -10:-2]):
            assert difference(image[corner], quadrants()[corner]) < 12

    def test_cmyk_tiff(self):
        picture = Image.fromarray(quadrants()).convert("CMYK")
        assert difference(images.read(encode(picture, "TIFF")), quadrants()) == 0


class TestArrays:
    def test_rgb_is_returned_as_it_is(self):
        image = quadrants()
        assert images.read(image) is image

    def test_views_become_contiguous(self):
        image = quadrants()
        read = images.read(image[:, ::-1])
        check_form(read, (32, 48))
        assert (read == image[:, ::-1]).all()

    @pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1)])
    def test_grey(self, shape):
        grey = np.arange(35, dtype=np.uint8).reshape(shape)
        image = images.read(grey)
        check_form(image, (5, 7))
        assert (image == grey.reshape(5, 7, 1)).all()

    @pytest.mark.parametrize("dtype", ["<u2", ">u2"])
    def test_uint16(self, dtype):
        values = np.linspace(0, 65535, 5 * 7 * 4).astype(dtype).reshape(5, 7, 4)
        assert (images.read(values[..., :3]) == (values[..., :3] >> 8)).all()
        assert (images.read(values[..., 0]) == (values[..., :1] >> 8)).all()
        values[..., 3] = 65535
        assert (images.read(values) == (values[..., :3] >> 8)).all()

    def test_8_to_16_bits_and_back_is_exact(self):
        values = np.arange(256, dtype=np.uint16).reshape(16, 16)
        assert (images.read(values * 257)[..., 0] == values).all()

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.full((4, 4, 3), 0.5, np.float32), r"\(image \* 255\)\.round\(\)"),
            (np.full((4, 4, 3), 128.0), r"pass image\.round\(\)"),
            (np.full((4, 4, 3), np.nan), "holds NaN"),
            (np.full((4, 4, 3), np.inf, np.float16), "holds NaN or infinity"),
            (np.full((4, 4, 3), -1.0), "scale and convert"),
            (np.zeros((0, 4, 3), np.float32), "scale and convert"),
            (np.zeros((4, 4, 3), np.int64), "int64 array of shape .4, 4, 3.: an image is uint8"),
            (np.zeros((4, 4, 3), np.uint32), "uint32"),
            (np.zeros((4, 4), bool), "bool"),
            (np.zeros((4, 4, 3), complex), "complex"),
            (np.array(["a.jpg"]), "an image is uint8"),
            (np.array([None]), "object"),
            (np.zeros((4, 4, 2), np.uint8), r"\(H, W, 4\)"),
            (np.zeros((3, 40, 50), np.uint8), r"transpose\(1, 2, 0\)"),
            (np.zeros((2, 4, 4, 3), np.uint8), "batch one by one"),
            (np.zeros(12, np.uint8), "shape"),
            (np.zeros((), np.uint8), "shape"),
            (np.zeros((0, 5, 3), np.uint8), "no pixels"),
            (np.zeros((5, 0), np.uint8), "no pixels"),
        ],
    )
    def test_what_cannot_be_an_image(self, array, message):
        with pytest.raises(ImageError, match=message):
            images.read(array)

    @pytest.mark.parametrize("source", [None, 7, [[1, 2]], object()])
    def test_other_types(self, source):
        with pytest.raises(ImageError, match="path, bytes, a numpy array or a PIL image, not"):
            images.read(source)


class TestFailures:
    def test_missing(self, tmp_path):
        with pytest.raises(ImageError, match=r"nowhere\.jpg: No such file"):
            images.read(tmp_path / "nowhere.jpg")

    def test_folder(self, tmp_path):
        with pytest.raises(ImageError, match="a folder, not a picture"):
            images.read(tmp_path)

    def test_empty(self, tmp_path):
        (tmp_path / "empty.jpg").touch()
        for source, name in ((tmp_path / "empty.jpg", "empty.jpg"), (b"", "image bytes")):
            with pytest.raises(ImageError, match=rf"{name}: empty \(0 bytes\)"):
                images.read(source)

    def test_null_byte_in_path(self):
        with pytest.raises(ImageError, match="null"):
            images.read("a\0b.jpg")

    def test_name_too_long(self):
        with pytest.raises(ImageError, match="too long"):
            images.read("a" * 5000 + ".jpg")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_pipe_does_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(ImageError, match="not a regular file"):
            images.read(tmp_path / "pipe.jpg")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
    def test_no_permission(self, tmp_path):
        path = tmp_path / "secret.png"
        path.write_bytes(encode(quadrants(), "PNG"))
        path.chmod(0)
        with pytest.raises(ImageError, match="Permission denied"):
            images.read(path)

    @pytest.mark.parametrize(
        "data", [b"x", b"hello world, this is no picture", bytes(500), b"%!PS-Adobe-3.0 EPSF-3.0\n"]
    )
    def test_not_an_image(self, data, tmp_path):
        path = tmp_path / "notes.png"
        path.write_bytes(data)
        with pytest.raises(
            ImageError, match=r"notes\.png: not a picture in a format that can be read here \(JPEG, PNG"
        ):
            images.read(path)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
    @pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
    def test_cut_short(self, kind, share, tmp_path):
        noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
        data = encode(noise, kind)
        path = tmp_path / "half"
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ImageError, match=r"half: damaged"):
            images.read(path)

    def test_cut_short_progressive_jpeg(self):
        data = encode(smooth(), "JPEG", progressive=True)
        with pytest.raises(ImageError, match="damaged"):
            images.read(data[: len(data) // 2])

    def test_cut_short_jpeg_whose_thumbnail_is_whole(self):
        thumbnail = encode(quadrants(), "JPEG")
        block = b"Exif\0\0II*\0" + struct.pack("<IHI", 8, 0, 0) + thumbnail
        data = encode(smooth(480, 640), "JPEG", exif=block)
        assert images.read(data).shape == (480, 640, 3)
        with pytest.raises(ImageError, match="damaged"):
            images.read(data[: len(data) * 2 // 3])

    def test_jpeg_with_a_trailer_is_whole(self):
        data = encode(smooth(), "JPEG")
        trailer = b"camera notes " * 50
        assert difference(images.read(data + trailer), images.read(data)) == 0

    def test_damaged_png(self):
        data = bytearray(encode(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8), "PNG"))
        data[len(data) // 2] ^= 0x55
        with pytest.raises(ImageError, match="damaged"):
            images.read(bytes(data))

    def test_pil_image_cut_short(self):
        data = encode(smooth(), "PNG")
        with pytest.raises(ImageError, match=r"PIL image \(RGB, 160x120\): damaged"):
            images.read(Image.open(io.BytesIO(data[: len(data) // 2])))

    def test_random_damage_gives_a_picture_or_an_image_error(self):
        rng = np.random.default_rng(1)
        for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
            whole = encode(smooth(40, 50), kind)
            for _ in range(40):
                data = bytearray(whole)
                for at in rng.integers(0, min(len(data), 300), 3):
                    data[at] = rng.integers(0, 256)
                try:
                    image = images.read(bytes(data), max_pixels=1_000_000)
                except ImageError:
                    continue
                assert image.dtype == np.uint8
                assert image.ndim == 3


class TestSizeLimit:
    def test_png_bomb_is_refused_before_it_is_decoded(self):
        bomb = png(np.zeros((1, 1, 3)), 2, 8, size=(60_000, 60_000))
        with pytest.raises(ImageError, match=r"60000 x 60000 = 3,600,000,000 pixels, above the limit of 200,000,000"):
            images.read(bomb)

    def test_jpeg_bomb(self):
        data = bytearray(encode(quadrants(), "JPEG"))
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
        with pytest.raises(ImageError, match=r"65000 x 65000"):
            images.read(bytes(data))

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
    def test_limit_is_inclusive(self, kind):
        data = encode(quadrants(), kind)
        assert images.read(data, max_pixels=32 * 48).shape == (32, 48, 3)
        with pytest.raises(ImageError, match="raise max_pixels"):
            images.read(data, max_pixels=32 * 48 - 1)

    def test_pil_image(self):
        with pytest.raises(ImageError, match="above the limit"):
            images.read(Image.new("L", (100, 100)), max_pixels=9_999)

    def test_above_pillows_own_limit(self, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow would warn from 101 on and refuse from 201 on
        for kind in ("JPEG", "PNG"):
            assert images.read(encode(quadrants(), kind)).shape == (32, 48, 3)


def test_nothing_is_written_to_stderr(capfd):
    """``capfd`` also catches OpenCV and libpng, which write past Python's ``sys.stderr``."""
    noise = np.random.default_rng(0).integers(0, 255, (60, 70, 3), np.uint8)
    cases = [b"", b"no picture"]
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF"):
        whole = encode(noise, kind)
        cases += [whole, whole[: len(whole) // 2], whole[:-5], whole[:40]]
    cases.append(encode(noise, "PNG", icc_profile=b"no profile"))  # libpng warns of it
    damaged = bytearray(encode(noise, "PNG"))
    damaged[len(damaged) // 2] ^= 0x55
    cases.append(bytes(damaged))
    for data in cases:
        with contextlib.suppress(ImageError):
            images.read(data)
    assert capfd.readouterr() == ("", "")


def test_files_are_closed(tmp_path):
    """A ResourceWarning would be an error here; on Windows the file could not be removed."""
    for kind in ("JPEG", "PNG", "WEBP"):
        path = tmp_path / "a"
        path.write_bytes(encode(quadrants(), kind))
        images.read(path)
        path.unlink()
        path.write_bytes(encode(smooth(), kind)[:200])
        with pytest.raises(ImageError):
            images.read(path)
        path.unlink()


def test_many_threads():
    sources = [encode(smooth(60 + i, 80), kind) for i, kind in enumerate(("JPEG", "PNG", "WEBP", "GIF") * 4)]
    expected = [images.read(source) for source in sources]
    wrong: list[int] = []

    def work() -> None:
        for i, source in enumerate(sources):
            if not np.array_equal(images.read(source), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "is_image"),
    [
        ("a.jpg", True),
        ("b/c.JPEG", True),
        ("d.PnG", True),
        ("e.webp", True),
        ("f.tiff", True),
        ("g.heic", True),
        ("h.txt", False),
        ("jpg", False),
        (".jpg", False),
        ("i.jpg.part", False),
        ("j.mp4", False),
    ],
)
def test_is_image_path(name, is_image):
    assert images.is_image_path(name) is is_image
    assert images.is_image_path(Path(name)) is is_image


class TestWrite:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
    def test_lossless(self, suffix, tmp_path):
        path = tmp_path / "new" / "folder" / f"a{suffix}"
        images.write(path, quadrants())
        assert difference(images.read(path), quadrants()) == 0

    @pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp"])
    def test_lossy(self, suffix, tmp_path):
        images.write(tmp_path / f"a{suffix}", smooth())
        assert difference(images.read(tmp_path / f"a{suffix}"), smooth()) < 16

    def test_jpeg_keeps_colour_edges(self, tmp_path):
        """Chroma subsampling would mix columns of red and blue."""
        image = np.zeros((32, 32, 3), np.uint8)
        image[:, 0::2, 0], image[:, 1::2, 2] = 250, 250
        images.write(tmp_path / "a.jpg", image)
        assert difference(images.read(tmp_path / "a.jpg"), image) < 40

    def test_view(self, tmp_path):
        images.write(tmp_path / "a.png", quadrants()[:, ::-1])
        assert difference(images.read(tmp_path / "a.png"), quadrants()[:, ::-1]) == 0

    @pytest.mark.parametrize("name", ["a.gif", "a", "a.exe"])
    def test_unknown_suffix(self, name, tmp_path):
        with pytest.raises(ImageError, match="cannot write"):
            images.write(tmp_path / name, quadrants())

    @pytest.mark.parametrize(
        "image",
        [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), "a.jpg", None],
    )
    def test_wrong_arrays(self, image, tmp_path):
        with pytest.raises(ImageError, match="only"):
            images.write(tmp_path / "a.png", image)

    @pytest.mark.parametrize(("suffix", "width"), [(".jpg", 66_000), (".webp", 17_000), (".png", 0)])
    def test_what_the_format_cannot_hold(self, suffix, width, tmp_path):
        path = tmp_path / f"a{suffix}"
        images.write(path.with_suffix(".bmp"), quadrants())
        with pytest.raises(ImageError, match="cannot be encoded"):
            images.write(path, np.zeros((2, width, 3), np.uint8))
        assert not path.exists()

    def test_failure_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "a.jpg"
        images.write(path, quadrants())
        before = path.read_bytes()
        with pytest.raises(ImageError):
            images.write(path, np.zeros((2, 66_000, 3), np.uint8))
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["a.jpg"]


def progressive(scans):
    """A progressive JPEG whose last scan is repeated until there are ``scans``."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 80).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last, end = data.rfind(b"\xff\xda"), data.rfind(b"\xff\xd9")
    return data[:end] + data[last:end] * (scans - data.count(b"\xff\xda")) + data[end:]


def test_jpegs_of_many_scans():
    """Each costs a pass over the picture: thousands of them in a small file would take hours."""
    assert images.read(progressive(6)).shape == (48, 64, 3)
    assert images.read(progressive(images.MAX_SCANS)).shape == (48, 64, 3)
    hidden = progressive(images.MAX_SCANS + 1)
    decoy = b"\xff\xfe\x00\x06\xff\xd9\xff\xd9"  # a comment that looks like the end of the picture
    for data in (hidden, hidden[:2] + decoy + hidden[2:], hidden[:2] + b"\xff\xff" + decoy + hidden[2:]):
        with pytest.raises(ImageError, match="more than 100 scans"):
            images.read(data)
    with pytest.raises(ImageError, match="more than 10000 segments"):
        images.read(hidden[:2] + b"\xff\xfe\x00\x02" * 20_000 + hidden[2:])


def test_what_lies_behind_a_jpeg_is_no_scan():
    """Phones append videos, depth maps and second pictures."""
    data = progressive(10)
    assert np.array_equal(images.read(data + b"\xff\xda\x00\x02" * 500), images.read(data))
