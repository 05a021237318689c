"""The protocols that a backend implements, and what it may use while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from models.contracts.base import MediaInput
from models.contracts.events import HandlerEvent

Joins: TypeAlias = Literal["anytime", "start"]
"""When a job may come in beside others: between any two steps, or before their first one alone."""


class Control(Protocol):
    """What a handler may use while it runs one request."""

    @property
    def cancelled(self) -> bool:
        """Whether the job should stop at the next safe place."""

    def open(self, media: MediaInput) -> Path:
        """Return the file of an input.

        Raises:
            InvalidMedia: It is gone from the spool, or its checksum differs.
        """

    def store(self, data: bytes, filename: str, content_type: str) -> MediaInput:
        """Write an output into the spool.

        Raises:
            DiskFull: There is no room.
        """

    def charge(self, micro_usd: int | None) -> None:
        """Say what a provider charges for this job so far; it counts however the job ends.

        Args:
            micro_usd: The whole sum, in millionths of a dollar; None when nobody knows it.
        """


class Handler(Protocol):
    """Runs one model. Made in a worker process, used by one job at a time."""

    def run(self, request: Any, control: Control) -> Iterator[HandlerEvent]:
        """Work on a request and yield events; the last one is ``Finished``.

        A handler yields after each second or so of work (a batch of tokens, a sentence, a window of
        sound), and looks at ``control.cancelled`` between.

        Raises:
            HandlerError: With a sentence for the member.
        """

    def close(self) -> None:
        """Free the memory of the model. Called once."""


class Stepper(Protocol):
    """Runs several jobs of one model together, one step at a time.

    The worker drives steppers. ``bot.engine.worker`` adapts a ``Handler`` to one with a single
    slot; a backend that batches implements this itself.

    Attributes:
        slots: Jobs that may be in at once.
        joins: When a job may come in beside others.
        exact: Whether what a job yields is the same, bit for bit, whoever is in beside it; so that
            jobs with a seed of their own may share it too.
    """

    slots: int
    joins: Joins
    exact: bool

    def admit(self, job_id: str, request: Any, control: Control) -> None:
        """Take a job in. At most ``slots`` are in at once."""

    def step(self) -> Iterable[tuple[str, HandlerEvent | Exception]]:
        """Advance every job by one step; give back what happened, by job.

        A job ends with ``Finished`` or with an exception, which concerns that job alone.
        """

    def cancel(self, job_id: str) -> None:
        """Drop a job; nothing more is reported of it."""

    def close(self) -> None:
        """Drop all jobs and free the memory of the model."""
