"""A loopback server that speaks the part of OpenAI's API that chats use."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.models.loopback import ModelServer, Reply


@dataclass(frozen=True)
class Said:
    """What the server does with one request.

    Attributes:
        deltas: The stream's deltas; a float is a silence in seconds, an event one that lasts until
            it is set, a string goes out raw.
        finish_reason: None leaves it out.
        usage: Whether the stream ends with the usage.
        cut: Whether the connection breaks after the deltas.
    """

    deltas: Sequence[Mapping[str, Any] | float | str | threading.Event] = ()
    finish_reason: str | None = "stop"
    usage: bool = True
    cut: bool = False


def says(*texts: str, **options: Any) -> Said:
    return Said([{"content": text} for text in texts], **options)


def takes_no(param: str, code: str = "unsupported_parameter") -> Reply:
    """Return the refusal of a model that does not know a parameter."""
    return Reply(400, json.dumps({"error": {"message": "No.", "code": code, "param": param}}))


class ChatServer(ModelServer):
    """The server."""

    async def serve(self, request: web.Request, wanted: Any) -> web.StreamResponse:
        assert isinstance(wanted, Said)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await self._stream(response, wanted)
        if wanted.cut:
            assert request.transport
            request.transport.abort()
        return response

    async def _stream(self, response: web.StreamResponse, reply: Said) -> None:
        for delta in reply.deltas:
            if isinstance(delta, float):
                await asyncio.sleep(delta)
            elif isinstance(delta, threading.Event):
                while not delta.is_set():
                    await asyncio.sleep(0.01)
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
