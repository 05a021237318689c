"""Pictures with diffusers, on a processor or a GPU: the backend ``diffusers``.

This module owns the course of a job: what is said before, previews and progress while it runs,
retries when memory runs out, and the files at the end. It must not call a library that computes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from models.catalog import ModelSpec
from models.contracts import (
    Control,
    Finished,
    HandlerEvent,
    ImageRequest,
    ImageResult,
    Notice,
    Picture,
    Progress,
    Usage,
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
from models.image.options import DiffusionOptions
from models.image.pictures import PNG, encode_png
from models.image.pipeline import ImagePipeline
from models.image.plan import Plan, plan_for
from models.image.provenance import Recipe, alt_text, metadata_of
from models.image.safety import SafetyClassifier, screened, worst
from models.less_memory import with_less_memory
from models.stepping import StepThread, Stopped, relayed

if TYPE_CHECKING:
    from PIL import Image

_CUT: Final = "The reference picture has another shape, so its edges were cut off."


def load(spec: ModelSpec, location: str, device: str) -> DiffusionHandler:
    """Load a text-to-image pipeline.

    Args:
        spec: Row of the catalogue.
        location: Folder with ``model_index.json`` and safetensors. Pickles are refused.
        device: ``cpu``, ``cuda:0``, ...

    Raises:
        ModelLoadFailed: The files are not of a pipeline that makes pictures.
        OutOfMemory: The device has not enough memory.
    """
    options = DiffusionOptions.of(spec)
    safety = SafetyClassifier.load(options.safety_dir)
    return DiffusionHandler(
        spec, ImagePipeline(Path(location), device, options), options, safety, device
    )


@dataclass(slots=True)
class _Job:
    """A request under way. ``plan`` changes when memory runs out."""

    request: ImageRequest
    control: Control
    plan: Plan
    seed: int
    start: Start | None = None

    def seed_of(self, number: int) -> int:
        return (self.seed + number) % 2**32


class DiffusionHandler:
    """Draws with one pipeline. See ``models.contracts.Handler``."""

    def __init__(
        self,
        spec: ModelSpec,
        pipeline: ImagePipeline,
        options: DiffusionOptions,
        safety: SafetyClassifier | None,
        device: str,
    ) -> None:
        self._spec = spec
        self._pipeline = pipeline
        self._options = options
        self._safety = safety
        self._device = device.split(":")[0]
        self._thread = StepThread()

    def run(self, request: ImageRequest, control: Control) -> Iterator[HandlerEvent]:
        """Draw one picture after the other; see ``models.contracts.Handler.run``."""
        plan = plan_for(request, self._pipeline.abilities, self._options, self._spec.name)
        job = _Job(request, control, plan, seed_or_new(request.seed))
        yield from (Notice(sentence) for sentence in plan.notices)
        yield from self._pipeline.unread(request.prompt, "prompt", self._spec.name)
        yield from self._pipeline.unread(plan.negative_prompt, "negative prompt", self._spec.name)
        yield from self._pipeline.strange(f"{request.prompt} {plan.negative_prompt}")
        job.start = yield from start_from(
            request.reference, control, self._safety, request.blocked_from
        )
        if job.start and is_cut(job.start, plan.width_px, plan.height_px):
            yield Notice(_CUT)
        pictures: list[Picture] = []
        try:
            for number in range(request.count):
                if control.cancelled:
                    return
                image = yield from self._drawn(job, number)
                pictures.append(self._picture(job, number, image))
        except Stopped:
            return
        yield Finished(
            ImageResult(
                pictures=tuple(pictures),
                usage=Usage(len(pictures), "pictures"),
                num_inference_steps=job.plan.num_inference_steps,
                guidance_scale=job.plan.guidance_scale,
            )
        )

    def close(self) -> None:
        """Free the memory of the model."""
        self._thread.close()
        self._pipeline.close()
        self._safety = None

    # ----------------------------------------------------------------- drawing

    def _drawn(self, job: _Job, number: int) -> Generator[HandlerEvent, None, Image.Image]:
        def shrink() -> tuple[int, int] | None:
            smaller = job.plan.smaller(self._pipeline.abilities)
            if smaller is None:
                return None
            job.plan = smaller
            return smaller.width_px, smaller.height_px

        attempt = functools.partial(self._attempt, job, number)
        return with_less_memory(attempt, self._pipeline.economise, shrink)

    def _attempt(self, job: _Job, number: int) -> Generator[HandlerEvent, None, Image.Image]:
        place = f"picture {number + 1} of {job.request.count} · " if job.request.count > 1 else ""
        yield Progress(f"{place}reading the prompt", number / job.request.count)

        def work(tell: Callable[[Step], None]) -> Image.Image:
            return self._call(job, number, tell)

        steps = self._thread.run(work, lambda: job.control.cancelled)
        return (yield from relayed(steps, lambda step: self._events(job, step, place, number)))

    def _call(self, job: _Job, number: int, tell: Callable[[Step], None]) -> Image.Image:
        """Call the pipeline, in its thread."""
        plan = job.plan
        size = plan.width_px, plan.height_px
        looks = Looks(tell, self._pipeline.colours, self._options.preview_s, size)
        reference = job.start.fitted(*size) if job.start else None
        seed = job.seed_of(number)
        return self._pipeline.draw(job.request.prompt, plan, seed, reference, looks)

    def _events(self, job: _Job, step: Step, place: str, number: int) -> Iterator[HandlerEvent]:
        yield from look_at(step, job.control, self._safety, job.start)
        fraction = (number + step.fraction) / job.request.count
        yield Progress(f"{place}{step.stage('picture')}", fraction)

    # ----------------------------------------------------------------- after

    def _picture(self, job: _Job, number: int, image: Image.Image) -> Picture:
        seed, plan, request = job.seed_of(number), job.plan, job.request
        recipe: Recipe = {
            "width": image.width,
            "height": image.height,
            "num_inference_steps": plan.num_inference_steps,
            "guidance_scale": plan.guidance_scale,
            "negative_prompt": bool(plan.negative_prompt),
            "scheduler": self._pipeline.scheduler,
            "dtype": self._pipeline.dtype,
            "device": self._device,
            "economical": self._pipeline.economical,
            "strength": plan.strength,
            "reference_sha256": request.reference.sha256 if request.reference else None,
        }
        data = encode_png(image, metadata_of(self._spec, seed, recipe))
        return Picture(
            media=job.control.store(data, f"picture-{seed}.png", PNG),
            width_px=image.width,
            height_px=image.height,
            seed=seed,
            alt_text=alt_text(request.prompt),
            unsafe_score=worst(screened(self._safety, image, None), score_of(job.start)),
        )
