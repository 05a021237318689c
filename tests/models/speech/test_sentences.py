"""Texts as people write them, made ready for a voice."""

import time

import pytest

from models.errors import EmptyInput
from models.speech.sentences import plain, script_of


def spoken(text: str, max_chars: int = 250) -> list[str]:
    return [sentence.text for sentence in script_of(text, max_chars).sentences]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("**bold** *it* __under__ ~~no~~ ||secret|| _em_", "bold it under no secret em"),
        ("***both*** and **_nested_**", "both and nested"),
        ("# Title", "Title"),
        ("-# small", "small"),
        ("> > quoted", "quoted"),
        ("- [x] done", "done"),
        ("see `code` here", "see code here"),
        ("[the docs](https://a.example/x_(y)?z=1 'Title')", "the docs"),
        ("![a cat](https://a.example/cat.png)", "a cat"),
        ("go to https://www.example.com/a/b?c=d#e.", "go to example.com."),
        ("<https://example.com/x>", "example.com"),
        ("hi <@123> <@&5> <#42> <:wave:99> <a:dance:98> <t:1618:R> </ask:77>", "hi"),
        ("nice 😀👍🏽 👨‍👩‍👧 🇩🇪 work", "nice work"),
        ("1️⃣ first", "1 first"),
        ("zero\u200bwidth\u202e \u2066rtl", "zerowidth rtl"),
        ("snake_case_name", "snake case name"),
        ("2 * 3 * 4 = 24", "2 * 3 * 4 = 24"),
        ("20 °C & 5 € № 7 ™", "20 °C & 5 € № 7 ™"),
        ("| a | b |", "a, b"),
        ("cafe\u0301", "café"),
    ],
)
def test_what_is_not_language_is_left_out(written: str, said: str) -> None:
    assert spoken(written) == [said]


def test_code_blocks_are_skipped_and_the_member_is_told() -> None:
    script = script_of("Before.\n```py\nprint('x')\n```\nAfter.\n```\nopen end", 250)

    assert [sentence.text for sentence in script.sentences] == ["Before.", "After."]
    assert script.notices == ("Code blocks are not read out; 2 were left out.",)


def test_sentences_and_paragraphs_are_told_apart() -> None:
    script = script_of("Dr. Smith waved. Did he? Yes!\n\n- one\n- two", 250)

    assert [(s.text, s.ends_paragraph) for s in script.sentences] == [
        ("Dr. Smith waved.", False),
        ("Did he?", False),
        ("Yes!", True),
        ("one", True),
        ("two", True),
    ]


def test_writing_without_spaces_is_cut_at_its_full_stops() -> None:
    assert spoken("你好。今天天气很好！我们走吧？") == ["你好。", "今天天气很好！", "我们走吧？"]


def test_right_to_left_text_keeps_its_words() -> None:
    assert spoken("مرحبا بالعالم. كيف حالك؟") == ["مرحبا بالعالم.", "كيف حالك؟"]


def test_long_sentences_are_cut_at_clauses_then_at_words_then_anywhere() -> None:
    assert spoken("one two three, four five six, seven eight", 20) == [
        "one two three,",
        "four five six,",
        "seven eight",
    ]
    assert spoken("one two three four five six", 12) == ["one two", "three four", "five six"]
    assert spoken("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]


def test_nothing_is_lost_when_a_long_text_is_cut() -> None:
    text = " ".join(f"word{number}" for number in range(2000))

    parts = spoken(text, 100)

    assert " ".join(parts) == text
    assert all(len(part) <= 100 for part in parts)


def test_characters_are_counted_as_spoken() -> None:
    assert script_of("**Hi** there. <@1>", 250).characters == len("Hi there.")


@pytest.mark.parametrize(
    "text", ["😀", "...", "```\ncode\n```", "<@123>", "\u200b", "---", "* * *"]
)
def test_a_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(EmptyInput, match="no words"):
        script_of(text, 250)


@pytest.mark.parametrize(
    "text",
    [
        *("*a" * 10_000, "[" * 20_000, "`a" * 10_000, "_a " * 6_600, "[a](" * 5_000),
        *("> " * 10_000, "([" * 10_000, "|| " * 6_600, "[x](" + "(" * 19_900, "<@" * 10_000),
    ],
    ids=lambda text: text[:4],
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    plain(text)
    assert time.process_time() - began < 1.0
