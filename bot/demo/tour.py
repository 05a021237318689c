"""A short tour of the bot: what it makes of words is looked at and listened to by its other models.

This module owns the steps and what each must have brought about. The steps go the way of a member:
commands, files and presses of buttons into the channel, messages out of it; nothing is checked
behind Discord's back. What has no model here is left out.
"""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bot.demo import checks
from bot.demo.channel import ShownMessage
from bot.demo.checks import StepFailed
from bot.demo.member import Member
from bot.demo.world import World
from bot.services.container import Services
from bot.views.ids import VERSION
from models.catalog import ModelSpec
from models.contracts import Modality
from models.errors import HandlerError

if TYPE_CHECKING:
    from PIL import Image

QUESTION: Final = (
    "What is the capital of France, and what is it famous for? Answer in a short paragraph."
)
COLOUR, KIND = "red", "boat"
PICTURE: Final = f"a {COLOUR} {KIND} on the water at sunset"
CLIP: Final = f"a {COLOUR} {KIND} sails on the water at sunset"
SENTENCE: Final = "The captain measured the height of the sun above the sea at noon."
SIGN: Final = "Harbour office\nOpen daily from 9 to 17\nRing twice for the pilot"

SEED: Final = 1
"""So that everybody who plays the tour sees the same picture, and the same clip."""

_SECONDS_PER_WORD: Final = (0.15, 1.2)
_LEAST_LIKENESS: Final = 0.8


class LeftOut(Exception):
    """A step is not played here. The message says why."""


class State(StrEnum):
    """How a step ended."""

    DONE = "done"
    FAILED = "failed"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Step:
    """One step, as it stands in the table."""

    command: str
    model: str
    seconds: float
    outcome: str
    state: State


