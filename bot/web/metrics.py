"""The bot's metrics, in Prometheus' words.

This module owns the names, the labels and the buckets. Labels are bounded: states, error kinds,
lanes and rows of the catalogue; never a member, a server or a job.
"""

from __future__ import annotations

import math
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from bot.engine.job import Job, JobState, Outcome
from bot.web.health import Check, Losses, Watched
from bot.web.lag import LoopLag
from models.catalog import ModelSpec
from models.contracts import Modality
from models.errors import JobCancelled

_STAGES_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_DELIVERY_S: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


class PrometheusMeter:
    """Counts what the engine and delivery tell. A ``bot.engine.meter.Meter``.

    Attributes:
        registry: All metrics, those of ``Now`` as well.
        losses: Which lanes keep losing workers.
    """

    def __init__(self) -> None:
        # Without them, each counter would have a second series that nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        self.losses = Losses()
        ProcessCollector(registry=registry)
        self._submitted = Counter(
            "sextant_jobs_submitted", "Jobs that were taken.", ["modality"], registry=registry
        )
        self._ended = Counter(
            "sextant_jobs",
            "Jobs that ended; error is the kind of error, empty without one.",
            ["modality", "state", "error"],
            registry=registry,
        )
        self._stages = Histogram(
            "sextant_stage_seconds",
            "How long a stage took: queued, load, first_event (since the run began), run.",
            ["stage", "modality"],
            buckets=_STAGES_S,
            registry=registry,
        )
        self._loads = Counter(
            "sextant_model_loads", "Loads of models.", ["model", "result"], registry=registry
        )
        self._memory = Gauge(
            "sextant_worker_memory_bytes",
            "Resident memory of the worker of a lane, absent without one.",
            ["lane"],
            registry=registry,
        )
        self._lost = Counter(
            "sextant_workers_lost",
            "Workers that ended before their time; reason is died, or why the bot ended it.",
            ["lane", "reason"],
            registry=registry,
        )
        self._renewed = Counter(
            "sextant_workers_renewed",
            "Workers that had grown old and were started anew.",
            ["lane"],
            registry=registry,
        )
        self._delivery = Histogram(
            "sextant_delivery_seconds",
            "From the end of a job until its whole answer stood in Discord.",
            buckets=_DELIVERY_S,
            registry=registry,
        )
        self._undelivered = Counter(
            "sextant_deliveries_failed",
            "Answers that could not be sent: put_off is tried again, given_up is not.",
            ["result"],
            registry=registry,
        )

    # ----------------------------------------------------------------- what the meter is told

    def submitted(self, job: Job) -> None:
        self._submitted.labels(job.modality.value).inc()

    def started(self, job: Job) -> None:
        if job.attempt == 1 and job.started_at is not None:
            self._stage("queued", job.modality, job.started_at - job.created_at)

    def loaded(self, spec: ModelSpec, seconds: float, *, ok: bool) -> None:
        self._loads.labels(spec.id, "ok" if ok else "failed").inc()
        if ok:
            self._stage("load", spec.modality, seconds)

    def first_event(self, job: Job, seconds: float) -> None:
        self._stage("first_event", job.modality, seconds)

    def ran(self, job: Job, seconds: float) -> None:
        self._stage("run", job.modality, seconds)
        self.losses.done(job.lane)

    def ended(self, job: Job, outcome: Outcome) -> None:
        error = outcome.error.kind if outcome.error else ""
        self._ended.labels(job.modality.value, outcome.state.value, error).inc()

    def worker_memory(self, lane: str, rss_bytes: int | None) -> None:
        if rss_bytes is None:
            self._memory.remove(lane)
        else:
            self._memory.labels(lane).set(rss_bytes)

    def worker_lost(self, lane: str, reason: str) -> None:
        self._lost.labels(lane, reason).inc()
        if reason != JobCancelled.kind:  # somebody wanted it to go
            self.losses.lost(lane)

    def worker_renewed(self, lane: str) -> None:
        self._renewed.labels(lane).inc()

    def delivered(self, seconds: float) -> None:
        self._delivery.observe(max(0.0, seconds))

    def undelivered(self, *, given_up: bool) -> None:
        self._undelivered.labels("given_up" if given_up else "put_off").inc()

    def _stage(self, stage: str, modality: Modality, seconds: float) -> None:
        self._stages.labels(stage, modality.value).observe(max(0.0, seconds))


class Now:
    """How things stand at the moment somebody looks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self._registry = registry
        self._jobs = gauge("sextant_jobs_live", "Jobs that have not ended.", ("modality", "state"))
        self._lag = gauge(
            "sextant_loop_lag_seconds", "The longest that the event loop stood still in a minute."
        )
        self._latency = gauge(
            "sextant_discord_latency_seconds", "Of Discord's gateway; NaN where unknown."
        )
        self._check = gauge("sextant_check", "What /readyz says: 1 is well.", ("check",))
        self._answers = gauge(
            "sextant_answers_waiting", "Answers that wait for Discord; NaN where unknown."
        )
        self._oldest = gauge(
            "sextant_answers_oldest_seconds", "How long ago the oldest of their jobs ended."
        )

    def look(self, watched: Watched, lag: LoopLag, checks: dict[str, Check]) -> None:
        """Take down what can be seen at once."""
        jobs = watched.jobs()
        for modality in Modality:
            for state in (JobState.QUEUED, JobState.RUNNING):
                self._jobs.labels(modality.value, state.value).set(jobs[modality, state])
        self._lag.set(lag.longest_s())
        latency_s = watched.latency_s()
        self._latency.set(latency_s if math.isfinite(latency_s) else math.nan)
        for name, check in checks.items():
            self._check.labels(name).set(check.ok)

    def note_backlog(self, answers: float, oldest_s: float) -> None:
        """Take down what waits for Discord."""
        self._answers.set(answers)
        self._oldest.set(oldest_s)

    def written(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in the format that is asked for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
