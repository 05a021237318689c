"""A server of ten thousand members on a virtual clock: who asks for what, and who gets what when.

This module owns the simulation. Members, bursts and sizes are drawn at random from a fixed seed;
what a job takes comes from measurements. Whose turn it is, where a job runs and what is foretold
are the engine's own code.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from benchmarks.crowd_costs import SIDE_PX, STEPS, Cost
from bot.engine.durations import Durations
from bot.engine.forecast import Forecast
from bot.engine.job import Anchor, Job, Requester, Submission, Waiting
from bot.engine.lookahead import Lookahead
from bot.engine.residency import LaneState, Residency, Resident
from bot.engine.scheduler import Placement, Scheduler
from models.catalog import Catalog
from models.contracts import (
    ChatMessage,
    ImageRequest,
    MediaInput,
    Modality,
    Request,
    SpeechRequest,
    TextRequest,
    TranscriptionRequest,
    Usage,
)

MEMBERS, CHANNELS, LANES = 10_000, 200, 4
HOURS_S = 2 * 3600.0

BASE_LOAD, BURST_EVERY_S, BURST_S, BURST_WORTH_S = 0.55, 1200.0, 60.0, 120.0
"""How busy ordinary members keep the lanes; and how much work, in seconds of all lanes, comes in
addition within a minute, now and then."""
BATCH_LOAD, MOST_JOBS = 0.25, 50
"""And how busy those members keep the lanes who ask for up to so many jobs at a stroke."""

_MIX = {
    Modality.TEXT: 0.6,
    Modality.IMAGE: 0.15,
    Modality.SPEECH: 0.1,
    Modality.TRANSCRIPTION: 0.15,
}
_UNITS: Mapping[Modality, Literal["tokens", "pictures", "characters", "seconds"]] = {
    Modality.TEXT: "tokens",
    Modality.IMAGE: "pictures",
    Modality.SPEECH: "characters",
    Modality.TRANSCRIPTION: "seconds",
}
_NOISE = 0.1
_ZIPF = 0.9
_FORETOLD_EVERY_S = 2.0


@dataclass(slots=True, eq=False)
class Asked:
    """A job of the crowd: when it was asked for, what it takes, and what became of it.

    Attributes:
        amount: What it turns out to use, such as tokens or seconds of sound.
        foretold_s: The first word on its wait.
        rests: From when until when it gave way to others.
    """

    job: Job
    member: int
    at: float
    takes_s: float
    amount: float
    began: float = math.nan
    ended: float = math.nan
    foretold_s: float | None = None
    rests: list[tuple[float, float]] = field(default_factory=list)

    @property
    def waited_s(self) -> float:
        return self.began - self.at

    def served_s(self, begin: float, until: float) -> float:
        """Return the seconds of a lane that it had between two moments."""
        first = self.ended - self.takes_s - sum(end - start for start, end in self.rests)
        served = _overlap((first, self.ended), (begin, until))
        return served - sum(_overlap(rest, (begin, until)) for rest in self.rests)


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


class Crowd:
    """Draws what members ask for."""

    def __init__(self, costs: Mapping[Modality, Cost], seed: int = 1) -> None:
        self._costs = costs
        self._chance = random.Random(seed)
        weights = [1.0 / rank**_ZIPF for rank in range(1, MEMBERS + 1)]
        self._members = list(itertools.accumulate(weights))
        self._numbers = itertools.count(1)

    def arrivals(self) -> list[Asked]:
        """Return all that is asked for, in order."""
        sample = [self._asked(0.0, 0) for _ in range(2000)]
        mean_s = sum(asked.takes_s for asked in sample) / len(sample)
        found = list(self._steady(0.0, HOURS_S, BASE_LOAD * LANES / mean_s))
        for begin in _bursts():
            found += self._steady(begin, BURST_S, BURST_WORTH_S * LANES / BURST_S / mean_s)
        left_s = BATCH_LOAD * LANES * HOURS_S
        while left_s > 0:
            member, at = self._chance.randrange(MEMBERS), self._chance.uniform(0.0, HOURS_S)
            batch = [self._asked(at, member) for _ in range(self._chance.randint(2, MOST_JOBS))]
            left_s -= sum(asked.takes_s for asked in batch)
            found += batch
        return sorted(found, key=lambda asked: asked.at)

    def _steady(self, begin: float, length_s: float, rate: float) -> Iterator[Asked]:
        at = begin + self._chance.expovariate(rate)
        while at < begin + length_s:
            [member] = self._chance.choices(range(MEMBERS), cum_weights=self._members)
            yield self._asked(at, member)
            at += self._chance.expovariate(rate)

    def _asked(self, at: float, member: int) -> Asked:
        chance = self._chance
        [modality] = chance.choices(list(_MIX), weights=list(_MIX.values()))
        request, amount, work = getattr(self, f"_{modality}")()
        cost, number = self._costs[modality], next(self._numbers)
        where = Requester(user_id=member + 1, guild_id=1, channel_id=chance.randrange(CHANNELS))
        submission = Submission(
            request, cost.model.id, where, Anchor(where.channel_id, number), f"crowd:{number}"
        )
        takes_s = cost.seconds(work) * chance.lognormvariate(0.0, _NOISE)
        return Asked(Job(f"{number:016}", submission), member, at, takes_s, amount)

    def _text(self) -> tuple[Request, float, float]:
        tokens = min(512.0, round(self._chance.lognormvariate(math.log(120), 0.7)))
        prompt = "x" * self._chance.randint(20, 400)
        return TextRequest((ChatMessage("user", prompt),)), tokens, tokens + len(prompt) / 20

    def _image(self) -> tuple[Request, float, float]:
        count = self._chance.choice((1, 1, 1, 2, 4))
        request = ImageRequest(
            "x", width_px=SIDE_PX, height_px=SIDE_PX, num_inference_steps=STEPS, count=count
        )
        return request, count, count * STEPS * SIDE_PX**2

    def _speech(self) -> tuple[Request, float, float]:
        characters = min(4000, round(self._chance.lognormvariate(math.log(250), 0.8)))
        return SpeechRequest("x" * max(1, characters)), characters, characters

    def _transcription(self) -> tuple[Request, float, float]:
        seconds = min(1800.0, 3.0 + self._chance.lognormvariate(math.log(30), 1.0))
        size = round(seconds * 6000 * self._chance.lognormvariate(0.0, 0.15))
        media = MediaInput("0" * 32, "a.ogg", "audio/ogg", size, "0" * 64)
        return TranscriptionRequest(media), seconds, seconds


def _bursts() -> Iterator[float]:
    at = BURST_EVERY_S / 2
    while at < HOURS_S:
        yield at
        at += BURST_EVERY_S


class Floor:
    """The lanes on a virtual clock.

    Args:
        costs: Which model serves what, and how long it loads.
        foretells: Whether waits are foretold.
    """

    def __init__(self, costs: Mapping[Modality, Cost], *, foretells: bool) -> None:
        self._load_s = {cost.model.id: cost.load_s for cost in costs.values()}
        catalog = Catalog([cost.model for cost in costs.values()], {})
        self._lanes = [LaneState(f"cpu/{number}") for number in range(LANES)]
        memory_mb = LANES * sum(model.memory_mb for model in catalog.all())
        self.residency = Residency(self._lanes, {"ram": memory_mb})
        self._catalog, self._durations = catalog, Durations()
        self.scheduler = Scheduler(catalog, self.residency, self._durations)
        self._events: list[tuple[float, int, Asked | None, LaneState]] = []
        self._ids = itertools.count()
        self._under_way: dict[str, Asked] = {}
        self._looked_at: defaultdict[str, float] = defaultdict(float)
        self._now = 0.0
        self._foretells, self._fresh, self._foretold_at = foretells, False, -math.inf
        lookahead = partial(Lookahead, catalog, self.residency, self._durations)
        self._forecast = Forecast(
            self.scheduler.queue,
            lookahead,
            self._durations,
            self._shown,
            width=self.residency.width,
            clock=lambda: self._now,
        )

    def serve(self, arrivals: list[Asked]) -> None:
        """Play it all through: every job comes, waits, runs and ends."""
        coming = iter([*arrivals, None])
        arrival = next(coming)
        while arrival is not None or self._events:
            if self._events and (arrival is None or self._events[0][0] <= arrival.at):
                self._now, _, asked, lane = heapq.heappop(self._events)
                if asked is not None and asked.ended > self._now:  # it gave way meanwhile
                    self._at(asked.ended, asked, lane)
                    continue
                if asked is not None:
                    self._end(asked, lane)
            elif arrival is not None:
                self._now = arrival.at
                self._under_way[arrival.job.id] = arrival
                arrival.job.created_at = self._now
                arrival.job.work = self._durations.work_of(arrival.job.submission)
                self.scheduler.queue.add(arrival.job)
                self._forecast.came(arrival.job)
                self._fresh, arrival = True, next(coming)
            while placement := self.scheduler.next(self._now):
                self._begin(placement)
            self._look_when_lanes_give_way()
            self._foretell()

    def foretell(self) -> None:
        """Have the waits foretold now."""
        while not self._forecast.play(1.0):
            pass

    def load_everything(self) -> None:
        """Let every lane have every model."""
        for lane in self._lanes:
            for spec in self._catalog.all():
                lane.residents[spec.id] = Resident(spec, spec.memory_mb, self._now)

    def _begin(self, placement: Placement) -> None:
        job, lane = placement.job, placement.lane
        asked = self._under_way[job.id]
        asked.began = job.started_at = self._now
        lane.jobs[job.id] = job
        load_s = 0.0
        if placement.evictions is not None:
            spec = self._catalog.get(job.submission.model_id)
            lane.residents[spec.id] = Resident(spec, spec.memory_mb, self._now)
            load_s = job.load_s = self._load_s[spec.id]
            self._durations.loaded(spec.id, load_s)
        asked.ended = self._now + load_s + asked.takes_s
        if placement.hold is not None:
            lane.hold(placement.hold, self._now)
            for resting in lane.jobs_of(placement.hold):
                long = self._under_way[resting.id]
                long.rests.append((self._now, asked.ended))
                long.ended += asked.ended - self._now
        self._at(asked.ended, asked, lane)

    def _at(self, moment: float, asked: Asked | None, lane: LaneState) -> None:
        """Look at a lane again at a moment, to end a job there or to start another."""
        heapq.heappush(self._events, (moment, next(self._ids), asked, lane))

    def _look_when_lanes_give_way(self) -> None:
        for lane in self._lanes if len(self.scheduler.queue) else ():
            moment = lane.gives_way_at()
            if moment is not None and moment > self._now and moment != self._looked_at[lane.name]:
                self._looked_at[lane.name] = moment
                self._at(moment, None, lane)

    def _end(self, asked: Asked, lane: LaneState) -> None:
        job = asked.job
        del lane.jobs[job.id], self._under_way[job.id]
        if lane.held is not None and len(lane.jobs_of(lane.held)) == len(lane.jobs):
            lane.go_on(self._now)
        job.device_s = asked.takes_s
        self._durations.ran(job, asked.takes_s, Usage(asked.amount, _UNITS[job.modality]))
        self.scheduler.queue.settle(job, asked.takes_s)
        self.scheduler.forget(job)

    def _foretell(self) -> None:
        if self._foretells and self._fresh and self._now >= self._foretold_at + _FORETOLD_EVERY_S:
            self._fresh, self._foretold_at = False, self._now
            self.foretell()

    def _shown(self, job_id: str, waiting: Waiting) -> None:
        asked = self._under_way.get(job_id)
        if asked is not None and asked.foretold_s is None and waiting.eta_s is not None:
            asked.foretold_s = waiting.eta_s + self._now - asked.at


def as_one_member(arrivals: list[Asked]) -> list[Asked]:
    """Return the same jobs as if one member had asked for all: first in, first out."""
    return [
        replace(
            asked,
            rests=[],
            job=Job(
                asked.job.id,
                replace(asked.job.submission, requester=Requester(1, 1, 1)),
            ),
        )
        for asked in arrivals
    ]
