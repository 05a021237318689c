"""A loopback server that speaks the part of OpenAI's API that chats use, in a thread of its own.

A test hands it a script: for each request in turn a ``Reply`` that says what happens. What the
server was asked is kept in ``requests``.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Reply:
    """What the server does with one request.

    Attributes:
        deltas: The stream's deltas; a float is a silence in seconds, a string goes out raw.
        finish_reason: None leaves it out.
        usage: Whether the stream ends with the usage.
        cut: Whether the connection breaks after the deltas.
        status, error, headers: A refusal instead of a stream.
    """

    deltas: Sequence[Mapping[str, Any] | float | str] = ()
    finish_reason: str | None = "stop"
    usage: bool = True
    cut: bool = False
    status: int = 200
    error: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def says(*texts: str, **options: Any) -> Reply:
    return Reply([{"content": text} for text in texts], **options)


def refuses(status: int, code: str = "", param: str = "", message: str = "No.", **h: str) -> Reply:
    error = {"error": {"message": message, "code": code or None, "param": param or None}}
    return Reply(status=status, error=error, headers=h)


class ChatServer:
    """The server. ``broken_off`` is set when a client went away in the middle of an answer."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.times: list[float] = []
        self.broken_off = threading.Event()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._runner: web.AppRunner | None = None

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def _stop(self) -> None:
        assert self._runner
        await self._runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.headers.append(dict(request.headers))
        self.times.append(time.monotonic())
        reply = self.script.pop(0)
        if reply.error is not None:
            body = reply.error if isinstance(reply.error, str) else json.dumps(reply.error)
            return web.Response(status=reply.status, text=body, headers=reply.headers)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            await self._stream(response, reply)
        except (asyncio.CancelledError, ConnectionError):
            self.broken_off.set()
            raise
        if reply.cut:
            assert request.transport
            request.transport.abort()
        return response

    async def _stream(self, response: web.StreamResponse, reply: Reply) -> None:
        for delta in reply.deltas:
            if isinstance(delta, float):
                await asyncio.sleep(delta)
            elif isinstance(delta, str):
                await response.write(delta.encode())
            else:
                await response.write(_event(choices=[_choice(delta, None)]))
        if reply.cut:
            return
        if reply.finish_reason:
            await response.write(_event(choices=[_choice({}, reply.finish_reason)]))
        if reply.usage:
            usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
            await response.write(_event(choices=[], usage=usage))
        await response.write(b"data: [DONE]\n\n")
        with suppress(ConnectionError):
            await response.write_eof()


def _choice(delta: Mapping[str, Any], reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": dict(delta), "finish_reason": reason}


def _event(**fields: Any) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", **fields}
    return f"data: {json.dumps(chunk)}\n\n".encode()
