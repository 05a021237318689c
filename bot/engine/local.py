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
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import psutil

from bot.engine import protocol
from bot.engine.port import LanePlan, Vitals, WorkerGone
from bot.engine.protocol import Command, Report, Vital
from bot.engine.vram import GpuMemory, gpu_memory
from bot.settings import EngineSettings

RAM = "ram"
"""The pool of models in this machine's memory."""

INSTALLED_BACKENDS = "bot.engine.worker:installed_backend"

_SECRETS = ("DISCORD_TOKEN", "SEXTANT_TOKEN", "SEXTANT_DATABASE_URL")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SHARE_OF_VRAM = 0.9
_NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")


class LocalPort:
    """One worker process.

    Args:
        program: Its command line, to which ``--socket`` and ``--parent`` are added.
        threads: Threads of its libraries.
        gpu: Memory of the GPU that it has for itself, if it has one.
    """

    def __init__(
        self, program: Sequence[str], *, threads: int, gpu: GpuMemory | None = None
    ) -> None:
        self._program = tuple(program)
        self._threads = threads
        self._gpu = gpu
        self._taken_before = 0
        self._told: Vitals | None = None
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
        self._taken_before = self._gpu.used_bytes() if self._gpu else 0
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
            self._process = await asyncio.create_subprocess_exec(
                *self._program,
                *("--socket", str(theirs.fileno()), "--parent", str(os.getpid())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment(self._threads),
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
                report = protocol.decode_report(message)
                if isinstance(report, Vital):
                    self._told = Vitals(report.rss_bytes, report.vram_bytes)
                else:
                    yield report
        await self.kill()
        raise self._gone(self._process.returncode)

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

    def _gone(self, status: int | None) -> WorkerGone:
        """Say how the process has ended."""
        if status is not None and status < 0:
            return WorkerGone(f"ended by signal {-status}")
        return WorkerGone(f"ended with status {status}")

    def vitals(self) -> Vitals:
        """Return what the worker told of itself, or what is seen of its process."""
        if self._memory is None or not self._memory.is_running():
            return Vitals()
        if self._told is not None:
            return self._told
        try:
            return Vitals(int(self._memory.memory_info().rss), self._vram_bytes())
        except psutil.NoSuchProcess:
            return Vitals()

    def _vram_bytes(self) -> int:
        """Return what it takes of its GPU: where that is not told, what has been taken since."""
        if self._gpu is None:
            return 0
        by_it = self._gpu.used_by(self.pid)
        return by_it or max(0, self._gpu.used_bytes() - self._taken_before)


class LocalWorkers:
    """Worker processes on this machine.

    Args:
        settings: Lanes, devices, memory.
        spool: Folder of the spool.
        log_format: How the workers' log lines look, ``text`` or ``json``.
        resolver: What finds backends there, ``module:function``.
    """

    def __init__(
        self,
        settings: EngineSettings,
        spool: Path,
        *,
        log_format: str = "text",
        resolver: str = INSTALLED_BACKENDS,
    ) -> None:
        self._lanes = lane_plans(settings)
        self._budgets = local_budgets(settings)
        self._threads = settings.threads or max(1, ((os.cpu_count() or 2) - 1) // settings.lanes)
        self._arguments = [
            *("--spool", str(spool)),
            *("--resolver", resolver),
            *("--log-format", log_format),
        ]

    def lanes(self) -> Sequence[LanePlan]:
        return self._lanes

    def budgets(self) -> Mapping[str, int]:
        return self._budgets

    async def open(self) -> None:
        """Reach nothing: this machine is here."""

    def port(self, lane: LanePlan) -> LocalPort:
        program = (sys.executable, "-m", "bot.engine.process", *self._arguments)
        own = ("--device", lane.device, "--lane", lane.name)
        gpu = gpu_memory(lane.device) if lane.kind == "gpu" else None
        return LocalPort((*program, *own), threads=self._threads, gpu=gpu)

    async def close(self) -> None:
        """Let go of nothing."""


def lane_plans(settings: EngineSettings) -> tuple[LanePlan, ...]:
    """Return the lanes of this machine: of its processor, of each GPU, and one that asks servers.

    Those of the processor share its memory; each GPU has its own.
    """
    lanes = [LanePlan(f"cpu/{number}", "cpu", "cpu", RAM) for number in range(settings.lanes)]
    lanes += [LanePlan(f"{device}/0", "gpu", device, device) for device in gpus(settings)]
    return (*lanes, LanePlan("net/0", "net", "cpu", "net"))


def gpus(settings: EngineSettings) -> Sequence[str]:
    """Return the GPUs that are to be used, such as ``cuda:0``."""
    if settings.device != "auto":
        return [] if settings.device == "cpu" else [settings.device]
    found = len(list(_NVIDIA_DEVICES.iterdir())) if _NVIDIA_DEVICES.is_dir() else 0
    return [f"cuda:{number}" for number in range(found)]


def local_budgets(settings: EngineSettings) -> Mapping[str, int]:
    """Return what the models of each pool of this machine may take together, in MiB.

    Of a GPU whose memory nobody knows that is as much as of the machine's own.
    """
    ram_mb = settings.memory_mb or psutil.virtual_memory().total // 2**21
    budgets = {RAM: ram_mb}
    for device in gpus(settings):
        most_mb = int(gpu_memory(device).total_bytes() * _SHARE_OF_VRAM) >> 20
        budgets[device] = settings.vram_mb or most_mb or ram_mb
    return budgets


def environment(threads: int) -> dict[str, str]:
    """Return the bot's environment without its secrets, with the libraries kept in bounds."""
    environment = {key: value for key, value in os.environ.items() if key not in _SECRETS}
    # Weights come from the catalogue's own store; a library must never fetch some by itself.
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # as the driver counts them, in vram
    return environment | dict.fromkeys(_THREAD_VARIABLES, str(threads))
