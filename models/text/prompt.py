"""Fit a conversation into a model's context.

This module owns what is left out when there is too much, and how the member is told. It must not
know how a model counts: a function that does is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.contracts import ChatMessage, Notice
from models.errors import EmptyInput, InputTooLong

Count = Callable[[Sequence[ChatMessage]], int]
"""Length of a conversation in tokens, as the model reads it."""

_ANSWER_SHARE = 4
"""At least this fraction of the context, 1/n, is kept free for the answer (or less, if asked)."""


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """What the model reads.

    Attributes:
        messages: The conversation that is left, oldest first.
        max_new_tokens: How long the answer may get.
        dropped: How many of the oldest messages were left out.
    """

    messages: tuple[ChatMessage, ...]
    max_new_tokens: int
    dropped: int

    def notices(self) -> list[Notice]:
        """Say what was left out."""
        if not self.dropped:
            return []
        what = "message was" if self.dropped == 1 else f"{self.dropped} messages were"
        return [Notice(f"This conversation is too long for the model: its oldest {what} left out.")]


def fit(
    messages: Sequence[ChatMessage], count: Count, context_tokens: int, max_new_tokens: int
) -> FittedPrompt:
    """Leave out the oldest turns until the rest and an answer fit. System messages always stay.

    Raises:
        EmptyInput: The last turn says nothing.
        InputTooLong: The last turn alone does not fit.
    """
    if not messages[-1].content.strip():
        raise EmptyInput("There is nothing to answer: the message is empty.")
    system = [message for message in messages if message.role == "system"]
    turns = [message for message in messages if message.role != "system"]
    room = context_tokens - min(max_new_tokens, context_tokens // _ANSWER_SHARE)

    def without(dropped: int) -> list[ChatMessage]:
        return [*system, *turns[dropped:]]

    starts = [0, *(i for i, turn in enumerate(turns) if i and turn.role == "user")]
    low, high = 0, len(starts) - 1
    while low < high:
        middle = (low + high) // 2
        if count(without(starts[middle])) <= room:
            high = middle
        else:
            low = middle + 1
    kept = without(starts[low])
    tokens = count(kept)
    if tokens > room:
        raise InputTooLong(
            f"That is too long for this model: {tokens:,} tokens, and it can read {room:,}."
        )
    return FittedPrompt(tuple(kept), min(max_new_tokens, context_tokens - tokens), starts[low])
