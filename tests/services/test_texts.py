from types import SimpleNamespace
from typing import cast

import discord
import pytest

from bot.services.texts import is_blank, is_text_file, joined, require_fit
from models.catalog import ModelSpec
from models.errors import EmptyInput, InputTooLong

SPEC = cast("ModelSpec", SimpleNamespace(name="Writer", context_tokens=2048))


@pytest.mark.parametrize(
    "text", ["", "   \n\t", "\u200b\u200d\ufeff", "\u202e\u202c", "\u00a0\u3000"]
)
def test_what_shows_nothing_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", [".", "👩\u200d🚀", "\u202eעברית", "\u200bx"])
def test_what_shows_something_is_not_blank(text: str) -> None:
    assert not is_blank(text)


def test_parts_are_joined_as_paragraphs_without_the_blank_ones() -> None:
    assert joined(" question ", "\u200b", "file") == "question\n\nfile"


def test_nothing_to_read_is_refused() -> None:
    with pytest.raises(EmptyInput):
        joined("", "\u200b")


def test_ten_thousand_characters_are_let_through_to_the_tokenizer() -> None:
    require_fit("word " * 2000, SPEC)


def test_what_cannot_fit_is_refused_with_the_numbers() -> None:
    with pytest.raises(InputTooLong, match=r"16,385 characters, and Writer reads about 8,192"):
        require_fit("x" * 16_385, SPEC)


@pytest.mark.parametrize(
    ("filename", "content_type", "expected"),
    [
        ("notes.txt", "text/plain; charset=utf-8", True),
        ("data.json", "application/json", True),
        ("main.py", None, True),
        ("photo.png", "image/png", False),
        ("clip.mp3", "audio/mpeg", False),
        ("unknown", None, False),
    ],
)
def test_text_files_are_told_from_others(
    filename: str, content_type: str | None, expected: object
) -> None:
    file = cast("discord.Attachment", SimpleNamespace(filename=filename, content_type=content_type))
    assert is_text_file(file) is expected
