"""Speech from OpenAI's API, and from other servers that speak it.

This module owns the requests: one for each sentence, so that long texts have no limit, pauses are
the member's choice and a cancel closes the connection. It must not read a key from anywhere but the
variable that the catalogue names.

Source: https://developers.openai.com/api/docs/guides/text-to-speech
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field

from models.asking import Asker, in_thread
from models.catalog import ModelSpec
from models.contracts import (
    Control,
    HandlerEvent,
    Notice,
    SpeechRequest,
)
from models.errors import BackendError, ModelLoadFailed
from models.hosted import Bill, endpoint_of, openai_client, patiently, translate
from models.options import Options
from models.prices import Amounts, spoken
from models.speech.narration import Voice, chosen_voice, narrate
from models.tasks import TaskStepper

if TYPE_CHECKING:
    import openai

    from models.media import Samples


class HostedSpeechOptions(Options):
    """Load-time options of a server, from the catalogue.

    Attributes:
        slots: How many jobs may wait for the server at once.
        timeout_s: Longest silence of the server, in seconds.
        max_chars: Longest piece that is sent at once.
        instructions: How to speak, where the model can be told.
        sampling_rate_hz: Of the raw samples that the server sends.
        cache_dir, phonemes_dir: Set by the engine; neither is used here.
    """

    slots: int = Field(4, ge=1, le=64)
    timeout_s: float = Field(60.0, gt=0)
    max_chars: int = Field(1000, ge=50, le=4096)
    instructions: str = Field("", max_length=4000)
    sampling_rate_hz: int = Field(24_000, ge=8000, le=48_000)
    cache_dir: str = ""
    phonemes_dir: str = ""


def load(spec: ModelSpec, location: str, device: str) -> TaskStepper:
    """Get ready to ask a server; it is not asked yet.

    Args:
        spec: Row of the catalogue, with an endpoint as its source and the names of the voices.
        location: Base URL of the server.
        device: Not looked at: the server has its own.

    Raises:
        ModelLoadFailed: The key, the voices or an option are missing or wrong.
    """
    if not spec.voices:
        raise ModelLoadFailed(f"`{spec.id}` needs the names of its voices. Tell the owner.")
    options = HostedSpeechOptions.of(spec)
    client = openai_client(spec, location, options.timeout_s)
    return TaskStepper(options.slots, SpeechServer(spec, client, options).speak, client.close)


class SpeechServer:
    """A server that speaks."""

    def __init__(
        self, spec: ModelSpec, client: openai.AsyncOpenAI, options: HostedSpeechOptions
    ) -> None:
        self._spec = spec
        self._model = endpoint_of(spec).model
        self._client = client
        self._options = options

    def speak(self, request: SpeechRequest, control: Control) -> AsyncIterator[HandlerEvent]:
        """Yield the events of one job."""
        return in_thread(lambda asker: self._narrated(request, control, asker))

    def _narrated(
        self, request: SpeechRequest, control: Control, asker: Asker
    ) -> Iterator[HandlerEvent]:
        name = chosen_voice(self._spec, request, list(self._spec.voices))
        if request.seed is not None:
            yield Notice(f"{self._spec.name} takes no seed, so yours was not used.")
        rate_hz = self._options.sampling_rate_hz
        bill = Bill(self._spec, control)

        def speak(text: str) -> Samples:
            with bill.sent(spoken(text, request.speed)):
                samples = asker(self._ask(text, name, request.speed))
            bill.count(Amounts(characters=len(text), sound_s=samples.size / rate_hz))
            return samples

        voice = Voice(name, rate_hz, self._options.max_chars, speak)
        yield from narrate(self._spec, request, control, voice, None)

    async def _ask(self, text: str, voice: str, speed: float) -> Samples:
        """Return a sentence as samples."""
        import numpy as np
        import openai

        parameters: dict[str, Any] = {"model": self._model, "input": text, "voice": voice}
        if speed != 1.0:
            parameters["speed"] = speed
        if self._options.instructions:
            parameters["instructions"] = self._options.instructions
        ask = self._client.audio.speech.create
        try:
            answer = await patiently(lambda: ask(**parameters, response_format="pcm"))
        except openai.OpenAIError as error:
            raise translate(error) from error
        data = answer.content
        if not data or answer.response.headers.get("content-type", "").startswith("text/"):
            raise BackendError("The model's server sent no sound. Please try again.")
        return (np.frombuffer(data[: len(data) // 2 * 2], "<i2") / 32768).astype(np.float32)
