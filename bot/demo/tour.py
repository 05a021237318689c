"""A short tour of the bot: a question, a spoken sentence, that sentence written down, a sign read.

This module owns the steps and what each must have brought about. The steps go the way of a member:
commands and files into the channel, messages out of it; nothing is checked behind Discord's back.
"""

from __future__ import annotations

import difflib
import io
import re
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.demo.channel import ShownMessage
from bot.demo.world import World
from bot.services.container import Services
from bot.views.ids import VERSION
from models.contracts import Modality
from models.errors import HandlerError

QUESTION: Final = (
    "What is the capital of France, and what is it famous for? Answer in a short paragraph."
)
SENTENCE: Final = "The captain measured the height of the sun above the sea at noon."
SIGN: Final = "Harbour office\nOpen daily from 9 to 17\nRing twice for the pilot"

_PATIENCE_S: Final = 300.0
"""The first answer waits for weights to be converted, on a machine that may be busy."""

_VOICE_FOLLOWS_S: Final = 20.0
"""The voice message comes right after the message that controls it."""

_SECONDS_PER_WORD: Final = (0.15, 1.2)
_LEAST_LIKENESS: Final = 0.8


class StepFailed(Exception):
    """A step did not bring about what it should. The message says what came instead."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step that was played, as it stands in the table."""

    command: str
    model: str
    seconds: float
    outcome: str
    succeeded: bool


class Tour:
    """Plays the steps in order; a failed one does not keep the others from being tried."""

    def __init__(self, world: World, services: Services, tell: Callable[[Step], None]) -> None:
        self._world = world
        self._services = services
        self._tell = tell
        self._clip = b""

    async def play(self) -> list[Step]:
        """Play every step, tell of each as it ends, and return them."""
        return [
            await self._play("/config set transcription.automatic on", None, self._switch_on),
            await self._play("/ask", Modality.TEXT, self._ask),
            await self._play("/speak", Modality.SPEECH, self._speak),
            await self._play("(a file dropped)", Modality.TRANSCRIPTION, self._drop),
            await self._play("/describe", Modality.VISION, self._read),
        ]

    async def _play(
        self, command: str, modality: Modality | None, act: Callable[[], Awaitable[str]]
    ) -> Step:
        began = time.monotonic()
        model = "-"
        try:
            model = self._model(modality) if modality else "-"
            outcome, succeeded = await act(), True
        except TimeoutError:
            outcome, succeeded = "nothing came in time", False
        except HandlerError as error:
            outcome, succeeded = error.user_message, False
        except StepFailed as error:
            outcome, succeeded = str(error), False
        step = Step(command, model, time.monotonic() - began, outcome, succeeded)
        self._tell(step)
        return step

    def _model(self, modality: Modality) -> str:
        """Return the model that the bot itself would take here."""
        world = self._world
        return self._services.admission.model_for(
            modality, world.guild.id, world.channel.id, None
        ).id

    # ---------------------------------------------------------------- steps

    async def _switch_on(self) -> str:
        answer = await self._command(
            "config set", key="transcription.automatic", value="on", channel=self._world.channel
        )
        if "transcription.automatic" not in answer.content:
            raise StepFailed(f"the answer was: {answer.content!r}")
        return f"#{self._world.channel.name} writes recordings down"

    async def _ask(self) -> str:
        answer = await self._command("ask", prompt=QUESTION, temperature=0.0, max_tokens=160)
        text = _without_quotes(answer.content)
        if "Paris" not in text:
            raise StepFailed(f"the answer does not name Paris: {text!r}")
        return f"names Paris, {len(text)} characters"

    async def _speak(self) -> str:
        await self._command("speak", text=SENTENCE)
        message = await self._world.until(self._voice_message, _VOICE_FOLLOWS_S)
        data = self._world.view.read(message.files[0])
        duration_s = _playable_s(data)
        least, most = (len(SENTENCE.split()) * each for each in _SECONDS_PER_WORD)
        if not least <= duration_s <= most:
            raise StepFailed(f"the voice message lasts {duration_s:.1f} s")
        self._clip = data
        return f"voice message, {duration_s:.1f} s of Ogg Opus"

    async def _drop(self) -> str:
        if not self._clip:
            raise StepFailed("there is no voice message to drop")
        world = self._world
        dropped = await world.env.act(
            world.member.send(world.channel, attachments=[("memo.ogg", self._clip)])
        )
        transcript = await world.until(lambda: self._answer_to(str(dropped.id)), _PATIENCE_S)
        heard = _quoted(transcript.content)
        likeness = _likeness(heard, SENTENCE)
        if likeness < _LEAST_LIKENESS:
            raise StepFailed(f"heard {heard!r}")
        return f"“{heard}”, {likeness:.0%} alike"

    async def _read(self) -> str:
        answer = await self._command("describe", task="ocr", picture=("sign.png", _drawn(SIGN)))
        if not all(line in answer.content for line in SIGN.splitlines()):
            raise StepFailed(f"read {answer.content!r}")
        return f"every line of a sign, {len(SIGN.splitlines())} in all"

    # ---------------------------------------------------------------- what is seen

    async def _command(self, name: str, **options: object) -> ShownMessage:
        """Give a command and return its answer in its final form.

        Raises:
            StepFailed: There was no answer, or it tells of a failure.
        """
        world = self._world
        result = await world.env.act(world.member.slash(world.channel, name, **options))
        response = result.response
        if response is None:
            raise StepFailed("the bot did not answer in time")
        answer = await world.until(
            lambda: _finished(world.view.message(str(response.id))), _PATIENCE_S
        )
        if answer.content.startswith("⚠️"):
            raise StepFailed(answer.content.removeprefix("⚠️").strip())
        return answer

    def _voice_message(self) -> ShownMessage | None:
        messages = self._world.view.messages()
        return next((m for m in messages if m.by_bot and m.voice and m.files), None)

    def _answer_to(self, message_id: str) -> ShownMessage | None:
        """Return the bot's reply to a message, once it has replaced its first words."""
        messages = self._world.view.messages()
        return _finished(next((m for m in messages if m.reply_to == message_id and m.edited), None))


