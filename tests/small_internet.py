"""An internet in this machine: names, a server with a certificate for some, and who may be reached.

``small_internet`` opens one. Its server answers what a test lays down, byte by byte if need be.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import trustme

from bot.internet import PublicInternet, is_public

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


@cache
def authority() -> trustme.CA:
    """The authority that the small internet trusts."""
    return trustme.CA()


@cache
def certified() -> ssl.SSLContext:
    """What a server needs to be ``files.example`` and its like."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = ("files.example", "other.example", "münchen.example", "cdn.discordapp.com")
    authority().issue_cert(*names).configure_cert(tls)
    return tls


@dataclass(frozen=True)
class SmallInternet:
    """A server at 127.0.0.1, the names of the world, and the way there."""

    server: Server
    names: Names
    internet: PublicInternet


@asynccontextmanager
async def small_internet() -> AsyncIterator[SmallInternet]:
    """Open a server; 127.0.0.1 counts as one more address of the public internet."""
    server = Server()
    listening = await server.open("127.0.0.1", certified())
    names, tls = Names(server.port), ssl.create_default_context()
    authority().configure_trust(tls)
    internet = PublicInternet(names, lambda one: one == "127.0.0.1" or is_public(one), tls)
    try:
        yield SmallInternet(server, names, internet)
    finally:
        internet.close()
        listening.close()
        await listening.wait_closed()
