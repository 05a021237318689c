"""What members send is let in or refused with one clear sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
import pytest
from aiohttp import web

from bot.attachments import AttachmentService, Download, download
from bot.engine.spool import Spool, SpoolWriter
from bot.settings import MediaSettings
from models.errors import BackendUnreachable, DiskFull, EmptyInput, InputTooLong, InvalidMedia

OGG = b"OggS\0\x02" + bytes(5000)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(5000)


def attachment(name: str, size: int, url: str = "http://127.0.0.1/none") -> discord.Attachment:
    data: Any = {"id": 1, "filename": name, "size": size, "url": url, "proxy_url": url}
    return discord.Attachment(data=data, state=SimpleNamespace(http=None))  # type: ignore[arg-type]


def yields(data: bytes, block: int = 1000) -> Download:
    async def blocks(_: discord.Attachment) -> AsyncGenerator[bytes, None]:
        for start in range(0, len(data), block):
            yield data[start : start + block]

    return blocks


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def service(spool: Spool, source: Download, **limits: int) -> AttachmentService:
    return AttachmentService(MediaSettings(**limits), spool, source)


async def refused(made: AttachmentService, sent: discord.Attachment, error: type[Exception]) -> str:
    with pytest.raises(error) as raised:
        await made.fetch(sent, {"audio"})
    return str(raised.value)


# --------------------------------------------------------------------------- sound


async def test_sound_arrives_whole_in_the_spool(spool: Spool) -> None:
    media = await service(spool, yields(OGG)).fetch(attachment("a.mp3", len(OGG)), {"audio"})
    assert spool.checked_path(media).read_bytes() == OGG
    assert (media.filename, media.content_type) == ("a.mp3", "audio/ogg")


async def test_sound_that_fits_into_one_block_arrives(spool: Spool) -> None:
    data = b"OggS\0\x02"
    media = await service(spool, yields(data)).fetch(attachment("a.ogg", 6), {"audio"})
    assert spool.path(media).read_bytes() == data


async def test_a_picture_named_mp3_is_refused_for_what_it_is(spool: Spool) -> None:
    sentence = await refused(
        service(spool, yields(PNG)), attachment("song.mp3", len(PNG)), InvalidMedia
    )
    assert sentence == "`song.mp3` is a picture (PNG), not sound or video."
    assert not spool.folder.exists()


async def test_noise_is_refused(spool: Spool) -> None:
    data = bytes(range(256)) * 20
    sentence = await refused(
        service(spool, yields(data)), attachment("song.mp3", len(data)), InvalidMedia
    )
    assert sentence == "`song.mp3` is damaged, or it is not sound or video."


async def test_an_empty_file_is_refused(spool: Spool) -> None:
    sentence = await refused(service(spool, yields(b"")), attachment("a.ogg", 0), EmptyInput)
    assert sentence == "`a.ogg` is empty."


async def test_too_large_is_refused_before_a_byte_is_fetched(spool: Spool) -> None:
    async def never(_: discord.Attachment) -> AsyncGenerator[bytes, None]:
        raise AssertionError
        yield b""

    made = service(spool, never, max_upload_mb=1)
    sentence = await refused(made, attachment("a.ogg", (1 << 20) + 1), InputTooLong)
    assert sentence == "`a.ogg` is larger than the 1 MiB allowed here."


async def test_a_file_that_lies_about_its_size_is_cut_off_while_it_streams(spool: Spool) -> None:
    drawn = 0

    async def endless(_: discord.Attachment) -> AsyncGenerator[bytes, None]:
        nonlocal drawn
        yield OGG
        while True:
            drawn += 1
            yield bytes(100_000)

    await refused(service(spool, endless, max_upload_mb=1), attachment("a.ogg", 10), InputTooLong)
    assert drawn <= 11
    assert list(spool.folder.iterdir()) == []


@pytest.mark.parametrize("step", ["write", "keep"])
async def test_a_full_disk_is_told(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise DiskFull

    monkeypatch.setattr(SpoolWriter, step, full)
    await refused(service(spool, yields(OGG)), attachment("a.ogg", len(OGG)), DiskFull)
    assert list(spool.folder.iterdir()) == []


async def test_a_fetch_that_is_given_up_leaves_nothing(spool: Spool) -> None:
    async def stuck(_: discord.Attachment) -> AsyncGenerator[bytes, None]:
        yield OGG
        await asyncio.Event().wait()

    fetching = asyncio.create_task(
        service(spool, stuck).fetch(attachment("a.ogg", len(OGG)), {"audio"})
    )
    while not spool.folder.is_dir() or not list(spool.folder.iterdir()):
        await asyncio.sleep(0.01)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert list(spool.folder.iterdir()) == []


async def test_a_name_cannot_break_out_of_the_sentence(spool: Spool) -> None:
    sentence = await refused(
        service(spool, yields(PNG)), attachment("`@everyone`" + "x" * 200, 9), InvalidMedia
    )
    assert sentence.count("`") == 2
    assert len(sentence) < 150


# --------------------------------------------------------------------------- text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
async def test_text_is_read_in_its_encoding(spool: Spool, encoding: str) -> None:
    data = "  one line\r\nanother line\r  and one more \n\n".encode(encoding)
    text = await service(spool, yields(data, 7)).read_text(attachment("a.txt", len(data)))
    assert text == "one line\nanother line\n  and one more"


async def test_any_script_is_read(spool: Spool) -> None:
    words = "Ελληνικά, עברית, 日本語, 🎉\u200d " * 400
    data = words.encode()
    text = await service(spool, yields(data)).read_text(attachment("a.txt", len(data)))
    assert text == words.strip()


@pytest.mark.parametrize(
    ("data", "error", "part"),
    [
        (b"", EmptyInput, "is empty"),
        (b" \n\t\r\n ", EmptyInput, "has no text in it"),
        (PNG, InvalidMedia, "is a picture (PNG), not text"),
        (b"%PDF-1.7 and so on", InvalidMedia, "is a PDF document, not text"),
        (b"good start " * 500 + b"\xff\xfe\xfd", InvalidMedia, "not a whole text in UTF-8"),
        (b"x" * 2000, InputTooLong, "larger than the 1 KiB allowed"),
    ],
)
async def test_what_is_no_text_is_refused(
    spool: Spool, data: bytes, error: type[Exception], part: str
) -> None:
    limit = 1 if error is InputTooLong else 256
    made = service(spool, yields(data), max_text_kb=limit)
    with pytest.raises(error, match=r"`a\.txt`") as raised:
        await made.read_text(attachment("a.txt", 5))
    assert part in str(raised.value)


# --------------------------------------------------------------------------- over HTTP


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """A file server: one good file, one that breaks off, one that is gone."""

    async def good(_: web.Request) -> web.Response:
        return web.Response(body=OGG * 100)

    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100000"})
        await response.prepare(request)
        await response.write(OGG)
        assert request.transport is not None
        request.transport.close()
        return response

    async def failing(_: web.Request) -> web.Response:
        return web.Response(status=503)

    application = web.Application()
    application.router.add_get("/good", good)
    application.router.add_get("/broken", broken)
    application.router.add_get("/failing", failing)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_file_is_streamed_from_its_server(spool: Spool, server: str) -> None:
    sent = attachment("a.ogg", len(OGG) * 100, f"{server}/good")
    media = await service(spool, download).fetch(sent, {"audio"})
    assert media.size_bytes == len(OGG) * 100


@pytest.mark.parametrize(
    ("path", "error", "part"),
    [
        ("gone", InvalidMedia, "is not there any more"),
        ("failing", BackendUnreachable, "did not hand over"),
        ("broken", BackendUnreachable, "did not hand over"),
    ],
)
async def test_trouble_on_the_way_is_one_sentence(
    spool: Spool, server: str, path: str, error: type[Exception], part: str
) -> None:
    sent = attachment("a.ogg", len(OGG), f"{server}/{path}")
    assert part in await refused(service(spool, download), sent, error)
    assert not spool.folder.exists() or list(spool.folder.iterdir()) == []


async def test_a_server_that_is_not_there(spool: Spool) -> None:
    sent = attachment("a.ogg", 10, "http://127.0.0.1:9/a.ogg")
    assert "did not hand over" in await refused(service(spool, download), sent, BackendUnreachable)