def _finished(message: ShownMessage | None) -> ShownMessage | None:
    """Pass a message on once the bot has said its last word in it."""
    working = message is None or message.thinking or message.button(f"{VERSION}:stop:")
    return None if working else message


def _playable_s(data: bytes) -> float:
    """Decode a voice message to its end and return its length in seconds.

    Raises:
        HandlerError: It cannot be decoded.
        StepFailed: It is not Ogg Opus.
    """
    from models.media import SAMPLING_RATE_HZ, decode_audio, probe_audio

    with tempfile.NamedTemporaryFile(suffix=".ogg") as file:
        file.write(data)
        file.flush()
        path = Path(file.name)
        codec = probe_audio(path).codec
        if codec != "opus" or not data.startswith(b"OggS"):
            raise StepFailed(f"the voice message is {codec}, not Ogg Opus")
        return sum(block.size for block in decode_audio(path)) / SAMPLING_RATE_HZ


def _drawn(text: str) -> bytes:
    """Return a sign as PNG: dark letters on a light board."""
    from PIL import Image, ImageDraw, ImageFont

    board = Image.new("RGB", (640, 260), "#f4efe2")
    pen = ImageDraw.Draw(board)
    pen.rectangle((8, 8, 631, 251), outline="#27496d", width=6)
    pen.multiline_text((48, 48), text, "#142850", ImageFont.load_default(44), spacing=14)
    data = io.BytesIO()
    board.save(data, "PNG")
    return data.getvalue()


def _quoted(content: str) -> str:
    return " ".join(line[2:] for line in content.splitlines() if line.startswith("> ")).strip()


def _without_quotes(content: str) -> str:
    lines = (line for line in content.splitlines() if not line.startswith((">", "-#")))
    return "\n".join(lines).strip()


def _likeness(one: str, other: str) -> float:
    """Return how alike two sentences are, word by word, from 0 to 1."""
    heard, said = (re.findall(r"\w+", text.lower()) for text in (one, other))
    return difflib.SequenceMatcher(a=heard, b=said).ratio()
