"""Whether a worker's memory grows with the jobs that it does.

Each modality has a worker of its own behind an engine. After a warm-up, in which allocators and
caches settle, it does 50 jobs of a few sizes in turn. Its resident memory after each is kept: what
it held at the end is compared with what it held at the beginning, and a line is laid through all.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import production, speech
from benchmarks.checkpoint import SMALL, drawing_model
from benchmarks.report import Measurement
from models.contracts import (
    ChatMessage,
    ImageRequest,
    Request,
    SpeechRequest,
    TextRequest,
    TranscriptionRequest,
    VisionRequest,
)

JOBS, WARM_UP = 50, 10
LOOKED_AT = 10
"""So many jobs make the beginning, and so many the end: two for each size."""

ALLOWED_SHARE = 1.05
ALLOWED_MB_PER_JOB = 0.5
_DRAWING = "small-diffusion"

Requests = Callable[[production.Rig], Sequence[Request]]


@dataclass(frozen=True, slots=True)
class Case:
    """Jobs of one modality: ``requests`` gives one for each size, to be done in turn."""

    model_id: str
    requests: Requests


def run() -> list[Measurement]:
    """Measure a worker of each modality that computes here."""
    found = []
    for name, case in _CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            found += measurements(name, asyncio.run(_resident_mb(Path(folder), case)))
    return found


def measurements(name: str, resident_mb: Sequence[float]) -> list[Measurement]:
    """Judge the resident memory after each job; the warm-up is not among them."""
    early, late = resident_mb[:LOOKED_AT], resident_mb[-LOOKED_AT:]
    slope = statistics.linear_regression(range(len(resident_mb)), resident_mb).slope
    return [
        Measurement(
            f"memory.{name}",
            statistics.mean(late),
            "MB",
            "lower",
            ALLOWED_SHARE,
            "ratio",
            peer="at the beginning",
            peer_value=statistics.mean(early),
        ),
        Measurement(f"memory.{name}_slope", slope, "MB a job", "lower", ALLOWED_MB_PER_JOB),
    ]


async def _resident_mb(folder: Path, case: Case) -> list[float]:
    found = []
    async with production.rig(folder, [drawing_model(_DRAWING, SMALL)]) as rig:
        requests = case.requests(rig)
        for number in range(WARM_UP + JOBS):
            await rig.finish(case.model_id, requests[number % len(requests)])
            found.append(rig.resident_mb())
        assert len(rig.ports) == 1, "the worker did not last"
    return found[WARM_UP:]


# --------------------------------------------------------------------------- jobs of five sizes


def _texts(_rig: production.Rig) -> list[Request]:
    return [
        TextRequest(
            (ChatMessage("user", "Sum up: " + "The sea was calm that day. " * (1 + 4 * size)),),
            temperature=0.0,
            max_new_tokens=8 + 4 * size,
        )
        for size in range(5)
    ]


def _sentences(_rig: production.Rig) -> list[Request]:
    return [SpeechRequest("The boats have gone out. " * (1 + size), seed=1) for size in range(5)]


def _recordings(rig: production.Rig) -> list[Request]:
    files = [speech.ogg((3 + 3 * size) / 60) for size in range(5)]
    return [
        TranscriptionRequest(rig.spool.store(file, "talk.ogg", "audio/ogg"), language="en")
        for file in files
    ]


def _pictures(_rig: production.Rig) -> list[Request]:
    return [
        ImageRequest(
            "a lighthouse",
            width_px=256 + 32 * size,
            height_px=256,
            num_inference_steps=2,
            seed=size,
        )
        for size in range(5)
    ]


def _pages(rig: production.Rig) -> list[Request]:
    pages = [_page(lines=2 + size) for size in range(5)]
    return [
        VisionRequest((rig.spool.store(page, "page.png", "image/png"),), "ocr") for page in pages
    ]


def _page(lines: int) -> bytes:
    """Return a picture of some lines of text, as PNG."""
    import io

    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (480, 48 * lines + 32), "white")
    pen = ImageDraw.Draw(picture)
    for number in range(lines):
        text = f"Line {number}: the lamp burns."
        pen.text((24, 24 + 48 * number), text, font=ImageFont.load_default(size=28), fill="black")
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


_CASES = {
    "text": Case(production.TEXT, _texts),
    "speech": Case(production.SPEECH, _sentences),
    "transcription": Case(production.TRANSCRIPTION, _recordings),
    "image": Case(_DRAWING, _pictures),
    "ocr": Case(production.OCR, _pages),
}
