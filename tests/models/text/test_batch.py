"""Several jobs on one model: who has which row, who reads next, who waits, who is left alone.

The model is a scripted one whose scores depend on everything that a row has read, so that a row
that was mixed up with another cannot say the right thing.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from models.contracts import ChatMessage, Finished, Notice, Progress, TextResult
from models.errors import BackendError, InputTooLong
from models.text.batch import PROMPT_CHUNK, TextStepper
from models.text.chat import Prompt
from models.text.options import TextOptions
from models.text.sampling import Scores
from tests.models.control import ScratchControl
from tests.models.text.driving import Driven, ask, text_of

VOCABULARY = 128


class Letters:
    """A tokenizer whose tokens are characters. Token 0 ends an answer."""

    eos_ids = frozenset({0})

    def prompt(self, messages: Sequence[ChatMessage]) -> Prompt:
        text = "".join(message.content for message in messages)
        return Prompt(text, [ord(char) for char in text])

    def count(self, messages: Sequence[ChatMessage]) -> int:
        return len(self.prompt(messages).tokens)

    def writer(self) -> Any:
        class Writer:
            def push(self, token: int) -> str:
                return chr(token + 0x100)

        return Writer()


class Scripted:
    """A model that writes what its rows' content decides, and checks how it is used."""

    vocabulary = VOCABULARY
    exact = True

    def __init__(self, rows: int = 8, context_tokens: int = 400) -> None:
        self.rows = rows
        self.context_tokens = context_tokens
        self.content: list[list[int]] = [[] for _ in range(rows)]
        self.calls: list[tuple[str, int]] = []
        self.breaks_at: str | None = None
        self.most_tokens = 0
        self.closed = False

    def read(self, row: int, tokens: Sequence[int]) -> Scores:
        assert 0 < len(tokens) <= PROMPT_CHUNK
        self.calls.append(("read", len(tokens)))
        if self.breaks_at is not None and self.breaks_at in map(chr, tokens):
            raise RuntimeError("it broke")
        return self._append(row, tokens)

    def advance(self, tokens: Sequence[int]) -> Scores:
        self.calls.append(("advance", len(tokens)))
        if self.breaks_at == "advance":
            raise RuntimeError("it broke")
        return np.stack([self._append(row, [token]) for row, token in enumerate(tokens)])

    def swap(self, first: int, second: int) -> None:
        assert first != second
        content = self.content
        content[first], content[second] = content[second], content[first]

    def clear(self, row: int) -> None:
        self.content[row] = []

    def close(self) -> None:
        self.closed = True

    def _append(self, row: int, tokens: Sequence[int]) -> Scores:
        self.content[row] += tokens
        assert len(self.content[row]) <= self.context_tokens
        self.most_tokens = max(self.most_tokens, sum(map(len, self.content)))
        if "~" in map(chr, self.content[row][:1]):
            return np.full(VOCABULARY, np.nan, np.float32)
        random = np.random.default_rng(zlib.crc32(bytes(self.content[row])))
        line: Scores = random.normal(0, 2, VOCABULARY).astype(np.float32)
        line[0] = -9  # an answer ends by its length
        return line


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def stepper(model: Scripted, clock: Clock | None = None, **options: Any) -> TextStepper:
    return TextStepper(model, Letters(), TextOptions(**options), clock or Clock())


def alone(request: Any, control: ScratchControl) -> str:
    return text_of(list(Driven(stepper(Scripted())).run(request, control)))


@pytest.fixture
def model() -> Scripted:
    return Scripted()


REQUESTS = {
    f"job {n}": ask(
        "".join(chr(97 + (n * k) % 26) for k in range(1, 9 + 23 * n)),
        temperature=n % 3 * 0.6,
        seed=n if n % 2 else 2**32 - n - 1,
        max_new_tokens=25 + 5 * n,
    )
    for n in range(8)
}
"""Prompts of one to three parts, each with its own temperature, seed and length."""


