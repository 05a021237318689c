"""What becomes of a link on a real server, whatever that server does."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot import links
from bot.engine.spool import Spool
from bot.internet import PublicInternet
from bot.links import LinkService
from bot.settings import LinkSettings, MediaSettings
from models.contracts import MediaInput
from models.errors import (
    BackendUnreachable,
    DeadlineExceeded,
    EmptyInput,
    HandlerError,
    InputTooLong,
    InvalidMedia,
)
from tests.small_internet import (
    Answer,
    Names,
    Server,
    SmallInternet,
    certified,
    raw,
    redirect,
    reply,
    small_internet,
)

OGG = b"OggS\0\x02" + bytes(5000)
PAGE = b"<!doctype html><title>A talk</title>" + b" " * 5000


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
async def small() -> AsyncIterator[SmallInternet]:
    async with small_internet() as made:
        yield made


@pytest.fixture
def server(small: SmallInternet) -> Server:
    return small.server


@pytest.fixture
def names(small: SmallInternet) -> Names:
    return small.names


@pytest.fixture
def internet(small: SmallInternet) -> PublicInternet:
    return small.internet


@pytest.fixture
def service(spool: Spool, internet: PublicInternet) -> LinkService:
    return LinkService(
        LinkSettings(sites="any", timeout_s=20), MediaSettings(max_upload_mb=1), spool, internet
    )


async def fetch(service: LinkService, url: str) -> MediaInput:
    return await service.fetch(service.read(url), {"audio"})


async def refused(service: LinkService, url: str, error: type[HandlerError]) -> str:
    with pytest.raises(HandlerError) as raised:
        await fetch(service, url)
    assert type(raised.value) is error
    return raised.value.user_message


# --------------------------------------------------------------------------- a good file


async def test_a_file_arrives_whole(service: LinkService, server: Server, spool: Spool) -> None:
    data = OGG + bytes(900_000)
    server.answers["/talk.mp3?x=1"] = reply("200 OK", data, "Content-Type: text/html")
    media = await fetch(service, "https://files.example/talk.mp3?x=1#t=5")
    assert spool.checked_path(media).read_bytes() == data
    assert (media.filename, media.content_type) == ("talk.mp3", "audio/ogg")


async def test_a_file_without_a_length_arrives(service: LinkService, server: Server) -> None:
    server.answers["/a"] = raw("HTTP/1.1 200 OK\nConnection: close", OGG)
    assert (await fetch(service, "https://files.example/a")).size_bytes == len(OGG)


async def test_the_server_learns_who_asks_and_nothing_else(
    service: LinkService, server: Server
) -> None:
    server.answers = {"/a": redirect("/b"), "/b": reply("200 OK", OGG)}
    await fetch(service, "https://files.example/a")
    for request in server.heard:
        assert "user-agent: sextant/" in request.lower()
        assert "accept-encoding: identity" in request.lower()
        for secret in ("cookie", "authorization", "referer"):
            assert f"{secret}:" not in request.lower()
    assert len(server.heard) == 2


async def test_an_international_name_is_opened(
    service: LinkService, server: Server, names: Names
) -> None:
    names.addresses["xn--mnchen-3ya.example"] = [["127.0.0.1"]]
    server.answers["/a"] = reply("200 OK", OGG)
    await fetch(service, "https://münchen.example/a")


async def test_proxies_of_the_environment_play_no_part(
    service: LinkService, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answers["/a"] = reply("200 OK", OGG)
    await fetch(service, "https://files.example/a")


# --------------------------------------------------------------------------- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(service: LinkService, server: Server, status: int) -> None:
    server.answers = {"/a": redirect("b?c", status), "/b?c": reply("200 OK", OGG)}
    await fetch(service, "https://files.example/a")


async def test_five_redirects_are_enough(service: LinkService, server: Server) -> None:
    server.answers = {f"/{n}": redirect(f"/{n + 1}") for n in range(6)}
    server.answers["/6"] = reply("200 OK", OGG)
    await fetch(service, "https://files.example/1")
    sentence = await refused(service, "https://files.example/0", InvalidMedia)
    assert "from one address to the next" in sentence


async def test_a_loop_ends(service: LinkService, server: Server) -> None:
    server.answers["/a"] = redirect("https://files.example/a")
    await refused(service, "https://files.example/a", InvalidMedia)
    assert server.connections == 6


@pytest.mark.parametrize(
    "location",
    [
        "http://files.example/b",
        "https://user:secret@files.example/b",
        "https://files.example:8443/b",
        "https://127.0.0.1/b",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fd00:ec2::254]/",
        "https://[::ffff:10.0.0.1]/",
        "https://2852039166/",
        "https://localhost/b",
        "//127.0.0.1/b",
        "file:///etc/passwd",
        "https://[::1",
    ],
)
async def test_a_redirect_is_a_link_like_any_other(
    service: LinkService, server: Server, names: Names, location: str
) -> None:
    server.answers = {"/a": redirect(location), "/b": reply("200 OK", OGG)}
    sentence = await refused(service, "https://files.example/a", InvalidMedia)
    assert "leads on to an address that I do not open" in sentence
    assert (server.connections, names.asked) == (1, ["files.example"])


async def test_a_redirect_to_nowhere(service: LinkService, server: Server) -> None:
    server.answers["/a"] = reply("302 Found")
    await refused(service, "https://files.example/a", InvalidMedia)


async def test_a_redirect_does_not_lead_out_of_discord(
    spool: Spool, internet: PublicInternet, server: Server, names: Names, monkeypatch: Any
) -> None:
    monkeypatch.setattr(links, "DISCORD", {"files.example"})
    server.answers = {"/a": redirect("https://other.example/b"), "/b": reply("200 OK", OGG)}
    names.addresses["other.example"] = [["127.0.0.1"]]
    made = LinkService(LinkSettings(), MediaSettings(), spool, internet)
    assert "leads on to an address" in await refused(made, "https://files.example/a", InvalidMedia)
    assert server.connections == 1


# --------------------------------------------------------------------------- names and addresses


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["fd00:ec2::254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["127.0.0.1", "192.168.0.1"],
        ["::1", "127.0.0.1"],
    ],
)
async def test_a_name_of_something_private_cannot_be_told_from_one_that_is_not_there(
    service: LinkService, server: Server, names: Names, addresses: list[str]
) -> None:
    names.addresses["inside.example"] = [addresses]
    inside = await refused(service, "https://inside.example/a", InvalidMedia)
    nothing = await refused(service, "https://nothing.example/a", InvalidMedia)
    assert inside == nothing
    server.answers["/a"] = redirect("https://inside.example/")
    assert await refused(service, "https://files.example/a", InvalidMedia) == nothing
    assert server.connections == 1


async def test_a_name_that_changes_its_address_gets_nowhere(
    service: LinkService, server: Server, names: Names
) -> None:
    """DNS rebinding: public when it is looked at, private a moment later, with a server there."""
    private = Server()
    private.port = server.port
    private.answers["/b"] = reply("200 OK", OGG + b"secret")
    listening = await private.open("::1", certified())
    try:
        names.addresses["files.example"] = [["127.0.0.1"], ["::1"]]
        server.answers = {"/a": reply("200 OK", OGG)}
        await fetch(service, "https://files.example/a")
        assert names.asked == ["files.example"]  # the address looked at is the one connected to
        assert server.connections == 1
        await refused(service, "https://files.example/b", InvalidMedia)  # asked again: private now

        names.addresses["files.example"] = [["127.0.0.1"], ["::1"]]
        server.answers = {"/a": redirect("/b")}
        await refused(service, "https://files.example/a", InvalidMedia)
        assert private.connections == 0
    finally:
        listening.close()
        await listening.wait_closed()


async def test_a_server_without_a_certificate_for_its_name_is_not_heard(
    service: LinkService, server: Server, names: Names
) -> None:
    names.addresses["wrong.example"] = [["127.0.0.1"]]
    sentence = await refused(service, "https://wrong.example/a", InvalidMedia)
    assert "cannot prove" in sentence
    assert server.heard == []


async def test_a_server_of_an_unknown_authority_is_not_heard(
    spool: Spool, server: Server, names: Names
) -> None:
    internet = PublicInternet(names, lambda _: True)
    made = LinkService(LinkSettings(sites="any"), MediaSettings(), spool, internet)
    await refused(made, "https://files.example/a", InvalidMedia)
    assert server.heard == []
    internet.close()


async def test_a_server_that_does_not_answer(
    service: LinkService, server: Server, names: Names
) -> None:
    names._port = 9
    assert "did not hand over" in await refused(
        service, "https://files.example/a", BackendUnreachable
    )


# --------------------------------------------------------------------------- bad answers

CHUNKED = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("answer", "error", "part"),
    [
        (reply("404 Not Found"), InvalidMedia, "no file at that link"),
        (reply("403 Forbidden", b"do not tell this"), InvalidMedia, "the file to everybody"),
        (reply("500 Oops", b"do not tell this"), BackendUnreachable, "did not hand over"),
        (reply("206 Partial Content", OGG), BackendUnreachable, "did not hand over"),
        (reply("200 OK"), EmptyInput, "`talk` is empty"),
        (reply("200 OK", PAGE), InvalidMedia, "`talk` is a web page, not sound or video. The file"),
        (reply("200 OK", b"\x89PNG\r\n\x1a\n" + bytes(50)), InvalidMedia, "a picture (PNG), not"),
        (reply("200 OK", b"%PDF-1.7"), InvalidMedia, "a PDF document, not sound"),
        (raw("SSH-2.0-OpenSSH_9.9"), BackendUnreachable, "did not hand over"),
        (raw("HTTP/1.1 200 OK\nContent-Length: 99999", OGG), BackendUnreachable, "did not hand"),
        (raw("HTTP/1.1 200 OK\nContent-Length: -5", OGG), BackendUnreachable, "did not hand"),
        (raw("HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2"), BackendUnreachable, "hand"),
        (raw(CHUNKED, b"fff\r\n" + OGG[:100]), BackendUnreachable, "did not hand over"),
        (raw(CHUNKED, b"lies\r\n"), BackendUnreachable, "did not hand over"),
        (raw("HTTP/1.1 200 OK\nX: " + "x" * 100_000), BackendUnreachable, "did not hand over"),
        (raw("HTTP/1.1 200 OK\n" + "X: 1\n" * 5000), BackendUnreachable, "did not hand over"),
        (raw("HTTP/1.1 200 OK\nContent-Length: 2000000", OGG), InputTooLong, "than the 1 MiB"),
        (raw("HTTP/1.1 200 OK", *[OGG * 20] * 20), InputTooLong, "larger than the 1 MiB"),
        (
            reply("200 OK", gzip.compress(OGG + bytes(10 << 20)), "Content-Encoding: gzip"),
            InvalidMedia,
            "in a compressed form",
        ),
        (reply("200 OK", gzip.compress(OGG)), InvalidMedia, "a compressed archive, not"),
    ],
)  # fmt: skip
async def test_whatever_a_server_does_is_one_sentence(
    service: LinkService,
    server: Server,
    spool: Spool,
    answer: Answer,
    error: type[HandlerError],
    part: str,
) -> None:
    server.answers["/talk"] = answer
    sentence = await refused(service, "https://files.example/talk", error)
    assert part in sentence
    assert "do not tell" not in sentence
    assert not spool.folder.exists() or list(spool.folder.iterdir()) == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip"])
async def test_nothing_is_unpacked(service: LinkService, server: Server, encoding: str) -> None:
    server.answers["/a"] = reply("200 OK", bytes(100), f"Content-Encoding: {encoding}")
    await refused(service, "https://files.example/a", InvalidMedia)


# --------------------------------------------------------------------------- time


async def test_a_body_that_stands_still_is_given_up(
    service: LinkService, server: Server, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_IDLE_S", 0.2)
    server.answers["/a"] = raw("HTTP/1.1 200 OK", OGG, pause_s=3)
    assert "too slow" in await refused(service, "https://files.example/a", DeadlineExceeded)
    assert list(spool.folder.iterdir()) == []


async def test_a_body_that_drips_is_given_up(
    spool: Spool, server: Server, internet: PublicInternet
) -> None:
    made = LinkService(LinkSettings(sites="any", timeout_s=0.5), MediaSettings(), spool, internet)
    server.answers["/a"] = raw("HTTP/1.1 200 OK", OGG, *[b"x"] * 50, pause_s=0.1)
    assert "too slow" in await refused(made, "https://files.example/a", DeadlineExceeded)
    assert list(spool.folder.iterdir()) == []


async def test_the_time_is_one_for_all_redirects(
    spool: Spool, server: Server, internet: PublicInternet
) -> None:
    def later(location: str) -> Answer:
        async def write(writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.2)
            await redirect(location)(writer)

        return write

    made = LinkService(LinkSettings(sites="any", timeout_s=0.5), MediaSettings(), spool, internet)
    server.answers = {f"/{n}": later(f"/{n + 1}") for n in range(5)}
    server.answers["/5"] = reply("200 OK", OGG)
    await refused(made, "https://files.example/0", DeadlineExceeded)


async def test_a_name_that_nobody_answers_for_is_given_up(
    spool: Spool, server: Server, names: Names
) -> None:
    given_up = threading.Event()

    def stuck(host: str, port: int) -> list[tuple[Any, ...]]:
        given_up.wait(60)
        return names(host, port)

    internet = PublicInternet(stuck, lambda _: True)
    made = LinkService(LinkSettings(sites="any", timeout_s=0.3), MediaSettings(), spool, internet)
    assert "too slow" in await refused(made, "https://files.example/a", DeadlineExceeded)
    given_up.set()
    internet.close()
    assert server.connections == 0


async def test_slow_servers_leave_the_threads_of_the_bot_free(
    service: LinkService, server: Server
) -> None:
    server.answers["/slow"] = raw("HTTP/1.1 200 OK", OGG, pause_s=60)
    server.answers["/fast"] = reply("200 OK", OGG)
    slow = [asyncio.create_task(fetch(service, "https://files.example/slow")) for _ in range(40)]
    while server.connections < len(slow):
        await asyncio.sleep(0.01)
    await asyncio.wait_for(fetch(service, "https://files.example/fast"), 60)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
