"""What a file is goes by its bytes."""

from __future__ import annotations

import random

import pytest

from bot.sniffing import HEAD_BYTES, sniff, text_encoding


@pytest.mark.parametrize(
    ("head", "kind", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "picture", "image/png"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "picture", "image/jpeg"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "picture", "image/webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "audio", "audio/wav"),
        (b"RIFF\x10\0\0\0AVI LIST", "video", "video/x-msvideo"),
        (b"RIFF\x10\0\0\0XXXX", "unknown", "application/octet-stream"),
        (b"FORM\0\0\0\x10AIFFCOMM", "audio", "audio/aiff"),
        (b"OggS\0\x02" + bytes(20), "audio", "audio/ogg"),
        (b"fLaC\0\0\0\x22", "audio", "audio/flac"),
        (b"ID3\x04\0\0\0\0\0\0", "audio", "audio/mpeg"),
        (b"\xff\xfb\x90\x64" + bytes(20), "audio", "audio/mpeg"),
        (b"\xff\xf1\x50\x80" + bytes(20), "audio", "audio/aac"),
        (b"\0\0\0\x20ftypM4A \0\0", "audio", "audio/mp4"),
        (b"\0\0\0\x20ftypisom\0\0", "video", "video/mp4"),
        (b"\0\0\0\x20ftypheic\0\0", "picture", "image/heif"),
        (b"\0\0\0\x20ftypavis\0\0", "picture", "image/heif"),
        (b"\xff\x0a\xfa\x1f", "drawing", "image/jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "drawing", "image/jxl"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "drawing", "image/jp2"),
        (b"\0\0\x01\0\x01\0\x20\x20", "drawing", "image/x-icon"),
        (b"8BPS\0\x01" + bytes(20), "drawing", "image/vnd.adobe.photoshop"),
        (b"\x1a\x45\xdf\xa3\x01\0\0\0", "video", "video/x-matroska"),
        (b"%PDF-1.7", "document", "application/pdf"),
        (b"PK\x03\x04\x14\0", "archive", "application/zip"),
        (b"BM\x36\x10\0\0\0\0\0\0\x36\0", "picture", "image/bmp"),
        (b"BMW builds cars", "text", "text/plain"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text", "image/svg+xml"),
        (b"<?xml version='1.0'?>\n<!-- x -->\n<SVG/>", "text", "image/svg+xml"),
        (b"<p>An <svg> in a page</p>", "text", "text/plain"),
        (b"\n<!DOCTYPE html><html><svg/></html>", "text", "text/html"),
        (b"<HTML lang=fr><title>Caf\xe9</title>", "text", "text/html"),
        (b"Hello, world", "text", "text/plain"),
        ("Grüße, мир, 世界 🎉".encode(), "text", "text/plain"),
        ("\ufeffhello".encode("utf-16-le"), "text", "text/plain"),
        ("hello there".encode("utf-16-be"), "text", "text/plain"),
        (b"\x00\x01\x02\x03" * 20, "unknown", "application/octet-stream"),
        (b"caf\xe9 in an 8-bit encoding", "unknown", "application/octet-stream"),
    ],
)
def test_kind_by_first_bytes(head: bytes, kind: str, content_type: str) -> None:
    found = sniff(head)
    assert (found.kind, found.content_type) == (kind, content_type)


def test_a_cut_through_a_character_is_still_text() -> None:
    text = ("x" * (HEAD_BYTES - 2) + "🎉").encode()[:HEAD_BYTES]
    assert sniff(text).kind == "text"


def test_noise_is_hardly_ever_taken_for_something() -> None:
    noise = random.Random(5)
    kinds = [sniff(noise.randbytes(600)).kind for _ in range(500)]
    assert kinds.count("unknown") >= 498


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_reads_back_in_every_encoding(encoding: str) -> None:
    text = "Plain words, then a line end.\n" * 10
    data = text.encode(encoding)
    found = text_encoding(data)
    assert found is not None
    assert data.decode(found) == text
