"""The backend for OpenAI's transcripts, against a loopback server."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from models.contracts import Segment, TranscriptionRequest, TranscriptionResult, Word
from models.errors import BackendError, ModelLoadFailed, UnsupportedOption
from models.tasks import TaskStepper
from models.transcription.listening import UNDETERMINED
from models.transcription.openai_transcription import load
from tests.models.control import ScratchControl, media_of, result_of, spec_of, streamed
from tests.models.loopback import Reply, run
from tests.models.sound_server import SoundServer, hears
from tests.models.sounds import silence, tone, write

Connect = Callable[..., TaskStepper]

TOKENS = {
    "type": "tokens",
    "input_tokens": 1100,
    "output_tokens": 50,
    "total_tokens": 1150,
    "input_token_details": {"audio_tokens": 1000, "text_tokens": 100},
}
SEGMENT = {
    "id": 0, "seek": 0, "start": 0.5, "end": 2.5, "text": " Good morning.", "tokens": [],
    "temperature": 0.0, "avg_logprob": -0.2, "compression_ratio": 1.0, "no_speech_prob": 0.01,
}  # fmt: skip
MADE_UP = SEGMENT | {
    "text": " Thanks for watching!", "no_speech_prob": 0.9, "avg_logprob": -1.5,
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[SoundServer]:
    server = SoundServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def connect(server: SoundServer) -> Iterator[Connect]:
    """Return a function that loads the backend; it is closed after the test."""
    open_: list[TaskStepper] = []

    def make(**options: Any) -> TaskStepper:
        fields = {name: options.pop(name) for name in ("capabilities", "prices") if name in options}
        source = {"kind": "endpoint", "url": server.url, "model": "ear"}
        spec = spec_of(
            "openai-transcription", "transcription", source=source, options=options, **fields
        )
        open_.append(load(spec, f"{server.url}/v1", "cpu"))
        return open_[-1]

    yield make
    for stepper in open_:
        stepper.close()


@pytest.fixture
def sound(tmp_path: Path) -> TranscriptionRequest:
    return TranscriptionRequest(media_of(write(tmp_path / "talk.wav", tone(4.0))))


def transcript(events: Any) -> TranscriptionResult:
    result = result_of(events)
    assert isinstance(result, TranscriptionResult)
    return result


def test_a_model_without_times_gives_a_segment_a_window(
    server, connect: Connect, control: ScratchControl, sound
) -> None:
    server.script = [hears("Good morning.", usage=TOKENS, languages=[{"code": "en"}])]
    prices = {"audio_input": 6.0, "text_input": 2.5, "output": 10.0}

    events = run(connect(prices=prices), sound, control)

    result = transcript(events)
    assert result.segments == (Segment(0.0, 4.0, "Good morning."),)
    assert streamed(events) == "Good morning."
    assert result.language == "en"
    assert result.usage.amount == 4.0
    assert control.charges[-1] == 1000 * 6 + 250 + 50 * 10
    (request,) = server.requests
    sent = request.pop("file")
    assert request == {"model": "ear", "response_format": "json"}
    with av.open(io.BytesIO(sent)) as file:
        assert file.format.name == "ogg"
        assert file.duration == pytest.approx(4e6, rel=0.02)


def test_times_count_from_the_start_of_the_recording(
    server, connect: Connect, control: ScratchControl, tmp_path
) -> None:
    path = write(tmp_path / "talk.wav", np.concatenate([tone(6.0), silence(0.5), tone(2.0)]))
    answer = {"language": "german", "duration": 6.2, "segments": [SEGMENT, MADE_UP]}
    server.script = [hears("Good morning.", **answer), hears("Good morning.", **answer)]
    stepper = connect(times="segment", window_s=7.0, prices={"minute": 0.006})

    result = transcript(run(stepper, TranscriptionRequest(media_of(path)), control))

    first, second = result.segments
    assert (first.start_s, first.end_s, first.text) == (0.5, 2.5, "Good morning.")
    assert 6.0 + 0.5 < second.start_s < 6.5 + 0.5
    assert result.language == "de"
    assert control.charges[-1] == pytest.approx(8.5 * 100, abs=2)
    assert [request["response_format"] for request in server.requests] == ["verbose_json"] * 2
    assert server.requests[0]["timestamp_granularities[]"] == ["segment"]
    assert "language" not in server.requests[0]
    assert server.requests[1]["language"] == "de"
    assert server.requests[1]["prompt"] == "Good morning."


def test_words_have_times_when_they_are_asked_for(
    server, connect: Connect, control: ScratchControl, sound
) -> None:
    words = [
        {"word": "Good", "start": 0.5, "end": 1.0},
        {"word": "morning", "start": 1.0, "end": 2.5},
        {"word": "elsewhere", "start": 3.0, "end": 3.5},
    ]
    fields = {"language": "en", "duration": 4.0, "segments": [SEGMENT], "words": words}
    server.script = [hears("Good morning.", **fields)]
    request = TranscriptionRequest(sound.media, language="en-GB", word_timestamps=True)

    result = transcript(run(connect(times="word"), request, control))

    assert result.segments[0].words == (Word(0.5, 1.0, "Good"), Word(1.0, 2.5, "morning"))
    assert server.requests[0]["timestamp_granularities[]"] == ["segment", "word"]
    assert server.requests[0]["language"] == "en"


def test_a_model_may_take_its_language_as_a_hint(
    server, connect: Connect, control: ScratchControl, sound
) -> None:
    server.script = [hears("Guten Morgen.", languages=[{"code": "de"}, {"code": "en"}])]
    request = TranscriptionRequest(sound.media, language="de-AT")

    result = transcript(run(connect(language_hints=True), request, control))

    assert server.requests[0]["languages[]"] == ["de"]
    assert "language" not in server.requests[0]
    assert result.language == "de"


def test_silence_is_not_sent(server, connect: Connect, control: ScratchControl, tmp_path) -> None:
    path = write(tmp_path / "quiet.wav", silence(3.0))

    result = transcript(run(connect(), TranscriptionRequest(media_of(path)), control))

    assert (result.segments, result.language, control.charges) == ((), UNDETERMINED, [])
    assert server.requests == []


def test_translation_has_an_address_of_its_own(
    server, connect: Connect, control: ScratchControl, sound
) -> None:
    server.script = [hears("Good morning.")]
    request = TranscriptionRequest(sound.media, language="de", translate=True)

    run(connect(capabilities=["translate"]), request, control)

    assert server.paths == ["/v1/audio/translations"]
    assert "language" not in server.requests[0]
    with pytest.raises(UnsupportedOption, match="can't translate"):
        run(connect(), request, control)


def test_an_answer_without_a_transcript_is_told(
    server: SoundServer, connect: Connect, control: ScratchControl, sound: TranscriptionRequest
) -> None:
    server.script = [Reply(body="{}"), hears("Good morning.")]
    stepper = connect()

    with pytest.raises(BackendError, match="no transcript"):
        run(stepper, sound, control)

    assert streamed(run(stepper, sound, control)) == "Good morning."


def test_a_window_that_is_too_long_fails_to_load(connect: Connect) -> None:
    with pytest.raises(ModelLoadFailed, match="options"):
        connect(window_s=1000.0)
