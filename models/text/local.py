"""The text handler for a model that does one job at a time in this process.

This module owns how a job is driven there. What a library does for one job is a ``Decoding``;
``batch`` drives models that share their steps. It must not import a library that computes.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from models.allocator import give_back_freed_memory
from models.contracts import Control, HandlerEvent, TextRequest
from models.text.chat import ChatTokenizer
from models.text.dialogue import Dialogue
from models.text.options import TextOptions
from models.text.sampling import Sampling

PROMPT_CHUNK: Final = 128
"""Tokens of the prompt that are read in one go: about half a second of the slowest machine, so
that a cancel is heard in time."""


class Decoding(Protocol):
    """One job on a loaded model."""

    def read(self, tokens: Sequence[int]) -> None:
        """Take in more of the prompt."""

    def next_token(self) -> int:
        """Draw the next token."""


class LocalModel(Protocol):
    """A loaded model. ``context_tokens`` is the longest context that it was made for."""

    context_tokens: int

    def begin(self, sampling: Sampling, max_tokens: int) -> Decoding:
        """Begin a job of at most ``max_tokens``, prompt included."""

    def close(self) -> None:
        """Free its memory."""


class LocalTextHandler:
    """Answers one conversation at a time with a local model."""

    def __init__(
        self, model: LocalModel, tokenizer: ChatTokenizer, context_tokens: int, options: TextOptions
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._context_tokens = min(context_tokens, model.context_tokens)
        self._options = options

    def run(self, request: TextRequest, control: Control) -> Iterator[HandlerEvent]:
        """Read the conversation, then write the answer token by token."""
        dialogue = Dialogue(request, self._tokenizer, self._context_tokens, self._options)
        yield from dialogue.notices
        decoding = self._model.begin(dialogue.sampling, dialogue.size)
        for start in range(0, len(dialogue.prompt), PROMPT_CHUNK):
            if control.cancelled:
                return
            decoding.read(dialogue.prompt[start : start + PROMPT_CHUNK])
            if start + PROMPT_CHUNK < len(dialogue.prompt):
                yield dialogue.reading(start + PROMPT_CHUNK)
        while not dialogue.ended:
            if control.cancelled:
                return
            yield from dialogue.take(decoding.next_token())

    def close(self) -> None:
        """Free the memory of the model."""
        self._model.close()
        gc.collect()
        give_back_freed_memory()
