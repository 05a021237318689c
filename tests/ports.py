"""Ports of this machine, for those who must know one before anybody listens at it."""

from __future__ import annotations

import random
import socket
from functools import cache

_NEVER_GIVEN_OUT = range(20_000, 32_000)
"""Linux gives none of these to who asks for any port, or connects to somebody."""


def free_port() -> int:
    """Return a port that nobody listens at; only another call of this could take it meanwhile."""
    for port in random.SystemRandom().sample(_NEVER_GIVEN_OUT, len(_NEVER_GIVEN_OUT)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("every port is taken")


def silent_port() -> int:
    """Return a port that is held, and where nobody ever listens: who connects is refused."""
    return int(_held().getsockname()[1])


@cache
def _held() -> socket.socket:
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held
