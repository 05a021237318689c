"""The seam between the engine and wherever workers live.

``bot.engine.local`` starts processes; a cluster is another implementation. Retries, residency and
the journal are the engine's own, so a port stays this small.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from bot.engine.protocol import Command, Report

LaneKind: TypeAlias = Literal["cpu", "gpu", "net"]
"""What a lane works with: processor, GPU, or the servers that it asks."""


class WorkerGone(Exception):
    """The worker has died or was killed.

    Attributes:
        reason: For the log.
        innocent: Whether nothing that ran there can have caused it, such as a machine that is lost.
    """

    def __init__(self, reason: str, *, innocent: bool = False) -> None:
        self.reason = reason
        self.innocent = innocent
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class LanePlan:
    """A lane that there is to be.

    Attributes:
        name: ``device/number``, or whatever names it in logs and metrics.
        device: Where its worker loads models, ``cpu`` or ``cuda:0``.
        pool: Whose memory its models take; lanes may share one.
    """

    name: str
    kind: LaneKind
    device: str
    pool: str


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a worker holds, in bytes; 0 where it is gone or nobody knows."""

    rss_bytes: int = 0
    vram_bytes: int = 0


class WorkerPort(Protocol):
    """One worker, seen from the engine."""

    async def start(self) -> None:
        """Start the worker; ``Ready`` is its first report."""

    async def send(self, command: Command) -> None:
        """Hand over a command.

        Raises:
            WorkerGone: It cannot be reached any more.
        """

    def events(self) -> AsyncIterator[Report]:
        """Yield what the worker reports, in order.

        Raises:
            WorkerGone: After the last report, when the worker is dead.
        """

    async def kill(self) -> None:
        """End the worker at once and wait until it is gone."""

    def vitals(self) -> Vitals:
        """Return what it holds now."""


class Workers(Protocol):
    """Where workers come from."""

    def lanes(self) -> Sequence[LanePlan]:
        """Return the lanes, the same at each call."""

    def budgets(self) -> Mapping[str, int]:
        """Return what the models of each pool may take together, in MiB.

        A pool that is not named has no bound, such as that of models which servers run.
        """

    async def open(self) -> None:
        """Reach whatever the workers run on.

        Raises:
            HandlerError: It cannot be reached; with a sentence for the log.
        """

    def port(self, lane: LanePlan) -> WorkerPort:
        """Return a new worker for a lane; it is not started yet."""

    async def close(self) -> None:
        """Let go of what ``open`` reached. The workers have ended."""
