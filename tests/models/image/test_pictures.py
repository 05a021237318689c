"""Pictures from members that can be read, of every kind, and what is written."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageColor, ImageDraw

from models.errors import InputTooLong
from models.image.pictures import (
    encode_png,
    encode_preview,
    fit_bytes,
    open_picture,
    read_picture,
)
from tests.models.image.picture_files import (
    BLUE,
    ORIENTATION,
    RED,
    WHITE,
    chunk,
    close,
    halves,
    saved,
)

# --------------------------------------------------------------------------- what can be read


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF"])
def test_every_usual_format_is_read(format_: str, tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    path = tmp_path / "picture.bin"  # the name tells nothing
    path.write_bytes(saved(halves((64, 48)), format_))
    read = read_picture(path)
    assert (read.image.mode, read.image.size, read.notices) == ("RGB", (64, 48), ())
    assert close(read.image.getpixel((8, 24)), RED)
    assert close(read.image.getpixel((56, 24)), BLUE)
    assert close(open_picture(path.read_bytes()).getpixel((8, 24)), RED)


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG"])
def test_of_a_moving_picture_the_first_frame_is_used(format_: str) -> None:
    frames = [halves(left=(40 + n, 0, 0), right=(0, 40 + n, 0)) for n in range(200)]
    options: dict[str, Any] = {"lossless": True, "method": 0} if format_ == "WEBP" else {}
    options |= {"save_all": True, "append_images": frames[1:], "duration": 20}
    data = saved(frames[0], format_, **options)
    with Image.open(io.BytesIO(data)) as probe:
        assert probe.n_frames == 200
    began = time.process_time()
    read = read_picture(data)
    assert time.process_time() - began < 1
    assert read.notices == ("This picture moves; only its first frame was used.",)
    assert close(read.image.getpixel((5, 20)), (40, 0, 0), within=4)


def test_the_pages_of_a_document_do_not_move() -> None:
    data = saved(halves(), "TIFF", save_all=True, append_images=[halves(), halves()])
    assert read_picture(data).notices == ()


@pytest.mark.parametrize(
    ("orientation", "red_at"),
    [(1, "left"), (2, "right"), (3, "right"), (4, "left"), (5, "top"), (6, "top"),
     (7, "bottom"), (8, "bottom")],
)  # fmt: skip
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_a_rotation_is_applied_and_then_stripped(
    format_: str, orientation: int, red_at: str
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "Camera of ada"
    # Given as bytes, it becomes what phones write into HEIC: a rotation of its own.
    written = exif.tobytes() if format_ == "HEIF" else exif
    image = open_picture(saved(halves((64, 48)), format_, exif=written))
    turned = orientation >= 5
    assert image.size == ((48, 64) if turned else (64, 48))
    width, height = image.size
    places = {
        "left": (4, height // 2),
        "right": (width - 4, height // 2),
        "top": (width // 2, 4),
        "bottom": (width // 2, height - 4),
    }
    assert close(image.getpixel(places[red_at]), RED, within=60)
    assert not image.getexif()
    assert image.info == {}


def test_where_a_photo_was_taken_is_not_handed_on() -> None:
    exif = Image.Exif()
    exif[0x013B] = "ada"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    data = saved(halves(), "JPEG", exif=exif, comment=b"a secret", xmp=b"<x:xmpmeta>a secret</x>")
    image = open_picture(data)
    for format_ in ("PNG", "JPEG", "WEBP"):
        out = saved(image, format_)
        assert b"secret" not in out
        assert b"ada" not in out
        assert b"Exif" not in out


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    for format_ in ("JPEG", "TIFF"):
        assert close(open_picture(saved(image, format_)).getpixel((9, 9)), (255, 0, 0))


def test_colours_of_another_space_are_brought_into_srgb() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = open_picture(saved(halves(), "PNG", icc_profile=lab))
    assert close(same.getpixel((5, 5)), RED, within=2)
    broken = open_picture(saved(halves(), "PNG", icc_profile=b"not a profile" * 20))
    assert broken.getpixel((5, 5)) == RED


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (32768, 128), (65535, 255)])
@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(format_: str, value: int, grey: int) -> None:
    image = Image.fromarray(np.full((8, 8), value, np.uint16))
    assert open_picture(saved(image, format_)).getpixel((3, 3)) == (grey, grey, grey)


def test_sixteen_bits_of_colour_are_read() -> None:
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">HHH", 65535, 0, 32896) * 4
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    data += chunk(b"IDAT", zlib.compress(row * 4)) + chunk(b"IEND", b"")
    assert close(open_picture(data).getpixel((1, 1)), (255, 0, 128), within=1)


def test_measured_values_are_stretched() -> None:
    image = Image.fromarray(np.linspace(-3, 7, 64, dtype=np.float32).reshape(8, 8))
    pixels = np.asarray(open_picture(saved(image, "TIFF")))
    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "L"])
def test_transparent_parts_become_white(mode: str) -> None:
    if mode == "P":
        data = saved(Image.new("P", (8, 8), 0), "GIF", transparency=0)
    elif mode in ("1", "L"):
        data = saved(Image.new(mode, (8, 8), 255), "PNG")
    else:
        data = saved(Image.new(mode, (8, 8)), "PNG")
    assert open_picture(data).getpixel((2, 2)) == WHITE


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize(
    ("ink", "ground"), [("white", (0, 0, 0)), ("black", WHITE), ("red", WHITE)]
)
def test_a_drawing_can_be_told_from_what_is_behind_it(
    format_: str, ink: str, ground: tuple[int, int, int]
) -> None:
    drawing = Image.new("RGBA", (64, 48))
    ImageDraw.Draw(drawing).rectangle((20, 10, 40, 30), fill=ink)
    image = open_picture(saved(drawing, format_))
    assert close(image.getpixel((4, 4)), ground)
    assert close(image.getpixel((30, 20)), ImageColor.getrgb(ink)[:3])


def test_a_white_picture_that_nothing_shines_through_stays_white() -> None:
    assert open_picture(saved(Image.new("RGBA", (8, 8), "white"), "PNG")).getpixel((1, 1)) == WHITE


# --------------------------------------------------------------------------- writing


def test_a_png_says_what_it_was_given() -> None:
    data = encode_png(halves(), {"model": "tiny", "licence": "Лицензия 🦜"})
    with Image.open(io.BytesIO(data)) as image:
        assert image.text == {"model": "tiny", "licence": "Лицензия 🦜"}
        assert image.getpixel((0, 0)) == RED


def test_a_preview_is_a_small_jpeg() -> None:
    data = encode_preview(halves((3000, 1500)))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("JPEG", (512, 256))
    assert len(data) < 20_000
    with Image.open(io.BytesIO(encode_preview(halves((60, 40))))) as image:
        assert image.size == (60, 40)


def test_a_picture_is_made_to_fit_the_upload_limit() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (400, 600, 3), np.uint8)
    image = Image.fromarray(noise)
    whole, content_type = fit_bytes(image, 10_000_000, {"model": "tiny"})
    assert content_type == "image/png"
    for limit in (len(whole) - 1, 200_000, 20_000, 3_000):
        data, content_type = fit_bytes(image, limit, {"model": "tiny"})
        assert len(data) <= limit
        assert content_type == "image/jpeg"
        with Image.open(io.BytesIO(data)) as smaller:
            assert abs(smaller.width / smaller.height - 1.5) < 0.1
            assert smaller.info["comment"] == b"model: tiny"
    with pytest.raises(InputTooLong):
        fit_bytes(image, 100)


def test_a_drawing_stays_sharp_where_it_fits() -> None:
    image = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(image).line((0, 0, 299, 199), fill="black")
    data, content_type = fit_bytes(image, 8_000)
    assert content_type == "image/png"
    with Image.open(io.BytesIO(data)) as same:
        assert same.tobytes() == image.tobytes()
