"""A request to speak, sentence by sentence, whatever the voice.

This module owns the way from a text to a finished recording: cutting, pauses, progress, cancel, and
what the file says about itself. It must not know a library: a backend gives it a function.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.catalog import ModelSpec
from models.contracts import (
    Control,
    Finished,
    HandlerEvent,
    Notice,
    Progress,
    SpeechRequest,
    SpeechResult,
    Usage,
)
from models.errors import UnsupportedOption, failure_of
from models.recording import CONTENT_TYPE, Recorder
from models.speech.sentences import Script, script_of

if TYPE_CHECKING:
    from models.media import Samples

_FILENAME = "voice-message.ogg"
_PARAGRAPH_PAUSES = 2.0
_AUDIBLE = 0.005
_MARGIN_S = 0.06


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice that is ready to speak.

    Attributes:
        name: As members know it.
        sampling_rate_hz: Of what ``speak`` returns.
        max_chars: Longest sentence that it speaks well.
        speak: Turns a sentence into mono float32 samples; none where it can't read the writing.
    """

    name: str
    sampling_rate_hz: int
    max_chars: int
    speak: Callable[[str], Samples]


def chosen_seed(request: SpeechRequest) -> int:
    """Return the seed of a request, or a new one."""
    return secrets.randbits(32) if request.seed is None else request.seed


def chosen_voice(spec: ModelSpec, request: SpeechRequest, voices: list[str]) -> str:
    """Return the voice of a request, or the model's first.

    Raises:
        UnsupportedOption: The model has no such voice. Recordings of a person are never a voice.
    """
    if request.voice is None:
        return next((name for name in spec.voices if name in voices), voices[0])
    for name in voices:
        if name.casefold() == request.voice.casefold():
            return name
    known = ", ".join(voices[:8]) + (", …" if len(voices) > 8 else "")
    raise UnsupportedOption(f"{spec.name} has no voice `{request.voice[:40]}`; it has {known}.")


def narrate(
    spec: ModelSpec, request: SpeechRequest, control: Control, voice: Voice, seed: int | None
) -> Iterator[HandlerEvent]:
    """Speak a text, with progress before every sentence.

    Args:
        spec: Row of the catalogue.
        request: What to say, and the pause between sentences; paragraphs get twice that.
        control: Asked between sentences whether to stop.
        voice: Who speaks.
        seed: For the file's tags; None where the voice takes none.

    Raises:
        EmptyInput: The text has no words.
        UnsupportedOption: The voice cannot read any of it.
        BackendError: The voice failed.
    """
    script = script_of(request.text, voice.max_chars)
    yield from (Notice(notice) for notice in script.notices)
    with Recorder(voice.sampling_rate_hz, _tags(spec, voice, seed)) as recorder:
        yield from _spoken(script, request.pause_s, control, voice, recorder)
        if control.cancelled:
            return
        if not recorder.duration_s:
            raise UnsupportedOption(f"{spec.name} can't read this writing; choose another model.")
        yield _finished(recorder, control, voice, script.characters)


def _spoken(
    script: Script, pause_s: float, control: Control, voice: Voice, recorder: Recorder
) -> Iterator[HandlerEvent]:
    due_s = 0.0
    unread = 0
    total = len(script.sentences)
    for number, sentence in enumerate(script.sentences, start=1):
        yield Progress(f"sentence {number} of {total}", (number - 1) / total)
        if control.cancelled:
            return
        try:
            samples = _trimmed(voice.speak(sentence.text), voice.sampling_rate_hz)
        except Exception as error:
            raise failure_of(error) from error
        if not samples.size:
            unread += 1
            continue
        recorder.pause(due_s)
        recorder.add(samples)
        due_s = pause_s * (_PARAGRAPH_PAUSES if sentence.ends_paragraph else 1)
    if 0 < unread < total:
        yield Notice(f"{unread} of {total} sentences are in a writing that this voice can't read.")


def _trimmed(samples: Samples, sampling_rate_hz: int) -> Samples:
    """Cut off the silence that a voice puts around a sentence: pauses are the member's choice."""
    import numpy as np

    loud = np.flatnonzero(np.abs(samples) > _AUDIBLE)
    if not loud.size:
        return samples
    margin = round(_MARGIN_S * sampling_rate_hz)
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def _finished(recorder: Recorder, control: Control, voice: Voice, characters: int) -> Finished:
    recording = recorder.finish()
    return Finished(
        SpeechResult(
            media=control.store(recording.data, _FILENAME, CONTENT_TYPE),
            duration_s=recording.duration_s,
            waveform=recording.waveform,
            usage=Usage(characters, "characters"),
            voice=voice.name,
        )
    )


def _tags(spec: ModelSpec, voice: Voice, seed: int | None) -> dict[str, str]:
    tags = {
        "title": "Generated speech",
        "generated-by": "Sextant",
        "model": spec.id,
        "voice": voice.name,
        "licence": spec.licence,
    }
    return tags if seed is None else tags | {"seed": str(seed)}
