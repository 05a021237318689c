"""What the safety check of a picture costs, beside the job that makes one.

The check runs in this process, on a picture of that size, with its own single thread as it does in
a worker. Its share is larger where a GPU makes the picture in a few seconds.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import production
from benchmarks.checkpoint import MODERATE, drawing_model
from benchmarks.report import Measurement
from models.contracts import ImageRequest
from models.image.safety import SafetyClassifier

CHECKS, PICTURES = 30, 2
SHARE = 0.05
_REQUEST = ImageRequest("a lighthouse", width_px=384, height_px=384, num_inference_steps=10, seed=1)


def run() -> list[Measurement]:
    """Check one picture again and again, then make some like it."""
    with tempfile.TemporaryDirectory() as folder:
        job_s = asyncio.run(_job_s(Path(folder)))
    return [
        Measurement(
            "safety.check",
            _check_s() * 1000,
            "ms",
            "lower",
            SHARE,
            "ratio",
            peer="the whole job of a picture",
            peer_value=job_s * 1000,
        )
    ]


def _check_s() -> float:
    """Return the median of the seconds that a check takes."""
    from PIL import Image

    classifier = SafetyClassifier(
        Path(production.weights().locate(production.catalog().tools["safety"]))
    )
    picture = Image.effect_noise((_REQUEST.width_px, _REQUEST.height_px), 64).convert("RGB")
    seconds = []
    for _ in range(CHECKS):
        began = time.perf_counter()
        classifier.score(picture)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


async def _job_s(folder: Path) -> float:
    """Return the seconds of a picture from submission to end, at best."""
    model = drawing_model("moderate-diffusion", MODERATE)
    async with production.rig(folder, [model]) as rig:
        await rig.finish(model.id, _REQUEST)  # loads it
        return min([(await rig.finish(model.id, _REQUEST)).seconds for _ in range(PICTURES)])
