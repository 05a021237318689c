"""Links of members: what they may look like, and what becomes of them on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot import links
from bot.engine.spool import Spool
from bot.internet import PublicInternet, is_public
from bot.links import Link, LinkService
from bot.settings import LinkSettings, MediaSettings
from models.contracts import MediaInput
from models.errors import (
    BackendUnreachable,
    DeadlineExceeded,
    EmptyInput,
    HandlerError,
    InputTooLong,
    InvalidMedia,
    UnsupportedOption,
)

OGG = b"OggS\0\x02" + bytes(5000)
PAGE = b"<!doctype html><title>A talk</title>" + b" " * 5000
LOOPBACK = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def reply(status: str, body: bytes = b"", *headers: str) -> Answer:
    """Return a whole answer of a server."""

    async def write(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)

    return write


def redirect(location: str, status: int = 302) -> Answer:
    return reply(f"{status} Elsewhere", b"", f"Location: {location}", "Set-Cookie: seen=1")


def raw(head: str, *blocks: bytes, pause_s: float = 0.0) -> Answer:
    """Return an answer that need not be true to its head."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        for block in blocks:
            writer.write(block)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return write


class Server:
    """Speaks HTTP over TLS on this machine, one answer for each connection.

    Attributes:
        answers: What is answered, by path.
        heard: The requests, as they came.
        connections: How many were opened.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.heard: list[str] = []
        self.connections = 0
        self.port = 0

    async def open(self, address: str, tls: ssl.SSLContext) -> asyncio.Server:
        server = await asyncio.start_server(self._connected, address, self.port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heard.append(request)
            await self.answers.get(request.split()[1], reply("404 Not Found"))(writer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()


class Names:
    """The names of a world where ``files.example`` is the server's; everything may be changed.

    Attributes:
        addresses: The answers for a name, one lookup after the other; the last one stays.
        asked: Every name that was looked up.
    """

    def __init__(self, port: int) -> None:
        self.addresses: dict[str, list[list[str]]] = {"files.example": [["127.0.0.1"]]}
        self.asked: list[str] = []
        self._port = port

    def __call__(self, host: str, port: int) -> list[tuple[Any, ...]]:
        assert port == 443
        self.asked.append(host)
        answers = self.addresses.get(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (LOOPBACK.get(one, socket.AF_INET), socket.SOCK_STREAM, 6, "", (one, self._port))
            for one in found
        ]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certified(authority: trustme.CA) -> ssl.SSLContext:
    """What a server needs to be ``files.example`` and its like."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("files.example", "other.example", "münchen.example").configure_cert(tls)
    return tls


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
async def server(certified: ssl.SSLContext) -> AsyncIterator[Server]:
    """A server at 127.0.0.1."""
    made = Server()
    listening = await made.open("127.0.0.1", certified)
    yield made
    listening.close()
    await listening.wait_closed()


@pytest.fixture
def names(server: Server) -> Names:
    return Names(server.port)


@pytest.fixture
def internet(names: Names, authority: trustme.CA) -> Iterator[PublicInternet]:
    """The public internet, and 127.0.0.1 as one more address of it."""
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    made = PublicInternet(names, lambda one: one == "127.0.0.1" or is_public(one), tls)
    yield made
    made.close()


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


# --------------------------------------------------------------------------- what a link looks like


@pytest.mark.parametrize(
    ("text", "url", "filename"),
    [
        ("https://files.example/a/talk.mp3", "https://files.example/a/talk.mp3", "talk.mp3"),
        (" <https://files.example/talk.mp3> ", "https://files.example/talk.mp3", "talk.mp3"),
        ("HTTPS://Files.EXAMPLE:443/a%20b.mp3?x=a%2Bb&y=a+b#t=5",
         "https://files.example/a%20b.mp3?x=a%2Bb&y=a+b", "a b.mp3"),
        ("https://files.example./x.ogg", "https://files.example./x.ogg", "x.ogg"),
        ("https://files.example", "https://files.example", "files.example"),
        ("https://münchen.example/ä.png", "https://xn--mnchen-3ya.example/%C3%A4.png", "ä.png"),
        ("https://a_b.files.example/x", "https://a_b.files.example/x", "x"),
        ("https://files.example/a%0Ab%00c.ogg", "https://files.example/a%0Ab%00c.ogg", "abc.ogg"),
    ],
)  # fmt: skip
def test_a_link_to_a_named_server_is_read(text: str, url: str, filename: str) -> None:
    link = Link.parse(text)
    assert str(link.url) == url
    assert link.filename == filename