def test_each_of_eight_says_what_it_says_alone(model: Scripted, control: ScratchControl) -> None:
    happened = Driven(stepper(model)).together(REQUESTS, control)
    for name, request in REQUESTS.items():
        assert text_of(happened[name]) == alone(request, control), name
        last = happened[name][-1]
        assert isinstance(last, Finished)
        assert isinstance(last.result, TextResult)
        assert last.result.usage.amount == request.max_new_tokens
        assert last.result.finish_reason == "length"
    assert ("advance", 8) in model.calls
    assert not any(model.content), "every row was given back"


def test_a_job_may_join_while_others_write(model: Scripted, control: ScratchControl) -> None:
    batch = stepper(model)
    batch.admit("job 7", REQUESTS["job 7"], control)
    for _ in range(10):
        assert all(job_id == "job 7" for job_id, _ in batch.step())
    others = {name: request for name, request in REQUESTS.items() if name != "job 7"}
    for name, request in others.items():
        batch.admit(name, request, control)
    ended = {}
    while len(ended) < len(REQUESTS):
        ended |= {name: [event] for name, event in batch.step() if isinstance(event, Finished)}
    for name, request in REQUESTS.items():
        assert text_of(ended[name]) == alone(request, control), name


@pytest.mark.parametrize("steps", [0, 1, 3, 6, 20])
@pytest.mark.parametrize("victim", ["job 0", "job 3", "job 7"])
def test_a_cancel_leaves_the_others_untouched(
    victim: str, steps: int, model: Scripted, control: ScratchControl
) -> None:
    """Whether it was just taken in, reads, or writes."""
    batch = stepper(model)
    for name, request in REQUESTS.items():
        batch.admit(name, request, control)
    for _ in range(steps):
        batch.step()
    batch.cancel(victim)
    ended: dict[str, Finished] = {}
    while len(ended) < len(REQUESTS) - 1:
        after = batch.step()
        assert victim not in [name for name, _ in after]
        ended |= {name: event for name, event in after if isinstance(event, Finished)}
    assert not any(model.content)
    for name, event in ended.items():
        assert text_of([event]) == alone(REQUESTS[name], control), name


