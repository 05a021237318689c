"""How long a member waits when a model has to make room for the one that is asked for.

The engine's memory holds one model at a time: a request for the other one frees the first, loads
the second into a worker and runs. What counts is the time to the job's first event. The peer is the
same model and the same request in a fresh process, where nothing has to be freed. Both sides take
turns; the best round of each counts.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import production
from benchmarks.checkpoint import MODERATE, drawing_model
from benchmarks.fresh import first_event_s
from benchmarks.report import Measurement
from bot.engine.job import Ended, JobState
from models.catalog import ModelSpec
from models.contracts import ChatMessage, ImageRequest, Request, TextRequest

ROUNDS = 3
ALLOWED_SHARE, ALLOWED_S = 1.1, 0.5
_WORKER_MB = 8000
"""Enough for any of them: it is the budget of all models together that holds but one."""


@dataclass(frozen=True, slots=True)
class Case:
    """A model, and a short job of it."""

    spec: ModelSpec
    request: Request


def run() -> list[Measurement]:
    """Swap a model of text and one of pictures, to and fro."""
    cases = {
        "text": Case(
            production.catalog().get(production.TEXT),
            TextRequest((ChatMessage("user", "Who are you?"),), 0.0, max_new_tokens=4),
        ),
        "image": Case(
            drawing_model("moderate-diffusion", MODERATE),
            ImageRequest("a lighthouse", width_px=256, height_px=256, num_inference_steps=1),
        ),
    }
    with tempfile.TemporaryDirectory() as folder:
        swaps = asyncio.run(_swaps(Path(folder), cases))
    return [measurement(name, ours, fresh) for name, (ours, fresh) in swaps.items()]


def measurement(name: str, ours_s: list[float], fresh_s: list[float]) -> Measurement:
    """Compare the best swap with the best load in a fresh process."""
    goal_s = min(fresh_s) * ALLOWED_SHARE + ALLOWED_S
    return Measurement(
        f"swap.{name}",
        min(ours_s),
        "s",
        "lower",
        goal_s,
        peer="loaded by a fresh process",
        peer_value=min(fresh_s),
    )


async def _swaps(
    folder: Path, cases: dict[str, Case]
) -> dict[str, tuple[list[float], list[float]]]:
    """Return the seconds to the first event of each: swapped in, and in a fresh process."""
    added = [case.spec for case in cases.values() if case.spec not in production.catalog().all()]
    room_mb = max(case.spec.memory_mb for case in cases.values())
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in cases}
    async with production.rig(folder, added, memory_mb=room_mb, worker_memory_mb=_WORKER_MB) as rig:
        for case in cases.values():
            await _first_event_s(rig, case)  # later ones find another model in their place
        for _ in range(ROUNDS):
            for name, case in cases.items():
                workers = len(rig.ports)
                ours, fresh = found[name]
                ours.append(await _first_event_s(rig, case))
                assert len(rig.ports) == workers + 1, "both models fitted"
                fresh.append(
                    await asyncio.to_thread(first_event_s, folder, case.spec, case.request)
                )
    return found


async def _first_event_s(rig: production.Rig, case: Case) -> float:
    """Do a job; return the seconds from its submission to its first event."""
    began, first_s = time.perf_counter(), 0.0
    async for at, sight in rig.follow(await rig.submit(case.spec.id, case.request)):
        if production.is_work(sight):
            first_s = first_s or at - began
        if isinstance(sight, Ended):
            assert sight.outcome.state is JobState.DONE, sight.outcome.error
    return first_s
