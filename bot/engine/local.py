"""Workers as processes on this machine.

This module owns starting, reaching and ending them. The event loop reads and writes the socket
itself and never waits for a worker. Each worker is a fresh interpreter: a fork would copy the bot's
threads' locks, and its secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil

from bot.engine import protocol
from bot.engine.port import WorkerGone
from bot.engine.protocol import Command, Report
from bot.settings import EngineSettings

INSTALLED_BACKENDS = "bot.engine.worker:installed_backend"

_SECRETS = ("DISCORD_TOKEN", "SEXTANT_TOKEN", "SEXTANT_DATABASE_URL")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")


class LocalPort:
    """One worker process.

    Args:
        lane: ``device/number``.
        spool: Folder of the spool.
        threads: Threads of its libraries.
        log_format: How its log lines look, ``text`` or ``json``.
        resolver: What finds backends there, ``module:function``.
    """

    def __init__(
        self, lane: str, spool: Path, *, threads: int, log_format: str, resolver: str
    ) -> None:
        device = lane.partition("/")[0]
        self._arguments = ["--spool", str(spool), "--device", device, "--resolver", resolver]
        self._arguments += ["--lane", lane, "--log-format", log_format]
        self._threads = threads
        self._process: asyncio.subprocess.Process | None = None
        self._memory: psutil.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def pid(self) -> int:
        """Its process id, 0 before the start."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start the process.

        It is started by the event loop's own thread: the kernel ends it when the thread that
        started it ends.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bot.engine.process",
                *("--socket", str(theirs.fileno()), "--parent", str(os.getpid())),
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(self._threads),
            )
        with contextlib.suppress(psutil.NoSuchProcess):
            self._memory = psutil.Process(self._process.pid)
        self._reader, self._writer = await asyncio.open_connection(sock=ours)

    async def send(self, command: Command) -> None:
        if self._writer is None or self._writer.is_closing():
            raise WorkerGone("it has ended")
        try:
            self._writer.write(protocol.frame(protocol.encode_command(command)))
            await self._writer.drain()
        except ConnectionError as error:
            raise WorkerGone(str(error)) from error

    async def events(self) -> AsyncIterator[Report]:
        if self._reader is None or self._process is None:
            raise WorkerGone("it was never started")
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                header = await self._reader.readexactly(protocol.HEADER.size)
                message = await self._reader.readexactly(*protocol.HEADER.unpack(header))
                yield protocol.decode_report(message)
        await self.kill()
        raise WorkerGone(_how_it_ended(self._process.returncode))

    async def kill(self) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            # Process.kill() would reap a worker that has just ended by itself, and asyncio would
            # never learn how: https://github.com/python/cpython/issues/87744
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        if self._writer is not None:
            self._writer.close()

    def rss_bytes(self) -> int:
        if self._memory is None:
            return 0
        try:
            return int(self._memory.memory_info().rss)
        except psutil.NoSuchProcess:
            return 0


def local_workers(
    settings: EngineSettings,
    spool: Path,
    *,
    log_format: str = "text",
    resolver: str = INSTALLED_BACKENDS,
) -> Callable[[str], LocalPort]:
    """Return what starts the worker of a lane; see ``lane_names`` for their names."""
    threads = settings.threads or max(1, ((os.cpu_count() or 2) - 1) // settings.lanes)

    def start_worker(lane: str) -> LocalPort:
        return LocalPort(lane, spool, threads=threads, log_format=log_format, resolver=resolver)

    return start_worker


def lane_names(settings: EngineSettings) -> list[str]:
    """Return the lanes as ``device/number``, spread over the devices."""
    devices = [settings.device]
    if settings.device == "auto":
        found = len(list(_NVIDIA_DEVICES.iterdir())) if _NVIDIA_DEVICES.is_dir() else 0
        devices = [f"cuda:{number}" for number in range(found)] or ["cpu"]
    count = max(settings.lanes, len(devices))
    return [f"{devices[number % len(devices)]}/{number}" for number in range(count)]


def _environment(threads: int) -> dict[str, str]:
    """Return the bot's environment without its secrets, with the libraries kept in bounds."""
    environment = {key: value for key, value in os.environ.items() if key not in _SECRETS}
    # Weights come from the catalogue's own store; a library must never fetch some by itself.
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return environment | dict.fromkeys(_THREAD_VARIABLES, str(threads))


def _how_it_ended(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"ended by signal {-returncode}"
    return f"ended with status {returncode}"
