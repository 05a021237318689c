"""The small parts around an engine, for tests: rows of fake models, weights, a journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from bot.engine.engine import Engine
from bot.engine.inline import SomeWorkers
from bot.engine.job import Anchor, Ended, Job, Measured, Outcome, Requester, Submission
from bot.engine.meter import SILENT, Meter
from bot.engine.port import WorkerPort, Workers
from bot.engine.spool import Spool
from bot.settings import EngineSettings
from models.catalog import Catalog, ModelSpec, PathSource, Profile
from models.contracts import ChatMessage, Modality, Request, TextRequest


def fake_model(
    model_id: str = "fake-text", modality: Modality = Modality.TEXT, **fields: object
) -> ModelSpec:
    """Return a catalogue row of the fake backend."""
    row: dict[str, object] = {
        "id": model_id,
        "name": model_id.replace("-", " ").title(),
        "modality": modality,
        "backend": "fake",
        "source": PathSource(path="/nowhere"),
        "licence": "MIT",
        "commercial_use": True,
        "memory_mb": 100,
        "load_s": 0.1,
        "voices": ("fake",) if modality is Modality.SPEECH else (),
    }
    return ModelSpec.model_validate(row | fields)


def fake_catalog(*models: ModelSpec) -> Catalog:
    """Return a catalogue of fakes: one of each modality, unless others are given."""
    rows = models or tuple(fake_model(f"fake-{modality}", modality) for modality in Modality)
    defaults = {row.modality: row.id for row in reversed(rows)}
    profile = Profile(description="fakes", memory_mb=1000, defaults=defaults)
    return Catalog(rows, {"embedded": profile})


class FakeWeights:
    """Weights that need no file."""

    def locate(self, spec: ModelSpec) -> str:
        return "/nowhere"

    def is_installed(self, spec: ModelSpec) -> bool:
        return True

    def cache_dir(self, spec: ModelSpec) -> Path:
        return Path("/nowhere") / spec.id


class MemoryJournal:
    """A journal that keeps calls in memory. ``calls`` are (method, job id) in order."""

    def __init__(self) -> None:
        self.rows: dict[str, Job] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.parts: dict[str, Sequence[str]] = {}
        self.calls: list[tuple[str, str]] = []

    async def create(self, job: Job) -> Job:
        await self._called("create", job)
        for known in self.rows.values():
            if known.submission.source_key == job.submission.source_key:
                return known
        self.rows[job.id] = job
        return job

    async def started(self, job: Job) -> None:
        await self._called("started", job)

    async def requeued(self, job: Job) -> None:
        await self._called("requeued", job)

    async def finished(self, job: Job, outcome: Outcome, parts: Sequence[str]) -> None:
        await self._called("finished", job)
        assert job.id not in self.outcomes, "a job ended twice"
        self.outcomes[job.id] = outcome
        self.parts[job.id] = parts

    async def unfinished(self) -> list[Job]:
        return [job for job in self.rows.values() if job.id not in self.outcomes]

    async def closed(self) -> None:
        self.calls.append(("closed", ""))

    async def measured(self) -> list[Measured]:
        return []

    async def media_in_use(self) -> set[str]:
        return set()

    async def _called(self, method: str, job: Job) -> None:
        self.calls.append((method, job.id))
        await asyncio.sleep(0)


def text_request(prompt: str, **fields: object) -> TextRequest:
    """Return a request with one turn."""
    return TextRequest((ChatMessage("user", prompt),), **fields)  # type: ignore[arg-type]


_keys = iter(range(1, 1 << 30))


def submission(
    request: Request | str,
    model_id: str = "fake-text",
    *,
    user: int = 1,
    guild: int = 10,
    key: str = "",
) -> Submission:
    """Return a submission; a string is a text request's prompt."""
    number = next(_keys)
    return Submission(
        request=text_request(request) if isinstance(request, str) else request,
        model_id=model_id,
        requester=Requester(user, guild, channel_id=100),
        anchor=Anchor(channel_id=100, message_id=number),
        source_key=key or f"test:{number}",
    )


def fake_engine(
    workers: Callable[[str], WorkerPort] | Workers,
    spool: Path,
    *,
    catalog: Catalog | None = None,
    journal: MemoryJournal | None = None,
    meter: Meter = SILENT,
    **settings: object,
) -> Engine:
    """Return an engine of fakes that presents an outcome as its state and text.

    Args:
        workers: Where they come from, or what makes the port of a lane of this machine.
    """

    def present(job: Job, outcome: Outcome) -> list[str]:
        return [f"{outcome.state}: {getattr(outcome.result, 'text', outcome.error)}"]

    chosen = EngineSettings.model_validate({"memory_mb": 1000, **settings})
    return Engine(
        chosen,
        catalog=catalog or fake_catalog(),
        weights=FakeWeights(),
        journal=journal or MemoryJournal(),
        spool=Spool(spool),
        present=present,
        workers=SomeWorkers(chosen, workers) if callable(workers) else workers,
        meter=meter,
    )


async def outcome_of(engine: Engine, job: Job) -> Outcome:
    """Wait for the end of a job."""
    async for sight in engine.watch(job.id):
        if isinstance(sight, Ended):
            return sight.outcome
    raise AssertionError(f"nothing is known of job {job.id}")
