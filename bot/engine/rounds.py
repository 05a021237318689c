"""One level of the fair queue: parties that take turns, the one that was charged least first.

This module owns the order within a level and what is remembered of those who are absent. A turn
costs O(log n): for each kind of job there is a heap of the parties that wait with one, whose
outdated entries are dropped when they surface.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from bot.engine.job import Job
from bot.engine.kinds import Kind

_FIRST = -math.inf
_COMPACTED_FROM = 64


class Rank(NamedTuple):
    """A place in line: the charge, or less for those who go first; who came earlier wins a tie."""

    charged_s: float
    number: int


@dataclass(slots=True, eq=False)
class Party:
    """What takes turns.

    Attributes:
        charged_s: All that it was ever charged, in seconds, and at its last arrival no less than
            those who waited then.
        fresh: It came after an absence, owes nothing, and has not had a turn since.
        held: It takes no turns for now.
        running: How many of its jobs run.
    """

    key: int
    charged_s: float = 0.0
    rank: Rank = field(default_factory=lambda: Rank(0.0, 0))
    fresh: bool = False
    held: bool = False
    running: int = 0

    @property
    def goes_first(self) -> bool:
        return self.fresh


@dataclass(slots=True, eq=False)
class Member(Party):
    """A member of a server. ``kinds`` are the waiting jobs, oldest first."""

    kinds: dict[Kind, dict[str, Job]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many jobs wait."""
        return sum(map(len, self.kinds.values()))

    def oldest(self, kinds: Collection[Kind] | None) -> Job:
        """Return the job that came first, among some kinds of which it has one."""
        among = self.kinds if kinds is None else [kind for kind in kinds if kind in self.kinds]
        return min((next(iter(self.kinds[kind].values())) for kind in among), key=_age)


@dataclass(slots=True, eq=False)
class Server(Party):
    """A server. ``kinds`` counts its waiting jobs.

    Attributes:
        newcomers: How many of its members are fresh.
        hurries: A newcomer may bring its turn forward: once between two turns in its order, or a
            server with newcomers without end would leave nothing to others.
    """

    kinds: dict[Kind, int] = field(default_factory=dict)
    members: Round[Member] = field(default_factory=lambda: Round())
    newcomers: int = 0
    hurries: bool = True

    @property
    def goes_first(self) -> bool:
        return self.fresh or (self.hurries and self.newcomers > 0)

    def turn_taken(self, *, of_newcomer: bool) -> None:
        """Take note of a turn, before it is charged."""
        self.hurries = self.fresh or self.rank.charged_s != _FIRST
        self.newcomers -= of_newcomer


PartyT = TypeVar("PartyT", Member, Server)


