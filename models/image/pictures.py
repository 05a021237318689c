"""Pictures that members send, and pictures that they get: files in, pixels between, files out.

This module owns reading a picture from a file that may be anything, and writing one with what it
should say about itself. What it returns is upright RGB without any metadata. It must not trust a
name or a declared type, and must not hand on one byte of what came: only pixels go through.

Source: https://pillow.readthedocs.io/en/stable/handbook/image-file-formats.html
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from models.errors import EmptyInput, HandlerError, InputTooLong, InvalidMedia, OutOfMemory

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS: Final = 50_000_000
"""200 MB when decoded, twice that for a moment; the usual 12 to 48 megapixels of a phone fit."""

MAX_SIDE_PX: Final = 20_000
PREVIEW_PX: Final = 512
PNG: Final = "image/png"
JPEG: Final = "image/jpeg"

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
_MOVING = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
"""Formats whose frames are a film; the pages of a TIFF and the depth map of a JPEG are not."""

_HEAD_BYTES = 1024
_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM")
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Where a part of a JPEG begins: in its compressed data only other bytes follow 255."""

_MOST_PARTS = 2000
_MOST_SCANS = 100
"""A progressive JPEG has about ten; each goes over all pixels, and costs a file a few bytes."""

_LIGHT = 235
_QUALITIES = (92, 84, 74, 60)
_SMALLEST_SIDE_PX = 16

_EMPTY = "This picture file is empty (0 bytes). Please send it again."
_SVG = "SVG drawings can't be read here. Please send the picture as a PNG."
_NOT_A_PICTURE = (
    "This is not a picture that can be read: PNG, JPEG, WebP, GIF, AVIF, HEIC, BMP and TIFF can."
)
_DAMAGED = "This picture is damaged or incomplete. Please send it again, or save it anew as a PNG."
_TOO_MANY_SCANS = (
    "This JPEG is made of so many layers that it takes too long to read. Please save it as a PNG."
)
_MOVES = "This picture moves; only its first frame was used."


@dataclass(frozen=True, slots=True)
class ReadPicture:
    """A picture in memory, with what should be said about how it was read."""

    image: Image.Image
    notices: tuple[str, ...] = ()


def open_picture(source: Path | bytes) -> Image.Image:
    """Read a picture; see ``read_picture``, which also tells what to say about it."""
    return read_picture(source).image


def read_picture(source: Path | bytes) -> ReadPicture:
    """Read a picture of any usual format as upright 8-bit RGB in sRGB, without metadata.

    Transparent parts become white, or black where nothing could be seen on white. Of a moving
    picture the first frame is read, and no other.

    Args:
        source: A file, or what is in one.

    Raises:
        EmptyInput: The file has no bytes.
        InputTooLong: It has more pixels than fit; nothing was decoded.
        InvalidMedia: It is not a picture, or is damaged.
        OutOfMemory: There is no room to decode it.
    """
    head = _head_of(source)
    _check_head(head)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata, and of sizes that we check
            return _read(source, head)
    except HandlerError:
        raise
    except MemoryError as error:
        raise OutOfMemory from error
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise InvalidMedia(_DAMAGED) from error


def encode_png(image: Image.Image, metadata: Mapping[str, str]) -> bytes:
    """Return a PNG. Keys of ``metadata`` are Latin-1 of at most 79 characters, values any text."""
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    for key, value in metadata.items():
        texts.add_itxt(key, value)
    return _saved(image, "PNG", pnginfo=texts)


def encode_preview(image: Image.Image) -> bytes:
    """Return a small JPEG, at most 512 pixels a side."""
    small = image.copy()
    small.thumbnail((PREVIEW_PX, PREVIEW_PX))
    return _saved(small.convert("RGB"), "JPEG", quality=72)


def said_by(file: Path) -> dict[str, str]:
    """Return what a PNG of our own says about itself: model, seed, that it was generated."""
    from PIL import Image

    with Image.open(file) as opened:
        texts = getattr(opened, "text", {})
        return {str(key): str(value) for key, value in texts.items()}


