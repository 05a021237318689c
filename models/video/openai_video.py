"""Clips from OpenAI's video API (Sora), or a server that speaks it: the backend ``openai-video``.

This module owns the requests. Several jobs may wait for the server at once; what a job left on the
server is deleted when it ends, also when it is cancelled. It must not read a key from anywhere but
the variable that the catalogue names.

OpenAI itself closed this API on 24 September 2026; others serve models under the same one.

Source: https://developers.openai.com/api/docs/guides/video-generation
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from models.catalog import ModelSpec
from models.contracts import Control, HandlerEvent, Notice, Progress, VideoRequest
from models.errors import BackendError, HandlerError
from models.hosted import Bill, endpoint_of, openai_client, patiently, reason_of, translate
from models.image.pictures import PNG
from models.image.safety import SafetyClassifier
from models.prices import Amounts
from models.tasks import TaskStepper
from models.video.hosted import Intake, Order, order_for, polled, with_first_frame
from models.video.options import HostedClipOptions

if TYPE_CHECKING:
    import openai
    from openai.types import Video


def load(spec: ModelSpec, location: str, device: str) -> TaskStepper:
    """Get ready to ask a server; it is not asked yet.

    Args:
        spec: Row of the catalogue, with an endpoint as its source.
        location: Base URL of the server.
        device: Not looked at: the server has its own.

    Raises:
        ModelLoadFailed: The key or an option is missing or wrong.
    """
    options = HostedClipOptions.of(spec)
    client = openai_client(spec, location, options.timeout_s)
    intake = Intake(spec, options, SafetyClassifier.load(options.safety_dir))
    server = VideoServer(spec, client, options, intake)
    return TaskStepper(options.slots, server.make, client.close)


class VideoServer:
    """A server that makes clips."""

    def __init__(
        self,
        spec: ModelSpec,
        client: openai.AsyncOpenAI,
        options: HostedClipOptions,
        intake: Intake,
    ) -> None:
        self._spec = spec
        self._model = endpoint_of(spec).model
        self._client = client
        self._options = options
        self._intake = intake

    async def make(self, request: VideoRequest, control: Control) -> AsyncIterator[HandlerEvent]:
        """Yield the events of one job."""
        order = order_for(request, self._options, self._spec.name, takes_seed=False)
        order = await asyncio.to_thread(
            with_first_frame, order, request, control, self._intake.safety
        )
        for sentence in order.notices:
            yield Notice(sentence)
        yield Progress("waiting for the model's server")
        bill = Bill(self._spec, control)
        ordering = asyncio.create_task(self._order(request, order))
        try:
            with bill.sent(order.price):
                video = await asyncio.shield(ordering)
            async with aclosing(polled(lambda: self._look(video.id), self._options)) as looks:
                async for video in looks:
                    if video.status == "failed":
                        bill.count(Amounts())
                        raise _failure(video)
                    if video.status == "completed":
                        break
                    yield Progress("making the clip", (video.progress or 0) / 100 or None)
            yield Progress("fetching the clip", 1.0)
            data = await self._fetch(video.id)
        finally:
            await self._forget(ordering)
        yield await asyncio.to_thread(self._intake.finished, request, order, data, control, None)

    async def _order(self, request: VideoRequest, order: Order) -> Video:
        import openai

        prompt = request.prompt
        if request.negative_prompt.strip():  # it has no field for that, and reads sentences
            prompt += f"\n\nLeave out: {request.negative_prompt.strip()}"
        wishes: dict[str, Any] = {
            "model": self._model,
            "prompt": prompt,
            "seconds": str(order.seconds),
            "size": order.size,
        }
        if order.first_frame is not None:
            wishes["input_reference"] = ("first-frame.png", order.first_frame, PNG)
        try:
            return await patiently(lambda: self._client.videos.create(**wishes))
        except openai.OpenAIError as error:
            raise translate(error) from error
        except ValueError as error:  # what came is not JSON
            raise BackendError from error

    async def _look(self, video_id: str) -> Video:
        import openai

        try:
            return await self._client.videos.retrieve(video_id)
        except openai.OpenAIError as error:
            raise translate(error) from error
        except ValueError as error:
            raise BackendError from error

    async def _fetch(self, video_id: str) -> bytes:
        import openai

        videos = self._client.videos
        try:
            file = await patiently(lambda: videos.download_content(video_id))
            return file.content
        except openai.OpenAIError as error:
            raise translate(error) from error

    async def _forget(self, ordering: asyncio.Task[Video]) -> None:
        """Delete what the server has; a cancel may come while it still takes the order in."""
        import openai

        with suppress(openai.OpenAIError, HandlerError, ValueError):
            video = await ordering
            await self._client.videos.delete(video.id)


def _failure(video: Video) -> HandlerError:
    if video.error is None:
        return BackendError("The model's server failed. Please try again.")
    known = reason_of(f"{video.error.code} {video.error.message}")
    return known or BackendError("The model's server could not make this clip. Please try again.")