class Round(Generic[PartyT]):
    """Parties that take turns.

    Attributes:
        parties: Those that wait, run, or owe something, by their keys.
    """

    def __init__(self) -> None:
        self.parties: dict[int, PartyT] = {}
        self._level_s = 0.0
        """What those who wait were charged at least; it only grows."""
        self._highest_s = 0.0
        self._numbers = 0
        self._lines: dict[Kind | None, list[tuple[Rank, int]]] = {}
        """Who waits with a job of a kind; None is with any."""
        self._resting: list[tuple[float, int]] = []

    def first(self, kinds: Collection[Kind] | None = None) -> PartyT | None:
        """Return the party whose turn it is, of those that wait with one of some kinds."""
        found: PartyT | None = None
        for kind in (None,) if kinds is None else kinds:
            party = self._head(kind)
            if party is not None and (found is None or party.rank < found.rank):
                found = party
        return found

    def waiting_kinds(self) -> Collection[Kind]:
        """Return the kinds that may have somebody who waits."""
        return [kind for kind in self._lines if kind is not None]

    # ----------------------------------------------------------------- coming and going

    def arrive(self, party: PartyT) -> None:
        """Take a party in that had nothing waiting; its first job is yet to be entered."""
        if self.first() is None:
            self._rise(self._highest_s)  # to be charged for what nobody else wanted is no debt
        party.fresh = not party.running and party.charged_s <= self._level_s
        party.charged_s = max(party.charged_s, self._level_s)
        self.parties[party.key] = party
        self.line_up(party)

    def note(self, party: PartyT, kind: Kind) -> None:
        """Let a party be found by a kind of which it had no job waiting."""
        self._enlist(party, kind, anew=len(party.kinds) == 1)

    def line_up(self, party: PartyT) -> None:
        """Give a party its place, behind those with the same charge."""
        self._numbers += 1
        party.rank = Rank(_FIRST if party.goes_first else party.charged_s, self._numbers)
        self._enlist(party, *party.kinds)

    def follow(self, party: PartyT) -> None:
        """Give a party another place if it has come to go first, or no longer does."""
        if party.goes_first != (party.rank.charged_s == _FIRST):
            self.line_up(party)

    def rest(self, party: PartyT) -> None:
        """Forget a party that neither waits nor runs, once it owes nothing any more."""
        if not party.kinds and not party.running:
            heapq.heappush(self._resting, (party.charged_s, party.key))
            self._rise(self._level_s)

    def resume(self, party: PartyT) -> None:
        """Let a party that was held go on from where the others are."""
        party.charged_s = max(party.charged_s, self._level_s)
        self.line_up(party)

    # ----------------------------------------------------------------- charges

    def charge(self, party: PartyT, seconds: float) -> None:
        """Charge a party for a job that begins. Its new place is given by ``line_up``."""
        ahead = self.first()
        if ahead is not None and ahead.rank.charged_s != _FIRST:
            self._rise(ahead.charged_s)
        party.fresh = False
        party.running += 1
        self._add(party, seconds)

    def correct(self, party: PartyT, seconds: float) -> None:
        """Add to the charge of a job that is over."""
        party.running -= 1
        self._add(party, seconds)
        if party.kinds:
            self.line_up(party)
        self.rest(party)

    # ----------------------------------------------------------------- copies

    def bare_copy(self) -> Round[PartyT]:
        """Return a copy without any party."""
        twin: Round[PartyT] = Round()
        twin._level_s, twin._highest_s = self._level_s, self._highest_s
        twin._numbers = self._numbers
        return twin

    def adopt(self, party: PartyT) -> None:
        """Take in a copy of a party of the original."""
        self.parties[party.key] = party
        self._enlist(party, *party.kinds)

    # ----------------------------------------------------------------- inside

    def _enlist(self, party: PartyT, *kinds: Kind, anew: bool = True) -> None:
        """Let a party be found by kinds, and by its place among all unless it is there already."""
        for kind in (*kinds, None) if kinds and anew else kinds:
            line = self._lines.setdefault(kind, [])
            heapq.heappush(line, (party.rank, party.key))
            if len(line) > _COMPACTED_FROM + 2 * len(self.parties):
                line[:] = [(each.rank, k) for k, each in self.parties.items() if _waits(each, kind)]
                heapq.heapify(line)

    def _head(self, kind: Kind | None) -> PartyT | None:
        line = self._lines.get(kind)
        while line:
            rank, key = line[0]
            party = self.parties.get(key)
            if party is not None and party.rank is rank and _waits(party, kind):
                return party
            heapq.heappop(line)
        self._lines.pop(kind, None)
        return None

    def _add(self, party: PartyT, seconds: float) -> None:
        party.charged_s += seconds
        self._highest_s = max(self._highest_s, party.charged_s)

    def _rise(self, level_s: float) -> None:
        """Raise the level, and forget who rests and owes nothing above it."""
        self._level_s = max(self._level_s, level_s)
        while self._resting and self._resting[0][0] <= self._level_s:
            party = self.parties.get(heapq.heappop(self._resting)[1])
            rests = party is not None and not party.kinds and not party.running
            if party is not None and rests and party.charged_s <= self._level_s:
                del self.parties[party.key]


def _age(job: Job) -> float:
    return job.created_at


def _waits(party: Member | Server, kind: Kind | None) -> bool:
    """Whether a party waits for its turn, with a job of a kind."""
    return not party.held and (bool(party.kinds) if kind is None else kind in party.kinds)
