"""Pictures from OpenAI's image API, or a server that speaks it: the backend ``openai-images``.

This module owns the requests. Several jobs may wait for the server at once; a cancel closes the
connection. It must not read a key from anywhere but the variable that the catalogue names.

Source: https://developers.openai.com/api/docs/guides/image-generation
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from models.catalog import ModelSpec
from models.contracts import (
    Control,
    Finished,
    HandlerEvent,
    ImageRequest,
    ImageResult,
    Notice,
    Picture,
    Preview,
    Progress,
    Usage,
)
from models.errors import BackendError, InvalidMedia
from models.hosted import Bill, endpoint_of, openai_client, patiently, translate
from models.image.options import HostedImageOptions
from models.image.pictures import (
    JPEG,
    PNG,
    encode_png,
    encode_preview,
    open_picture,
    read_picture,
)
from models.image.plan import Bounds, fit_size
from models.image.provenance import alt_text, metadata_of
from models.image.safety import SafetyClassifier, screened, worst
from models.prices import Amounts, most_used
from models.tasks import TaskStepper

if TYPE_CHECKING:
    import openai
    from PIL import Image


def load(spec: ModelSpec, location: str, device: str) -> TaskStepper:
    """Get ready to ask a server; it is not asked yet.

    Args:
        spec: Row of the catalogue, with an endpoint as its source.
        location: Base URL of the server.
        device: Not looked at: the server has its own.

    Raises:
        ModelLoadFailed: The key or an option is missing or wrong.
    """
    options = HostedImageOptions.of(spec)
    client = openai_client(spec, location, options.timeout_s)
    server = ImageServer(spec, client, options, SafetyClassifier.load(options.safety_dir))
    return TaskStepper(options.slots, server.draw, client.close)


@dataclass(frozen=True, slots=True)
class _Reference:
    """A picture to start from."""

    image: Image.Image
    notices: tuple[str, ...]
    unsafe_score: float | None


class ImageServer:
    """A server that draws."""

    def __init__(
        self,
        spec: ModelSpec,
        client: openai.AsyncOpenAI,
        options: HostedImageOptions,
        safety: SafetyClassifier | None,
    ) -> None:
        self._spec = spec
        self._model = endpoint_of(spec).model
        self._client = client
        self._options = options
        self._safety = safety

    async def draw(self, request: ImageRequest, control: Control) -> AsyncIterator[HandlerEvent]:
        """Yield the events of one job."""
        import openai

        size = _size(request, self._options)
        for sentence in self._notices(request, size):
            yield Notice(sentence)
        reference = await asyncio.to_thread(self._open_reference, request, control)
        for sentence in reference.notices if reference else ():
            yield Notice(sentence)
        reference_score = reference.unsafe_score if reference else None
        yield Progress("waiting for the model's server")
        bill = Bill(self._spec, control)
        try:
            with bill.sent(most_used(self._spec, request)):
                answer = await self._ask(request, size, reference)
            if isinstance(answer, openai.AsyncStream):
                stream, answer = answer, None
                async with stream:
                    async for event in stream:
                        if event.type.endswith(".completed"):
                            answer = event
                        elif event.type.endswith(".partial_image"):
                            yield Progress("drawing")
                            for look in await asyncio.to_thread(
                                self._look, event, control, reference_score
                            ):
                                yield look
        except openai.OpenAIError as error:
            raise translate(error) from error
        except ValueError as error:  # what came is not JSON
            raise BackendError from error
        if answer is None:
            raise BackendError("The model's server broke off. Please try again.")
        bill.count(self._used(answer))
        yield await asyncio.to_thread(self._finished, request, answer, control, reference_score)

    def _open_reference(self, request: ImageRequest, control: Control) -> _Reference | None:
        """Return the picture to start from; one that is blocked never leaves this machine."""
        if request.reference is None:
            return None
        read = read_picture(control.open(request.reference))
        score = screened(self._safety, read.image, request.blocked_from)
        return _Reference(read.image, read.notices, score)

    async def _ask(
        self, request: ImageRequest, size: tuple[int, int], reference: _Reference | None
    ) -> Any:
        """Send the request; return the answer, or a stream of it."""
        prompt = request.prompt
        if request.negative_prompt.strip():  # it has no field for that, and reads sentences
            prompt += f"\n\nLeave out: {request.negative_prompt.strip()}"
        parameters: dict[str, Any] = {
            "model": self._model,
            "prompt": prompt,
            "n": request.count,
            "size": f"{size[0]}x{size[1]}",
            "quality": self._options.quality,
            "output_format": "png",
        }
        if request.count == 1 and self._options.partial_images:
            parameters |= {"stream": True, "partial_images": self._options.partial_images}
        images = self._client.images
        if reference is None:
            parameters["moderation"] = self._options.moderation
            return await patiently(lambda: images.generate(**parameters))
        data = await asyncio.to_thread(encode_png, reference.image, {})
        parameters["image"] = ("reference.png", data, PNG)
        return await patiently(lambda: images.edit(**parameters))

    def _notices(self, request: ImageRequest, size: tuple[int, int]) -> list[str]:
        name = self._spec.name
        found = []
        if size != (request.width_px, request.height_px):
            found.append(
                f"{name} does not make {request.width_px} × {request.height_px} pixels, "
                f"so this is {size[0]} × {size[1]}."
            )
        wishes: Mapping[str, object] = {
            "seed": request.seed,
            "steps": request.num_inference_steps,
            "guidance": request.guidance_scale,
        }
        ignored = [what for what, value in wishes.items() if value is not None]
        if ignored:
            found.append(f"{name} takes no {' or '.join(ignored)}, so yours was not used.")
        return found

    def _look(self, event: Any, control: Control, reference_score: float | None) -> list[Preview]:
        image = _decoded(event.b64_json)
        if self._safety is not None and not self._safety.allows_preview(image, reference_score):
            return []
        return [Preview(control.store(encode_preview(image), "preview.jpg", JPEG))]

    def _finished(
        self, request: ImageRequest, answer: Any, control: Control, reference_score: float | None
    ) -> Finished:
        encoded = _pictures_in(answer)
        drawn = (
            self._picture(request, number, _decoded(data), control)
            for number, data in enumerate(encoded, start=1)
        )
        pictures = tuple(
            replace(picture, unsafe_score=worst(picture.unsafe_score, reference_score))
            for picture in drawn
        )
        return Finished(ImageResult(pictures, Usage(len(pictures), "pictures")))

    def _used(self, answer: Any) -> Amounts:
        """Return what is charged for an answer: its tokens, where they have a price."""
        used, prices = answer.usage, self._spec.prices
        if used is None or prices is None or not prices.output:
            return Amounts(pictures=len(_pictures_in(answer)))
        given = used.input_tokens_details
        return Amounts(
            text_tokens=given.text_tokens,
            image_tokens=given.image_tokens,
            output_tokens=used.output_tokens,
        )

    def _picture(
        self, request: ImageRequest, number: int, image: Image.Image, control: Control
    ) -> Picture:
        recipe = {
            "width": image.width,
            "height": image.height,
            "quality": self._options.quality,
            "reference_sha256": request.reference.sha256 if request.reference else None,
        }
        data = encode_png(image, metadata_of(self._spec, None, recipe))
        return Picture(
            media=control.store(data, f"picture-{number}.png", PNG),
            width_px=image.width,
            height_px=image.height,
            seed=None,
            alt_text=alt_text(request.prompt),
            unsafe_score=screened(self._safety, image, None),
        )


def _size(request: ImageRequest, options: HostedImageOptions) -> tuple[int, int]:
    """Return the size nearest to the wished one that the server makes."""
    width, height = request.width_px, request.height_px
    if options.sizes:
        known = [tuple(int(side) for side in size.split("x")) for size in options.sizes]
        nearest = min(
            known,
            key=lambda s: (abs(s[0] * height - s[1] * width) / (s[1] * height), -s[0] * s[1]),
        )
        return nearest[0], nearest[1]
    bounds = Bounds(options.multiple_px, options.min_pixels, options.max_pixels, options.max_ratio)
    return fit_size(width, height, bounds)


def _pictures_in(answer: Any) -> list[str]:
    """Return the pictures of an answer, or of the last event of a stream."""
    several = getattr(answer, "data", None) or [answer]
    found = [data for item in several if (data := getattr(item, "b64_json", None))]
    if not found:
        raise BackendError("The model's server gave no picture. Please try again.")
    return found


def _decoded(encoded: str) -> Image.Image:
    try:
        return open_picture(base64.b64decode(encoded, validate=True))
    except (binascii.Error, InvalidMedia) as error:
        raise BackendError("The model's server sent a damaged picture.") from error
