"""What all backends share whose models run on somebody else's server.

This module owns the key, OpenAI's client, the bill and the sentences about remote servers. It must
not know what is asked of them, nor read a key from anywhere but the variable that the catalogue
names.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from models.catalog import EndpointSource, ModelSpec
from models.contracts import Control
from models.errors import (
    BackendError,
    BackendRefused,
    BackendUnreachable,
    HandlerError,
    InputTooLong,
    ModelLoadFailed,
    ModelUnavailable,
)
from models.prices import Amounts

if TYPE_CHECKING:
    import openai

T = TypeVar("T")

LONGEST_WAIT_S: Final = 60.0
"""A server that asks for more patience than this has refused."""

_CONNECT_TIMEOUT_S: Final = 5.0

_TOO_LONG: Final = re.compile(
    r"context.?(length|size|window)|maximum context|too long|too many tokens", re.IGNORECASE
)
_KEY: Final = re.compile(r"api.?key", re.IGNORECASE)
_UNSAFE: Final = re.compile(
    r"content.?(filter|policy|management)|moderation|safety|responsible ai|usage guidelines",
    re.IGNORECASE,
)


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


class Bill:
    """What the calls of a job cost so far, told to the engine at every change.

    A call counts from the moment at which it is sent, with the most that it may cost: a provider
    charges also for answers that nobody waits for any more. The answer tells what it did cost.
    """

    def __init__(self, spec: ModelSpec, control: Control) -> None:
        self._prices = spec.prices
        self._control = control
        self._before: int | None = 0
        self._call: int | None = 0

    @contextmanager
    def sent(self, most: Amounts, *unsent: type[Exception]) -> Iterator[None]:
        """Count a call that is sent within; one that is refused, or reaches nobody, is free.

        Args:
            most: What it may use up.
            unsent: Errors, besides, after which nothing can have been sent.
        """
        self._before, self._call = _sum(self._before, self._call), 0
        self.count(most)
        try:
            yield
        except BaseException as error:
            if _is_free(error, unsent):
                self.count(Amounts())
            raise

    def count(self, used: Amounts) -> None:
        """Say what the last call has used up, as far as one knows."""
        if used == Amounts():
            self._call = 0
        else:
            self._call = self._prices.micro_usd(used) if self._prices else None
        self._control.charge(_sum(self._before, self._call))


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _is_free(error: BaseException | None, unsent: tuple[type[Exception], ...]) -> bool:
    """Whether an error, or what caused it, shows that a provider has not begun."""
    import aiohttp
    import httpx2

    unsent += (httpx2.ConnectError, httpx2.ConnectTimeout, aiohttp.ClientConnectorError)
    while error is not None:
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        if isinstance(error, unsent) or (isinstance(status, int) and status >= 400):
            return True
        error = error.__cause__
    return False


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
        return refusal_of(error.status_code, error.code or "", error.message)
    if isinstance(error, openai.APIError):
        return reason_of(f"{error.code} {error.message}") or BackendError()
    return BackendError()


def translate_google(error: Exception) -> HandlerError:
    """Return the error that fits what Google's SDK raised; see ``translate``."""
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.genai.errors import APIError

    if isinstance(error, APIError):
        return refusal_of(error.code, error.status or "", error.message or "")
    if isinstance(error, GoogleAuthError) and not isinstance(error, TransportError):
        return refusal_of(401, "", "")
    return BackendError() if isinstance(error, ValueError) else BackendUnreachable()


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


def refusal_of(status: int, code: str, message: str) -> HandlerError:
    """Return the error that fits a server's answer.

    Args:
        status: HTTP status, 400 or above.
        code: The server's own name of the error, "" where it has none.
        message: What it says; it is looked at, and never shown.
    """
    if status in (401, 403) or (status == 400 and _KEY.search(message)):
        return BackendRefused("The model's server refused the bot's key. Tell the owner.")
    if status in (404, 410):
        return ModelUnavailable("The model's server does not have this model. Tell the owner.")
    if code == "insufficient_quota" or status == 402:
        return BackendRefused("The quota at the model's server is used up. Tell the owner.")
    if status == 429:
        return BackendRefused("The model's server is too busy. Please try again in a minute.")
    if status in (408, 502, 503, 504):
        return BackendUnreachable()
    if status < 500:
        found = reason_of(f"{code} {message}")
        return found or BackendRefused("The model's server did not accept this request.")
    return BackendError("The model's server failed. Please try again.")


def reason_of(text: str) -> HandlerError | None:
    """Return the error that a server's words stand for, if they are known."""
    if _TOO_LONG.search(text):
        return InputTooLong()
    if _UNSAFE.search(text):
        return BackendRefused("The model's server refused this because of its content rules.")
    return None
