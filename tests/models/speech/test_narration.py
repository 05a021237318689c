"""The way from a text to a recording, with a voice that hums as long as it is told."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from models.contracts import Finished, Progress, SpeechRequest, SpeechResult
from models.errors import BackendError, OutOfMemory, UnsupportedOption
from models.speech.narration import Voice, chosen_seed, chosen_voice, narrate
from tests.models.control import ScratchControl, notices, result_of, spec_of, stages
from tests.models.sounds import silence, tone

SPEC = spec_of("hum", "speech", voices=["low", "high"])
RATE_HZ = 16_000


class Hum:
    """Hums a second for every sentence, with silence around it; can't read Chinese."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, text: str) -> np.ndarray:
        self.said.append(text)
        if text.startswith("你"):
            return silence(0)
        return np.concatenate([silence(0.4), tone(1.0), silence(0.7)])


def run(text: str, control: ScratchControl, speak=None, **options):
    voice = Voice("low", RATE_HZ, 250, speak or Hum())
    return narrate(SPEC, SpeechRequest(text, **options), control, voice, seed=7)


def speech(events) -> SpeechResult:
    result = result_of(events)
    assert isinstance(result, SpeechResult)
    return result


def test_every_sentence_is_announced_and_spoken(control) -> None:
    hum = Hum()

    events = list(run("One. Two.\n\nThree.", control, hum))

    assert hum.said == ["One.", "Two.", "Three."]
    assert stages(events) == ["sentence 1 of 3", "sentence 2 of 3", "sentence 3 of 3"]
    fractions = [event.fraction for event in events if isinstance(event, Progress)]
    assert fractions == pytest.approx([0, 1 / 3, 2 / 3])


def test_the_result_is_a_voice_message(control, tmp_path: Path) -> None:
    result = speech(run("One. Two.", control))

    assert result.media.content_type == "audio/ogg"
    assert result.media.filename.endswith(".ogg")
    with av.open(str(tmp_path / result.media.path)) as file:
        assert file.streams.audio[0].codec_context.name == "opus"
        tags = file.streams.audio[0].metadata
    assert tags["generated-by"] == "Sextant"
    assert (tags["model"], tags["voice"], tags["seed"], tags["licence"]) == (
        "test-hum",
        "low",
        "7",
        "MIT",
    )
    assert (result.usage.amount, result.usage.unit) == (8, "characters")
    assert 1 <= len(result.waveform) <= 256
    assert result.voice == "low"


@pytest.mark.parametrize(
    ("text", "pause_s", "seconds"),
    [
        ("One.", 1.0, 1.12),
        ("One. Two.", 0.0, 2.24),
        ("One. Two.", 1.0, 3.24),
        ("One.\n\nTwo.", 1.0, 4.24),
    ],
)
def test_pauses_are_as_long_as_they_were_asked_for(control, text, pause_s, seconds) -> None:
    result = speech(run(text, control, pause_s=pause_s))

    assert result.duration_s == pytest.approx(seconds, abs=0.01)


def test_a_cancel_acts_before_the_next_sentence(control) -> None:
    hum = Hum()
    events = []
    for event in run("One. Two. Three.", control, hum):
        events.append(event)
        control.cancelled = len(events) == 2

    assert hum.said == ["One."]
    assert not any(isinstance(event, Finished) for event in events)


def test_sentences_in_another_writing_are_left_out_and_told(control) -> None:
    events = list(run("One. 你好。 Two.", control))

    assert notices(events) == ["1 of 3 sentences are in a writing that this voice can't read."]
    assert speech(events).duration_s > 2.0


def test_a_text_that_the_voice_cannot_read_at_all_is_refused(control) -> None:
    with pytest.raises(UnsupportedOption, match="can't read this writing"):
        list(run("你好。", control))


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RuntimeError("kernel"), BackendError),
        (RuntimeError("CUDA out of memory"), OutOfMemory),
        (MemoryError(), OutOfMemory),
    ],
)
def test_what_a_library_raises_becomes_a_sentence(control, raised, told) -> None:
    def speak(_: str) -> np.ndarray:
        raise raised

    with pytest.raises(told) as caught:
        list(run("One.", control, speak))
    assert caught.value.__cause__ is raised
    assert "kernel" not in caught.value.user_message


# --------------------------------------------------------------------------- choices


def test_the_first_voice_of_the_catalogue_speaks_unless_one_is_chosen() -> None:
    assert chosen_voice(SPEC, SpeechRequest("x"), ["high", "low"]) == "low"
    assert chosen_voice(SPEC, SpeechRequest("x", voice="HIGH"), ["high", "low"]) == "high"


@pytest.mark.parametrize("voice", ["nobody", "../../voice.wav", "/etc/passwd", "uploaded.wav"])
def test_only_voices_of_the_model_speak(voice: str) -> None:
    with pytest.raises(UnsupportedOption, match="no voice"):
        chosen_voice(SPEC, SpeechRequest("x", voice=voice), ["high", "low"])


def test_a_seed_is_kept_or_drawn() -> None:
    assert chosen_seed(SpeechRequest("x", seed=5)) == 5
    drawn = {chosen_seed(SpeechRequest("x")) for _ in range(5)}
    assert len(drawn) > 1
    assert all(0 <= seed < 2**32 for seed in drawn)
