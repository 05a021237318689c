"""What a hosted call costs when it does not end well."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from models.contracts import ImageRequest, SpeechRequest, TranscriptionRequest
from models.errors import BackendError, BackendRefused, BackendUnreachable, HandlerError
from tests.models.control import ScratchControl, media_of
from tests.models.hosted_cases import CASES, served
from tests.models.image.image_server import Drawn
from tests.models.loopback import Reply, nobody, refuses, run
from tests.models.sound_server import hears, speaks
from tests.models.sounds import tone, write
from tests.models.text.chat_server import Said, says


@pytest.mark.parametrize("name", CASES)
def test_a_cancel_in_the_silence_before_the_answer_costs_what_was_asked_for(
    name: str, control: ScratchControl
) -> None:
    """The most that it may cost; of a text, what was read."""
    case = CASES[name]
    with served(name, control.folder, prices=case.prices) as (server, stepper):
        server.script = [Reply(wait_s=30)]
        stepper.admit("job", CASES[name].request(control.folder), control)
        deadline = time.monotonic() + 60
        while not server.requests:
            assert time.monotonic() < deadline
            stepper.step()
        stepper.cancel("job")
        assert control.charges == [case.most]


@pytest.mark.parametrize("status", [401, 429, 500])
@pytest.mark.parametrize("name", CASES)
def test_a_refusal_is_free(name: str, status: int, control: ScratchControl) -> None:
    case = CASES[name]
    with served(name, control.folder, prices=case.prices) as (server, stepper):
        server.script = [case.refuses(status)]
        with pytest.raises(BackendError):
            run(stepper, CASES[name].request(control.folder), control)
        assert control.charges == [case.most, 0]


@pytest.mark.parametrize("name", CASES)
def test_nobody_is_paid_who_was_not_reached(name: str, control: ScratchControl) -> None:
    case = CASES[name]
    with served(name, control.folder, prices=case.prices, url=nobody()) as (_, stepper):
        with pytest.raises(BackendUnreachable):
            run(stepper, CASES[name].request(control.folder), control)
        assert control.charges == [case.most, 0]


@pytest.mark.parametrize("name", CASES)
def test_an_answer_that_came_too_late_may_be_charged_for(
    name: str, control: ScratchControl
) -> None:
    case = CASES[name]
    with served(name, control.folder, prices=case.prices, timeout_s=0.3) as (server, stepper):
        server.script = [Reply(wait_s=30)]
        with pytest.raises(BackendUnreachable):
            run(stepper, CASES[name].request(control.folder), control)
        assert control.charges == [case.most]


@pytest.mark.parametrize("name", CASES)
def test_without_a_price_the_cost_is_unknown_and_of_a_refusal_nothing(
    name: str, control: ScratchControl
) -> None:
    case = CASES[name]
    with served(name, control.folder) as (server, stepper):
        server.script = [case.refuses(429)]
        with pytest.raises(HandlerError):
            run(stepper, CASES[name].request(control.folder), control)
        assert control.charges == [None, 0]


# --------------------------------------------------------------------------- text


READ = CASES["text"].most


def test_a_text_costs_what_the_server_counts(control: ScratchControl) -> None:
    with served("text", control.folder, prices=CASES["text"].prices) as (server, stepper):
        server.script = [says("Hi", " there")]
        run(stepper, CASES["text"].request(control.folder), control)
    assert control.charges[0] == READ
    assert control.charges[-1] == 2 * 11 + 10 * 5


def test_a_server_that_counts_nothing_is_paid_by_the_piece(control: ScratchControl) -> None:
    with served("text", control.folder, prices=CASES["text"].prices) as (server, stepper):
        server.script = [says("Hi", " there", usage=False)]
        run(stepper, CASES["text"].request(control.folder), control)
    assert control.charges[-1] == READ + 10 * 3


def test_a_text_that_is_stopped_costs_its_tokens_so_far(control: ScratchControl) -> None:
    with served("text", control.folder, prices=CASES["text"].prices) as (server, stepper):
        said: list[Any] = [{"content": "a"}, {"content": "b"}, {"content": "c"}, 30.0]
        server.script = [Said(said)]
        stepper.admit("job", CASES["text"].request(control.folder), control)
        deadline = time.monotonic() + 60
        while control.charges[-1:] != [READ + 30]:
            assert time.monotonic() < deadline
            stepper.step()
        stepper.cancel("job")
        assert server.left.wait(60)
    assert control.charges == [READ, READ + 10, READ + 20, READ + 30]


def test_a_text_that_breaks_the_rules_half_way_costs_its_tokens(control: ScratchControl) -> None:
    with served("text", control.folder, prices=CASES["text"].prices) as (server, stepper):
        server.script = [says("a", finish_reason="content_filter")]
        with pytest.raises(BackendRefused):
            run(stepper, CASES["text"].request(control.folder), control)
    assert control.charges[-1] == 2 * 11 + 10 * 5


# --------------------------------------------------------------------------- clips and sound


@pytest.mark.parametrize(
    ("looks", "micro_usd"),
    [
        ([{"status": "failed", "error": None}], 0),
        ([refuses(404)], 400_000),
        ([{"status": "completed"}], 400_000),
    ],
)
def test_a_clip_that_was_begun_is_paid_unless_the_server_fails(
    looks: list[Any], micro_usd: int, control: ScratchControl
) -> None:
    with served("video", control.folder, prices=CASES["video"].prices, poll_s=0.01) as (
        server,
        stepper,
    ):
        server.looks, server.clip = looks, b"not a clip"
        with pytest.raises(HandlerError):
            run(stepper, CASES["video"].request(control.folder), control)
    assert control.charges[-1] == micro_usd


def test_sentences_that_were_spoken_stay_paid_when_the_next_is_refused(
    control: ScratchControl,
) -> None:
    with served("speech", control.folder, prices={"minute": 0.6}) as (server, stepper):
        server.script = [speaks(3.0), refuses(500)]
        with pytest.raises(BackendError):
            run(stepper, SpeechRequest("First one. Then two."), control)
    assert control.charges == [25_000, 30_000, 52_500, 30_000]


def test_minutes_that_were_heard_stay_paid_when_the_next_is_refused(
    control: ScratchControl, tmp_path: Path
) -> None:
    path = write(tmp_path / "long.wav", tone(8.0))
    with served("transcription", control.folder, prices={"minute": 0.6}, window_s=5.0) as (
        server,
        stepper,
    ):
        server.script = [hears("Good morning."), refuses(429)]
        with pytest.raises(BackendRefused):
            run(stepper, TranscriptionRequest(media_of(path)), control)
    first, heard, both, left = control.charges
    assert first == heard == left
    assert both is not None
    assert both > 70_000


def test_tokens_that_a_server_does_not_tell_count_with_the_most(control: ScratchControl) -> None:
    with served("transcription", control.folder, prices={"audio_input": 6}) as (server, stepper):
        server.script = [hears("Good morning.")]
        run(stepper, CASES["transcription"].request(control.folder), control)
    assert control.charges == [2 * 20 * 6] * 2


def test_a_server_of_the_owner_costs_nothing(control: ScratchControl) -> None:
    with served("image", control.folder, prices={}) as (server, stepper):
        server.script = [Drawn()]
        run(stepper, ImageRequest("gate"), control)
    assert control.charges == [0, 0]
