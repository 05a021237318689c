"""How long things take here, learned from what was measured.

This module owns the estimates behind the expected wait and the fair shares. It must not look at a
clock: whoever measures hands the seconds in.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.engine.job import Job
from models.catalog import ModelSpec
from models.contracts import Request, SpeechRequest, TranscriptionRequest

UNKNOWN_COST_S = 10.0
"""What a job is taken to cost before its model was ever measured."""

_MEMORY = 0.8
"""Weight of what was known before, at each new measurement."""


@dataclass(slots=True)
class _Rate:
    """Seconds per unit of work, as a ratio of two fading sums: large jobs weigh more."""

    seconds: float = 0.0
    work: float = 0.0

    def add(self, seconds: float, work: float) -> None:
        self.seconds = self.seconds * _MEMORY + seconds
        self.work = self.work * _MEMORY + work


class Durations:
    """Measured run and load times by model."""

    def __init__(self) -> None:
        self._runs: dict[str, _Rate] = {}
        self._loads: dict[str, float] = {}

    def ran(self, job: Job, seconds: float) -> None:
        """Learn from a job that was done."""
        rate = self._runs.setdefault(job.submission.model_id, _Rate())
        rate.add(seconds, work_of(job.submission.request))

    def loaded(self, model_id: str, seconds: float) -> None:
        """Learn from a load."""
        self._loads[model_id] = seconds

    def run_s(self, job: Job) -> float | None:
        """Return the expected run time in seconds, None before the first measurement."""
        rate = self._runs.get(job.submission.model_id)
        return rate.seconds / rate.work * work_of(job.submission.request) if rate else None

    def cost_s(self, job: Job) -> float:
        """Return what a job takes from its server's and its member's share, in seconds."""
        return self.run_s(job) or UNKNOWN_COST_S

    def load_s(self, spec: ModelSpec) -> float:
        """Return the expected load time in seconds."""
        return self._loads.get(spec.id, spec.load_s)


def work_of(request: Request) -> float:
    """Return the size of a request, in a unit that grows with its run time.

    An answer's length is unknown beforehand, so every text request counts as one.
    """
    match request:
        case SpeechRequest(text=text):
            return float(len(text))
        case TranscriptionRequest(media=media):
            return float(max(media.size_bytes, 1))
        case _:
            return 1.0