def fit_bytes(
    image: Image.Image, max_bytes: int, metadata: Mapping[str, str] | None = None
) -> tuple[bytes, str]:
    """Return a file of at most ``max_bytes`` and its type.

    A PNG where that fits, else a JPEG of falling quality, then of falling size.

    Raises:
        InputTooLong: Not even a tiny picture fits.
    """
    data = encode_png(image, metadata or {})
    if len(data) <= max_bytes:
        return data, PNG
    comment = "\n".join(f"{key}: {value}" for key, value in (metadata or {}).items())
    image = image.convert("RGB")
    while True:
        for quality in _QUALITIES:
            data = _saved(image, "JPEG", quality=quality, comment=comment.encode()[:60_000])
            if len(data) <= max_bytes:
                return data, JPEG
        if min(image.size) < 2 * _SMALLEST_SIDE_PX:
            raise InputTooLong("This picture does not fit into the upload limit.")
        image = image.resize((image.width * 7 // 10, image.height * 7 // 10))


# --------------------------------------------------------------------------- reading


def _head_of(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:_HEAD_BYTES]
    with source.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _check_head(head: bytes) -> None:
    if not head:
        raise EmptyInput(_EMPTY)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<") and b"<svg" in head.lower():
        raise InvalidMedia(_SVG)


def _begins_like_a_picture(head: bytes) -> bool:
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    heif = head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1")
    return head.startswith(_STARTS) or webp or heif


def _read(source: Path | bytes, head: bytes) -> ReadPicture:
    from PIL import Image, ImageOps, UnidentifiedImageError

    _know_heif()
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        opened = Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError as error:
        known = _begins_like_a_picture(head)
        raise InvalidMedia(_DAMAGED if known else _NOT_A_PICTURE) from error
    except Image.DecompressionBombError as error:
        raise InputTooLong(_too_large("This picture")) from error
    with opened:
        _check_size(*opened.size)
        if opened.format in ("JPEG", "MPO"):
            _check_scans(source if isinstance(source, bytes) else source.read_bytes())
        notices = (_MOVES,) if _moves(opened) else ()
        opened.load()
        _check_size(*opened.size)  # some formats learn their size only now
        profile = opened.info.get("icc_profile")
        ImageOps.exif_transpose(opened, in_place=True)
        return ReadPicture(_bare(_flat(_managed(_eight_bits(opened), profile))), notices)


def _know_heif() -> None:
    """Teach Pillow HEIC where the library for it is installed."""
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE_PX:
        raise InputTooLong(_too_large(f"This picture is {width:,} × {height:,} pixels, which"))


def _check_scans(jpeg: bytes) -> None:
    position, scans = 2, 0  # behind the mark of the start
    for _ in range(_MOST_PARTS):
        found = _MARKER.search(jpeg, position)
        if found is None or found[0] == b"\xff\xd9":  # the end; what follows is no picture
            return
        scans += found[0] == b"\xff\xda"
        if scans > _MOST_SCANS:
            break
        position = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2], "big")
    raise InvalidMedia(_TOO_MANY_SCANS)


def _too_large(what: str) -> str:
    return (
        f"{what} is too large: {MAX_PIXELS // 1_000_000} million pixels in all and "
        f"{MAX_SIDE_PX:,} a side are the most."
    )


def _moves(image: Image.Image) -> bool:
    return image.format in _MOVING and bool(getattr(image, "is_animated", False))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Bring 16-bit, 32-bit and floating-point grey into 0 to 255."""
    from PIL import Image

    if not image.mode.startswith(("I", "F")):
        return image
    import numpy as np

    grey = np.nan_to_num(np.asarray(image).astype(np.float32))
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        low, high = 0.0, 65535.0
    else:  # measured data: there is no agreed white
        low, high = float(grey.min()), float(grey.max())
    scaled = (grey - low) * (255.0 / ((high - low) or 1.0))
    return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8))


def _managed(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Bring the colours of a CMYK or wide-gamut picture into sRGB, if it says what they are."""
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    from PIL import ImageCms

    to_mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        converted = ImageCms.profileToProfile(
            image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode=to_mode
        )
    except (ImageCms.PyCMSError, OSError, ValueError):  # a damaged profile costs only exactness
        return image
    return converted or image


def _flat(image: Image.Image) -> Image.Image:
    """Return RGB, with white where the picture is transparent."""
    from PIL import Image

    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    coloured = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = coloured.getchannel("A")
    flat = Image.new("RGB", coloured.size, "black" if _white_alone(coloured, alpha) else "white")
    flat.paste(coloured, mask=alpha)
    return flat


def _white_alone(image: Image.Image, alpha: Image.Image) -> bool:
    """Whether all that can be seen would vanish on white: a logo made for dark pages."""
    from PIL import ImageStat

    ((least, most),) = ImageStat.Stat(alpha).extrema
    seen_through = least < 255 and most > 0
    return seen_through and ImageStat.Stat(image.convert("L"), alpha).mean[0] >= _LIGHT


def _bare(image: Image.Image) -> Image.Image:
    """Return the pixels alone: no place, no camera, no comment, no profile."""
    from PIL import Image

    bare = Image.new("RGB", image.size)
    bare.paste(image)
    return bare


# --------------------------------------------------------------------------- writing


def _saved(image: Image.Image, format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()
