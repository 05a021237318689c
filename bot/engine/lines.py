"""The waiting jobs: those that wait for the same lanes are in one line.

This module owns which jobs wait for each other at all. Who asks a server holds up nobody who needs
the processor, and pays nothing there. Whose turn it is within a line is ``fair_queue``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from bot.engine.fair_queue import Cost, FairQueue
from bot.engine.job import Job
from bot.engine.kinds import Kind


class Lines:
    """A fair queue for each group of lanes.

    Args:
        cost_s, kind: As for ``FairQueue``.
        line: Names the line that a job belongs to, always the same.

    Attributes:
        line: As above.
    """

    def __init__(
        self, cost_s: Cost, kind: Callable[[Job], Kind], line: Callable[[Job], str]
    ) -> None:
        self._cost_s = cost_s
        self._kind = kind
        self.line = line
        self._held: set[int] = set()
        self._queues: dict[str, FairQueue] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __contains__(self, job_id: object) -> bool:
        return any(job_id in queue for queue in self._queues.values())

    def __iter__(self) -> Iterator[Job]:
        """Yield the jobs line by line, in each of them in the order in which they came."""
        return chain.from_iterable(tuple(self._queues.values()))

    def named(self) -> tuple[tuple[str, FairQueue], ...]:
        """Return the lines that ever had somebody, with their names."""
        return tuple(self._queues.items())

    def of(self, job: Job) -> FairQueue:
        """Return the line of a job."""
        name = self.line(job)
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = FairQueue(self._cost_s, self._kind)
            for server_key in self._held:
                queue.hold(server_key, held=True)
        return queue

    def add(self, job: Job) -> None:
        """See ``FairQueue.add``."""
        self.of(job).add(job)

    def put_back(self, job: Job) -> None:
        """See ``FairQueue.put_back``."""
        self.of(job).put_back(job)

    def settle(self, job: Job, device_s: float) -> None:
        """See ``FairQueue.settle``."""
        self.of(job).settle(job, device_s)

    def remove(self, job_id: str) -> Job | None:
        """See ``FairQueue.remove``."""
        found = (queue.remove(job_id) for queue in self._queues.values())
        return next((job for job in found if job is not None), None)

    def hold(self, server_key: int, *, held: bool) -> None:
        """See ``FairQueue.hold``."""
        (self._held.add if held else self._held.discard)(server_key)
        for queue in self._queues.values():
            queue.hold(server_key, held=held)
