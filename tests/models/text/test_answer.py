"""How an answer becomes events and a result."""

from __future__ import annotations

from models.contracts import Finished, TextDelta, TextResult
from models.text.answer import FLUSH_INTERVAL_S, Answer


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def result(events: list[TextDelta | Finished]) -> TextResult:
    last = events[-1]
    assert isinstance(last, Finished)
    assert isinstance(last.result, TextResult)
    return last.result


def test_the_first_text_goes_out_at_once_and_more_is_gathered() -> None:
    clock = Clock()
    answer = Answer(clock=clock)
    assert list(answer.add("One")) == [TextDelta("One")]
    assert list(answer.add(" two")) == []
    assert list(answer.add(" three")) == []
    clock.now += 2 * FLUSH_INTERVAL_S
    assert list(answer.add(" four")) == [TextDelta(" two three four")]
    assert list(answer.add(" five ")) == []
    events = list(answer.finish("stop", 5, 3))
    assert events[0] == TextDelta(" five ")
    assert result(events).text == "One two three four five"
    assert result(events).usage.amount == 5
    assert result(events).prompt_tokens == 3


def test_thoughts_go_before_the_answer_in_one_flush() -> None:
    clock = Clock()
    answer = Answer(clock=clock)
    list(answer.add("<think>a"))
    list(answer.add("b</think>c"))
    events = list(answer.finish("length", 3, 0))
    assert events[:2] == [TextDelta("b", channel="reasoning"), TextDelta("c")]
    assert (result(events).reasoning, result(events).text) == ("ab", "c")
    assert result(events).finish_reason == "length"


def test_thoughts_that_a_server_told_apart() -> None:
    answer = Answer()
    assert list(answer.add_reasoning("Hm")) == [TextDelta("Hm", channel="reasoning")]
    list(answer.add("Paris"))
    events = list(answer.finish("stop", 2, 0))
    assert (result(events).reasoning, result(events).text) == ("Hm", "Paris")


def test_thoughts_that_never_closed_are_the_answer_of_a_model_that_stopped() -> None:
    for reason, expected in (("stop", ("Paris", "")), ("length", ("", "Paris"))):
        answer = Answer(opened="<think>")
        list(answer.add("Paris"))
        done = result(list(answer.finish(reason, 1, 0)))  # type: ignore[arg-type]
        assert (done.text, done.reasoning) == expected
