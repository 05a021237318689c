"""What a hosted call costs when it does not end well: OpenAI's API, against loopback servers.

Google's is in ``video/test_google_video.py``.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from models.catalog import backend_entry_point
from models.contracts import (
    ChatMessage,
    Finished,
    ImageRequest,
    Request,
    SpeechRequest,
    TextRequest,
    TranscriptionRequest,
    VideoRequest,
)
from models.errors import BackendError, BackendRefused, BackendUnreachable, HandlerError
from models.tasks import TaskStepper
from tests.models.control import ScratchControl, media_of, spec_of
from tests.models.image import image_server
from tests.models.loopback import Reply
from tests.models.sound_server import SoundReply, SoundServer, hears, speaks
from tests.models.sound_server import refuses as sound_refuses
from tests.models.sounds import tone, write
from tests.models.text import chat_server
from tests.models.video.clip_servers import SoraServer, openai_refuses

Prices = dict[str, float]


@dataclass(frozen=True)
class Case:
    """A backend with a server that it asks.

    Attributes:
        most: What one call counts with from the moment at which it is sent.
        silent: Makes the server keep its answer back.
        refuse: Makes the server answer with an error.
    """

    backend: str
    prices: Prices
    most: int
    make_server: Callable[[], Any]
    silent: Callable[[Any], None]
    refuse: Callable[[Any, int], None]


def _script(make: Callable[..., Any]) -> Callable[..., None]:
    def write_script(server: Any, *arguments: Any) -> None:
        server.script = [make(*arguments)]

    return write_script


def _orders(make: Callable[..., Any]) -> Callable[..., None]:
    def write_orders(server: Any, *arguments: Any) -> None:
        server.orders = [make(*arguments)]

    return write_orders


CASES = {
    "text": Case(
        "openai",
        {"text_input": 2, "output": 10},
        2 * (len("Hello there.") // 4 + 4),
        chat_server.ChatServer,
        _script(lambda: chat_server.Reply([30.0])),
        _script(lambda status: chat_server.refuses(status)),
    ),
    "image": Case(
        "openai-images",
        {"picture": 0.11},
        110_000,
        image_server.ImageServer,
        _script(lambda: image_server.Reply(wait_s=30)),
        _script(lambda status: image_server.refuses(status)),
    ),
    "video": Case(
        "openai-video",
        {"second": 0.1},
        400_000,
        SoraServer,
        _orders(lambda: Reply(wait_s=30)),
        _orders(openai_refuses),
    ),
    "speech": Case(
        "openai-speech",
        {"minute": 0.6},
        30_000,
        SoundServer,
        _script(lambda: SoundReply(wait_s=30)),
        _script(sound_refuses),
    ),
    "transcription": Case(
        "openai-transcription",
        {"minute": 0.6},
        20_000,
        SoundServer,
        _script(lambda: SoundReply(wait_s=30)),
        _script(sound_refuses),
    ),
}


def request_for(modality: str, folder: Path) -> Request:
    match modality:
        case "text":
            return TextRequest((ChatMessage("user", "Hello there."),), max_new_tokens=9)
        case "image":
            return ImageRequest("gate")
        case "video":
            return VideoRequest("gate", width_px=1280, height_px=720)
        case "speech":
            return SpeechRequest("Hello there.")
        case _:
            return TranscriptionRequest(media_of(write(folder / "talk.wav", tone(2.0))))


@contextmanager
def served(modality: str, prices: Prices | None, url: str = "", **options: Any) -> Iterator[Any]:
    """Give a server and the backend that asks it."""
    case = CASES[modality]
    server = case.make_server()
    server.start()
    address = url or server.url.removesuffix("/v1") + "/v1"
    spec = spec_of(
        case.backend,
        modality,
        source={"kind": "endpoint", "url": address, "model": "m"},
        voices=("coral",),
        prices=prices,
        options={"timeout_s": 20, **options},
    )
    stepper: TaskStepper = backend_entry_point(case.backend).load()(spec, address, "cpu")
    try:
        yield server, stepper
    finally:
        stepper.close()
        server.stop()


def run(stepper: TaskStepper, request: Request, control: ScratchControl) -> Any:
    """Return the last event, or raise."""
    stepper.admit("job", request, control)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for _, event in stepper.step():
            if isinstance(event, Exception):
                raise event
            if isinstance(event, Finished):
                return event
    raise AssertionError("it does not end")


def asked(server: Any) -> bool:
    return bool(getattr(server, "requests", None) or getattr(server, "asked", None))


@pytest.fixture
def control(tmp_path: Path) -> ScratchControl:
    return ScratchControl(tmp_path)


@pytest.mark.parametrize("modality", CASES)
def test_a_cancel_in_the_silence_before_the_answer_costs_what_was_asked_for(
    modality: str, control: ScratchControl
) -> None:
    """The most that it may cost; of a text, what was read."""
    case = CASES[modality]
    with served(modality, case.prices) as (server, stepper):
        case.silent(server)
        stepper.admit("job", request_for(modality, control.folder), control)
        deadline = time.monotonic() + 10
        while not asked(server):
            assert time.monotonic() < deadline
            stepper.step()
        stepper.cancel("job")
        assert control.charges == [case.most]


@pytest.mark.parametrize("status", [401, 429, 500])
@pytest.mark.parametrize("modality", CASES)
def test_a_refusal_is_free(modality: str, status: int, control: ScratchControl) -> None:
    case = CASES[modality]
    with served(modality, case.prices) as (server, stepper):
        case.refuse(server, status)
        with pytest.raises(BackendError):
            run(stepper, request_for(modality, control.folder), control)
        assert control.charges == [case.most, 0]


@pytest.mark.parametrize("modality", CASES)
def test_nobody_is_paid_who_was_not_reached(modality: str, control: ScratchControl) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    case = CASES[modality]
    with served(modality, case.prices, url) as (_, stepper):
        with pytest.raises(BackendUnreachable):
            run(stepper, request_for(modality, control.folder), control)
        assert control.charges == [case.most, 0]


@pytest.mark.parametrize("modality", CASES)
def test_an_answer_that_came_too_late_may_be_charged_for(
    modality: str, control: ScratchControl
) -> None:
    case = CASES[modality]
    with served(modality, case.prices, timeout_s=0.3) as (server, stepper):
        case.silent(server)
        with pytest.raises(BackendUnreachable):
            run(stepper, request_for(modality, control.folder), control)
        assert control.charges == [case.most]


@pytest.mark.parametrize("modality", CASES)
def test_without_a_price_the_cost_is_unknown_and_of_a_refusal_nothing(
    modality: str, control: ScratchControl
) -> None:
    case = CASES[modality]
    with served(modality, None) as (server, stepper):
        case.refuse(server, 429)
        with pytest.raises(HandlerError):
            run(stepper, request_for(modality, control.folder), control)
        assert control.charges == [None, 0]


# --------------------------------------------------------------------------- text


READ = CASES["text"].most


def test_a_text_costs_what_the_server_counts(control: ScratchControl) -> None:
    with served("text", CASES["text"].prices) as (server, stepper):
        server.script = [chat_server.says("Hi", " there")]
        run(stepper, request_for("text", control.folder), control)
    assert control.charges[0] == READ
    assert control.charges[-1] == 2 * 11 + 10 * 5


def test_a_server_that_counts_nothing_is_paid_by_the_piece(control: ScratchControl) -> None:
    with served("text", CASES["text"].prices) as (server, stepper):
        server.script = [chat_server.says("Hi", " there", usage=False)]
        run(stepper, request_for("text", control.folder), control)
    assert control.charges[-1] == READ + 10 * 3


def test_a_text_that_is_stopped_costs_its_tokens_so_far(control: ScratchControl) -> None:
    with served("text", CASES["text"].prices) as (server, stepper):
        said: list[Any] = [{"content": "a"}, {"content": "b"}, {"content": "c"}, 30.0]
        server.script = [chat_server.Reply(said)]
        stepper.admit("job", request_for("text", control.folder), control)
        deadline = time.monotonic() + 10
        while control.charges[-1:] != [READ + 30]:
            assert time.monotonic() < deadline
            stepper.step()
        stepper.cancel("job")
        assert server.broken_off.wait(5)
    assert control.charges == [READ, READ + 10, READ + 20, READ + 30]


def test_a_text_that_breaks_the_rules_half_way_costs_its_tokens(control: ScratchControl) -> None:
    with served("text", CASES["text"].prices) as (server, stepper):
        server.script = [chat_server.says("a", finish_reason="content_filter")]
        with pytest.raises(BackendRefused):
            run(stepper, request_for("text", control.folder), control)
    assert control.charges[-1] == 2 * 11 + 10 * 5


# --------------------------------------------------------------------------- clips and sound


@pytest.mark.parametrize(
    ("looks", "micro_usd"),
    [
        ([{"status": "failed", "error": None}], 0),
        ([openai_refuses(404)], 400_000),
        ([{"status": "completed"}], 400_000),
    ],
)
def test_a_clip_that_was_begun_is_paid_unless_the_server_fails(
    looks: list[Any], micro_usd: int, control: ScratchControl
) -> None:
    with served("video", CASES["video"].prices, poll_s=0.01) as (server, stepper):
        server.looks, server.clip = looks, b"not a clip"
        with pytest.raises(HandlerError):
            run(stepper, request_for("video", control.folder), control)
    assert control.charges[-1] == micro_usd


def test_sentences_that_were_spoken_stay_paid_when_the_next_is_refused(
    control: ScratchControl,
) -> None:
    with served("speech", {"minute": 0.6}) as (server, stepper):
        server.script = [speaks(3.0), sound_refuses(500)]
        with pytest.raises(BackendError):
            run(stepper, SpeechRequest("First one. Then two."), control)
    assert control.charges == [25_000, 30_000, 52_500, 30_000]


def test_minutes_that_were_heard_stay_paid_when_the_next_is_refused(
    control: ScratchControl, tmp_path: Path
) -> None:
    path = write(tmp_path / "long.wav", tone(8.0))
    with served("transcription", {"minute": 0.6}, window_s=5.0) as (server, stepper):
        server.script = [hears("Good morning."), sound_refuses(429)]
        with pytest.raises(BackendRefused):
            run(stepper, TranscriptionRequest(media_of(path)), control)
    first, heard, both, left = control.charges
    assert first == heard == left
    assert both is not None
    assert both > 70_000


def test_tokens_that_a_server_does_not_tell_count_with_the_most(control: ScratchControl) -> None:
    with served("transcription", {"audio_input": 6}) as (server, stepper):
        server.script = [hears("Good morning.")]
        run(stepper, request_for("transcription", control.folder), control)
    assert control.charges == [2 * 20 * 6] * 2


def test_a_server_of_the_owner_costs_nothing(control: ScratchControl) -> None:
    with served("image", {}) as (server, stepper):
        server.script = [image_server.Reply(stream=True)]
        run(stepper, ImageRequest("gate"), control)
    assert control.charges == [0, 0]
