"""What the engine costs: a job from submission to end, beside the same handler called directly.

The engine writes the job to its database, sends it to a worker process, streams what happens and
commits the answer. The direct calls happen in a process of a worker's priority. Both sides take
turns; the best round of each counts, since other work on the machine can only slow a round down.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

from benchmarks import production
from benchmarks.report import Measurement
from bot.engine.job import Ended, JobState
from bot.engine.process import NICENESS
from bot.engine.spool import Spool
from models.contracts import ChatMessage, TextRequest

ROUNDS = 20
_ALLOWED_SHARE, _ALLOWED_S = 1.03, 0.020
_REQUEST = TextRequest(
    (ChatMessage("user", "Tell me a long story about a lighthouse keeper and the sea."),),
    temperature=0.0,
    max_new_tokens=64,
)


def run() -> list[Measurement]:
    """Measure jobs of 64 tokens."""
    with tempfile.TemporaryDirectory() as folder:
        through_s, direct_s = asyncio.run(_measure(Path(folder)))
    return [
        Measurement(
            "overhead.job",
            through_s * 1000,
            "ms",
            "lower",
            (direct_s * _ALLOWED_SHARE + _ALLOWED_S) * 1000,
            peer="handler called directly",
            peer_value=direct_s * 1000,
        )
    ]


async def _measure(folder: Path) -> tuple[float, float]:
    """Return the seconds of a job through the engine, and directly."""
    through, direct = [], []
    loop = asyncio.get_running_loop()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, os.nice, (NICENESS,)) as apart:
        async with production.rig(folder) as rig:
            for _ in range(ROUNDS + 1):
                through.append(await _through(rig))
                direct.append(await loop.run_in_executor(apart, _directly, folder))
    return min(through[1:]), min(direct[1:])  # the first round loads the model


async def _through(rig: production.Rig) -> float:
    began = time.perf_counter()
    job = await rig.submit(production.TEXT, _REQUEST)
    async for at, sight in rig.follow(job):
        if isinstance(sight, Ended):
            assert sight.outcome.state is JobState.DONE
            return at - began
    raise AssertionError("the job did not end")


@cache
def _model(folder: Path) -> production.Model:
    return production.Model(production.TEXT, Spool(folder / "direct"))


def _directly(folder: Path) -> float:
    model = _model(folder)
    began = time.perf_counter()
    model.finish(_REQUEST)
    return time.perf_counter() - began
