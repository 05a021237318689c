"""One text job on a model of this process: messages in, tokens to read, tokens drawn, events out.

This module owns the order of a local text job, whoever computes. It must not compute anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from models.contracts import HandlerEvent, Notice, Progress, TextRequest
from models.text.answer import Answer
from models.text.chat import ChatTokenizer
from models.text.options import TextOptions
from models.text.prompt import fit
from models.text.reasoning import open_tag_at_end
from models.text.sampling import Sampling


class Dialogue:
    """What a member asked, and the answer as it grows.

    Attributes:
        notices: What the member should know before the answer.
        prompt: The tokens that the model reads.
        max_new_tokens: How many may follow.
        sampling: How they are drawn.
        ended: Whether the answer is complete.
    """

    def __init__(
        self,
        request: TextRequest,
        tokenizer: ChatTokenizer,
        context_tokens: int,
        options: TextOptions,
    ) -> None:
        """Fit the conversation into the context.

        Raises:
            InputTooLong: The last message alone does not fit.
            EmptyInput: It says nothing.
        """
        fitted = fit(request.messages, tokenizer.count, context_tokens, request.max_new_tokens)
        prompt = tokenizer.prompt(fitted.messages)
        self.notices: list[Notice] = fitted.notices()
        self.prompt = prompt.tokens
        self.max_new_tokens = fitted.max_new_tokens
        self.sampling = Sampling.of(request, options)
        self.ended = False
        self._eos_ids = tokenizer.eos_ids
        self._writer = tokenizer.writer()
        self._answer = Answer(open_tag_at_end(prompt.text))
        self._new_tokens = 0

    @property
    def size(self) -> int:
        """How many tokens the prompt and the longest answer have together."""
        return len(self.prompt) + self.max_new_tokens

    def reading(self, read: int) -> Progress:
        """Say how much of the prompt has been read."""
        return Progress("reading the conversation", read / len(self.prompt))

    def take(self, token: int) -> Iterator[HandlerEvent]:
        """Add a token to the answer; yield what onlookers should know, at last the result."""
        self._new_tokens += 1
        stopped = token in self._eos_ids
        if not stopped:
            yield from self._answer.add(self._writer.push(token))
        if stopped or self._new_tokens == self.max_new_tokens:
            self.ended = True
            reason: Literal["stop", "length"] = "stop" if stopped else "length"
            yield from self._answer.finish(reason, self._new_tokens, len(self.prompt))
