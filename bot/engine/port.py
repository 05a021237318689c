"""The seam between the engine and wherever workers live.

``bot.engine.local`` starts processes; a cluster is another implementation. Retries, residency and
the journal are the engine's own, so a port stays this small.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from bot.engine.protocol import Command, Report


class WorkerGone(Exception):
    """The worker has died or was killed. ``reason`` is for the log."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


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

    def rss_bytes(self) -> int:
        """Return its resident memory in bytes, 0 when it is gone."""
