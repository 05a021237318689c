"""Translate what an OpenAI-compatible server answers into what a member is told.

This module owns the sentences about remote servers. It must not make a request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from models.errors import (
    BackendError,
    BackendRefused,
    BackendUnreachable,
    HandlerError,
    InputTooLong,
    ModelUnavailable,
)

if TYPE_CHECKING:
    import openai

LONGEST_WAIT_S: Final = 60.0
"""A server that asks for more patience than this has refused."""

_TOO_LONG: Final = re.compile(
    r"context.?(length|size|window)|maximum context|too long|too many tokens", re.IGNORECASE
)
_UNSAFE: Final = re.compile(r"content.?(filter|policy|management)|moderation|safety", re.IGNORECASE)


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
