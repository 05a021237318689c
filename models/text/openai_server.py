"""Text from any server that speaks OpenAI's API: vLLM, llama.cpp, Ollama, hosted services.

This module owns the requests. Several jobs may wait for the server at once, and a cancel closes the
connection even in the middle of a silence. It must not know how a key is found or an error told:
``models.hosted`` does.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from models.catalog import ModelSpec
from models.contracts import (
    ChatMessage,
    Control,
    HandlerEvent,
    Notice,
    Progress,
    TextDelta,
    TextRequest,
)
from models.errors import BackendError, BackendRefused
from models.hosted import (
    Bill,
    endpoint_of,
    openai_client,
    translate,
    unsupported_parameter,
    wait_asked_for,
)
from models.options import Options
from models.prices import Amounts
from models.tasks import TaskStepper
from models.text.answer import Answer
from models.text.prompt import fit
from models.text.reasoning import TAGS

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import ChoiceDelta

_BYTES_PER_TOKEN: Final = 4
"""A guess on the low side: only the server can count, and it says so when it is too much."""


class ServerOptions(Options):
    """Load-time options of a server, from the catalogue.

    Attributes:
        slots: How many jobs may wait for the server at once.
        timeout_s: Longest silence of the server, in seconds.
        body: More fields for each request, such as ``chat_template_kwargs``.
        starts_thinking: The server cuts off the tag that opens the reasoning.
        cache_dir: Set by the engine; nothing is kept here.
    """

    slots: int = Field(4, ge=1, le=64)
    timeout_s: float = Field(100.0, gt=0)
    body: Mapping[str, Any] = Field(default_factory=dict)
    starts_thinking: bool = False
    cache_dir: str = ""


def load(spec: ModelSpec, location: str, device: str) -> TaskStepper:
    """Get ready to ask a server; it is not asked yet, since it may come up later.

    Args:
        spec: Row of the catalogue, with an endpoint as its source.
        location: Base URL of the server.
        device: Not looked at: the server has its own.

    Raises:
        ModelLoadFailed: The key or an option is missing or wrong.
    """
    options = ServerOptions.of(spec)
    client = openai_client(spec, location, options.timeout_s)
    server = ChatServer(spec, client, options)
    return TaskStepper(options.slots, server.answer, client.close)


class ChatServer:
    """A server and what was learnt about it."""

    def __init__(self, spec: ModelSpec, client: openai.AsyncOpenAI, options: ServerOptions) -> None:
        self._spec = spec
        self._model = endpoint_of(spec).model
        self._client = client
        self._options = options
        self._unsupported: set[str] = set()

    async def answer(self, request: TextRequest, control: Control) -> AsyncIterator[HandlerEvent]:
        """Yield the events of one job."""
        import openai

        bill = Bill(self._spec, control)
        context_tokens = self._spec.context_tokens
        fitted = fit(request.messages, _estimate_tokens, context_tokens, request.max_new_tokens)
        for notice in fitted.notices():
            yield notice
        yield Progress("waiting for the model's server")
        try:
            read_tokens = _estimate_tokens(fitted.messages)
            with bill.sent(Amounts(text_tokens=read_tokens)):
                stream = await self._open(request, fitted.messages)
            for name in sorted(self._ignored(request)):
                yield Notice(f"This model takes no {name}, so yours was not used.")
            async with stream, aclosing(self._read(stream, bill, read_tokens)) as events:
                async for event in events:
                    yield event
        except openai.OpenAIError as error:
            raise translate(error) from error
        except ValueError as error:  # what came is not JSON
            raise BackendError from error

    async def _open(
        self, request: TextRequest, messages: Sequence[ChatMessage]
    ) -> openai.AsyncStream[ChatCompletionChunk]:
        """Send the request.

        It is sent again once after a wait that the server asks for, and without a parameter that
        the server does not take.
        """
        import openai

        waited = False
        while True:
            parameters = self._parameters(request, messages)
            try:
                stream: openai.AsyncStream[ChatCompletionChunk]
                stream = await self._client.chat.completions.create(**parameters)
            except openai.APIStatusError as error:
                name, wait_s = unsupported_parameter(error), wait_asked_for(error)
                if name in parameters and name not in self._unsupported:
                    self._unsupported.add(name)
                elif wait_s is not None and not waited:
                    waited = True
                    await asyncio.sleep(wait_s)
                else:
                    raise
            else:
                return stream

    def _parameters(self, request: TextRequest, messages: Sequence[ChatMessage]) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "temperature": request.temperature,
            "max_tokens": request.max_new_tokens,
            "stream_options": {"include_usage": True},
        }
        if request.seed is not None:
            parameters["seed"] = request.seed
        if "max_tokens" in self._unsupported:  # its name for models that reason
            parameters["max_completion_tokens"] = request.max_new_tokens
        for name in self._unsupported:
            parameters.pop(name, None)
        return parameters | {
            "model": self._model,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "stream": True,
            "extra_body": dict(self._options.body),
        }

    def _ignored(self, request: TextRequest) -> set[str]:
        chosen = {"temperature"} if request.seed is None else {"temperature", "seed"}
        return self._unsupported & chosen

    async def _read(
        self, stream: openai.AsyncStream[ChatCompletionChunk], bill: Bill, read_tokens: int
    ) -> AsyncGenerator[HandlerEvent, None]:
        """Yield the answer as it comes, then the result.

        A piece counts as a token until the server says how many there were.
        """
        answer = Answer(TAGS[0][0] if self._options.starts_thinking else None)
        pieces = 0
        reason = usage = None
        async for chunk in stream:
            for choice in chunk.choices[:1]:
                reason = choice.finish_reason or reason
                pieces += 1
                bill.count(Amounts(text_tokens=read_tokens, output_tokens=pieces))
                for event in _grow(answer, choice.delta):
                    yield event
            if chunk.usage is not None:
                usage = chunk.usage
                read, written = usage.prompt_tokens, usage.completion_tokens
                bill.count(Amounts(text_tokens=read, output_tokens=written))
        if reason == "content_filter":
            raise BackendRefused("The model's server refused this because of its content rules.")
        if reason is None and not pieces:
            raise BackendError("The model's server gave no answer. Please try again.")
        if reason is None:
            yield Notice("The model's server broke off here.")
        ending: Literal["stop", "length"] = "length" if reason == "length" else "stop"
        new_tokens = usage.completion_tokens if usage else pieces
        for last in answer.finish(ending, new_tokens, usage.prompt_tokens if usage else 0):
            yield last


def _grow(answer: Answer, delta: ChoiceDelta) -> list[TextDelta]:
    """Add what came to the answer. Servers differ in the name of the reasoning."""
    if delta.refusal:
        raise BackendRefused(f"The model refused: {delta.refusal[:300]}")
    events: list[TextDelta] = []
    for name in ("reasoning_content", "reasoning"):
        thought = getattr(delta, name, None)
        if isinstance(thought, str) and thought:
            events += answer.add_reasoning(thought)
            break
    if delta.content:
        events += answer.add(delta.content)
    return events


def _estimate_tokens(messages: Sequence[ChatMessage]) -> int:
    return sum(len(m.content.encode()) // _BYTES_PER_TOKEN + _BYTES_PER_TOKEN for m in messages)
