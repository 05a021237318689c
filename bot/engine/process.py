"""A worker process: ``python -m bot.engine.process``, with one socket to the engine.

This module owns the process: its priority, its tie to the parent's life, its end of the pipe. What
it computes is ``bot.engine.worker``.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib
import os
import queue
import signal
import socket
import sys
import threading
import warnings
from pathlib import Path
from typing import Protocol, cast

import psutil

from bot.engine import protocol
from bot.engine.protocol import Cancel, Command, Ready, Report, Shutdown
from bot.engine.spool import Spool
from bot.engine.worker import ResolveBackend, Worker
from bot.logs import set_up_worker

NICENESS = 10
_PR_SET_PDEATHSIG = 1
_FIRST_FOR_THE_OOM_KILLER = "500"


class Channel(Protocol):
    """A worker's way to the engine and back."""

    def send(self, report: Report) -> None:
        """Pass a report on."""

    def receive(self) -> Command | None:
        """Wait for a command; None when the engine has gone."""


class Pipe:
    """The worker's end of the socket, with blocking reads and writes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._incoming = connection.makefile("rb")

    def send(self, report: Report) -> None:
        self._connection.sendall(protocol.frame(protocol.encode_report(report)))

    def receive(self) -> Command | None:
        """Wait for a command; None when the engine has gone."""
        header = self._incoming.read(protocol.HEADER.size)
        if len(header) < protocol.HEADER.size:
            return None
        return protocol.decode_command(self._incoming.read(*protocol.HEADER.unpack(header)))


def serve(worker: Worker, channel: Channel) -> None:
    """Obey and step until told to shut down."""
    commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(channel, worker, commands), daemon=True).start()
    channel.send(Ready(os.getpid()))
    while True:
        with contextlib.suppress(queue.Empty):
            while True:
                command = commands.get(block=not worker.busy)
                worker.handle(command)
                if isinstance(command, Shutdown):
                    return
        worker.step()


def _listen(channel: Channel, worker: Worker, commands: queue.SimpleQueue[Command]) -> None:
    """Take commands in, so that a long step learns of its cancel; die with the engine."""
    try:
        while (command := channel.receive()) is not None:
            if isinstance(command, Cancel):
                worker.note_cancel(command.job_id)
            commands.put(command)
    finally:
        os._exit(0)


def tie_to_parent(parent_pid: int) -> None:
    """Have the kernel end this process with its parent, even while a library holds the GIL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit("The bot has gone.")


def _step_back() -> None:
    """Leave the processor to the event loop, and go first when the machine is out of memory."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_FOR_THE_OOM_KILLER, "ascii")


def resolver(reference: str) -> ResolveBackend:
    """Return what finds backends: ``module:function``."""
    module, _, name = reference.partition(":")
    return cast(ResolveBackend, getattr(importlib.import_module(module), name))


def main() -> None:
    parser = argparse.ArgumentParser(prog="bot.engine.process")
    parser.add_argument("--socket", type=int, required=True, help="inherited file descriptor")
    parser.add_argument("--parent", type=int, required=True, help="process id of the bot")
    parser.add_argument("--spool", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lane", default="cpu/0", help="what the log calls this worker")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--resolver", required=True, help="module:function")
    options = parser.parse_args()
    tie_to_parent(options.parent)
    _step_back()
    # A stop reaches the whole process group, but the bot lets running jobs end first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # What a library will change one day is for developers: tests make errors of it.
    warnings.simplefilter("ignore", FutureWarning)
    set_up_worker(options.log_format, lane=options.lane, pid=os.getpid())
    pipe = Pipe(socket.socket(fileno=options.socket))
    memory = psutil.Process().memory_info
    worker = Worker(
        resolve=resolver(options.resolver),
        device=options.device,
        spool=Spool(options.spool),
        report=pipe.send,
        rss_bytes=lambda: int(memory().rss),
    )
    serve(worker, pipe)
    # Models are closed by now. Taking the libraries down in order takes seconds, for which the next
    # model would wait.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
