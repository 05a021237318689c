"""The way from the engine to a worker in a Ray cluster: ``python -m bot.engine.ray_bridge``.

This module owns a process of its own, the driver of one actor, with one socket to the engine: so
the bot itself never imports Ray, and a bot that is killed takes its bridges along, and they their
actors. It speaks the frames of ``bot.engine.process`` and must not understand jobs beyond the
files that travel with them. Ray's own retries are off: the engine owns retry.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from bot.engine import protocol
from bot.engine.crossing import Ended, Files, Frame, Status, refusal, runs_in
from bot.engine.process import tie_to_parent
from bot.engine.protocol import JobEvent
from bot.engine.ray_actor import Equipment, Place, WorkerActor
from bot.engine.spool import Spool
from bot.logs import set_up_worker
from models.contracts import Finished, files_of
from models.errors import HandlerError

_log = logging.getLogger("bot.engine.ray_bridge")

_ANSWER_S, _CONNECT_S = 5.0, 60.0
_CALLS_AT_ONCE = 4
"""Of an actor: one yields its reports for ever."""

QUIET = {"RAY_COLOR_PREFIX": "0", "RAY_USAGE_STATS_ENABLED": "0"}


# --------------------------------------------------------------------------- both ways


class FarSide(Protocol):
    """A worker on another machine."""

    async def put(self, frame: bytes, files: Files) -> None:
        """Hand over a command. Raises ``Ended`` when it cannot be reached."""

    def reports(self) -> AsyncIterator[Sequence[Frame]]:
        """Yield what it reports until it has shut down. Raises ``Ended`` when it is lost."""


class Bridge:
    """Carries frames both ways, and files from one spool to the other.

    Args:
        reader: From the engine.
        writer: To the engine.
        far: The worker.
        spool: Of the bot.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, far: FarSide, spool: Spool
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._far = far
        self._spool = spool

    async def run(self) -> None:
        """Carry until the worker has shut down, or the engine has gone.

        Raises:
            Ended: The worker is lost.
        """
        ways = {asyncio.create_task(self._there()), asyncio.create_task(self._back())}
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()

    async def _there(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                header = await self._reader.readexactly(protocol.HEADER.size)
                frame = await self._reader.readexactly(*protocol.HEADER.unpack(header))
                runs = runs_in(protocol.decode_command(frame))
                try:
                    files = await asyncio.to_thread(self._files_for, runs)
                except HandlerError as error:
                    for run in runs:
                        self._write(protocol.encode_report(refusal(run, error)))
                else:
                    await self._far.put(frame, files)

    def _files_for(self, runs: Sequence[protocol.Run]) -> Files:
        media = {file.path: file for run in runs for file in files_of(run.request)}
        return [(file, self._spool.checked_path(file).read_bytes()) for file in media.values()]

    async def _back(self) -> None:
        async for batch in self._far.reports():
            for frame, files in batch:
                told = await asyncio.to_thread(self._adopted, frame, files) if files else frame
                if told:
                    self._write(told)
            await self._writer.drain()

    def _adopted(self, frame: bytes, files: Files) -> bytes:
        """Take a report's files into the spool; return what to tell, nothing of a lost preview."""
        try:
            for media, data in files:
                self._spool.adopt(media, data)
        except HandlerError as error:
            report = protocol.decode_report(frame)
            if not isinstance(report, JobEvent) or not isinstance(report.event, Finished):
                return b""
            return protocol.encode_report(refusal(report, error))
        return frame

    def _write(self, frame: bytes) -> None:
        self._writer.write(protocol.frame(frame))


# --------------------------------------------------------------------------- Ray


class RayWorker:
    """The far side in Ray: an actor, and the object store for files.

    Args:
        handle: Of the actor.
        place: Where it is.
    """

    def __init__(self, handle: Any, place: Place) -> None:
        self._handle = handle
        self._place = place

    async def put(self, frame: bytes, files: Files) -> None:
        import ray

        # One at a time: calls of an actor that runs several at once may overtake each other.
        try:
            blocks = await asyncio.to_thread(_in_the_store, files)
            await self._handle.put.remote(frame, [media for media, _ in files], *blocks)
        except ray.exceptions.RayError as error:
            raise await self._end(error) from error

    async def reports(self) -> AsyncIterator[Sequence[Frame]]:
        import ray

        try:
            async for batch in self._handle.reports.options(num_returns="streaming").remote():
                yield [
                    (frame, [(media, block.data) for media, block in files])
                    for frame, files in await batch
                ]
        except ray.exceptions.RayError as error:
            raise await self._end(error) from error

    async def _end(self, error: Exception) -> Ended:
        """Tell a worker that died from one whose machine was lost.

        A machine that lives says at once that its process has died; for one that does not, the
        cluster needs a while to be sure, and until then the worker is only out of reach.
        """
        import ray

        told = str(error).strip().partition("\n")[0]
        if isinstance(error, ray.exceptions.RayTaskError):
            return Ended(Status.WORKER_DIED, f"the worker failed: {error}")
        if isinstance(error, ray.exceptions.ActorDiedError) and await self._machine_lives():
            return Ended(Status.WORKER_DIED, f"the worker died on {self._place.machine}: {told}")
        return Ended(Status.MACHINE_LOST, f"{self._place.machine} is out of reach: {told}")

    async def _machine_lives(self) -> bool:
        import ray

        try:
            nodes = await asyncio.wait_for(asyncio.to_thread(ray.nodes), _ANSWER_S)
        except (ray.exceptions.RayError, TimeoutError):
            return False
        return any(node["Alive"] and node["NodeID"] == self._place.node_id for node in nodes)


def _in_the_store(files: Files) -> list[Any]:
    import numpy as np
    import ray

    return [ray.put(np.frombuffer(data, np.uint8)) for _, data in files]


async def connect(address: str) -> None:
    """Join the cluster.

    Raises:
        Ended: Nothing answers there, or it is of another version.
    """
    import ray

    try:
        async with asyncio.timeout(_CONNECT_S):
            if ":" in address:  # Ray itself would try for minutes
                await asyncio.wait_for(_knock(*address.rsplit(":", 1)), _ANSWER_S)
            await asyncio.to_thread(
                ray.init, address=address, log_to_driver=False, logging_level=logging.ERROR
            )
    except (OSError, RuntimeError, ValueError, TimeoutError) as error:
        raise Ended(Status.NO_CLUSTER, f"no Ray cluster at {address}: {error}") from error
    sys.stdout = sys.stderr = _Told()
    for number in (signal.SIGINT, signal.SIGTERM):  # Ray has set its own
        signal.signal(number, signal.SIG_IGN)


async def _knock(host: str, port: str) -> None:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()


async def start_worker(options: argparse.Namespace) -> RayWorker:
    """Have the cluster start an actor, wherever it has room.

    Raises:
        Ended: There is no room for long, or the actor does not start.
    """
    import ray

    equipment = Equipment(options.lane, str(options.weights), options.resolver, options.log_format)
    handle: Any = (
        ray.remote(WorkerActor)
        .options(
            num_gpus=options.gpus,
            num_cpus=options.cpus,
            resources=options.resources,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=_CALLS_AT_ONCE,
        )
        .remote(equipment)
    )
    wanted = {"GPU": options.gpus, "CPU": options.cpus, **options.resources}
    try:
        place: Place = await asyncio.wait_for(handle.place.remote(), options.start_s)
    except TimeoutError as error:
        reason = f"no machine of the cluster has had room for {wanted} in {options.start_s:.0f} s"
        raise Ended(Status.NO_ROOM, reason) from error
    except ray.exceptions.RayError as error:
        raise Ended(Status.NO_ROOM, f"the cluster started no worker: {error}") from error
    if place.protocol != protocol.PROTOCOL_VERSION:
        reason = f"{place.machine} has another version of Sextant than the bot"
        raise Ended(Status.NO_ROOM, reason)
    return RayWorker(handle, place)


# --------------------------------------------------------------------------- the process


class _Told(io.TextIOBase):
    """Takes what Ray prints, as lines of the log."""

    def write(self, text: str) -> int:
        for line in filter(None, map(str.strip, text.splitlines())):
            _log.warning("%s", line)
        return len(text)


async def _carry(options: argparse.Namespace) -> None:
    engine = socket.socket(fileno=options.socket)
    engine.setblocking(False)  # noqa: FBT003 - the standard library's signature
    reader, writer = await asyncio.open_connection(sock=engine)
    await connect(options.address)
    worker = await start_worker(options)
    await Bridge(reader, writer, worker, Spool(options.spool)).run()


async def _run(options: argparse.Namespace) -> None:
    status = 1
    try:
        await _carry(options)
        status = Status.SHUT_DOWN
    except Ended as ended:
        _log.warning("%s", ended)
        status = ended.status
    except Exception:  # noqa: BLE001 - whatever it is, the process must not linger
        _log.exception("the bridge ends")
    # Ray notices at once, and ends the actor. Its own goodbye takes seconds, and a thread of its
    # own may still wait for a cluster that is not there.
    os._exit(status)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bot.engine.ray_bridge")
    parser.add_argument("--socket", type=int, required=True, help="inherited file descriptor")
    parser.add_argument("--parent", type=int, required=True, help="process id of the bot")
    parser.add_argument("--spool", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="the bot's folder of them")
    parser.add_argument("--address", default="auto", help="of the cluster")
    parser.add_argument("--gpus", type=float, default=0.0)
    parser.add_argument("--cpus", type=float, default=0.0)
    parser.add_argument("--resources", type=json.loads, default={}, help="a JSON object")
    parser.add_argument("--start-s", type=float, default=120.0)
    parser.add_argument("--lane", default="ray/0", help="what the log calls the worker")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--resolver", required=True, help="module:function")
    options = parser.parse_args()
    tie_to_parent(options.parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # the bot lets running jobs end first
        signal.signal(number, signal.SIG_IGN)
    os.environ |= QUIET
    set_up_worker(options.log_format, lane=options.lane, pid=os.getpid())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    asyncio.run(_run(options))


if __name__ == "__main__":
    main()
