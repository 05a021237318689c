import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.delivery.splitter import MESSAGE_LIMIT, chunks, open_fence, split, tail, units

_PIECES = st.sampled_from(
    [
        "word ",
        "A sentence. ",
        "\n",
        "\n\n",
        "```",
        "\n```python\n",
        "\n```\n",
        "    indented\n",
        "`code`",
        "👩‍👩‍👧‍👦",
        "🇩🇪",
        "e\u0301",
        "שלום ",
        "\u200b",
        "@everyone ",
        "漢字",
        "||",
    ]
)
_TEXTS = st.lists(_PIECES | st.text(max_size=12), max_size=120).map("".join)


def _marks(message: str) -> int:
    return len(re.findall("```", message))


def _bare(text: str) -> str:
    return re.sub(r"\s", "", text)


@settings(max_examples=300, deadline=None)
@given(_TEXTS, st.integers(40, 120))
def test_cutting_loses_nothing_and_keeps_every_limit(text: str, limit: int) -> None:
    slices = list(chunks(text, limit))
    assert "".join(chunk.text for chunk in slices) == text
    for chunk in slices:
        message = chunk.render()
        assert units(message) <= limit
        assert _marks(message) % 2 == 0
        assert _bare(chunk.text) in _bare(message)


@settings(max_examples=200, deadline=None)
@given(_TEXTS, st.integers(60, 200))
def test_a_tail_fits_and_ends_as_the_text_does(text: str, limit: int) -> None:
    shown = tail(text, limit)
    assert units(shown) <= limit
    assert _marks(shown) % 2 == 0
    end = _bare(text)[-10:]
    assert end in _bare(shown)


def test_a_short_text_stays_one_message() -> None:
    assert split("Hello\n\nthere") == ["Hello\n\nthere"]


def test_nothing_to_say_is_no_message() -> None:
    assert split("") == []
    assert split(" \n\n " * 3000) == []


def test_messages_end_where_paragraphs_end() -> None:
    paragraphs = [f"{n} " + "lorem ipsum " * 60 for n in range(8)]
    messages = split("\n\n".join(paragraphs))
    assert len(messages) == 4
    assert [message[0] for message in messages] == ["0", "2", "4", "6"]


def test_a_code_block_that_does_not_fit_goes_on_in_its_language() -> None:
    lines = [f"print({n})  # {'x' * 40}" for n in range(120)]
    messages = split("Here:\n\n```python\n" + "\n".join(lines) + "\n```\nThat was it.")
    assert len(messages) > 2
    assert all(message.endswith("\n```") for message in messages[:-1])
    assert all(message.startswith("```python\nprint(") for message in messages[1:])
    assert messages[-1].endswith("```\nThat was it.")
    shown = [line for message in messages for line in message.split("\n") if line in lines]
    assert shown == lines


def test_a_code_block_that_fits_into_the_next_message_is_kept_whole() -> None:
    code = "```js\n" + "let a = 1;\n" * 100 + "```"
    messages = split("word " * 300 + "\n" + code)
    assert messages[1] == code


@pytest.mark.parametrize("cluster", ["👩‍👩‍👧‍👦", "🇩🇪", "👍🏽", "e\u0301", "ก็"])
def test_clusters_are_not_parted(cluster: str) -> None:
    for offset in range(8):
        text = "x" * offset + cluster * 900
        for chunk in chunks(text, 100):
            inner = chunk.text.lstrip("x")
            assert inner == cluster * (len(inner) // len(cluster))


def test_length_is_counted_in_the_larger_of_both_ways() -> None:
    assert units("a😀") == 3
    assert all(units(message) <= MESSAGE_LIMIT for message in split("😀" * 3000))
    assert "".join(split("😀" * 3000)) == "😀" * 3000


def test_a_mark_in_mid_line_opens_code_as_it_does_in_discord() -> None:
    assert open_fence("see ```\ncode") == ""
    assert open_fence("see ```x``` there") is None
    assert open_fence("```rust\nfn") == "rust"


def test_wide_text_without_a_space_is_cut_between_its_characters() -> None:
    messages = split("語" * 5000)
    assert "".join(messages) == "語" * 5000
    assert not any(unicodedata.combining(message[0]) for message in messages)


def test_the_tail_of_code_says_that_it_is_code() -> None:
    shown = tail("```python\n" + "x = 1\n" * 1000)
    assert shown.startswith("…\n```python\nx = 1")
    assert shown.endswith("\n```")
