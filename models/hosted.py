"""What all backends share whose models run on somebody else's server.

This module owns the key, the client and the sentences about remote servers that speak OpenAI's
API. It must not know what is asked of them, nor read a key from anywhere but the variable that the
catalogue names.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from models.catalog import EndpointSource, ModelSpec
from models.errors import (
    BackendError,
    BackendRefused,
    BackendUnreachable,
    HandlerError,
    InputTooLong,
    ModelLoadFailed,
    ModelUnavailable,
)

if TYPE_CHECKING:
    import openai

T = TypeVar("T")

LONGEST_WAIT_S: Final = 60.0
"""A server that asks for more patience than this has refused."""

_CONNECT_TIMEOUT_S: Final = 5.0

_TOO_LONG: Final = re.compile(
    r"context.?(length|size|window)|maximum context|too long|too many tokens", re.IGNORECASE
)
_UNSAFE: Final = re.compile(r"content.?(filter|policy|management)|moderation|safety", re.IGNORECASE)


def endpoint_of(spec: ModelSpec) -> EndpointSource:
    """Return where a model is served.

    Raises:
        ModelLoadFailed: Its source is of another kind.
    """
    if not isinstance(spec.source, EndpointSource):
        raise ModelLoadFailed(f"`{spec.id}` must have an endpoint as its source. Tell the owner.")
    return spec.source


def key_of(spec: ModelSpec) -> str:
    """Return the key to a model's server.

    Raises:
        ModelLoadFailed: It needs one, and there is none.
    """
    name = endpoint_of(spec).api_key_env
    key = os.environ.get(name, "") if name else "none"
    if not key:
        raise ModelLoadFailed(f"`{spec.id}` needs `{name}` to be set. Tell the owner.")
    return key


def openai_client(spec: ModelSpec, url: str, timeout_s: float) -> openai.AsyncOpenAI:
    """Return a client; it asks nothing yet, since a server may come up later.

    Args:
        spec: Row of the catalogue, with an endpoint as its source.
        url: Base URL.
        timeout_s: Longest silence of the server, in seconds.

    Raises:
        ModelLoadFailed: The key is missing.
    """
    import openai

    timeout = openai.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S)
    return openai.AsyncOpenAI(api_key=key_of(spec), base_url=url, timeout=timeout, max_retries=0)


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask, and once more after a wait that the server asks for."""
    import openai

    try:
        return await ask()
    except openai.APIStatusError as error:
        wait_s = wait_asked_for(error)
        if wait_s is None:
            raise
    await asyncio.sleep(wait_s)
    return await ask()


def translate(error: openai.OpenAIError) -> HandlerError:
    """Return the error that fits; the caller raises it ``from`` the original."""
    import openai

    if isinstance(error, openai.APIConnectionError):  # also a time-out
        return BackendUnreachable()
    if isinstance(error, openai.APIStatusError):
        return _of_status(error)
    if isinstance(error, openai.APIError):
        return _of_message(f"{error.code} {error.message}") or BackendError()
    return BackendError()


def wait_asked_for(error: openai.APIStatusError) -> float | None:
    """Return the seconds after which the server may be asked again, if it says so."""
    if error.status_code not in (429, 503) or error.code == "insufficient_quota":
        return None
    try:
        seconds = float(error.response.headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds <= LONGEST_WAIT_S else None


def unsupported_parameter(error: openai.APIStatusError) -> str | None:
    """Return the parameter that the server says it does not take."""
    refused = error.status_code in (400, 422) and str(error.code or "").startswith("unsupported")
    return error.param if refused else None


def _of_status(error: openai.APIStatusError) -> HandlerError:
    if error.status_code in (401, 403):
        return BackendRefused("The model's server refused the bot's key. Tell the owner.")
    if error.status_code == 404:
        return ModelUnavailable("The model's server does not have this model. Tell the owner.")
    if error.code == "insufficient_quota" or error.status_code == 402:
        return BackendRefused("The quota at the model's server is used up. Tell the owner.")
    if error.status_code == 429:
        return BackendRefused("The model's server is too busy. Please try again in a minute.")
    if error.status_code in (408, 502, 503, 504):
        return BackendUnreachable()
    if error.status_code < 500:
        found = _of_message(f"{error.code} {error.message}")
        return found or BackendRefused("The model's server did not accept this request.")
    return BackendError("The model's server failed. Please try again.")


def _of_message(text: str) -> HandlerError | None:
    if _TOO_LONG.search(text):
        return InputTooLong()
    if _UNSAFE.search(text):
        return BackendRefused("The model's server refused this because of its content rules.")
    return None
