"""How soon a job ends that a member cancels, beside the longest step that it was seen to take.

Each job runs in a worker process behind an engine and is cancelled some times, at moments that fall
into different places of a step. The worst of them counts, until the outcome is written down and
shown. A step is the time between two events of the job, which is what a member sees of it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks import production, speech
from benchmarks.checkpoint import MODERATE, SMALL, drawing_model, filming_model
from benchmarks.report import Measurement
from bot.engine.job import Ended, JobState
from models.contracts import (
    ChatMessage,
    ImageRequest,
    Request,
    SpeechRequest,
    TextRequest,
    TranscriptionRequest,
    VideoRequest,
)

CANCELS = 3
ALLOWED_S = 0.5
"""Beyond the step: the way there and back, and the commit."""

RECORDING_MINUTES = 10.0
_DRAWING, _FILMING = "moderate-diffusion", "small-clips"


@dataclass(frozen=True, slots=True)
class Case:
    """A long job, and for how many seconds it is watched before it is cancelled."""

    model_id: str
    request: Request
    watched_s: float


@dataclass(frozen=True, slots=True)
class Cancelled:
    """One cancelled job: its longest step so far, and the wait for its end, in seconds."""

    step_s: float
    latency_s: float


def run() -> list[Measurement]:
    """Cancel jobs of every modality that computes here."""
    with tempfile.TemporaryDirectory() as folder:
        courses = asyncio.run(_measure(Path(folder)))
    return [measurement(name, course) for name, course in courses.items()]


def measurement(name: str, course: list[Cancelled]) -> Measurement:
    """Compare the worst wait with the longest step of the same jobs."""
    step_s = max(cancelled.step_s for cancelled in course)
    return Measurement(
        f"cancel.{name}",
        max(cancelled.latency_s for cancelled in course),
        "s",
        "lower",
        step_s + ALLOWED_S,
        peer="longest step",
        peer_value=step_s,
    )


async def _measure(folder: Path) -> dict[str, list[Cancelled]]:
    models = [
        drawing_model(_DRAWING, MODERATE),
        filming_model(_FILMING, SMALL, min_pixels=4096),
    ]
    recording = folder / "talk.wav"
    recording.write_bytes(speech.wav(RECORDING_MINUTES))
    courses: dict[str, list[Cancelled]] = {}
    async with production.rig(folder, models) as rig:
        for name, case in _cases(TranscriptionRequest(rig.store(recording))).items():
            courses[name] = [await _cancel(rig, case, turn / CANCELS) for turn in range(CANCELS)]
    return courses


def _cases(transcription: TranscriptionRequest) -> dict[str, Case]:
    story = ChatMessage("user", "Tell me a very long story about a lighthouse keeper and the sea.")
    text = TextRequest((story,), 0.0, max_new_tokens=1500)
    spoken = SpeechRequest("The boats have gone out, and the gulls have gone with them. " * 100)
    drawn = ImageRequest("a lighthouse", width_px=384, height_px=384, num_inference_steps=100)
    filmed = VideoRequest("waves", width_px=128, height_px=128, seconds=1, num_inference_steps=100)
    return {
        "text": Case(production.TEXT, text, 2.0),
        "speech": Case(production.SPEECH, spoken, 4.0),
        "transcription": Case(production.TRANSCRIPTION, transcription, 9.0),
        "image": Case(_DRAWING, drawn, 4.0),
        "video": Case(_FILMING, filmed, 4.0),
    }


async def _cancel(rig: production.Rig, case: Case, phase: float) -> Cancelled:
    """Watch a job at work for a while, and a part of a step longer, then cancel it."""
    job = await rig.submit(case.model_id, case.request)
    times: list[float] = []
    asked_at: float | None = None
    async for at, sight in rig.follow(job):
        if isinstance(sight, Ended):
            assert sight.outcome.state is JobState.CANCELLED, sight
            assert asked_at
            return Cancelled(longest_gap_s(times), at - asked_at)
        if asked_at or not production.is_work(sight):
            continue
        times.append(at)
        if at - times[0] >= case.watched_s:
            await asyncio.sleep(phase * longest_gap_s(times))
            asked_at = time.perf_counter()
            await rig.engine.cancel(job.id)
    raise AssertionError("the job did not end")


def longest_gap_s(times: list[float]) -> float:
    """Return the longest time between two events that followed each other."""
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)
