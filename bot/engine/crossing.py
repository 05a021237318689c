"""Frames between machines, which have no spool in common: each goes with the bytes of its files.

This module owns which files a frame speaks of, how a way between machines ends, and the worker's
end of it. It knows no cluster: what carries the frames is ``bot.engine.ray_bridge``, or a test.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from enum import IntEnum
from typing import TypeAlias, TypeGuard

from bot.engine import protocol
from bot.engine.port import Vitals
from bot.engine.protocol import (
    Command,
    JobEvent,
    JobFailed,
    JobStopped,
    Report,
    Run,
    RunTogether,
    Vital,
)
from bot.engine.spool import Spool
from models.contracts import Finished, MediaInput, Preview, files_of
from models.errors import HandlerError

Files: TypeAlias = Sequence[tuple[MediaInput, bytes | memoryview]]
"""What a frame speaks of, with the bytes that the other machine has not."""

Frame: TypeAlias = tuple[bytes, Files]

VITALS_S = 1.0


class Status(IntEnum):
    """How a bridge ends. Only a worker that died has anything to do with its jobs."""

    SHUT_DOWN = 0
    WORKER_DIED = 3
    NO_CLUSTER = 4
    NO_ROOM = 5
    MACHINE_LOST = 6


class Ended(Exception):
    """The bridge leads nowhere any more. The message is for the log."""

    def __init__(self, status: Status, reason: str) -> None:
        self.status = status
        super().__init__(reason)


class Calls:
    """A worker's channel whose frames are put and taken by calls, with the bytes of their files.

    Args:
        spool: Of this machine. What no job needs any more is deleted from it.
        measure: What the worker holds; reported every second.
    """

    def __init__(self, spool: Spool, measure: Callable[[], Vitals]) -> None:
        self._spool = spool
        self._measure = measure
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._reports: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._inputs: dict[str, set[str]] = {}
        self._turn = threading.Lock()

    def put(self, frame: bytes, files: Files) -> None:
        """Hand a command to the worker; jobs whose files are no good fail instead."""
        command = protocol.decode_command(frame)
        runs = runs_in(command)
        try:
            with self._turn:
                for media, data in files:
                    self._spool.adopt(media, data)
                for run in runs:
                    self._inputs[run.job_id] = {media.path for media in files_of(run.request)}
        except HandlerError as error:
            for run in runs:
                self.send(refusal(run, error))
        else:
            self._commands.put(command)

    def receive(self) -> Command:
        """Wait for a command."""
        return self._commands.get()

    def send(self, report: Report) -> None:
        """Pass a report on, with the files that it speaks of."""
        made = made_in(report)
        files = [(media, self._spool.path(media).read_bytes()) for media in made]
        self._reports.put((protocol.encode_report(report), files))
        self._spool.discard(media.path for media in made)
        if ends(report):
            self._let_go(report.job_id)

    def reports(self) -> Iterator[list[Frame]]:
        """Yield reports as they come, as many at once as there are, until ``close``."""
        due = time.monotonic() + VITALS_S
        while True:
            batch: list[Frame] = []
            with contextlib.suppress(queue.Empty):
                item = self._reports.get(timeout=max(0.0, due - time.monotonic()))
                while item is not None:
                    batch.append(item)
                    item = self._reports.get_nowait()
                yield batch
                return
            if time.monotonic() >= due:
                due = time.monotonic() + VITALS_S
                held = self._measure()
                vital = Vital(held.rss_bytes, held.vram_bytes)
                batch.append((protocol.encode_report(vital), ()))
            yield batch

    def close(self) -> None:
        """Let ``reports`` come to its end."""
        self._reports.put(None)

    def _let_go(self, job_id: str) -> None:
        """Delete what a job read; and once nobody is here, what a job stored and never told of."""
        with self._turn:
            read = self._inputs.pop(job_id, set())
            if self._inputs:
                self._spool.discard(read.difference(*self._inputs.values()))
            else:
                self._spool.sweep(())


def runs_in(command: Command) -> Sequence[Run]:
    """Return the jobs that a command starts."""
    match command:
        case Run():
            return (command,)
        case RunTogether(runs=runs):
            return runs
        case _:
            return ()


def made_in(report: Report) -> Sequence[MediaInput]:
    """Return the files that a report brings."""
    if isinstance(report, JobEvent) and isinstance(report.event, Preview | Finished):
        return tuple(_media_in(report.event))
    return ()


def _media_in(value: object) -> Iterator[MediaInput]:
    if isinstance(value, MediaInput):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _media_in(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _media_in(getattr(value, field.name))


def ends(report: Report) -> TypeGuard[JobEvent | JobFailed | JobStopped]:
    """Whether a report is the last one of a job."""
    if isinstance(report, JobEvent):
        return isinstance(report.event, Finished)
    return isinstance(report, JobFailed | JobStopped)


def refusal(run: Run | JobEvent, error: HandlerError) -> JobFailed:
    """Return how a job ends whose files cannot be had."""
    return JobFailed(run.job_id, run.attempt, error.kind, error.user_message, "")
