"""Clips with diffusers, on a processor or a GPU: the backend ``diffusers-video``.

This module owns the course of a job: what is said before, previews and progress while it runs,
retries when memory runs out, and the file at the end. It must not call a library that computes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.catalog import ModelSpec
from models.contracts import (
    Control,
    Finished,
    HandlerEvent,
    Notice,
    Progress,
    Usage,
    VideoRequest,
    VideoResult,
)
from models.image.forming import (
    Looks,
    Start,
    Step,
    is_cut,
    look_at,
    score_of,
    seed_or_new,
    start_from,
)
from models.image.provenance import Recipe, alt_text, metadata_of
from models.image.safety import SafetyClassifier, worst
from models.less_memory import with_less_memory
from models.stepping import StepThread, Stopped, relayed
from models.video.mp4 import MP4, encode
from models.video.options import ClipOptions
from models.video.pipeline import ClipPipeline
from models.video.plan import ClipPlan, clip_plan_for
from models.video.provenance import CROPPED, LOOKED_AT, clip_metadata
from models.video.reading import evenly

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Frames = NDArray[np.uint8]


def load(spec: ModelSpec, location: str, device: str) -> DiffusionVideoHandler:
    """Load a text-to-video pipeline.

    Args:
        spec: Row of the catalogue.
        location: Folder with ``model_index.json`` and safetensors. Pickles are refused.
        device: ``cpu``, ``cuda:0``, ...

    Raises:
        ModelLoadFailed: The files are not of a pipeline that makes clips.
        OutOfMemory: The device has not enough memory.
    """
    options = ClipOptions.of(spec)
    safety = SafetyClassifier.load(options.safety_dir)
    pipeline = ClipPipeline(Path(location), device, options)
    return DiffusionVideoHandler(spec, pipeline, options, safety, device)


@dataclass(slots=True)
class _Job:
    """A request under way. ``plan`` changes when memory runs out."""

    request: VideoRequest
    control: Control
    plan: ClipPlan
    seed: int
    start: Start | None = None


class DiffusionVideoHandler:
    """Makes clips with one pipeline. See ``models.contracts.Handler``."""

    def __init__(
        self,
        spec: ModelSpec,
        pipeline: ClipPipeline,
        options: ClipOptions,
        safety: SafetyClassifier | None,
        device: str,
    ) -> None:
        self._spec = spec
        self._pipeline = pipeline
        self._options = options
        self._safety = safety
        self._device = device.split(":")[0]
        self._thread = StepThread()

    def run(self, request: VideoRequest, control: Control) -> Iterator[HandlerEvent]:
        """Make a clip; see ``models.contracts.Handler.run``."""
        name = self._spec.name
        plan = clip_plan_for(request, self._pipeline.abilities, self._options, name)
        job = _Job(request, control, plan, seed_or_new(request.seed))
        yield from (Notice(sentence) for sentence in plan.notices)
        yield from self._pipeline.unread(request.prompt, "prompt", name)
        yield from self._pipeline.unread(plan.still.negative_prompt, "negative prompt", name)
        yield from self._pipeline.strange(f"{request.prompt} {plan.still.negative_prompt}")
        job.start = yield from start_from(
            request.first_frame, control, self._safety, request.blocked_from
        )
        if job.start and is_cut(job.start, plan.still.width_px, plan.still.height_px):
            yield Notice(CROPPED)
        try:
            frames = yield from self._drawn(job)
        except Stopped:
            return
        yield Progress("encoding the clip", 1.0)
        if not control.cancelled:
            yield Finished(self._result(job, frames))

    def close(self) -> None:
        """Free the memory of the model."""
        self._thread.close()
        self._pipeline.close()
        self._safety = None

    def _drawn(self, job: _Job) -> Generator[HandlerEvent, None, Frames]:
        def shrink() -> tuple[int, int] | None:
            smaller = job.plan.smaller(self._pipeline.abilities)
            if smaller is None:
                return None
            job.plan = smaller
            return smaller.still.width_px, smaller.still.height_px

        attempt = functools.partial(self._attempt, job)
        return with_less_memory(attempt, self._pipeline.economise, shrink)

    def _attempt(self, job: _Job) -> Generator[HandlerEvent, None, Frames]:
        yield Progress("reading the prompt", 0.0)

        def work(tell: Callable[[Step], None]) -> Frames:
            return self._call(job, tell)

        steps = self._thread.run(work, lambda: job.control.cancelled)
        return (yield from relayed(steps, lambda step: self._events(job, step)))

    def _call(self, job: _Job, tell: Callable[[Step], None]) -> Frames:
        """Call the pipeline, in its thread."""
        size = job.plan.still.width_px, job.plan.still.height_px
        looks = Looks(tell, self._pipeline.colours, self._options.preview_s, size)
        first = job.start.fitted(*size) if job.start else None
        return self._pipeline.draw(job.request.prompt, job.plan, job.seed, first, looks)

    def _events(self, job: _Job, step: Step) -> Iterator[HandlerEvent]:
        yield from look_at(step, job.control, self._safety, job.start)
        yield Progress(step.stage("clip"), step.fraction)

    def _result(self, job: _Job, frames: Frames) -> VideoResult:
        still, request = job.plan.still, job.request
        recipe: Recipe = {
            "width": still.width_px,
            "height": still.height_px,
            "frames": len(frames),
            "fps": job.plan.fps,
            "num_inference_steps": still.num_inference_steps,
            "guidance_scale": still.guidance_scale,
            "negative_prompt": bool(still.negative_prompt),
            "scheduler": self._pipeline.scheduler,
            "dtype": self._pipeline.dtype,
            "device": self._device,
            "first_frame_sha256": request.first_frame.sha256 if request.first_frame else None,
        }
        metadata = clip_metadata(metadata_of(self._spec, job.seed, recipe))
        clip = encode(frames, job.plan.fps, metadata)
        return VideoResult(
            media=job.control.store(clip.data, f"clip-{job.seed}.mp4", MP4),
            width_px=clip.width_px,
            height_px=clip.height_px,
            frames=clip.frames,
            fps=clip.fps,
            seed=job.seed,
            alt_text=alt_text(request.prompt, "clip"),
            usage=Usage(clip.frames, "frames"),
            unsafe_score=worst(self._score(frames), score_of(job.start)),
        )

    def _score(self, frames: Frames) -> float | None:
        from PIL import Image

        if self._safety is None:
            return None
        looked_at = evenly(len(frames), LOOKED_AT)
        return max(self._safety.score(Image.fromarray(frames[number])) for number in looked_at)
