"""A loopback server that speaks OpenAI's image API."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from PIL import Image

from tests.models.loopback import ModelServer

USAGE = {
    "input_tokens": 1300,
    "input_tokens_details": {"text_tokens": 300, "image_tokens": 1000},
    "output_tokens": 2000,
    "total_tokens": 3300,
}


@dataclass(frozen=True)
class Drawn:
    """What the server does with one request.

    Attributes:
        pictures: Colours of the pictures in the answer; of a stream the last is the result.
        stream: Whether it answers with events.
        wait_s: A silence before the answer, in seconds.
        usage: None leaves the counts out.
        error: An error that a stream ends with, instead of its result.
        cut: Whether a stream ends without a result.
    """

    pictures: Sequence[str] = ("red",)
    stream: bool = False
    wait_s: float = 0.0
    usage: Mapping[str, Any] | None = field(default_factory=lambda: USAGE)
    error: Mapping[str, Any] | None = None
    cut: bool = False


def encoded(colour: str) -> str:
    if not colour.isalpha():
        return colour
    file = io.BytesIO()
    Image.new("RGB", (96, 64), colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


class ImageServer(ModelServer):
    """The server."""

    async def serve(self, request: web.Request, wanted: Any) -> web.StreamResponse:
        assert isinstance(wanted, Drawn)
        await asyncio.sleep(wanted.wait_s)
        if wanted.stream:
            return await self._streamed(request, wanted)
        data = [{"b64_json": encoded(colour)} for colour in wanted.pictures]
        return web.json_response({"created": 1, "data": data, "usage": wanted.usage})

    async def _streamed(self, request: web.Request, reply: Drawn) -> web.StreamResponse:
        kind = "image_edit" if "edits" in request.path else "image_generation"
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        *partial, last = reply.pictures
        events: list[dict[str, Any]] = [
            {"type": f"{kind}.partial_image", "b64_json": encoded(colour), "partial_image_index": n}
            for n, colour in enumerate(partial)
        ]
        if reply.error:
            events.append({"type": "error", "error": reply.error})
        elif not reply.cut:
            done = {"type": f"{kind}.completed", "b64_json": encoded(last), "usage": reply.usage}
            events.append(done)
        for event in events:
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        return response
