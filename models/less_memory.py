"""What is tried when a device runs out of memory: the same in a slower way, then smaller.

This module owns the order of the tries and the sentences about them. It knows no library.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TypeVar

from models.contracts import HandlerEvent, Notice
from models.errors import OutOfMemory

T = TypeVar("T")


def with_less_memory(
    attempt: Callable[[], Generator[HandlerEvent, None, T]],
    economise: Callable[[], bool],
    shrink: Callable[[], tuple[int, int] | None],
) -> Generator[HandlerEvent, None, T]:
    """Yield the events of the attempts; the value is that of the one that succeeds.

    Args:
        attempt: Starts anew each time.
        economise: Makes the next attempt slower; False when all ways are used up.
        shrink: Makes the next attempt smaller and returns its size; None where that can't be.

    Raises:
        OutOfMemory: Nothing helped.
    """
    while True:
        with suppress(OutOfMemory):  # what holds on to the memory is gone at the end of it
            return (yield from attempt())
        if economise():
            yield Notice("Memory ran out, so this is drawn in a slower way that needs less.")
            continue
        smaller = shrink()
        if smaller is None:
            raise OutOfMemory
        yield Notice(f"Memory ran out, so this is smaller: {smaller[0]} × {smaller[1]}.")
