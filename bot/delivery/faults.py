"""What Discord's refusals mean for a delivery.

This module owns the translation of discord.py's and the network's errors into what can be done
about them. It must not decide what is done: that is ``bot.delivery.outbox``.

The tree::

    DeliveryFault
    ├── Transient     worth trying again: 429, 5xx, a broken line, a time-out
    ├── Gone          the message or its channel does not exist any more
    ├── Barred        the bot may not, or the interaction's time is over
    └── Refused       Discord does not take this, however often it is sent
        └── Lost      a file of it is gone, or damaged: it cannot even be sent
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import discord

_EXPIRED_CODES = frozenset({10015, 10062, 50027})
"""Unknown webhook, unknown interaction, invalid webhook token."""
_UNAUTHORISED = 401
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


class DeliveryFault(Exception):
    """Discord did not take a call."""


class Transient(DeliveryFault):
    """Worth trying again, after at least ``retry_after_s``."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(reason)


class Gone(DeliveryFault):
    """The message or its channel does not exist any more."""


class Barred(DeliveryFault):
    """The bot may not do this, or not any more."""


class Refused(DeliveryFault):
    """Discord does not take this content."""


class Lost(Refused):
    """A file of the answer is gone from the spool, or is not what was stored there."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn what a call to Discord raises into a ``DeliveryFault``."""
    try:
        yield
    except discord.HTTPException as error:
        raise _from_response(error) from error
    except discord.RateLimited as error:
        raise Transient(str(error), error.retry_after) from error
    except FileNotFoundError as error:
        raise Lost("a file of this answer is gone from the spool, or damaged") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Transient(f"{type(error).__name__}: {error}") from error


def _from_response(error: discord.HTTPException) -> DeliveryFault:
    reason = str(error)
    if error.code in _EXPIRED_CODES or isinstance(error, discord.Forbidden):
        return Barred(reason)
    if isinstance(error, discord.NotFound):
        return Gone(reason)
    if error.status == _TOO_MANY_REQUESTS:
        return Transient(reason, _retry_after_s(error))
    if error.status == _UNAUTHORISED or error.status >= _SERVER_ERROR:
        return Transient(reason)
    return Refused(reason)


def _retry_after_s(error: discord.HTTPException) -> float:
    headers = getattr(error.response, "headers", {})
    try:
        return float(headers.get("Retry-After", 0.0))
    except ValueError:
        return 0.0
