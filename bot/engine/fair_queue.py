"""The queue of waiting jobs: fair shares over servers, then over their members.

This module owns whose turn it is. It is pure bookkeeping: no clock, no event loop. Servers take
turns, and within a server its members. Whoever starts a job is charged what it costs, and whoever
was charged least is next; so one hour of sound counts for more than one short question. That is
deficit round robin with a quantum as small as can be: nobody gets ahead of another by more than
one job. What a job was expected to cost is replaced by what it took (``settle``).

Who comes after an absence and owes nothing is next, whatever others hold. Debts outlast an absence;
they are forgiven as the others' charges catch up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import replace
from itertools import islice

from bot.engine.job import Job
from bot.engine.kinds import Kind
from bot.engine.rounds import Member, Round, Server

Cost = Callable[[Job], float]

_COPIED_AT_ONCE = 32
"""Members that a snapshot copies before it gives way."""


class FairQueue:
    """Waiting jobs in fair order.

    Args:
        cost_s: What a job is expected to take of its server's and its member's share, in seconds.
        kind: What a job can start with or beside; asked once, when it enters.
    """

    def __init__(self, cost_s: Cost, kind: Callable[[Job], Kind]) -> None:
        self._cost_s = cost_s
        self._kind = kind
        self._servers: Round[Server] = Round()
        self._jobs: dict[str, Job] = {}
        self._charged: dict[str, float] = {}
        self._held: set[int] = set()

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs

    def __iter__(self) -> Iterator[Job]:
        """Yield the jobs in the order in which they came."""
        return iter(tuple(self._jobs.values()))

    # ----------------------------------------------------------------- in and out

    def add(self, job: Job) -> None:
        """Put a job behind the other jobs of its member."""
        server, member = self._parties(job)
        self._enter(server, member, job)

    def put_back(self, job: Job) -> None:
        """Put a job that was taken before its member's others, and take its charge back."""
        self.settle(job, 0.0)
        server, member = self._parties(job)
        self._enter(server, member, job)
        same = member.kinds[self._kind(job)]
        member.kinds[self._kind(job)] = {job.id: job, **same}

    def peek(
        self, kinds: Collection[Kind] | None = None, *, models: Collection[str] | None = None
    ) -> Job | None:
        """Return the job whose turn it is: of all, of some kinds, or of some models."""
        if models is not None:
            kinds = [kind for kind in self._servers.waiting_kinds() if kind.model_id in models]
        server = self._servers.first(kinds)
        member = server.members.first(kinds) if server else None
        return member.oldest(kinds) if member else None

    def take(self, job: Job) -> None:
        """Remove a job to run it: its server and its member pay what it is expected to cost."""
        server, member = self._parties(job)
        cost_s = self._charged[job.id] = self._cost_s(job)
        server.turn_taken(of_newcomer=member.fresh)
        self._servers.charge(server, cost_s)
        server.members.charge(member, cost_s)
        self._leave(server, member, job)
        self._servers.line_up(server)
        server.members.line_up(member)

    def settle(self, job: Job, device_s: float) -> None:
        """Charge what a job took in place of what was expected; once, when its run is over."""
        cost_s = self._charged.pop(job.id, None)
        if cost_s is not None:
            server, member = self._parties(job)
            server.members.correct(member, device_s - cost_s)
            self._servers.correct(server, device_s - cost_s)

    def remove(self, job_id: str) -> Job | None:
        """Remove a job without a charge; None when it does not wait."""
        job = self._jobs.get(job_id)
        if job is not None:
            server, member = self._parties(job)
            if member.fresh and member.count == 1:
                server.newcomers -= 1
            self._leave(server, member, job)
            self._servers.follow(server)
        return job

    # ----------------------------------------------------------------- held servers

    def hold(self, server_key: int, *, held: bool) -> None:
        """Start nothing of a server for a while. Its jobs keep their order, and more may come."""
        (self._held.add if held else self._held.discard)(server_key)
        server = self._servers.parties.get(server_key)
        if server is not None and server.held != held:
            server.held = held
            self._servers.resume(server)

    def is_held(self, job: Job) -> bool:
        """Whether the server of a job is held."""
        return keys_of(job)[0] in self._held

    # ----------------------------------------------------------------- what lies ahead

    def is_newcomers(self, job: Job) -> bool:
        """Whether a waiting job goes ahead: the first one of a member who owes nothing."""
        server_key, member_key = keys_of(job)
        member = self._servers.parties[server_key].members.parties[member_key]
        return member.fresh and member.oldest(None) is job

    def held(self) -> tuple[int, ...]:
        """Return the keys of the servers that are held."""
        return tuple(self._held)

    def turns(self, server_key: int | None = None) -> Iterator[Job]:
        """Take the jobs one by one as their turns come, of all servers or of one."""
        while job := self.peek() if server_key is None else self._peek_in(server_key):
            self.take(job)
            yield job

    def snapshot(self) -> Generator[None, None, FairQueue]:
        """Return a copy whose turns can be played through; gives way between its steps.

        What changes meanwhile may or may not be in the copy.
        """
        twin = FairQueue(self._cost_s, self._kind)
        twin._servers, twin._held = self._servers.bare_copy(), set(self._held)
        for server in tuple(self._servers.parties.values()):
            ahead = replace(server, kinds={}, members=server.members.bare_copy(), newcomers=0)
            members = iter(tuple(server.members.parties.values()))
            while some := tuple(islice(members, _COPIED_AT_ONCE)):
                for member in some:
                    twin._copy(ahead, member)
                yield
            if ahead.kinds:
                twin._servers.adopt(ahead)
        return twin

    def _copy(self, server: Server, member: Member) -> None:
        if not member.kinds:
            return
        kinds = {kind: dict(jobs) for kind, jobs in member.kinds.items()}
        server.members.adopt(replace(member, kinds=kinds))
        server.newcomers += member.fresh
        for kind, jobs in kinds.items():
            server.kinds[kind] = server.kinds.get(kind, 0) + len(jobs)
            self._jobs.update(jobs)

    # ----------------------------------------------------------------- inside

    def _peek_in(self, server_key: int) -> Job | None:
        server = self._servers.parties.get(server_key)
        member = server.members.first() if server else None
        return member.oldest(None) if member else None

    def _parties(self, job: Job) -> tuple[Server, Member]:
        """Return a job's server and member, which may be new here."""
        server_key, member_key = keys_of(job)
        server = self._servers.parties.get(server_key)
        if server is None:
            server = Server(server_key, held=server_key in self._held)
        return server, server.members.parties.get(member_key) or Member(member_key)

    def _enter(self, server: Server, member: Member, job: Job) -> None:
        kind = self._kind(job)
        self._jobs[job.id] = job
        if not server.kinds:
            self._servers.arrive(server)
        if not member.kinds:
            server.members.arrive(member)
            server.newcomers += member.fresh
        member.kinds.setdefault(kind, {})[job.id] = job
        server.kinds[kind] = server.kinds.get(kind, 0) + 1
        self._servers.follow(server)
        if server.kinds[kind] == 1:
            self._servers.note(server, kind)
        if len(member.kinds[kind]) == 1:
            server.members.note(member, kind)

    def _leave(self, server: Server, member: Member, job: Job) -> None:
        del self._jobs[job.id]
        kind = next(kind for kind, jobs in member.kinds.items() if job.id in jobs)
        del member.kinds[kind][job.id]
        server.kinds[kind] -= 1
        if not member.kinds[kind]:
            del member.kinds[kind]
        if not server.kinds[kind]:
            del server.kinds[kind]
        server.members.rest(member)
        self._servers.rest(server)


def keys_of(job: Job) -> tuple[int, int]:
    """Return the keys of a job's server and member. A direct message is a server of its own."""
    who = job.submission.requester
    return who.guild_id or -who.user_id, who.user_id
