"""An answer that grows: text comes in, events go out, and at the end there is a result.

This module owns how often onlookers hear of new text and what the result of a text job is. It
must not know which backend the text comes from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, Literal

from models.contracts import Finished, TextDelta, TextResult, Usage
from models.text.reasoning import Piece, ReasoningSplitter

FLUSH_INTERVAL_S: Final = 0.1
"""Text is gathered for so long: nobody reads faster, and every event costs a trip over the pipe."""


class Answer:
    """Collects one job's text, reasoning apart."""

    def __init__(
        self, opened: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start an answer. ``opened`` is the reasoning tag that the prompt ended with."""
        self._splitter = ReasoningSplitter(opened)
        self._clock = clock
        self._flushed_at = -FLUSH_INTERVAL_S
        self._pending: list[Piece] = []
        self._text: list[str] = []
        self._reasoning: list[str] = []

    def add(self, text: str) -> Iterator[TextDelta]:
        """Take more of the raw stream; yield deltas when it is time."""
        self._pending += self._splitter.push(text)
        yield from self._flush_if_due()

    def add_reasoning(self, text: str) -> Iterator[TextDelta]:
        """Take reasoning that the backend has told apart itself."""
        self._pending.append(("reasoning", text))
        yield from self._flush_if_due()

    def finish(
        self, reason: Literal["stop", "length"], new_tokens: int, prompt_tokens: int
    ) -> Iterator[TextDelta | Finished]:
        """Yield what is left and the result."""
        self._pending += self._splitter.finish()
        yield from self._flush()
        text, reasoning = "".join(self._text).rstrip(), "".join(self._reasoning).strip()
        if reason == "stop" and reasoning and not text:
            # The model ended without closing its thoughts: what it wrote was meant as the answer.
            text, reasoning = reasoning, ""
        yield Finished(
            TextResult(
                text=text,
                reasoning=reasoning,
                finish_reason=reason,
                usage=Usage(amount=new_tokens, unit="tokens"),
                prompt_tokens=prompt_tokens,
            )
        )

    def _flush_if_due(self) -> Iterator[TextDelta]:
        if self._pending and self._clock() - self._flushed_at >= FLUSH_INTERVAL_S:
            yield from self._flush()

    def _flush(self) -> Iterator[TextDelta]:
        self._flushed_at = self._clock()
        for channel, parts in (("reasoning", self._reasoning), ("answer", self._text)):
            text = "".join(piece for name, piece in self._pending if name == channel)
            if text:
                parts.append(text)
                yield TextDelta(text, channel="reasoning" if channel == "reasoning" else "answer")
        self._pending.clear()
