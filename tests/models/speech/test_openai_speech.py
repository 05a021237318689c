"""The backend for OpenAI's voices, against a loopback server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import av
import pytest

from models.contracts import SpeechRequest, SpeechResult
from models.errors import BackendError, ModelLoadFailed, UnsupportedOption
from models.speech.openai_speech import load
from models.tasks import TaskStepper
from tests.models.control import ScratchControl, notices, result_of, spec_of, stages
from tests.models.loopback import Reply, cancel_while_it_waits, run
from tests.models.sound_server import SoundServer, speaks

Connect = Callable[..., TaskStepper]

PRICES = {"characters": 0.6, "minute": 0.015}


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

    def make(voices: tuple[str, ...] = ("coral", "ash"), **options: Any) -> Any:
        source = {"kind": "endpoint", "url": server.url, "model": "tts"}
        fields = {"source": source, "voices": voices, "prices": options.pop("prices", None)}
        spec = spec_of("openai-speech", "speech", options=options, **fields)
        open_.append(load(spec, f"{server.url}/v1", "cpu"))
        return open_[-1]

    yield make
    for stepper in open_:
        stepper.close()


def speech(events: Any) -> SpeechResult:
    result = result_of(events)
    assert isinstance(result, SpeechResult)
    return result


def test_each_sentence_is_asked_for(server, connect: Connect, control: ScratchControl) -> None:
    server.script = [speaks(0.5), speaks(1.0)]
    stepper = connect(instructions="Calmly.", prices=PRICES)

    events = run(stepper, SpeechRequest("First one. Then two.", voice="Ash", speed=1.5), control)

    assert stages(events) == ["sentence 1 of 2", "sentence 2 of 2"]
    assert server.paths == ["/v1/audio/speech"] * 2
    assert [request["input"] for request in server.requests] == ["First one.", "Then two."]
    assert server.requests[0] == {
        "model": "tts",
        "input": "First one.",
        "voice": "ash",
        "speed": 1.5,
        "instructions": "Calmly.",
        "response_format": "pcm",
    }
    result = speech(events)
    assert result.voice == "ash"
    assert result.duration_s == pytest.approx(1.75, abs=0.05)
    assert max(result.waveform) == 255
    assert result.usage.amount == len("First one. Then two.") - 1
    assert control.charges[-1] == pytest.approx(19 * 0.6 + 1.5 / 60 * 15_000, abs=2)
    with av.open(str(control.open(result.media))) as file:
        assert file.streams.audio[0].codec_context.name == "opus"
        assert file.streams.audio[0].metadata["voice"] == "ash"


def test_without_choices_nothing_more_is_sent(
    server, connect: Connect, control: ScratchControl
) -> None:
    server.script = [speaks()]

    result = speech(run(connect(), SpeechRequest("Hello."), control))

    assert set(server.requests[0]) == {"model", "input", "voice", "response_format"}
    assert result.voice == "coral"
    assert control.charges == [None, None]


def test_a_seed_is_said_to_be_of_no_use(server, connect: Connect, control: ScratchControl) -> None:
    server.script = [speaks()]

    events = run(connect(), SpeechRequest("Hello.", seed=1), control)

    assert notices(events) == ["Tiny takes no seed, so yours was not used."]


def test_an_unknown_voice_is_refused(server, connect: Connect, control: ScratchControl) -> None:
    with pytest.raises(UnsupportedOption, match="it has coral, ash"):
        run(connect(), SpeechRequest("Hello.", voice="me"), control)
    assert server.requests == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(),
        Reply(body="<html>", content_type="text/html"),
    ],
)
def test_an_answer_without_sound_is_told(
    reply: Reply, server: SoundServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [speaks(), reply]
    stepper = connect()

    with pytest.raises(BackendError, match="no sound"):
        run(stepper, SpeechRequest("One. Two."), control)

    server.script = [speaks()]
    assert speech(run(stepper, SpeechRequest("One."), control)).duration_s > 0.4


def test_a_cancel_asks_for_no_further_sentence(
    server, connect: Connect, control: ScratchControl
) -> None:
    server.script = [Reply(wait_s=30.0), speaks()]
    stepper = connect()

    cancel_while_it_waits(server, stepper, SpeechRequest("Hello. And more."), control)

    assert speech(run(stepper, SpeechRequest("Hello."), control)).duration_s > 0.4
    assert [request["input"] for request in server.requests] == ["Hello."] * 2


def test_a_model_without_voices_fails_to_load(connect: Connect) -> None:
    with pytest.raises(ModelLoadFailed, match="voices"):
        connect(voices=())
