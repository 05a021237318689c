"""Clips from Google's Veo on the Gemini Enterprise Agent Platform: the backend ``google-video``.

This module owns the requests, and the key file of a service account that they are signed with.
Several jobs may wait for the server at once. Google has no call that stops a clip which is being
made: a cancel here only ends the wait for it. It must not read a key from anywhere but the file
that the catalogue's variable names.

Google's other API, that of AI Studio, has no Veo any more since 22 October 2026.

Source: https://docs.cloud.google.com/vertex-ai/docs/generative-ai/video/generate-videos
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from models.catalog import ModelSpec
from models.contracts import Control, HandlerEvent, Notice, Progress, VideoRequest
from models.errors import BackendError, BackendRefused, HandlerError, ModelLoadFailed
from models.hosted import Bill, endpoint_of, key_of, reason_of, translate_google
from models.image.pictures import PNG
from models.image.safety import SafetyClassifier
from models.prices import Amounts
from models.tasks import TaskStepper
from models.video.hosted import Intake, Order, order_for, polled, with_first_frame
from models.video.options import HostedClipOptions

if TYPE_CHECKING:
    from google import genai
    from google.genai.types import GenerateVideosOperation

_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
_UNSAFE: Final = "The model's server refused this because of its content rules."


def load(spec: ModelSpec, location: str, device: str) -> TaskStepper:
    """Get ready to ask a server; it is not asked yet.

    Args:
        spec: Row of the catalogue, with an endpoint as its source; the variable that it names has
            the path of a service account's key file.
        location: Base URL of the server.
        device: Not looked at: the server has its own.

    Raises:
        ModelLoadFailed: The key file or an option is missing or wrong.
    """
    options = HostedClipOptions.of(spec)
    client = _client(spec, location, options)
    intake = Intake(spec, options, SafetyClassifier.load(options.safety_dir))
    server = VeoServer(spec, client, options, intake)
    return TaskStepper(options.slots, server.make, client.aio.aclose)


class VeoServer:
    """A server that makes clips."""

    def __init__(
        self, spec: ModelSpec, client: genai.Client, options: HostedClipOptions, intake: Intake
    ) -> None:
        self._spec = spec
        self._model = endpoint_of(spec).model
        self._client = client
        self._options = options
        self._intake = intake

    async def make(self, request: VideoRequest, control: Control) -> AsyncIterator[HandlerEvent]:
        """Yield the events of one job."""
        from google.auth.exceptions import GoogleAuthError

        order = order_for(request, self._options, self._spec.name, takes_seed=True)
        order = await asyncio.to_thread(
            with_first_frame, order, request, control, self._intake.safety
        )
        for sentence in order.notices:
            yield Notice(sentence)
        yield Progress("waiting for the model's server")
        seed = secrets.randbits(32) if request.seed is None else request.seed
        bill = Bill(self._spec, control)
        with bill.sent(order.price, GoogleAuthError):
            operation = await self._order(request, order, seed)
        async with aclosing(polled(lambda: self._look(operation), self._options)) as looks:
            async for state in looks:
                if state.done:
                    break
                yield Progress("making the clip")
        try:
            data = _file_of(state)
        except BackendError:
            bill.count(Amounts())  # only clips that were made are charged for
            raise
        yield await asyncio.to_thread(self._intake.finished, request, order, data, control, seed)

    async def _order(
        self, request: VideoRequest, order: Order, seed: int
    ) -> GenerateVideosOperation:
        from google.genai import types

        wide = order.width_px >= order.height_px
        first = order.first_frame
        image = None if first is None else types.Image(image_bytes=first, mime_type=PNG)
        wishes = types.GenerateVideosConfig(
            number_of_videos=1,
            duration_seconds=order.seconds,
            aspect_ratio="16:9" if wide else "9:16",
            resolution=f"{min(order.width_px, order.height_px)}p",
            seed=seed,
            negative_prompt=request.negative_prompt.strip() or None,
        )
        source = types.GenerateVideosSource(prompt=request.prompt, image=image)
        models = self._client.aio.models
        try:
            return await models.generate_videos(model=self._model, source=source, config=wishes)
        except _raised() as error:
            raise translate_google(error) from error

    async def _look(self, operation: GenerateVideosOperation) -> GenerateVideosOperation:
        try:
            return await self._client.aio.operations.get(operation)
        except _raised() as error:
            raise translate_google(error) from error


def _client(spec: ModelSpec, location: str, options: HostedClipOptions) -> genai.Client:
    from google import genai
    from google.genai.types import HttpOptions, HttpRetryOptions
    from google.oauth2.service_account import Credentials

    try:
        credentials: Any = Credentials.from_service_account_file(key_of(spec), scopes=_SCOPES)
    except (OSError, ValueError) as error:
        name = endpoint_of(spec).api_key_env
        raise ModelLoadFailed(
            f"`{name}` does not name the key file of a service account. Tell the owner."
        ) from error
    return genai.Client(
        enterprise=True,
        credentials=credentials,
        project=credentials.project_id,
        location=options.location,
        http_options=HttpOptions(
            base_url=location,
            timeout=int(options.timeout_s * 1000),
            # Left out, the SDK sends an order again after a lost connection: two clips to pay for.
            retry_options=HttpRetryOptions(attempts=1),
        ),
    )


def _file_of(operation: GenerateVideosOperation) -> bytes:
    """Return the clip that was made.

    Raises:
        BackendRefused: The content rules took it away.
        BackendError: There is none.
    """
    if operation.error is not None:
        raise _failure(str(operation.error.get("message", "")))
    answer = operation.result
    videos = (answer.generated_videos if answer is not None else None) or []
    for made in videos:
        if made.video is not None and made.video.video_bytes:
            return bytes(made.video.video_bytes)
    if answer is not None and (answer.rai_media_filtered_count or 0) > 0:
        raise BackendRefused(_UNSAFE)
    raise BackendError("The model's server gave no clip. Please try again.")


def _failure(message: str) -> HandlerError:
    known = reason_of(message)
    return known or BackendError("The model's server could not make this clip. Please try again.")


def _raised() -> tuple[type[Exception], ...]:
    """Return what the SDK lets through: its own errors, those of the connection, broken JSON."""
    import aiohttp
    import httpx2
    from google.auth.exceptions import GoogleAuthError
    from google.genai.errors import APIError

    return (APIError, GoogleAuthError, aiohttp.ClientError, httpx2.HTTPError, OSError, ValueError)
