"""The backend for OpenAI-compatible servers, against a loopback server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.catalog import Catalog, EndpointSource, ModelSpec
from models.contracts import ChatMessage, TextDelta, TextRequest, TextResult
from models.errors import BackendError, BackendRefused, BackendUnreachable, HandlerError
from models.tasks import TaskStepper
from models.text.openai_server import load
from tests.models.control import ScratchControl, notices, result_of, stages, streamed
from tests.models.loopback import run
from tests.models.text.chat_server import ChatServer, Said, says, takes_no

CONFIG = Path(__file__).resolve().parents[3] / "config"

MakeSpec = Callable[..., ModelSpec]
Connect = Callable[..., TaskStepper]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    server = ChatServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def connect(server: ChatServer, spec: MakeSpec) -> Iterator[Connect]:
    """Return a function that loads the backend; it is closed after the test."""
    open_: list[TaskStepper] = []

    def make(**options: Any) -> TaskStepper:
        url = f"{server.url}/v1"
        source = EndpointSource(url=url, model="llama")
        open_.append(load(spec(source=source, **options), url, "cpu"))
        return open_[-1]

    yield make
    for stepper in open_:
        stepper.close()


def ask(text: str = "Capital of France?", **options: Any) -> TextRequest:
    messages = (ChatMessage("system", "Be brief."), ChatMessage("user", text))
    return TextRequest(messages=messages, **options)


def test_an_answer_streams(server: ChatServer, connect: Connect, control: ScratchControl) -> None:
    server.script = [says("Pa", "ris", "! 🦜")]
    events = run(connect(), ask(seed=7, temperature=0.5, max_new_tokens=99), control)
    assert streamed(events) == "Paris! 🦜"
    assert stages(events) == ["waiting for the model's server"]
    result = result_of(events)
    assert isinstance(result, TextResult)
    assert (result.text, result.finish_reason) == ("Paris! 🦜", "stop")
    assert (result.usage.amount, result.prompt_tokens) == (5, 11)
    (request,) = server.requests
    assert request["model"] == "llama"
    assert request["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Capital of France?"},
    ]
    assert (request["seed"], request["temperature"], request["max_tokens"]) == (7, 0.5, 99)
    assert request["stream"] is True


def test_text_goes_out_while_the_server_still_writes(
    server: ChatServer, connect: Connect, control: ScratchControl
) -> None:
    go_on = threading.Event()
    server.script = [Said([{"content": "Par"}, go_on, {"content": "is"}])]
    stepper = connect()
    stepper.admit("job", ask(), control)
    arrived: list[str] = []
    while arrived != ["Par"]:
        arrived += [event.text for _, event in stepper.step() if isinstance(event, TextDelta)]
    go_on.set()
    while arrived != ["Par", "is"]:
        arrived += [event.text for _, event in stepper.step() if isinstance(event, TextDelta)]


@pytest.mark.parametrize(
    "deltas",
    [
        [{"reasoning_content": "H"}, {"reasoning_content": "m"}, {"content": "Paris"}],
        [{"reasoning": "Hm", "content": ""}, {"content": "Paris"}],
        [{"content": "<th"}, {"content": "ink>Hm</thi"}, {"content": "nk>\n\nParis"}],
    ],
)
def test_reasoning_is_told_apart(
    deltas: list[dict[str, str]], server: ChatServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [Said(deltas)]
    result = result_of(run(connect(), ask(), control))
    assert isinstance(result, TextResult)
    assert (result.reasoning, result.text) == ("Hm", "Paris")


def test_a_server_may_cut_off_the_opening_tag(
    server: ChatServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [says("Hm</think>", "Paris")]
    result = result_of(run(connect(starts_thinking=True), ask(), control))
    assert isinstance(result, TextResult)
    assert (result.reasoning, result.text) == ("Hm", "Paris")


def test_an_answer_that_was_cut_by_its_length_says_so(
    server: ChatServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [says("Par", finish_reason="length", usage=False)]
    result = result_of(run(connect(), ask(), control))
    assert isinstance(result, TextResult)
    assert (result.text, result.finish_reason) == ("Par", "length")
    assert result.usage.amount == 2


@pytest.mark.parametrize(
    ("reply", "told", "sentence"),
    [
        (Said(finish_reason="content_filter"), BackendRefused, "content rules"),
        (Said([{"refusal": "I can't help."}]), BackendRefused, "I can't help."),
        (Said(finish_reason=None), BackendError, "no answer"),
        (Said(['data: {"error": {"message": "CUDA died"}}\n\n']), BackendError, "failed"),
        (Said(["data: {not json\n\n"]), BackendError, "failed"),
        (says("Par", cut=True), BackendUnreachable, "did not answer"),
    ],
)
def test_an_answer_may_end_badly(
    reply: Said,
    told: type[HandlerError],
    sentence: str,
    server: ChatServer,
    connect: Connect,
    control: ScratchControl,
) -> None:
    stepper = connect()
    server.script = [reply]
    with pytest.raises(told) as caught:
        run(stepper, ask(), control)
    assert type(caught.value) is told
    assert sentence in caught.value.user_message
    assert len(server.requests) == 1
    server.script = [says("Paris")]
    assert streamed(run(stepper, ask(), control)) == "Paris"


def test_a_model_that_refuses_parameters_is_asked_without_them(
    server: ChatServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [
        takes_no("max_tokens"),
        takes_no("temperature", "unsupported_value"),
        says("Paris"),
        says("Rome"),
    ]
    stepper = connect()
    events = run(stepper, ask(max_new_tokens=99), control)
    assert streamed(events) == "Paris"
    assert notices(events) == ["This model takes no temperature, so yours was not used."]
    assert streamed(run(stepper, ask(max_new_tokens=99), control)) == "Rome"
    assert len(server.requests) == 4
    for request in server.requests[2:]:
        assert request["max_completion_tokens"] == 99
        assert not {"max_tokens", "temperature"} & request.keys()


def test_a_stream_that_ends_too_soon_is_shown_with_a_notice(
    server: ChatServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [says("Paris is", finish_reason=None, usage=False)]
    events = run(connect(), ask(), control)
    assert notices(events) == ["The model's server broke off here."]
    assert streamed(events) == "Paris is"


def test_a_server_that_falls_silent_times_out(
    server: ChatServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [Said([{"content": "Par"}, 60.0])]
    with pytest.raises(BackendUnreachable):
        run(connect(timeout_s=0.3), ask(), control)


def test_a_cancel_closes_the_connection_in_a_silence(
    server: ChatServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [Said([{"content": "Par"}, 30.0, {"content": "is"}]), says("Rome")]
    stepper = connect()
    stepper.admit("job", ask(), control)
    while not any(isinstance(event, TextDelta) for _, event in stepper.step()):
        pass
    stepper.cancel("job")
    assert server.left.wait(60)
    assert list(stepper.step()) == []
    assert streamed(run(stepper, ask(), control)) == "Rome"


def test_eight_go_out_at_once(server: ChatServer, control: ScratchControl) -> None:
    """With the options of the catalogue: the server batches, so it must have them all."""
    server.script = [Said([{"content": "Par"}, 60.0]) for _ in range(8)]
    stepper = load(Catalog.read(CONFIG).get("openai-compatible"), f"{server.url}/v1", "cpu")
    assert stepper.slots >= 8
    try:
        for number in range(8):
            stepper.admit(f"job {number}", ask(), control)
        heard: set[str] = set()
        deadline = time.monotonic() + 40
        while len(heard) < 8:
            assert time.monotonic() < deadline
            heard |= {name for name, event in stepper.step() if isinstance(event, TextDelta)}
    finally:
        stepper.close()


def test_long_conversations_lose_their_oldest_turns(
    server: ChatServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [says("Paris")]
    turns = [ChatMessage("user", f"{number} " + "word " * 400) for number in range(10)]
    request = TextRequest(messages=tuple(turns))
    events = run(connect(context_tokens=2000), request, control)
    assert "oldest" in notices(events)[0]
    sent = [message["content"] for message in server.requests[0]["messages"]]
    assert sent == [turn.content for turn in turns[-len(sent) :]]
    assert 1 <= len(sent) < 5


def test_more_fields_reach_the_server(
    server: ChatServer, connect: Connect, control: ScratchControl
) -> None:
    server.script = [says("a")]
    run(connect(body={"chat_template_kwargs": {"enable_thinking": False}}), ask(), control)
    assert server.requests[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_close_ends_jobs_and_the_thread(
    server: ChatServer, spec: MakeSpec, control: ScratchControl
) -> None:
    server.script = [Said([{"content": "Par"}, 30.0])]
    url = f"{server.url}/v1"
    source = EndpointSource(url=url, model="llama")
    before = threading.active_count()
    stepper = load(spec(source=source), url, "cpu")
    stepper.admit("job", ask(), control)
    while not any(isinstance(event, TextDelta) for _, event in stepper.step()):
        pass
    stepper.close()
    assert threading.active_count() == before
    assert server.left.wait(60)
