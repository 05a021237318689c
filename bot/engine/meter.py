"""What the engine and delivery tell whoever measures them.

This module owns the words. It must not know any library of metrics: ``bot.web.metrics`` does.
Nobody may wait in these calls, or raise.
"""

from __future__ import annotations

from typing import Protocol

from bot.engine.job import Job, Outcome
from models.catalog import ModelSpec


class Meter(Protocol):
    """Is told what happens, when it happens."""

    def submitted(self, job: Job) -> None:
        """A job was written down and waits."""

    def started(self, job: Job) -> None:
        """A lane took a job; ``attempt`` says for which time."""

    def loaded(self, spec: ModelSpec, seconds: float, *, ok: bool) -> None:
        """A model was loaded in so many seconds, or was not."""

    def first_event(self, job: Job, seconds: float) -> None:
        """A job that runs was heard of for the first time, so long after it began."""

    def ran(self, job: Job, seconds: float) -> None:
        """A job was done, without the loading of its model in so many seconds."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """The outcome of a job was committed."""

    def worker_memory(self, lane: str, rss_bytes: int | None) -> None:
        """A worker holds so much; None when the lane has no worker any more."""

    def worker_lost(self, lane: str, reason: str) -> None:
        """A worker ended before its time.

        Args:
            lane: Its lane.
            reason: ``died``, ``out_of_reach`` when its machine was, or the kind of error that it
                was ended for.
        """

    def worker_renewed(self, lane: str) -> None:
        """A worker that had grown old is started anew."""

    def delivered(self, seconds: float) -> None:
        """The last part of an answer stands in Discord, so long after its job ended."""

    def undelivered(self, *, given_up: bool) -> None:
        """An answer could not be sent now, or is given up for good."""


class _Silent:
    """Tells nobody."""

    def submitted(self, job: Job) -> None: ...

    def started(self, job: Job) -> None: ...

    def loaded(self, spec: ModelSpec, seconds: float, *, ok: bool) -> None: ...

    def first_event(self, job: Job, seconds: float) -> None: ...

    def ran(self, job: Job, seconds: float) -> None: ...

    def ended(self, job: Job, outcome: Outcome) -> None: ...

    def worker_memory(self, lane: str, rss_bytes: int | None) -> None: ...

    def worker_lost(self, lane: str, reason: str) -> None: ...

    def worker_renewed(self, lane: str) -> None: ...

    def delivered(self, seconds: float) -> None: ...

    def undelivered(self, *, given_up: bool) -> None: ...


SILENT: Meter = _Silent()
"""Measures nothing."""
