"""A loopback server that speaks OpenAI's audio API.

A test hands it a script: for each request in turn a reply. What it was asked is kept in
``requests``: fields by name, files as bytes; a field that comes several times is a list.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from models.contracts import Finished, HandlerEvent
from models.tasks import TaskStepper
from tests.models.control import ScratchControl
from tests.models.loopback import Loopback
from tests.models.sounds import tone


@dataclass(frozen=True)
class SoundReply:
    """An answer that a test wants, after a silence."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0


def speaks(seconds: float = 0.5, **options: Any) -> SoundReply:
    samples = tone(seconds, 24_000)
    data = (samples * 32767).astype("<i2").tobytes()
    return SoundReply(data, content_type="audio/pcm", **options)


def hears(text: str, wait_s: float = 0.0, **fields: Any) -> SoundReply:
    return SoundReply(json.dumps({"text": text, **fields}).encode(), wait_s=wait_s)


def refuses(status: int, code: str = "", message: str = "No.", **headers: str) -> SoundReply:
    error = {"error": {"message": message, "code": code or None, "type": "x", "param": None}}
    return SoundReply(json.dumps(error).encode(), status, headers=headers)


class SoundServer(Loopback):
    """The server. ``left`` is set when a client went away before its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.script: list[SoundReply] = []
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.left = threading.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.requests.append(await _fields(request))
        reply = self.script.pop(0)
        try:
            await asyncio.sleep(reply.wait_s)
        except asyncio.CancelledError:
            self.left.set()
            raise
        return web.Response(
            body=reply.body,
            status=reply.status,
            headers={"Content-Type": reply.content_type, **reply.headers},
        )


async def _fields(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        fields: dict[str, Any] = await request.json()
        return fields
    form = await request.post()
    found: dict[str, Any] = {}
    for name in dict.fromkeys(form):
        values = [_value(field) for field in form.getall(name)]
        found[name] = values if len(values) > 1 or name.endswith("[]") else values[0]
    return found


def _value(sent: Any) -> Any:
    if not isinstance(sent, web.FileField):
        return sent
    with sent.file as file:
        return file.read()


def run(stepper: TaskStepper, request: Any, control: ScratchControl) -> list[HandlerEvent]:
    """Run one job to its end, as a worker does."""
    stepper.admit("job", request, control)
    events: list[HandlerEvent] = []
    deadline = time.monotonic() + 20
    while not (events and isinstance(events[-1], Finished)):
        assert time.monotonic() < deadline
        for _, event in stepper.step():
            if isinstance(event, Exception):
                raise event
            events.append(event)
    return events


def cancel_while_it_waits(
    server: SoundServer, stepper: TaskStepper, request: Any, control: ScratchControl
) -> None:
    """Stop a job whose request the server has and does not answer."""
    stepper.admit("job", request, control)
    deadline = time.monotonic() + 10
    before = len(server.requests)
    while len(server.requests) == before and time.monotonic() < deadline:
        stepper.step()
    stepper.cancel("job")
    assert server.left.wait(5)
    assert list(stepper.step()) == []
