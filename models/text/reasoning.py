"""Tell what a model thinks from what it answers, in a stream that may cut a tag anywhere.

This module owns the tags. It must not know where the text comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

Channel = Literal["answer", "reasoning"]
Piece = tuple[Channel, str]

TAGS: Final = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
)
"""Opening and closing tags, by family: DeepSeek, Qwen; prompted ones; Granite; Magistral; Kimi."""


def open_tag_at_end(prompt: str) -> str | None:
    """Return the opening tag that a chat template left at the end of the prompt, if there is one.

    Such a template makes the model begin in the middle of its thoughts.
    """
    ending = prompt.rstrip()
    return next((opening for opening, _ in TAGS if ending.endswith(opening)), None)


class ReasoningSplitter:
    """Cuts a stream of text into pieces of reasoning and of answer.

    Reasoning stands only at the beginning: a tag in the middle of an answer is text, since people
    ask about such tags. White space around either part is dropped.
    """

    def __init__(self, opened: str | None = None) -> None:
        """Start a stream. ``opened`` is the tag that the prompt ended with, if it did."""
        self._opened = opened
        self._closing: str | None = None
        self._channel: Channel | None = None
        self._held = ""
        self._started = False

    def push(self, text: str) -> Iterator[Piece]:
        """Take more text and yield what is certain."""
        self._held += text
        if self._channel is None:
            self._begin()
        if self._channel == "reasoning":
            yield from self._think()
        if self._channel == "answer":
            yield from self._emit(self._held, keep=0)

    def finish(self) -> Iterator[Piece]:
        """Yield what was held back, at the end of the stream."""
        channel: Channel = self._channel or ("reasoning" if self._opened else "answer")
        self._channel = channel
        yield from self._emit(self._held, keep=0)

    def _begin(self) -> None:
        start = self._held.lstrip()
        for opening, closing in TAGS:
            if start.startswith(opening):
                self._channel, self._closing = "reasoning", closing
                self._held = start[len(opening) :]
                return
        if not any(opening.startswith(start) for opening, _ in TAGS):
            self._channel = "reasoning" if self._opened else "answer"
            self._closing = dict(TAGS).get(self._opened or "")

    def _think(self) -> Iterator[Piece]:
        closing = self._closing or ""
        thought, found, rest = self._held.partition(closing)
        if not found:
            yield from self._emit(self._held, keep=_overlap(self._held, closing))
            return
        yield from self._emit(thought.rstrip(), keep=0)
        self._channel, self._held, self._started = "answer", rest, False

    def _emit(self, text: str, keep: int) -> Iterator[Piece]:
        """Yield the text without leading white space and without its last ``keep`` characters."""
        cut = len(text) - keep
        ready, self._held = text[:cut], text[cut:]
        if not self._started:
            ready = ready.lstrip()
        if ready and self._channel:
            self._started = True
            yield self._channel, ready


def _overlap(text: str, tag: str) -> int:
    """Return how many characters at the end of ``text`` may be the beginning of ``tag``."""
    longest = min(len(text), len(tag) - 1)
    return next((n for n in range(longest, 0, -1) if tag.startswith(text[-n:])), 0)
