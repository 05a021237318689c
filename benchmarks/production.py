"""The installed models as the bot runs them: directly in this process, and through an engine.

This module owns the set-up that benchmarks share. Everything is single-threaded, so that ratios
do not depend on the number of cores.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from bot.db.journal import JobJournal
from bot.db.session import Database
from bot.delivery.present import present
from bot.engine.engine import Engine
from bot.engine.feed import Sight
from bot.engine.job import (
    Anchor,
    Ended,
    Job,
    JobState,
    LoadingModel,
    Requester,
    Submission,
    Waiting,
)
from bot.engine.local import LocalPort, LocalWorkers
from bot.engine.port import LanePlan
from bot.engine.spool import Spool
from bot.engine.stepper import as_stepper
from bot.engine.worker import JobControl, installed_backend
from bot.settings import CONFIG_FOLDER, EngineSettings, read_settings
from models.catalog import Catalog, ModelSpec
from models.contracts import Finished, HandlerEvent, MediaInput, Preview, Request
from models.weights import WeightStore, placed

THREADS = 1
TEXT, SPEECH, TRANSCRIPTION, OCR = "smollm2-135m", "hibari", "whisper-tiny-en", "rapidocr"

_numbers = count(1)


@cache
def weights() -> WeightStore:
    """Return the installed weights."""
    return WeightStore(read_settings().models_dir.absolute())


@cache
def catalog() -> Catalog:
    """Return the models."""
    return Catalog.read(CONFIG_FOLDER)


def location(model_id: str) -> str:
    """Return where the weights of a model lie."""
    return weights().locate(catalog().get(model_id))


class Model:
    """A model of the catalogue, loaded into this process."""

    def __init__(self, model_id: str, spool: Spool) -> None:
        os.environ["OMP_NUM_THREADS"] = str(THREADS)  # as a worker's is set
        spec = _with_cache(catalog().get(model_id))
        loaded = installed_backend(spec.backend)(spec, location(model_id), "cpu")
        self._stepper = as_stepper(loaded)
        self._spool = spool

    def run(self, request: Request) -> Iterator[HandlerEvent]:
        """Do a job and nothing else."""
        self._stepper.admit("job", request, JobControl(self._spool))
        while True:
            for _, event in self._stepper.step():
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Finished):
                    return

    def finish(self, request: Request) -> Finished:
        """Do a job and return its last event."""
        *_, last = self.run(request)
        assert isinstance(last, Finished)
        return last

    def close(self) -> None:
        self._stepper.close()


@dataclass(frozen=True, slots=True)
class Course:
    """How a job went: its seconds from submission to end, and how many previews it showed."""

    seconds: float
    previews: int


@dataclass(frozen=True, slots=True)
class Rig:
    """An engine with its database and worker processes."""

    engine: Engine
    spool: Spool
    ports: list[LocalPort]

    def store(self, file: Path) -> MediaInput:
        return self.spool.store(file.read_bytes(), file.name, "audio/wav")

    async def finish(self, model_id: str, request: Request) -> Course:
        """Do a job to its end."""
        began, previews = time.perf_counter(), 0
        async for at, sight in self.follow(await self.submit(model_id, request)):
            previews += isinstance(sight, Preview)
            if isinstance(sight, Ended):
                assert sight.outcome.state is JobState.DONE, sight.outcome.error
                return Course(at - began, previews)
        raise AssertionError("the job did not end")

    async def submit(self, model_id: str, request: Request) -> Job:
        return await self.engine.submit(
            Submission(
                request=request,
                model_id=model_id,
                requester=Requester(user_id=1, guild_id=2, channel_id=3),
                anchor=Anchor(channel_id=3, message_id=next(_numbers)),
                source_key=f"benchmark:{next(_numbers)}",
            )
        )

    async def follow(self, job: Job) -> AsyncIterator[tuple[float, Sight]]:
        """Yield what onlookers see, each with the clock's time in seconds."""
        async for sight in self.engine.watch(job.id):
            yield time.perf_counter(), sight

    def peak_mb(self) -> float:
        """Return the largest resident memory that the newest worker ever had, in MiB."""
        return peak_mb(self.ports[-1].pid)

    def resident_mb(self) -> float:
        """Return the resident memory of the newest worker, in MiB."""
        return self.ports[-1].vitals().rss_bytes / 2**20


class _Remembered(LocalWorkers):
    """Worker processes that can be looked at."""

    def __init__(self, settings: EngineSettings, spool: Path) -> None:
        super().__init__(settings, spool)
        self.ports: list[LocalPort] = []

    def port(self, lane: LanePlan) -> LocalPort:
        self.ports.append(super().port(lane))
        return self.ports[-1]


@asynccontextmanager
async def rig(
    folder: Path, models: Sequence[ModelSpec] = (), **settings: int
) -> AsyncIterator[Rig]:
    """Open an engine with one lane, as ``bot.app`` does, in a folder of its own.

    Args:
        folder: For its database and its files.
        models: Known besides those of the catalogue.
        settings: Of the engine, such as ``memory_mb``.
    """
    known = catalog()
    known = Catalog([*known.all(), *models], known.profiles, known.tools)
    chosen, spool = EngineSettings(threads=THREADS, **settings), Spool(folder / "spool")
    workers = _Remembered(chosen, spool.folder)
    database = Database(f"sqlite+aiosqlite:///{folder / 'benchmark.db'}")
    await database.open()
    engine = Engine(
        chosen,
        catalog=known,
        weights=weights(),
        journal=JobJournal(database),
        spool=spool,
        present=present,
        workers=workers,
    )
    try:
        await engine.start()
        yield Rig(engine, spool, workers.ports)
    finally:
        await engine.close()
        await database.close()


def worker_environment() -> dict[str, str]:
    """Return the environment in which a peer computes as a worker does."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(THREADS))
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **one_thread}


def is_work(sight: Sight) -> bool:
    """Whether the job itself brought a sight about: not its wait, nor the loading of its model."""
    return not isinstance(sight, Waiting | LoadingModel)


def peak_mb(pid: int) -> float:
    """Return the largest resident memory that a process ever had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _with_cache(spec: ModelSpec) -> ModelSpec:
    return placed(spec, weights(), {})
