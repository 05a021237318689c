"""What jobs take here: short real runs behind an engine, for the simulated crowd to draw from.

This module owns the cost of each modality: a line through what jobs of a few sizes took of their
lane, as the engine itself counts sizes and seconds.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import production, speech
from benchmarks.checkpoint import SMALL, drawing_model
from bot.engine.job import Ended, Job, JobState
from models.catalog import ModelSpec
from models.contracts import (
    ChatMessage,
    ImageRequest,
    Modality,
    Request,
    SpeechRequest,
    TextRequest,
    TranscriptionRequest,
)

DRAWING = "small-diffusion"
SIDE_PX, STEPS = 128, 8
ROUNDS = 2
"""The faster run of each counts: the first is never typical, and others may disturb."""

_PROMPT = "Tell me a long story about a lighthouse keeper and the sea."


@dataclass(frozen=True, slots=True)
class Cost:
    """What jobs of a model take: ``base_s + by_work_s * work``, and its load before the first."""

    model: ModelSpec
    base_s: float
    by_work_s: float
    load_s: float

    def seconds(self, work: float) -> float:
        """Return what a job of a size takes."""
        return self.base_s + self.by_work_s * work


def measured() -> dict[Modality, Cost]:
    """Run a few jobs of each modality."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return base and slope of the line through sizes and seconds, neither of them negative."""
    mean_work = sum(work for work, _ in points) / len(points)
    mean_s = sum(seconds for _, seconds in points) / len(points)
    spread = sum((work - mean_work) ** 2 for work, _ in points)
    slope = sum((work - mean_work) * (seconds - mean_s) for work, seconds in points) / spread
    slope = min(max(slope, 0.0), mean_s / mean_work)
    return mean_s - slope * mean_work, slope


async def _measure(folder: Path) -> dict[Modality, Cost]:
    drawing = drawing_model(DRAWING, SMALL)
    costs = {}
    async with production.rig(folder, [drawing]) as rig:
        for model_id, requests in _requests(rig).items():
            loads_s, points = [], []
            for request in requests:
                runs = [await _took(rig, model_id, request) for _ in range(ROUNDS)]
                points.append((runs[0].work, min(job.device_s for job in runs)))
                loads_s += [job.load_s for job in runs]
            spec = drawing if model_id == DRAWING else production.catalog().get(model_id)
            costs[spec.modality] = Cost(spec, *line(points), max(loads_s))
    return costs


async def _took(rig: production.Rig, model_id: str, request: Request) -> Job:
    job = await rig.submit(model_id, request)
    async for _, sight in rig.follow(job):
        if isinstance(sight, Ended):
            assert sight.outcome.state is JobState.DONE, sight.outcome.error
    return job


def _requests(rig: production.Rig) -> dict[str, list[Request]]:
    message = (ChatMessage("user", _PROMPT),)
    sounds = [
        rig.spool.store(speech.ogg(seconds / 60), "a.ogg", "audio/ogg") for seconds in (10, 60)
    ]
    return {
        production.TEXT: [
            TextRequest(message, temperature=0.0, max_new_tokens=most) for most in (16, 64, 160)
        ],
        production.SPEECH: [SpeechRequest(_PROMPT * times, seed=1) for times in (1, 6)],
        production.TRANSCRIPTION: [TranscriptionRequest(sound) for sound in sounds],
        DRAWING: [
            ImageRequest(
                _PROMPT, width_px=SIDE_PX, height_px=SIDE_PX, num_inference_steps=STEPS, count=count
            )
            for count in (1, 2)
        ],
    }
