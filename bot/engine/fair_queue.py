"""The queue of waiting jobs: deficit round robin over servers, then over their members.

This module owns whose turn it is. It is pure bookkeeping: no clock, no event loop. A party (a
server, or a member of one) may start a job once its deficit covers the job's cost; whoever cannot
pay gets a quantum and goes to the end. So a server with a hundred jobs and a server with one take
turns, and one hour of sound counts for more than one short question.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

from bot.engine.job import Job

QUANTUM_S = 10.0

Eligible = Callable[[Job], bool]
Cost = Callable[[Job], float]


class _Party(Protocol):
    """What takes turns."""

    deficit_s: float

    def head(self, eligible: Eligible) -> Job | None: ...

    def copy(self) -> Self: ...


PartyT = TypeVar("PartyT", bound=_Party)


class _Round(Generic[PartyT]):
    """Parties that take turns, the next one first."""

    def __init__(self, cost: Cost, parties: Iterable[tuple[int, PartyT]] = ()) -> None:
        self._cost = cost
        self.parties = OrderedDict(parties)

    def turn(self, eligible: Eligible) -> Job | None:
        """Bring the round to the party that may start a job, and return that job."""
        barren = 0
        while barren < len(self.parties):
            key, party = next(iter(self.parties.items()))
            job = party.head(eligible)
            if job is None:
                barren += 1
            elif party.deficit_s >= self._cost(job):
                return job
            else:
                barren = 0
                party.deficit_s += QUANTUM_S
            self.parties.move_to_end(key)
        return None

    def copy(self) -> _Round[PartyT]:
        return _Round(self._cost, ((key, party.copy()) for key, party in self.parties.items()))


@dataclass(slots=True)
class _Member:
    """A member's jobs in a server, oldest first."""

    deficit_s: float = QUANTUM_S
    jobs: deque[Job] = field(default_factory=deque)

    def head(self, eligible: Eligible) -> Job | None:
        return next(filter(eligible, self.jobs), None)

    def copy(self) -> _Member:
        return _Member(self.deficit_s, self.jobs.copy())


@dataclass(slots=True)
class _Server:
    """A server's members."""

    members: _Round[_Member]
    deficit_s: float = QUANTUM_S

    def head(self, eligible: Eligible) -> Job | None:
        return self.members.turn(eligible)

    def copy(self) -> _Server:
        return _Server(self.members.copy(), self.deficit_s)


class FairQueue:
    """Waiting jobs in fair order."""

    def __init__(self, cost: Cost) -> None:
        self._cost = cost
        self._servers: _Round[_Server] = _Round(cost)
        self._jobs: dict[str, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs

    def __iter__(self) -> Iterator[Job]:
        """Yield the jobs in the order in which they came."""
        return iter(tuple(self._jobs.values()))

    def add(self, job: Job) -> None:
        """Put a job behind the other jobs of its member."""
        self._jobs[job.id] = job
        self._parties(job)[1].jobs.append(job)

    def put_back(self, job: Job) -> None:
        """Put a job that was taken before its member's others; it has been paid for."""
        self._jobs[job.id] = job
        server, member = self._parties(job)
        member.jobs.appendleft(job)
        for party in (server, member):
            party.deficit_s += self._cost(job)

    def peek(self, eligible: Eligible = lambda job: True) -> Job | None:
        """Return the job whose turn it is among the eligible ones."""
        return self._servers.turn(eligible)

    def take(self, job: Job) -> None:
        """Remove a job to run it, at its cost to its server and member."""
        server, member = self._parties(job)
        for party in (server, member):
            party.deficit_s -= self._cost(job)
        self.remove(job.id)

    def remove(self, job_id: str) -> Job | None:
        """Remove a job without a charge; None when it does not wait."""
        job = self._jobs.pop(job_id, None)
        if job is None:
            return None
        server_key, member_key = _keys(job)
        server = self._servers.parties[server_key]
        member = server.members.parties[member_key]
        member.jobs.remove(job)
        if not member.jobs:
            del server.members.parties[member_key]
        if not server.members.parties:
            del self._servers.parties[server_key]
        return job

    def order(self) -> list[Job]:
        """Return all jobs in the order in which their turns would come."""
        future = FairQueue(self._cost)
        future._servers = self._servers.copy()
        future._jobs = self._jobs.copy()
        ordered = []
        while job := future.peek():
            future.take(job)
            ordered.append(job)
        return ordered

    def _parties(self, job: Job) -> tuple[_Server, _Member]:
        server_key, member_key = _keys(job)
        server = self._servers.parties.setdefault(server_key, _Server(_Round(self._cost)))
        return server, server.members.parties.setdefault(member_key, _Member())


def _keys(job: Job) -> tuple[int, int]:
    """Return the keys of a job's server and member. A direct message is a server of its own."""
    who = job.submission.requester
    return who.guild_id or -who.user_id, who.user_id
