"""Fitting conversations into a context; a word counts as a token here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contracts import ChatMessage
from models.errors import EmptyInput, InputTooLong
from models.text.prompt import fit


def words(messages: Sequence[ChatMessage]) -> int:
    return sum(len(message.content.split()) for message in messages)


def conversation(*sizes: int, system: int = 0) -> list[ChatMessage]:
    """Turns of so many words, by user and assistant in turn; the last is the user's."""
    turns = [
        ChatMessage("user" if (len(sizes) - n) % 2 else "assistant", "word " * size)
        for n, size in enumerate(sizes)
    ]
    return [ChatMessage("system", "rule " * system), *turns] if system else turns


def test_what_fits_is_left_alone() -> None:
    messages = conversation(10, 10, 10, system=5)
    fitted = fit(messages, words, context_tokens=100, max_new_tokens=20)
    assert fitted.messages == tuple(messages)
    assert (fitted.dropped, fitted.max_new_tokens, fitted.notices()) == (0, 20, [])


def test_the_oldest_turns_go_and_the_system_stays() -> None:
    messages = conversation(30, 30, 20, 20, 10, system=10)
    fitted = fit(messages, words, context_tokens=100, max_new_tokens=20)
    assert fitted.messages == (messages[0], *messages[3:])
    assert fitted.dropped == 2
    assert "oldest 2 messages were" in fitted.notices()[0].message


def test_what_is_left_begins_with_a_question() -> None:
    fitted = fit(conversation(50, 10, 10), words, context_tokens=40, max_new_tokens=5)
    assert [message.role for message in fitted.messages] == ["user"]
    assert fitted.dropped == 2


def test_a_long_answer_yields_to_a_long_question() -> None:
    fitted = fit(conversation(70), words, context_tokens=100, max_new_tokens=1000)
    assert fitted.max_new_tokens == 30


def test_a_question_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(InputTooLong, match="80 tokens, and it can read 75"):
        fit(conversation(5, 5, 80), words, context_tokens=100, max_new_tokens=1000)


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_question_is_refused(text: str) -> None:
    with pytest.raises(EmptyInput):
        fit([ChatMessage("user", text)], words, context_tokens=100, max_new_tokens=10)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=15), st.integers(1, 200))
def test_no_more_is_left_out_than_must_be(sizes: list[int], max_new_tokens: int) -> None:
    messages, room = conversation(*sizes), 100 - min(max_new_tokens, 25)
    fitted = fit(messages, words, context_tokens=100, max_new_tokens=max_new_tokens)
    assert words(fitted.messages) <= room
    assert tuple(messages[fitted.dropped :]) == fitted.messages
    assert 1 <= fitted.max_new_tokens <= 100 - words(fitted.messages)
    earlier = [n for n in range(fitted.dropped) if n == 0 or messages[n].role == "user"]
    assert all(words(messages[n:]) > room for n in earlier)