@dataclass(frozen=True, slots=True)
class _Need:
    """A model that a step needs.

    Attributes:
        does: What the model does, in words.
        able: What it has to be able to do besides its modality.
    """

    modality: Modality
    does: str
    able: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A step to play; where ``after`` is left out, it is not even told of."""

    command: str
    act: Callable[[], Awaitable[str]]
    need: _Need | None = None
    after: str = ""


_TEXT = _Need(Modality.TEXT, "answers questions")
_PICTURES = _Need(Modality.IMAGE, "draws pictures")
_CAPTIONS = _Need(Modality.VISION, "describes pictures", "caption")
_CLIPS = _Need(Modality.VIDEO, "makes clips")
_SPEECH = _Need(Modality.SPEECH, "speaks")
_TRANSCRIPTS = _Need(Modality.TRANSCRIPTION, "writes recordings down")
_READING = _Need(Modality.VISION, "reads pictures", "ocr")


class Tour:
    """Plays the steps in order; a failed one does not keep the others from being tried."""

    def __init__(self, world: World, services: Services, tell: Callable[[Step], None]) -> None:
        self._world = world
        self._ada = Member(world)
        self._services = services
        self._tell = tell
        self._picture: ShownMessage | None = None
        self._frame = b""
        self._voice = b""

    async def play(self) -> list[Step]:
        """Play every step, tell of each as it ends, and return them."""
        steps: dict[str, Step] = {}
        for plan in self._plans():
            before = steps.get(plan.after)
            if plan.after and (before is None or before.state is State.LEFT_OUT):
                continue
            step = await self._play(plan)
            self._tell(step)
            steps[plan.command] = step
        return list(steps.values())

    def _plans(self) -> tuple[_Plan, ...]:
        return (
            _Plan("/config set transcription.automatic on", self._switch_on),
            _Plan("/ask", self._ask, _TEXT),
            _Plan("/imagine", self._draw, _PICTURES),
            _Plan("(Describe pressed)", self._describe_picture, _CAPTIONS, after="/imagine"),
            _Plan("/video", self._film, _CLIPS),
            _Plan("/describe task:caption", self._describe_frame, _CAPTIONS, after="/video"),
            _Plan("/speak", self._speak, _SPEECH),
            _Plan("(a file dropped)", self._drop, _TRANSCRIPTS, after="/speak"),
            _Plan("/describe task:ocr", self._read, _READING),
        )

    async def _play(self, plan: _Plan) -> Step:
        began = time.monotonic()
        model, state = "-", State.FAILED
        try:
            if plan.need:
                model = self._model(plan.need).id
            outcome, state = await plan.act(), State.DONE
        except LeftOut as reason:
            outcome, state = str(reason), State.LEFT_OUT
        except TimeoutError:
            outcome = "nothing came in time"
        except HandlerError as error:
            outcome = error.user_message
        except StepFailed as error:
            outcome = str(error)
        return Step(plan.command, model, time.monotonic() - began, outcome, state)

    def _model(self, need: _Need) -> ModelSpec:
        """Return the model that the bot itself would take here.

        Raises:
            LeftOut: There is none, or it is not to be asked without need.
        """
        world, admission = self._world, self._services.admission
        lacking = f"no model of the profile `{self._services.settings.profile}` {need.does}"
        if need.modality not in admission.profile.defaults:
            raise LeftOut(lacking)
        spec = admission.model_for(need.modality, world.guild.id, world.channel.id, able=need.able)
        if need.able and need.able not in spec.capabilities:
            raise LeftOut(lacking)
        if spec.is_hosted and need in (_PICTURES, _CLIPS):
            raise LeftOut(f"{spec.name} costs money each time")
        return spec

    def _seed(self, need: _Need) -> dict[str, int]:
        return {"seed": SEED} if "seed" in self._model(need).capabilities else {}

    # ---------------------------------------------------------------- steps

    async def _switch_on(self) -> str:
        answer = await self._ada.command(
            "config set", key="transcription.automatic", value="on", channel=self._world.channel
        )
        if "transcription.automatic" not in answer.content:
            raise StepFailed(f"the answer was: {answer.content!r}")
        return f"#{self._world.channel.name} writes recordings down"

    async def _ask(self) -> str:
        answer = await self._ada.command("ask", prompt=QUESTION, temperature=0.0, max_tokens=160)
        text = _without_quotes(answer.content)
        if "Paris" not in text:
            raise StepFailed(f"the answer does not name Paris: {text!r}")
        return f"names Paris, {len(text)} characters"

    async def _draw(self) -> str:
        answer = await self._ada.command("imagine", prompt=PICTURE, **self._seed(_PICTURES))
        width, height = checks.shown_px(self._ada.file(answer))
        self._picture = answer
        return f"a picture of {width} × {height} pixels"

    async def _describe_picture(self) -> str:
        button = self._picture and self._picture.button(f"{VERSION}:pic:describe:")
        if not self._picture or not button:
            raise StepFailed("there is no picture to describe")
        answer = await self._ada.press(self._picture, button)
        return _what_was_asked_for(answer.content)

    async def _film(self) -> str:
        answer = await self._ada.command("video", prompt=CLIP, **self._seed(_CLIPS))
        seconds, frame = checks.moving_s(self._ada.file(answer))
        self._frame = _png(frame)
        return f"a clip of {seconds:.1f} s in which something moves"

    async def _describe_frame(self) -> str:
        if not self._frame:
            raise StepFailed("there is no clip to take a frame of")
        answer = await self._ada.command(
            "describe", task="caption", picture=("frame.png", self._frame)
        )
        return _what_was_asked_for(answer.content)

    async def _speak(self) -> str:
        await self._ada.command("speak", text=SENTENCE)
        message = await self._ada.voice_message()
        data = self._ada.file(message)
        duration_s = checks.spoken_s(data)
        least, most = (len(SENTENCE.split()) * each for each in _SECONDS_PER_WORD)
        if not least <= duration_s <= most:
            raise StepFailed(f"the voice message lasts {duration_s:.1f} s")
        self._voice = data
        return f"voice message, {duration_s:.1f} s of Ogg Opus"

    async def _drop(self) -> str:
        if not self._voice:
            raise StepFailed("there is no voice message to drop")
        transcript = await self._ada.drop("memo.ogg", self._voice)
        heard = _quoted(transcript.content)
        likeness = checks.likeness(heard, SENTENCE)
        if likeness < _LEAST_LIKENESS:
            raise StepFailed(f"heard {heard!r}")
        return f"“{heard}”, {likeness:.0%} alike"

    async def _read(self) -> str:
        answer = await self._ada.command("describe", task="ocr", picture=("sign.png", _drawn(SIGN)))
        if not all(line in answer.content for line in SIGN.splitlines()):
            raise StepFailed(f"read {answer.content!r}")
        return f"every line of a sign, {len(SIGN.splitlines())} in all"


def _what_was_asked_for(content: str) -> str:
    """Return a description in quotation marks.

    Raises:
        StepFailed: It does not name what the picture should show.
    """
    text = _without_quotes(content).removeprefix("👁️").strip()
    if not checks.names(text, COLOUR, KIND):
        raise StepFailed(f"described as {text!r}")
    return f"“{text}”"


def _drawn(text: str) -> bytes:
    """Return a sign as PNG: dark letters on a light board."""
    from PIL import Image, ImageDraw, ImageFont

    board = Image.new("RGB", (640, 260), "#f4efe2")
    pen = ImageDraw.Draw(board)
    pen.rectangle((8, 8, 631, 251), outline="#27496d", width=6)
    pen.multiline_text((48, 48), text, "#142850", ImageFont.load_default(44), spacing=14)
    return _png(board)


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def _quoted(content: str) -> str:
    return " ".join(line[2:] for line in content.splitlines() if line.startswith("> ")).strip()


def _without_quotes(content: str) -> str:
    lines = (line for line in content.splitlines() if not line.startswith((">", "-#")))
    return "\n".join(lines).strip()
