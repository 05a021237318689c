"""Whether the bot is well, as far as it can be told from inside.

This module owns the checks and their bounds. It knows what it looks at by what it may ask of it
(``Watched``), never by its class.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Generic, TypeVar

from bot.engine.job import JobState
from bot.web.lag import LoopLag
from models.contracts import Modality

T = TypeVar("T")

ALIVE_S: Final = 5.0
"""A loop that did not turn for so long is taken for dead."""

LAG_S: Final = 1.0
LATELY_S: Final = 15.0
ANSWER_S: Final = 1.0
"""The database has so long to answer."""

LOSSES: Final = 3
LOSSES_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """Whether one thing is well, and what was seen of it."""

    ok: bool
    finding: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What the page may ask.

    Attributes:
        gateway: Why events of Discord do not arrive, empty while they do.
        latency_s: Of Discord's gateway, in seconds; not finite where unknown.
        takes_jobs: Whether new jobs are taken.
        jobs: How many have not ended yet.
        database: Raises where it does not take a transaction.
        backlog: How many answers wait for Discord, and when the oldest of their jobs ended.
        clock: Unix time in seconds.
    """

    gateway: Callable[[], str]
    latency_s: Callable[[], float]
    takes_jobs: Callable[[], bool]
    jobs: Callable[[], Counter[tuple[Modality, JobState]]]
    database: Callable[[], Awaitable[None]]
    backlog: Callable[[], Awaitable[tuple[int, float | None]]]
    clock: Callable[[], float]


class Losses:
    """Which lanes lose one worker after the other."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lost: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LOSSES))

    def lost(self, lane: str) -> None:
        """Note that a lane's worker is gone."""
        self._lost[lane].append(self._clock())

    def done(self, lane: str) -> None:
        """Note that a job was done there: whatever came before is over."""
        self._lost.pop(lane, None)

    def lanes(self) -> list[str]:
        """Return the lanes that lost so many lately and did nothing since."""
        since = self._clock() - LOSSES_WITHIN_S
        return [lane for lane, at in self._lost.items() if len(at) == LOSSES and at[0] >= since]


class Question(Generic[T]):
    """Asks one question at a time, and never takes one back.

    A statement that is cancelled leaves its connection in doubt; so who has waited long enough goes
    away, and the next who asks waits for the same answer.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asked: asyncio.Task[T] | None = None

    async def answer(self) -> T:
        """Return the answer, or raise what it ends with.

        Raises:
            TimeoutError: There is none yet.
        """
        asked = self._asked
        if asked is None or asked.done():
            asked = self._asked = asyncio.create_task(self._answer())
            # Nobody may be left to look at an error that comes late.
            asked.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.wait({asked}, timeout=ANSWER_S)
        if not asked.done():
            raise TimeoutError
        return asked.result()

    async def close(self) -> None:
        """Ask no more."""
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.wait({self._asked})

    async def _answer(self) -> T:
        return await self._ask()


class Health:
    """Looks at everything that a job needs from its command to its answer."""

    def __init__(self, watched: Watched, lag: LoopLag, losses: Losses) -> None:
        self._watched = watched
        self._lag = lag
        self._losses = losses
        self._database = Question(watched.database)

    def alive(self) -> Check:
        """Whether the event loop turns. A page that does not answer at all says no."""
        stood_s = self._lag.overdue_s()
        return Check(stood_s < ALIVE_S, f"the loop last turned {stood_s:.3f} s late")

    async def checks(self) -> dict[str, Check]:
        """Return every check by its name."""
        return {
            "gateway": self._gateway(),
            "loop": self._loop(),
            "jobs": self._jobs(),
            "workers": self._workers(),
            "database": await self._ask_database(),
        }

    async def close(self) -> None:
        """Ask nothing more."""
        await self._database.close()

    def _gateway(self) -> Check:
        trouble = self._watched.gateway()
        return Check(not trouble, trouble or f"connected, {self._watched.latency_s():.3f} s away")

    def _loop(self) -> Check:
        longest_s = self._lag.longest_s(LATELY_S)
        return Check(longest_s < LAG_S, f"stood still for at most {longest_s:.3f} s lately")

    def _jobs(self) -> Check:
        takes = self._watched.takes_jobs()
        return Check(takes, "new ones are taken" if takes else "none is taken: the bot stops")

    def _workers(self) -> Check:
        lanes = ", ".join(self._losses.lanes())
        if not lanes:
            return Check(ok=True, finding="none is lost again and again")
        return Check(ok=False, finding=f"{lanes} lost {LOSSES} in a minute and did no job")

    async def _ask_database(self) -> Check:
        try:
            await self._database.answer()
        except TimeoutError:
            return Check(ok=False, finding=f"took no transaction within {ANSWER_S:.0f} s")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the owner has to see
            reason = getattr(error, "orig", None) or error
            return Check(ok=False, finding=f"{type(reason).__name__}: {reason}")
        return Check(ok=True, finding="takes transactions, and is locked for this bot")