@pytest.mark.parametrize(
    "text",
    [
        "",
        "talk.mp3",
        "files.example/talk.mp3",
        "//files.example/talk.mp3",
        "http://files.example/talk.mp3",
        "ftp://files.example/talk.mp3",
        "file:///etc/passwd",
        "data:audio/ogg;base64,T2dnUw==",
        "javascript:alert(1)",
        "https:///talk.mp3",
        "https://user@files.example/",
        "https://user:secret@files.example/",
        "https://:@files.example/",
        "https://files.example:8443/",
        "https://files.example:80/",
        "https://files.example:0/",
        "https://files.example:99999/",
        "https://files.example\\@other.example/",
        "https://files.example /x",
        "https://files.example/a b",
        "https://files.\texample/",
        "https://files.example/\r\nHost: other",
        "https://files.example/\u202egpj.exe",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://intranet/",
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://017700000001/",
        "https://0177.0.0.01/",
        "https://127.0.0.0x1/",
        "https://１２７.０.０.１/",
        "https://127。0。0。1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://%31%32%37.0.0.1/",
        "https://8.8.8.8/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[fd00:ec2::254]/",
        "https://[fe80::1%25eth0]/",
        "https://[2606:4700::1111]/",
        "https://[::1/",
        "https://files..example/",
        "https://.files.example/",
        "https://-.example/",
        "https://xn--zz.xn--zz/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 130 + "example/",
    ],
)
def test_anything_else_is_no_link(text: str) -> None:
    with pytest.raises(InvalidMedia, match="That is no link to a file"):
        Link.parse(text)


@settings(deadline=None)
@given(st.ip_addresses(), st.sampled_from(["{}", "{}.", "[{}]", "[::ffff:{}]", "{0:d}", "{0:x}"]))
def test_no_spelling_of_an_address_is_a_link(address: Any, form: str) -> None:
    written = form.format(int(address)) if "0:" in form else form.format(address)
    with pytest.raises(InvalidMedia):
        Link.parse(f"https://{written}/")


@settings(deadline=None)
@given(st.text(max_size=80) | st.from_regex(r"https://[!-~]{1,60}", fullmatch=True))
@example("https://files.example@127.0.0.1/")
def test_whatever_is_read_names_a_server_and_nothing_more(text: str) -> None:
    try:
        link = Link.parse(text)
    except InvalidMedia:
        return
    assert link.url.scheme == "https"
    assert link.url.port == 443
    assert (link.url.user, link.url.password) == (None, None)
    assert "." in link.host
    assert not link.host.rpartition(".")[2][0].isdigit()


# --------------------------------------------------------------------------- what the owner allows


@pytest.mark.parametrize(
    "host", ["cdn.discordapp.com", "media.discordapp.net", "CDN.discordapp.com."]
)
def test_links_to_files_in_discord_are_open_from_the_start(
    spool: Spool, internet: PublicInternet, host: str
) -> None:
    LinkService(LinkSettings(), MediaSettings(), spool, internet).read(f"https://{host}/a/b.png")


@pytest.mark.parametrize(
    ("sites", "host", "part"),
    [
        ("discord", "files.example", "Only links to files in Discord"),
        ("discord", "cdn.discordapp.com.files.example", "Only links to files in Discord"),
        ("discord", "discordapp.com", "Only links to files in Discord"),
        ("none", "cdn.discordapp.com", "No links are opened here"),
    ],
)
def test_others_are_open_where_the_owner_says_so(
    spool: Spool, internet: PublicInternet, sites: Any, host: str, part: str
) -> None:
    made = LinkService(LinkSettings(sites=sites), MediaSettings(), spool, internet)
    with pytest.raises(UnsupportedOption, match=part):
        made.read(f"https://{host}/a.png")


async def test_a_redirect_does_not_lead_out_of_discord(
    spool: Spool, internet: PublicInternet, server: Server, names: Names, monkeypatch: Any
) -> None:
    monkeypatch.setattr(links, "DISCORD", {"files.example"})
    server.answers = {"/a": redirect("https://other.example/b"), "/b": reply("200 OK", OGG)}
    names.addresses["other.example"] = [["127.0.0.1"]]
    made = LinkService(LinkSettings(), MediaSettings(), spool, internet)
    assert "leads on to an address" in await refused(made, "https://files.example/a", InvalidMedia)
    assert server.connections == 1


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
    service: LinkService, server: Server, names: Names, certified: ssl.SSLContext
) -> None:
    """DNS rebinding: public when it is looked at, private a moment later, with a server there."""
    private = Server()
    private.port = server.port
    private.answers["/b"] = reply("200 OK", OGG + b"secret")
    listening = await private.open("::1", certified)
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


async def test_slow_servers_leave_the_threads_of_the_bot_free(
    service: LinkService, server: Server
) -> None:
    server.answers["/slow"] = raw("HTTP/1.1 200 OK", OGG, pause_s=60)
    server.answers["/fast"] = reply("200 OK", OGG)
    slow = [asyncio.create_task(fetch(service, "https://files.example/slow")) for _ in range(40)]
    while server.connections < len(slow):
        await asyncio.sleep(0.01)
    await asyncio.wait_for(fetch(service, "https://files.example/fast"), 10)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
