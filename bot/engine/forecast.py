"""The place of every waiting job, and how long it still waits: told live.

This module owns what those who wait are told. The queue is played through on the lanes to come; the
event loop never stands still for that, however many wait: it is done in slices, and takes a small
share of the time in all. It must not decide anything.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from bot.engine.durations import Durations
from bot.engine.fair_queue import FairQueue
from bot.engine.inflow import Inflow
from bot.engine.job import Job, Waiting
from bot.engine.lines import Lines
from bot.engine.lookahead import Lookahead

SLICE_S = 0.002
"""Longest time that the event loop waits for a forecast."""

MOST_PLAYED = 2000
"""Jobs whose start is played through; those behind them are counted."""

_FEW = 100
"""So few jobs are played through at once when somebody asks."""

_SHARE, _REFRESH_S = 0.05, 5.0
"""A forecast takes this share of the time at most, and is made anew after so long."""

_MOST_TAKEN = 0.8
"""Newcomers go ahead of others. What they asked for lately is expected to go on, up to this share
of the lanes."""

_UNNOTICED, _UNNOTICED_S = 0.05, 5.0
"""A change by no more than this share, or these seconds, is not told."""

Show = Callable[[str, Waiting], None]


@dataclass(slots=True)
class _Sight:
    """What is known of a waiting job, and what was told of it.

    It is changed in place: ten thousand new objects at a time would be work for the collector of
    garbage, which stops everything.
    """

    of_newcomer: bool
    place: int = 0
    eta_s: float | None = None
    paused: bool = False
    told: Waiting | None = None


class _Line(NamedTuple):
    """Those who wait for the same lanes, of which there are ``width``, at a moment."""

    queue: FairQueue
    inflow: Inflow
    width: int
    now: float

    def stretch(self, job: Job) -> float:
        """Return how many times longer a wait is that newcomers go ahead of."""
        others = self.inflow.rate(self.now, without=job.submission.requester.user_id)
        return 1.0 / (1.0 - min(_MOST_TAKEN, others / self.width))


class Forecast:
    """Foretells waits.

    Args:
        lines: Who waits.
        lookahead: Returns the lanes to come, as seen at a moment.
        durations: What jobs are expected to take.
        width: Returns how many jobs of a line can run at once, without batches.
        show: Told of a job whose place or wait has changed noticeably.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        lines: Lines,
        lookahead: Callable[[float], Lookahead],
        durations: Durations,
        show: Show,
        *,
        width: Callable[[str], int],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lines = lines
        self._lookahead = lookahead
        self._durations = durations
        self._width = width
        self._show = show
        self._clock = clock
        self._sights: dict[str, _Sight] = {}
        self._inflows: defaultdict[str, Inflow] = defaultdict(Inflow)
        self._stale = False
        self._pass: Generator[None, None, None] | None = None
        self._took_s = 0.0
        self._not_before = 0.0
        self._timer: asyncio.Handle | None = None

    def of(self, job_id: str) -> Waiting | None:
        """Return what is known of a job, None when it does not wait."""
        if job_id not in self._lines:
            return None
        if len(self._lines) <= _FEW:
            while self._stale:
                self.play(math.inf)
        sight = self._sights.get(job_id)
        return Waiting(sight.place, sight.eta_s, sight.paused) if sight else None

    def came(self, job: Job) -> None:
        """Take note of a job that was just queued."""
        if self._lines.of(job).is_newcomers(job):
            inflow, user_id = self._inflows[self._lines.line(job)], job.submission.requester.user_id
            inflow.add(user_id, self._durations.cost_s(job), self._clock())

    def began(self, job: Job) -> None:
        """Forget what was told of a job: should it wait again, all of that is news."""
        self._sights.pop(job.id, None)

    def changed(self) -> None:
        """Look again soon, since something has begun, ended or come in."""
        self._stale = True
        if self._pass is None:
            self._look_again()

    def play(self, budget_s: float) -> bool:
        """Go on with the forecast for so long; return whether it is done."""
        began = time.perf_counter()
        if self._pass is None:
            self._pass, self._stale, self._took_s = self._played(), False, 0.0
        for _ in self._pass:
            if time.perf_counter() - began >= budget_s:
                break
        else:
            self._pass = None
        self._took_s += time.perf_counter() - began
        return self._pass is None

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    # ----------------------------------------------------------------- when

    def _look_again(self) -> None:
        """Set the timer: at once where the last forecast is long enough ago."""
        if self._timer is not None:
            self._timer.cancel()
        loop, delay_s = asyncio.get_running_loop(), 0.0
        if self._pass is None:
            delay_s = self._not_before - loop.time()
            if not self._stale:
                delay_s = max(delay_s, _REFRESH_S)
        apart = contextvars.Context()  # whatever made it change has nothing to do with it
        if delay_s > 0:
            self._timer = loop.call_later(delay_s, self._look, context=apart)
        else:
            self._timer = loop.call_soon(self._look, context=apart)

    def _look(self) -> None:
        self._timer = None
        if self.play(SLICE_S):
            self._not_before = asyncio.get_running_loop().time() + self._took_s / _SHARE
        if self._lines or self._stale:
            self._look_again()

    # ----------------------------------------------------------------- what

    def _played(self) -> Generator[None, None, None]:
        """Play the lines through, then tell what has changed; gives way between its steps."""
        now = self._clock()
        lanes = self._lookahead(now)
        for name, queue in self._lines.named():
            line = _Line(queue, self._inflows[name], self._width(name), now)
            yield from self._played_line(line, lanes)
        yield from self._tell()

    def _played_line(self, line: _Line, lanes: Lookahead) -> Generator[None, None, None]:
        ahead = yield from line.queue.snapshot()
        seen: set[str] = set()
        place, start_s = 0, None
        for place, job in enumerate(islice(ahead.turns(), MOST_PLAYED), start=1):
            start_s = lanes.start(job)
            seen.add(job.id)
            self._see(line, job, Waiting(place, start_s))
            yield
        a_place_s = None if start_s is None else start_s / place
        for job in line.queue:
            if job.id not in seen and not line.queue.is_held(job):
                place += 1
                self._see(line, job, Waiting(place, a_place_s and a_place_s * place))
            yield
        for server_key in ahead.held():
            ahead.hold(server_key, held=False)
            for number, job in enumerate(ahead.turns(server_key), start=1):
                self._see(line, job, Waiting(number, None, paused=True))
                yield

    def _see(self, line: _Line, job: Job, waiting: Waiting) -> None:
        sight = self._sights.get(job.id)
        if sight is None:
            if job.id not in line.queue:  # it has begun meanwhile
                return
            sight = self._sights[job.id] = _Sight(line.queue.is_newcomers(job))
        sight.place, sight.paused = waiting.place, waiting.paused
        sight.eta_s = waiting.eta_s
        if sight.eta_s is not None and not sight.of_newcomer:
            sight.eta_s *= line.stretch(job)

    def _tell(self) -> Generator[None, None, None]:
        """Tell what is news, and forget who waits no more."""
        for job_id, sight in tuple(self._sights.items()):
            if job_id not in self._lines:
                self._sights.pop(job_id, None)
            elif _is_news(sight):
                sight.told = Waiting(sight.place, sight.eta_s, sight.paused)
                self._show(job_id, sight.told)
            yield


def _is_news(sight: _Sight) -> bool:
    """Whether who waits should hear of a change: not of each, far behind."""
    told = sight.told
    if told is None or told.paused != sight.paused:
        return True
    if abs(sight.place - told.place) > told.place * _UNNOTICED:
        return True
    if told.eta_s is None or sight.eta_s is None:
        return told.eta_s is not sight.eta_s
    return abs(sight.eta_s - told.eta_s) > max(_UNNOTICED_S, told.eta_s * _UNNOTICED)
