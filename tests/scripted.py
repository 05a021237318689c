"""A fake backend that does what the request's text says.

A prompt's lines that begin with ``!`` are directives; the rest is what the fake answers, word by
word. The same backend runs in a process (``tests.scripted:resolve``) and inline (``Stage``).

    !sleep 0.5      take so many seconds, as one step
    !delay 0.1      take so many seconds for each word from here on
    !words 20       answer with so many words
    !think why      stream reasoning
    !notice careful tell the member something
    !progress 0.5   report a fraction
    !refuse no      raise UnsupportedOption with that sentence
    !bug            raise ValueError
    !crash          end the worker by SIGKILL
    !hang           never return, whatever is asked
    !touch /a/file  make an empty file, as a sign for whoever waits for this line
    !eat 300        take so many MiB and keep them for a while
    !leak 300       take so many MiB and never give them back
    !silent         end without a result
    !preview red    show a picture under way
    !unsafe 0.9     let the safety check say so of what comes out
    !log careful    log a warning
    !charge 2500    say that a provider charges so many millionths of a dollar; ? is unknown

Pictures and clips are real, small files, of the first colour that the prompt names; see
``tests.fake_pictures``.

The same lines in ``spec.options["script"]`` come first in every job of a model, and
``spec.options["load"]`` is a script for its loading. ``spec.options["slots"]`` makes it a batch, of
which ``joins`` and ``exact`` say what they say of a ``Stepper``.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bot.engine.inline import InlinePort
from bot.engine.worker import LoadBackend
from models.catalog import ModelSpec
from models.contracts import (
    Control,
    Finished,
    HandlerEvent,
    ImageRequest,
    Joins,
    Notice,
    Preview,
    Progress,
    Request,
    Segment,
    SpeechRequest,
    SpeechResult,
    TextDelta,
    TextRequest,
    TextResult,
    TranscriptionRequest,
    TranscriptionResult,
    Usage,
    VideoRequest,
)
from models.errors import UnsupportedOption
from tests.fake_pictures import SeenRequest, jpeg, seen_result

Sleep = Callable[[float], None]
FOREVER_S = 1e6

_LEAKED: list[bytes] = []


class Script:
    """Carries out directives. ``inline`` plays a crash instead of dying of it."""

    def __init__(self, sleep: Sleep, *, inline: bool, control: Control | None = None) -> None:
        self.unsafe_score: float | None = None
        self._sleep = sleep
        self._inline = inline
        self._control = control
        self._delay_s = 0.0

    def run(self, text: str) -> Iterator[HandlerEvent]:
        """Yield the events of a script; words of the answer are TextDelta."""
        for line in text.splitlines() or [""]:
            if line.startswith("!"):
                name, _, value = line[1:].partition(" ")
                yield from getattr(self, f"_do_{name}")(value) or ()
            else:
                yield from self._say(line.split())

    def _say(self, words: Sequence[str]) -> Iterator[HandlerEvent]:
        for word in words:
            self._sleep(self._delay_s)
            yield TextDelta(f"{word} ")

    def _do_sleep(self, value: str) -> Iterator[HandlerEvent]:
        self._sleep(float(value))
        yield Progress("sleeping")

    def _do_delay(self, value: str) -> None:
        self._delay_s = float(value)

    def _do_words(self, value: str) -> Iterator[HandlerEvent]:
        return self._say([f"word{number}" for number in range(int(value))])

    def _do_think(self, value: str) -> Iterator[HandlerEvent]:
        yield TextDelta(value, "reasoning")

    def _do_log(self, value: str) -> None:
        logging.getLogger("library").warning("%s", value)

    def _do_notice(self, value: str) -> Iterator[HandlerEvent]:
        yield Notice(value)

    def _do_progress(self, value: str) -> Iterator[HandlerEvent]:
        yield Progress("working", float(value))

    def _do_refuse(self, value: str) -> None:
        raise UnsupportedOption(value or "This model does not do that.")

    def _do_bug(self, value: str) -> None:
        raise ValueError(value or "a bug in a backend")

    def _do_crash(self, value: str) -> None:
        if self._inline:
            raise SystemExit(value)
        os.kill(os.getpid(), signal.SIGKILL)

    def _do_touch(self, value: str) -> None:
        Path(value).touch()

    def _do_hang(self, value: str) -> Iterator[HandlerEvent]:
        self._sleep(FOREVER_S)
        yield Progress("awake")

    def _do_eat(self, value: str) -> Iterator[HandlerEvent]:
        taken = bytearray(os.urandom(1 << 20) * int(value))
        self._sleep(5.0)
        yield Progress(f"held {len(taken)} bytes")

    def _do_leak(self, value: str) -> None:
        _LEAKED.append(os.urandom(1 << 20) * int(value))

    def _do_preview(self, value: str) -> Iterator[HandlerEvent]:
        assert self._control is not None
        yield Preview(self._control.store(jpeg(value), "preview.jpg", "image/jpeg"))

    def _do_unsafe(self, value: str) -> None:
        self.unsafe_score = float(value)

    def _do_charge(self, value: str) -> None:
        assert self._control is not None
        self._control.charge(None if value == "?" else int(value))

    def _do_silent(self, value: str) -> None:
        raise _Silent


class _Silent(Exception):
    """The script ends without a result."""


class FakeHandler:
    """Runs scripts of all modalities."""

    def __init__(self, spec: ModelSpec, sleep: Sleep, *, inline: bool) -> None:
        self._script = str(spec.options.get("script", ""))
        self._sleep = sleep
        self._inline = inline

    def run(self, request: Request, control: Control) -> Iterator[HandlerEvent]:
        answer: list[str] = []
        reasoning: list[str] = []
        text = "\n".join(filter(None, (self._script, text_of(request))))
        script = Script(self._sleep, inline=self._inline, control=control)
        try:
            for event in script.run(text):
                if isinstance(event, TextDelta):
                    (answer if event.channel == "answer" else reasoning).append(event.text)
                yield event
                if control.cancelled:
                    return
        except _Silent:
            return
        said = "".join(answer).strip()
        if isinstance(request, SeenRequest):
            yield Finished(seen_result(request, control, said, script.unsafe_score))
        else:
            yield Finished(self._result(request, control, said, "".join(reasoning)))

    def close(self) -> None:
        pass

    def _result(
        self,
        request: TextRequest | SpeechRequest | TranscriptionRequest,
        control: Control,
        answer: str,
        reasoning: str,
    ) -> TextResult | SpeechResult | TranscriptionResult:
        if isinstance(request, TextRequest):
            return TextResult(answer, Usage(len(answer.split()), "tokens"), reasoning)
        if isinstance(request, SpeechRequest):
            media = control.store(b"OggS" + answer.encode(), "speech.ogg", "audio/ogg")
            used = Usage(len(request.text), "characters")
            return SpeechResult(media, 1.5, bytes(range(0, 256, 4)), used, voice="fake")
        seconds = control.open(request.media).stat().st_size / 1000
        speaker = "Speaker 1" if request.speakers else ""
        segments = (Segment(0.0, seconds, answer or "hello there", (), speaker),)
        return TranscriptionResult(segments, "en", seconds, Usage(seconds, "seconds"))


class FakeBatch:
    """A stepper of several slots: every job advances by one event a step."""

    def __init__(self, handler: FakeHandler, options: Mapping[str, Any]) -> None:
        self.slots = int(options["slots"])
        self.joins: Joins = options.get("joins", "anytime")
        self.exact = bool(options.get("exact", False))
        self._handler = handler
        self._jobs: dict[str, Iterator[HandlerEvent]] = {}

    def admit(self, job_id: str, request: Request, control: Control) -> None:
        self._jobs[job_id] = self._handler.run(request, control)

    def step(self) -> list[tuple[str, HandlerEvent | Exception]]:
        return [(job_id, self._advance(job_id)) for job_id in tuple(self._jobs)]

    def _advance(self, job_id: str) -> HandlerEvent | Exception:
        try:
            event: HandlerEvent | Exception = next(self._jobs[job_id])
        except Exception as error:  # noqa: BLE001 - as a real stepper does
            event = error
        if isinstance(event, Finished | Exception):
            del self._jobs[job_id]
        return event

    def cancel(self, job_id: str) -> None:
        self._jobs.pop(job_id, None)

    def close(self) -> None:
        self._jobs.clear()


def text_of(request: Request) -> str:
    """Return the script of a request."""
    if isinstance(request, TextRequest):
        return request.messages[-1].content
    if isinstance(request, ImageRequest | VideoRequest):
        return request.prompt
    return request.text if isinstance(request, SpeechRequest) else ""


def _backend(sleep: Sleep, *, inline: bool) -> LoadBackend:
    def load(spec: ModelSpec, location: str, device: str) -> FakeHandler | FakeBatch:
        for _ in Script(sleep, inline=inline).run(str(spec.options.get("load", ""))):
            pass
        handler = FakeHandler(spec, sleep, inline=inline)
        return FakeBatch(handler, spec.options) if spec.options.get("slots", 1) > 1 else handler

    return load


def resolve(name: str) -> LoadBackend:
    """Resolve every backend to the fake, in a worker process."""
    return _backend(time.sleep, inline=False)


def resolve_slow_to_end(name: str) -> LoadBackend:
    """Resolve like ``resolve``, and have the interpreter take for ever to shut down."""
    atexit.register(time.sleep, FOREVER_S)
    return resolve(name)


class Stage:
    """Inline workers whose sleeps are the event loop's, real or simulated.

    ``start_worker`` goes into an engine; ``ports`` are the workers that were started.
    """

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._owed_s = 0.0
        self.ports: list[InlinePort] = []

    def start_worker(self, lane: str) -> InlinePort:
        port = InlinePort(lambda name: _backend(self._owe, inline=True), self._spool, self._pay)
        self.ports.append(port)
        return port

    def _owe(self, seconds: float) -> None:
        self._owed_s += seconds

    def _pay(self) -> float:
        owed_s, self._owed_s = self._owed_s, 0.0
        return owed_s
