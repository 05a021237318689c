"""What a file is, told from its first bytes: names and declared types prove nothing.

This module owns the signatures. It is pure, and decodes nothing: whether a file of a known kind is
whole is found out by the worker that reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HEAD_BYTES = 4096
"""So many bytes from the start are enough to tell."""

Kind = Literal[
    "audio", "video", "picture", "drawing", "text", "document", "archive", "program", "unknown"
]
"""A drawing is a picture of a format that is not read here."""


@dataclass(frozen=True, slots=True)
class FileType:
    """What a file is: its kind, its media type, and what a person calls it."""

    kind: Kind
    content_type: str
    name: str


TEXT = FileType("text", "text/plain", "a text")
SVG = FileType("text", "image/svg+xml", "an SVG drawing")
HTML = FileType("text", "text/html", "a web page")
UNKNOWN = FileType("unknown", "application/octet-stream", "something unknown")

_MP3 = FileType("audio", "audio/mpeg", "an MP3 file")
_BMP = FileType("picture", "image/bmp", "a picture (BMP)")
_AAC = FileType("audio", "audio/aac", "an AAC file")
_MPEG = FileType("video", "video/mp2t", "an MPEG video")
_MATROSKA = FileType("video", "video/x-matroska", "a Matroska or WebM file")


def _file(position: int, signature: bytes, kind: Kind, subtype: str, name: str) -> _Row:
    group = {"picture": "image", "drawing": "image", "document": "application"}
    group_name = group.get(kind, "application" if kind == "archive" else kind)
    return (position, signature, FileType(kind, f"{group_name}/{subtype}", name))


_Row = tuple[int, bytes, FileType]

_SIGNATURES: tuple[_Row, ...] = (
    _file(0, b"\x89PNG\r\n\x1a\n", "picture", "png", "a picture (PNG)"),
    _file(0, b"\xff\xd8\xff", "picture", "jpeg", "a picture (JPEG)"),
    _file(0, b"GIF8", "picture", "gif", "a picture (GIF)"),
    _file(0, b"II*\0", "picture", "tiff", "a picture (TIFF)"),
    _file(0, b"MM\0*", "picture", "tiff", "a picture (TIFF)"),
    _file(0, b"\0\0\0\x0cJXL ", "drawing", "jxl", "a JPEG XL picture"),
    _file(0, b"\xff\x0a", "drawing", "jxl", "a JPEG XL picture"),
    _file(0, b"\0\0\0\x0cjP  ", "drawing", "jp2", "a JPEG 2000 picture"),
    _file(0, b"8BPS\0\1", "drawing", "vnd.adobe.photoshop", "a Photoshop file"),
    _file(0, b"\0\0\x01\0", "drawing", "x-icon", "an icon (ICO)"),
    _file(0, b"OggS", "audio", "ogg", "an Ogg file"),
    _file(0, b"fLaC", "audio", "flac", "a FLAC file"),
    _file(0, b"ID3", "audio", "mpeg", "an MP3 file"),
    _file(0, b"caff", "audio", "x-caf", "a CAF file"),
    _file(0, b"#!AMR", "audio", "amr", "an AMR file"),
    _file(0, b"wvpk", "audio", "x-wavpack", "a WavPack file"),
    _file(0, b"\x0b\x77", "audio", "ac3", "an AC-3 file"),
    _file(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video", "x-ms-asf", "a Windows Media file"),
    _file(0, b"FLV\x01", "video", "x-flv", "a Flash video"),
    _file(0, b"\0\0\x01\xba", "video", "mpeg", "an MPEG video"),
    _file(0, b"\0\0\x01\xb3", "video", "mpeg", "an MPEG video"),
    _file(4, b"moov", "video", "quicktime", "a QuickTime video"),
    _file(4, b"mdat", "video", "quicktime", "a QuickTime video"),
    _file(4, b"wide", "video", "quicktime", "a QuickTime video"),
    _file(0, b"%PDF-", "document", "pdf", "a PDF document"),
    _file(0, b"{\\rtf", "document", "rtf", "an RTF document"),
    _file(0, b"\xd0\xcf\x11\xe0", "document", "msword", "an Office document"),
    _file(0, b"PK\x03\x04", "archive", "zip", "a ZIP archive or an Office document"),
    _file(0, b"\x1f\x8b", "archive", "gzip", "a compressed archive"),
    _file(0, b"7z\xbc\xaf\x27\x1c", "archive", "x-7z-compressed", "a 7z archive"),
    _file(0, b"Rar!", "archive", "vnd.rar", "a RAR archive"),
)

_CONTAINED: dict[bytes, FileType] = {
    b"WEBP": FileType("picture", "image/webp", "a picture (WebP)"),
    b"WAVE": FileType("audio", "audio/wav", "a WAV file"),
    b"AVI ": FileType("video", "video/x-msvideo", "an AVI video"),
    b"AIFF": FileType("audio", "audio/aiff", "an AIFF file"),
    b"AIFC": FileType("audio", "audio/aiff", "an AIFF file"),
}
"""What RIFF, RF64 and FORM files hold, named after 8 bytes."""

_M4A = FileType("audio", "audio/mp4", "an M4A file")
_MP4 = FileType("video", "video/mp4", "an MP4 video")
_HEIF = FileType("picture", "image/heif", "a picture (HEIF)")
_BRANDS: dict[bytes, FileType] = {
    **dict.fromkeys((b"M4A ", b"M4B ", b"F4A "), _M4A),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis"), _HEIF),
}
"""Brands of ISO media files that are not videos, named after 8 bytes."""


def sniff(head: bytes) -> FileType:
    """Tell what a file is from its first ``HEAD_BYTES`` bytes."""
    if head[:4] in (b"RIFF", b"RF64", b"FORM"):
        return _CONTAINED.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], _MP4)
    for position, signature, file_type in _SIGNATURES:
        if head.startswith(signature, position):
            return file_type
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _MATROSKA
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return _MPEG
    if head.startswith(b"BM") and head[6:10] == bytes(4):  # the name, a size, what is reserved
        return _BMP
    if _is_html(head):
        return HTML
    if text_encoding(head):
        return SVG if _is_svg(head) else TEXT
    return _mpeg_audio(head)


def text_encoding(head: bytes) -> Literal["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"] | None:
    """Return how a text is encoded, None when it is not a text in UTF-8 or UTF-16."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" not in head:
        plain = not any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)
        return "utf-8-sig" if plain and _is_utf8(head) else None
    # Without a mark, UTF-16 shows in western texts by every other byte being zero.
    half = len(head) // 2
    first, second = head[0::2].count(0), head[1::2].count(0)
    if first == 0 and second > 0.7 * half:
        return "utf-16-le"
    if second == 0 and first > 0.7 * half:
        return "utf-16-be"
    return None


def _is_svg(head: bytes) -> bool:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith((b"<svg", b"<?xml", b"<!")) and b"<svg" in head.lower()


def _is_html(head: bytes) -> bool:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head"))


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The end of the head may split a character of up to four bytes.
        return len(head) >= HEAD_BYTES and error.start >= len(head) - 3
    return True


def _mpeg_audio(head: bytes) -> FileType:
    """Recognise MPEG sound without a tag: eleven set bits, then no reserved value."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return UNKNOWN
    if head[1] & 0xF6 == 0xF0:
        return _AAC
    version, layer, bitrate, rate = (
        head[1] >> 3 & 3,
        head[1] >> 1 & 3,
        head[2] >> 4,
        head[2] >> 2 & 3,
    )
    return _MP3 if version != 1 and layer != 0 and bitrate != 15 and rate != 3 else UNKNOWN
