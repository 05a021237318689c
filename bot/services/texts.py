"""What members write, before a model sees it: whether it says anything, and whether it can fit.

This module owns the cheap checks. It must not know a tokenizer: whether a text really fits is
counted by the backend.
"""

from __future__ import annotations

import unicodedata

import discord

from models.catalog import ModelSpec
from models.errors import EmptyInput, InputTooLong

_MOST_CHARS_PER_TOKEN = 8
"""No tokenizer packs prose or code more densely, so a text above this cannot fit."""

_TEXT_TYPES = frozenset(
    {"application/json", "application/xml", "application/javascript", "application/x-sh"}
)
_TEXT_ENDINGS = (
    ".c", ".conf", ".cpp", ".csv", ".go", ".h", ".ini", ".java", ".js", ".json", ".log", ".md",
    ".php", ".py", ".rb", ".rs", ".sh", ".sql", ".srt", ".toml", ".ts", ".txt", ".vtt", ".xml",
    ".yaml", ".yml",
)  # fmt: skip

_INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


def is_blank(text: str) -> bool:
    """Return whether a text shows nothing: only spaces, zero-width or control characters."""
    return all(unicodedata.category(char) in _INVISIBLE for char in text)


def joined(*parts: str) -> str:
    """Return the parts that show something, as paragraphs.

    Raises:
        EmptyInput: None of them does.
    """
    visible = [part.strip() for part in parts if not is_blank(part)]
    if not visible:
        raise EmptyInput("There is nothing to read in that: it is empty.")
    return "\n\n".join(visible)


def require_fit(text: str, spec: ModelSpec) -> None:
    """Refuse early what cannot fit into the context of a text model.

    Raises:
        InputTooLong: It is longer than any text that fits.
    """
    if len(text) > spec.context_tokens * _MOST_CHARS_PER_TOKEN:
        raise InputTooLong(
            f"That is {len(text):,} characters, and {spec.name} reads about "
            f"{spec.context_tokens * 4:,} at once. Please shorten it, or pick another model."
        )


def is_text_file(file: discord.Attachment) -> bool:
    """Return whether Discord takes a file for text; its bytes decide later."""
    kind = (file.content_type or "").partition(";")[0]
    return kind.startswith("text/") or kind in _TEXT_TYPES or file.filename.endswith(_TEXT_ENDINGS)
