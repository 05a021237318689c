"""Pictures as files, good and bad, for the tests of what reads them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

RED, BLUE, WHITE = (220, 30, 40), (20, 60, 200), (255, 255, 255)
ORIENTATION = 0x0112


def halves(size: tuple[int, int] = (60, 40), left: Any = RED, right: Any = BLUE) -> Image.Image:
    """Return a picture whose left half differs from its right one."""
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def close(colour: Any, wanted: tuple[int, int, int], within: int = 30) -> bool:
    return all(abs(a - b) <= within for a, b in zip(colour, wanted, strict=True))


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png_of_size(width: int, height: int, data: bytes = b"") -> bytes:
    """Return a PNG that claims a size; its pixels are a stream of zeros as long as ``data``."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(data, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def layered(image: Image.Image, layers: int) -> bytes:
    """Return a progressive JPEG whose last layer comes again and again."""
    data = saved(image, "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * layers + data[-2:]
