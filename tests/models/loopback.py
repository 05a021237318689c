"""Servers on the loopback address for backends that ask somebody else's."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any

from aiohttp import web

from models.contracts import Finished, HandlerEvent, Request
from models.tasks import TaskStepper
from tests.models.control import ScratchControl
from tests.ports import silent_port


@dataclass(frozen=True)
class Reply:
    """An answer that a test wants: a body with its status, after a silence.

    Attributes:
        dropped: The connection breaks instead.
    """

    status: int = 200
    body: str | bytes = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    content_type: str = "application/json"
    dropped: bool = False


def refuses(status: int, code: str = "", message: str = "No.", **headers: str) -> Reply:
    """Return a refusal in the form of OpenAI's."""
    error = {"message": message, "code": code or None, "type": "x", "param": None}
    return Reply(status, json.dumps({"error": error}), headers)


class Loopback(ABC):
    """Runs in a thread of its own. Subclasses answer every request in ``answer``."""

    def __init__(self) -> None:
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

    @abstractmethod
    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""

    async def _start(self) -> None:
        app = web.Application(client_max_size=50_000_000)
        app.router.add_route("*", "/{path:.*}", self.answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        assert self._runner
        server = self._runner.server
        assert server
        await self._runner.cleanup()
        if coming := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(coming, timeout=10)
        await server.shutdown(0)  # whoever came in meanwhile
        await asyncio.sleep(0)


class ModelServer(Loopback):
    """A server of models. What a test puts into ``script`` is answered in turn.

    Attributes:
        script: A ``Reply``, or what ``serve`` makes something of.
        requests: What was asked: fields by name, files as bytes; a field that came several times
            is a list.
        paths, headers, times: Of these requests; times are of ``time.monotonic``.
        company: How many requests have to be there before one is answered.
        left: Set when a client went away before its answer was complete.
    """

    def __init__(self) -> None:
        super().__init__()
        self.script: list[Any] = []
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.times: list[float] = []
        self.company = 0
        self.left = threading.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.headers.append(dict(request.headers))
        self.times.append(time.monotonic())
        self.requests.append(await fields_of(request))
        return await self.reply(request, self.script.pop(0) if self.script else None)

    async def reply(self, request: web.Request, wanted: Any) -> web.StreamResponse:
        """Do with a request what a test wants."""
        try:
            while len(self.requests) < self.company:
                await asyncio.sleep(0.01)
            if not isinstance(wanted, Reply):
                return await self.serve(request, wanted)
            await asyncio.sleep(wanted.wait_s)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        if wanted.dropped:
            assert request.transport
            request.transport.abort()
        body = wanted.body.encode() if isinstance(wanted.body, str) else wanted.body
        headers = {"Content-Type": wanted.content_type, **wanted.headers}
        return web.Response(status=wanted.status, body=body, headers=headers)

    @abstractmethod
    async def serve(self, request: web.Request, wanted: Any) -> web.StreamResponse:
        """Do the server's work; ``wanted`` says how, and is None where the script has ended."""


async def fields_of(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        fields: dict[str, Any] = await request.json()
        return fields
    # Not by aiohttp: it warns of its own code when a border falls between two blocks.
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    found: dict[str, list[Any]] = {}
    for part in message_from_bytes(head + await request.read()).walk():
        name = part.get_param("name", header="content-disposition")
        if name is None:
            continue
        sent = part.get_payload(decode=True)
        value = sent if part.get_filename() else sent.decode()
        found.setdefault(str(name), []).append(value)
    return {
        name: values if len(values) > 1 or name.endswith("[]") else values[0]
        for name, values in found.items()
    }


def nobody() -> str:
    """Return an address at which nobody listens."""
    return f"http://127.0.0.1:{silent_port()}"


def run(
    stepper: TaskStepper, request: Request, control: ScratchControl, job_id: str = "job"
) -> list[HandlerEvent]:
    """Run one job to its end, as a worker does."""
    stepper.admit(job_id, request, control)
    events: list[HandlerEvent] = []
    deadline = time.monotonic() + 60
    while not (events and isinstance(events[-1], Finished)):
        assert time.monotonic() < deadline
        for happened_to, event in stepper.step():
            assert happened_to == job_id
            if isinstance(event, Exception):
                raise event
            events.append(event)
    return events


def cancel_while_it_waits(
    server: ModelServer, stepper: TaskStepper, request: Request, control: ScratchControl
) -> None:
    """Stop a job whose request the server has and does not answer."""
    before = len(server.requests)
    stepper.admit("job", request, control)
    deadline = time.monotonic() + 60
    while len(server.requests) == before:
        assert time.monotonic() < deadline
        stepper.step()
    stepper.cancel("job")
    assert list(stepper.step()) == []
