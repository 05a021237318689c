"""A loopback server that speaks OpenAI's image API, in a thread of its own.

A test hands it a script: for each request in turn a ``Reply``. What it was asked is kept in
``requests``: fields by name, files as bytes.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from PIL import Image

USAGE = {
    "input_tokens": 1300,
    "input_tokens_details": {"text_tokens": 300, "image_tokens": 1000},
    "output_tokens": 2000,
    "total_tokens": 3300,
}


@dataclass(frozen=True)
class Reply:
    """What the server does with one request.

    Attributes:
        pictures: Colours of the pictures in the answer; of a stream the last is the result.
        stream: Whether it answers with events.
        wait_s: A silence before the answer, in seconds.
        usage: None leaves the counts out.
        error: An error that a stream ends with, instead of its result.
        cut: Whether a stream ends without a result.
        status, body, headers: A refusal instead.
    """

    pictures: Sequence[str] = ("red",)
    stream: bool = False
    wait_s: float = 0.0
    usage: Mapping[str, Any] | None = field(default_factory=lambda: USAGE)
    error: Mapping[str, Any] | None = None
    cut: bool = False
    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def refuses(status: int, code: str = "", message: str = "No.", **headers: str) -> Reply:
    error = {"error": {"message": message, "code": code or None, "type": "x", "param": None}}
    return Reply(status=status, body=json.dumps(error), headers=headers)


def encoded(colour: str) -> str:
    if not colour.isalpha():
        return colour
    file = io.BytesIO()
    Image.new("RGB", (96, 64), colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


class ImageServer:
    """The server. ``left`` is set when a client went away before its answer."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.left = threading.Event()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._runner: web.AppRunner | None = None

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def stop(self) -> None:
        assert self._runner
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=20_000_000)
        app.router.add_post("/v1/images/{verb}", self._images)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def _images(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.requests.append(await self._fields(request))
        reply = self.script.pop(0)
        try:
            await asyncio.sleep(reply.wait_s)
        except asyncio.CancelledError:
            self.left.set()
            raise
        if reply.body:
            return web.Response(status=reply.status, text=reply.body, headers=reply.headers)
        if reply.stream:
            return await self._streamed(request, reply)
        data = [{"b64_json": encoded(colour)} for colour in reply.pictures]
        return web.json_response({"created": 1, "data": data, "usage": reply.usage})

    async def _fields(self, request: web.Request) -> dict[str, Any]:
        if request.content_type == "application/json":
            fields: dict[str, Any] = await request.json()
            return fields
        form = await request.post()
        return {
            name: value.file.read() if isinstance(value, web.FileField) else value
            for name, value in form.items()
        }

    async def _streamed(self, request: web.Request, reply: Reply) -> web.StreamResponse:
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
