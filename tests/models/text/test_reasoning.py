"""Reasoning is told apart wherever a stream is cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text.reasoning import TAGS, Channel, ReasoningSplitter, open_tag_at_end


def split(pieces: list[str], opened: str | None = None) -> dict[Channel, str]:
    splitter = ReasoningSplitter(opened)
    found: dict[Channel, str] = {"reasoning": "", "answer": ""}
    for piece in pieces:
        for channel, text in splitter.push(piece):
            found[channel] += text
    for channel, text in splitter.finish():
        found[channel] += text
    return found


def cut(text: str, places: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in itertools.pairwise(edges)]


places = st.lists(st.integers(0, 200), max_size=12)


@pytest.mark.parametrize(("opening", "closing"), TAGS)
@given(places)
def test_any_cut_gives_the_same(opening: str, closing: str, where: list[int]) -> None:
    text = f"\n{opening}\nHm < 3, </thin\nso\n{closing}\n\nIt is 2 < 3."
    expected = {"reasoning": "Hm < 3, </thin\nso", "answer": "It is 2 < 3."}
    found = split(cut(text, where))
    assert {channel: part.rstrip() for channel, part in found.items()} == expected


@given(places)
def test_a_prompt_may_have_opened_it(where: list[int]) -> None:
    found = split(cut("Hm\n</think>\n\nParis", where), opened="<think>")
    assert (found["reasoning"].rstrip(), found["answer"]) == ("Hm", "Paris")


@given(places)
def test_a_model_may_open_it_once_more(where: list[int]) -> None:
    found = split(cut("<think>\nHm</think>Paris", where), opened="<think>")
    assert found == {"reasoning": "Hm", "answer": "Paris"}


@given(st.text(max_size=40), places)
def test_an_answer_without_reasoning_stays_whole(text: str, where: list[int]) -> None:
    text = "A" + text
    assert split(cut(text, where)) == {"reasoning": "", "answer": text}


def test_tags_in_the_middle_of_an_answer_are_text() -> None:
    text = "The tag is <think>, and </think> closes it."
    assert split([text])["answer"] == text


def test_thoughts_that_never_end_are_thoughts() -> None:
    assert split(["<think>Hm, </th"]) == {"reasoning": "Hm, </th", "answer": ""}


def test_text_goes_out_as_soon_as_it_is_certain() -> None:
    splitter = ReasoningSplitter()
    assert list(splitter.push("<thi")) == []
    assert list(splitter.push("nk>Hm <")) == [("reasoning", "Hm ")]
    assert list(splitter.push("b> so</think")) == [("reasoning", "<b> so")]
    assert list(splitter.push("> Paris")) == [("answer", "Paris")]


@pytest.mark.parametrize(
    ("prompt", "tag"),
    [("<|Assistant|><think>\n", "<think>"), ("<|im_start|>assistant\n", None), ("", None)],
)
def test_the_end_of_a_prompt_tells(prompt: str, tag: str | None) -> None:
    assert open_tag_at_end(prompt) == tag
