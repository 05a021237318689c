"""Pictures from members in every way in which a file can be bad."""

from __future__ import annotations

import io
import resource
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import EmptyInput, InputTooLong, InvalidMedia
from models.image.pictures import (
    MAX_PIXELS,
    encode_png,
    open_picture,
    read_picture,
)
from tests.models.image.picture_files import (
    chunk,
    halves,
    layered,
    png_of_size,
    saved,
)


def read_or_refused(data: bytes) -> Image.Image | None:
    """Return a picture, None when it was refused with a sentence. Other errors come through."""
    try:
        return open_picture(data)
    except (InvalidMedia, InputTooLong) as error:
        return None if error.user_message.endswith(".") else pytest.fail(error.user_message)


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (30_000, 4), (4, 30_000)])
def test_huge_sides_are_refused_before_decoding(width: int, height: int) -> None:
    began = time.process_time()
    with pytest.raises(InputTooLong, match="million pixels"):
        read_picture(png_of_size(width, height))
    assert time.process_time() - began < 1


@pytest.mark.parametrize("format_", ["GIF", "BMP", "TIFF", "WEBP"])
def test_large_pictures_of_any_format_are_refused(format_: str) -> None:
    side = 8000 if format_ != "WEBP" else 7100
    assert side * side > MAX_PIXELS
    options = {"method": 0, "lossless": False, "quality": 1} if format_ == "WEBP" else {}
    data = saved(Image.new("L", (side, side)).convert("P"), format_, **options)
    with pytest.raises(InputTooLong, match=f"{side:,} × {side:,}"):
        read_picture(data)


def test_a_bomb_does_not_fill_the_memory() -> None:
    """What is packed a thousandfold is refused by its size, however small the file is."""
    data = png_of_size(20_000, 20_000, bytes(3 * 20_000 * 50))
    assert len(data) < 20_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputTooLong):
        read_picture(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_a_bomb_of_text_in_a_picture_is_refused() -> None:
    data = saved(halves(), "PNG")
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000), 9))
    position = data.index(b"IDAT") - 4
    with pytest.raises(InvalidMedia):
        read_picture(data[:position] + text + data[position:])


def test_a_jpeg_of_endless_layers_is_refused_unread() -> None:
    data = layered(Image.new("L", (6_000, 6_000)), 3_000)
    assert len(data) < 400_000  # and a minute of computing
    began = time.process_time()
    with pytest.raises(InvalidMedia, match="layers"):
        read_picture(data)
    assert time.process_time() - began < 1


def test_layers_are_counted_in_the_picture_and_nowhere_else(tmp_path: Path) -> None:
    thumbnail = layered(halves(), 30)
    path = tmp_path / "phone.jpg"
    path.write_bytes(
        saved(halves((80, 60)), "JPEG", progressive=True, comment=thumbnail)
        + b"\xff\xda\x00\x02" * 500  # a film behind the picture, as some phones have it
    )
    assert open_picture(path).size == (80, 60)


def test_the_largest_picture_that_fits_is_read() -> None:
    data = saved(Image.new("L", (10_000, 5_000)), "PNG")
    assert open_picture(data).size == (10_000, 5_000)


@pytest.mark.parametrize(
    "head",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?>\n<!-- x -->\n<svg/>",
        b"\xef\xbb\xbf  <!DOCTYPE svg>\n<SVG>",
    ],
)
def test_svg_is_refused(head: bytes) -> None:
    with pytest.raises(InvalidMedia, match=r"SVG drawings .* PNG"):
        read_picture(head)


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.7\n",
        b"PK\x03\x04 a zip",
        b"just some words",
        b"\0" * 4096,
        b"\x89PNG",
    ],
)
def test_what_is_not_a_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMedia):
        read_picture(data)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "HEIF"])
def test_of_a_picture_cut_short_nobody_says_that_it_is_none(format_: str) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    with pytest.raises(InvalidMedia, match=r"damaged.*send it again"):
        read_picture(saved(halves(), format_)[:24])


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    with pytest.raises(EmptyInput, match="0 bytes"):
        read_picture(tmp_path / "x.png")


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files_get_a_sentence(format_: str, share: float) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = saved(Image.fromarray(noise), format_)
    image = read_or_refused(data[: int(len(data) * share)])
    assert image is None or image.size == (64, 64)  # a format may stand the loss of its end


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_damaged_bytes_never_raise_anything_else(format_: str) -> None:
    random = np.random.default_rng(1)
    data = saved(halves((48, 48)), format_)
    for _ in range(60):
        broken = bytearray(data)
        for position in random.integers(8, len(data), 4):
            broken[position] ^= int(random.integers(1, 255))
        read_or_refused(bytes(broken))


def test_of_a_polyglot_the_picture_alone_goes_on() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("run.js", "alert('secret')")
    for format_ in ("PNG", "JPEG", "GIF"):
        polyglot = saved(halves(), format_) + b"<script>secret</script>" + archive.getvalue()
        assert zipfile.is_zipfile(io.BytesIO(polyglot))
        out = encode_png(open_picture(polyglot), {})
        assert b"secret" not in out
        assert not zipfile.is_zipfile(io.BytesIO(out))


def test_a_document_with_a_picture_in_it_is_not_a_picture() -> None:
    with pytest.raises(InvalidMedia):
        read_picture(b"%PDF-1.7\n" + saved(halves(), "JPEG"))
