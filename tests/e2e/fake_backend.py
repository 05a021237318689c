"""A backend whose behaviour stands in the request, for a real worker process.

A prompt is a line of words: ``#tag`` comes back in every part of the answer; ``ticks=5`` and
``tick_s=0.1`` make it take its time, ``held`` keeps it at work until ``Bot.let_go``, ``chars=5000``
makes it long, ``fail`` raises, ``crash`` ends the worker, ``hang`` stops it from ever coming back,
``eat=300`` takes as many MB of memory.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.contracts import (
    Control,
    Finished,
    HandlerEvent,
    Modality,
    Progress,
    Segment,
    SpeechResult,
    TextDelta,
    TextResult,
    TranscriptionResult,
    Usage,
)

LET_GO = "let-go"
"""A file in the working directory: once it is there, nothing is held any more."""


class Fake:
    """Answers a request of any modality."""

    def run(self, request: Any, control: Control) -> Iterator[HandlerEvent]:
        text = _text(request)
        words = text.split()
        options = dict(re.findall(r"(\w+)=([\d.]+)", text))
        eaten = [b"x" * 10**6 for _ in range(int(options.get("eat", 0)))]
        tag = next((word for word in words if word.startswith("#")), "#none")
        for tick in range(int(options.get("ticks", 1))):
            time.sleep(float(options.get("tick_s", 0)))
            if control.cancelled:
                return
            if request.modality is Modality.TEXT:
                yield TextDelta(f"tick{tick} ")
            else:
                yield Progress("working", None)
            if "fail" in words:
                raise ValueError("as asked")
            if "crash" in words:
                os._exit(3)
            while "hang" in words:
                time.sleep(1)
        while "held" in words and not Path(LET_GO).exists():
            time.sleep(0.02)
            if control.cancelled:
                return
            yield Progress("working", None)
        yield Finished(_result(request, control, tag, int(options.get("chars", 0))))
        eaten.clear()

    def close(self) -> None:
        pass


def load(spec: object, location: str, device: str) -> Fake:
    return Fake()


def _text(request: Any) -> str:
    if request.modality is Modality.TEXT:
        return str(request.messages[-1].content)
    return str(getattr(request, "text", ""))


def _result(request: Any, control: Control, tag: str, chars: int) -> Any:
    if request.modality is Modality.TEXT:
        return TextResult(answer(tag, chars), Usage(3, "tokens"))
    if request.modality is Modality.SPEECH:
        media = control.store(b"OggS" + tag.encode() * 50, "voice.ogg", "audio/ogg")
        return SpeechResult(media, 1.5, bytes(range(64)), Usage(9, "characters"), "fake")
    data = control.open(request.media).read_bytes()
    said = f"heard {len(data)} bytes"
    return TranscriptionResult((Segment(0, 1, said),), "en", 1.0, Usage(1, "seconds"))


def answer(tag: str, chars: int) -> str:
    """The text that answers a prompt: paragraphs that can be told apart."""
    text, number = f"answer {tag} part0", 0
    while len(text) < chars:
        number += 1
        text += f"\n\nanswer {tag} part{number} " + "x" * 200
    return text