def test_all_that_write_write_at_every_step_while_others_read(
    model: Scripted, control: ScratchControl
) -> None:
    batch = stepper(model)
    batch.admit("writer", ask("a", max_new_tokens=60), control)
    batch.step()
    for n in range(3):
        batch.admit(f"reader {n}", ask("b" * 200), control)
    model.calls.clear()
    while not (happened := batch.step()) or happened[-1][0] != "reader 2":
        pass
    kinds = [kind for kind, _ in model.calls]
    assert kinds == ["read", "advance"] * (len(kinds) // 2), "a part of one prompt, then a token"


def test_a_short_prompt_passes_a_long_one_and_equals_go_as_they_came(
    model: Scripted, control: ScratchControl
) -> None:
    batch = stepper(model)
    batch.admit("long", ask("x" * 300, max_new_tokens=1), control)
    batch.step()
    for name in ("first", "second"):
        batch.admit(name, ask("y" * 70, max_new_tokens=1), control)
    assert _order(batch, 3) == ["first", "second", "long"]


def test_a_long_prompt_is_passed_for_a_bounded_time(
    model: Scripted, control: ScratchControl
) -> None:
    batch = stepper(model)
    batch.admit("long", ask("x" * 300, max_new_tokens=1), control)
    for n in range(40):
        batch.admit(f"short {n}", ask("y", max_new_tokens=1), control)
        if "long" in [name for name, event in batch.step() if isinstance(event, Finished)]:
            break
    else:
        raise AssertionError("it starves")


def _order(batch: TextStepper, jobs: int) -> list[str]:
    """Return the jobs as they end."""
    ended: list[str] = []
    while len(ended) < jobs:
        ended += [name for name, event in batch.step() if isinstance(event, Finished)]
    return ended


@pytest.mark.parametrize(("broken", "error"), [("#", RuntimeError), ("~", BackendError)])
def test_a_failure_of_one_is_its_own(
    broken: str, error: type[Exception], model: Scripted, control: ScratchControl
) -> None:
    """Whether its prompt cannot be read, or what comes out is no numbers."""
    model.breaks_at = "#"
    requests = {**REQUESTS, "job 4": ask(broken + "?")}
    happened = Driven(stepper(model)).together(requests, control)
    assert [type(event) for event in happened.pop("job 4")] == [error]
    for name, events in happened.items():
        assert text_of(events) == alone(REQUESTS[name], control), name
    assert not any(model.content)


def test_a_model_that_breaks_ends_its_jobs_and_takes_others(
    model: Scripted, control: ScratchControl
) -> None:
    driven = Driven(stepper(model))
    model.breaks_at = "advance"
    happened = driven.together(REQUESTS, control)
    assert {type(events[-1]) for events in happened.values()} == {RuntimeError}
    assert not any(model.content)
    model.breaks_at = None
    again = driven.together(REQUESTS, control)
    assert text_of(again["job 5"]) == alone(REQUESTS["job 5"], control)


def test_what_cannot_fit_is_refused_and_what_was_left_out_is_told(
    model: Scripted, control: ScratchControl
) -> None:
    turns = [ChatMessage("user" if n % 2 == 0 else "assistant", "t" * 90) for n in range(7)]
    long = ask(max_new_tokens=20)
    requests = {
        "refused": ask("z" * 500),
        "cut": type(long)(tuple(turns), temperature=0, max_new_tokens=20),
        "fine": REQUESTS["job 1"],
    }
    happened = Driven(stepper(model)).together(requests, control)
    assert [type(event) for event in happened["refused"]] == [InputTooLong]
    assert isinstance(happened["cut"][0], Notice)
    assert text_of(happened["cut"])
    assert text_of(happened["fine"]) == alone(REQUESTS["job 1"], control)


def test_what_is_kept_is_bounded_and_who_waits_for_room_says_so(
    model: Scripted, control: ScratchControl
) -> None:
    clock = Clock()
    batch = stepper(model, clock, cache_tokens=450)
    for n in range(4):
        batch.admit(f"job {n}", ask("w" * 100, max_new_tokens=100), control)
    happened = list(batch.step())
    waiting = [name for name, event in happened if event == _WAITS]
    assert waiting == ["job 2", "job 3"]
    assert _WAITS not in [event for _, event in batch.step()]
    clock.now += 60
    assert [name for name, event in batch.step() if event == _WAITS] == ["job 2", "job 3"]
    assert sorted(_order(batch, 4)[:2]) == ["job 0", "job 1"]
    assert 300 < model.most_tokens <= 450


_WAITS = Progress("waiting for room beside other answers")


def test_a_job_of_the_whole_context_always_fits(model: Scripted, control: ScratchControl) -> None:
    batch = stepper(model, cache_tokens=1)
    batch.admit("job", ask("v" * 250, max_new_tokens=150), control)
    assert _order(batch, 1) == ["job"]


def test_one_that_was_cancelled_while_it_waited_is_forgotten(
    model: Scripted, control: ScratchControl
) -> None:
    batch = stepper(model, cache_tokens=400)
    for n in range(3):
        batch.admit(f"job {n}", ask("u" * 100, max_new_tokens=150), control)
    batch.step()
    batch.cancel("job 1")
    assert _order(batch, 2) == ["job 0", "job 2"]


def test_close_drops_all_and_frees_the_model(model: Scripted, control: ScratchControl) -> None:
    batch = stepper(model)
    batch.admit("job", ask(), control)
    batch.step()
    batch.close()
    assert model.closed
    assert batch.step() == []


def test_it_says_how_many_may_share_and_whether_they_notice(model: Scripted) -> None:
    batch = stepper(model)
    assert (batch.slots, batch.joins, batch.exact) == (8, "anytime", True)
