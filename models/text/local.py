"""The text handler for a model that runs in this process: prompt in, tokens out, one at a time.

This module owns the order of a local text job. What a library does for one job is a
``Decoding``; a backend that batches has many of them at once and is another stepper over the same.
It must not import a library that computes.
"""

from __future__ import annotations

import ctypes
import gc
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from pydantic import Field

from models.contracts import Control, HandlerEvent, Progress, TextRequest
from models.options import Options
from models.text.answer import Answer
from models.text.chat import ChatTokenizer
from models.text.prompt import fit
from models.text.reasoning import open_tag_at_end

PROMPT_CHUNK: Final = 128
"""Tokens of the prompt that are read in one go: about half a second of the slowest machine, so
that a cancel is heard in time."""


class TextOptions(Options):
    """Load-time options of the local text backends, from the catalogue.

    Attributes:
        top_p, top_k, repetition_penalty: How the next token is drawn.
        temperature_scale: Multiplies the temperature that members set. Small models lose the
            thread at temperatures that suit large ones.
        template: Variables for the chat template, such as ``enable_thinking``.
        dtype: transformers: type of the weights in memory; "auto" suits the device.
        cache_dir: Where converted weights are kept; the engine sets it.
    """

    top_p: float = Field(0.9, gt=0, le=1)
    top_k: int = Field(40, ge=1)
    repetition_penalty: float = Field(1.1, ge=1)
    temperature_scale: float = Field(1.0, gt=0, le=2)
    template: Mapping[str, Any] = Field(default_factory=dict)
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    cache_dir: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the tokens of one job are drawn. ``temperature`` 0 is greedy."""

    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    seed: int

    @classmethod
    def of(cls, request: TextRequest, options: TextOptions) -> Sampling:
        """Join what the member asked for with what suits the model."""
        return cls(
            temperature=request.temperature * options.temperature_scale,
            top_p=options.top_p,
            top_k=options.top_k,
            repetition_penalty=options.repetition_penalty,
            seed=secrets.randbits(31) if request.seed is None else request.seed,
        )


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
        tokenizer = self._tokenizer
        fitted = fit(
            request.messages, tokenizer.count, self._context_tokens, request.max_new_tokens
        )
        yield from fitted.notices()
        prompt = tokenizer.prompt(fitted.messages)
        size = len(prompt.tokens)
        decoding = self._model.begin(
            Sampling.of(request, self._options), size + fitted.max_new_tokens
        )
        for start in range(0, size, PROMPT_CHUNK):
            if control.cancelled:
                return
            decoding.read(prompt.tokens[start : start + PROMPT_CHUNK])
            if start + PROMPT_CHUNK < size:
                yield Progress("reading the conversation", (start + PROMPT_CHUNK) / size)
        answer = Answer(open_tag_at_end(prompt.text))
        writer = tokenizer.writer()
        reason: Literal["stop", "length"] = "length"
        new_tokens = 0
        while new_tokens < fitted.max_new_tokens:
            if control.cancelled:
                return
            token = decoding.next_token()
            new_tokens += 1
            if token in tokenizer.eos_ids:
                reason = "stop"
                break
            yield from answer.add(writer.push(token))
        yield from answer.finish(reason, new_tokens, size)

    def close(self) -> None:
        """Free the memory of the model."""
        self._model.close()
        gc.collect()
        _return_freed_memory()


def _return_freed_memory() -> None:
    """Give freed memory back to the system.

    The C library keeps it otherwise: 150 MB of 190 after the embedded model, which would count
    against the next one.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)
