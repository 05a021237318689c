"""How long an event loop does not turn, seen by a task inside of it.

This module owns the file in which the watch writes what it saw, and reading it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

FILE_VARIABLE = "SEXTANT_BENCHMARK_STALLS"
_TICK_S = 0.002
_NOTED_S = 0.003


def watch_next_loop() -> None:
    """Have what ``asyncio.run`` runs next watched."""
    run = asyncio.run

    def watched_run(main: Coroutine[Any, Any, T], **options: bool | None) -> T:
        asyncio.run = run
        return run(_watched(main), **options)

    asyncio.run = watched_run


def longest_stall_s(file: Path, since: float) -> float:
    """Return the longest time that the loop was late since a Unix time, in seconds."""
    lines = [line.split() for line in file.read_text("ascii").splitlines()]
    return max((float(late) for at, late in lines if float(at) >= since), default=0.0)


async def _watched(main: Coroutine[Any, Any, T]) -> T:
    watch = asyncio.create_task(_watch(Path(os.environ[FILE_VARIABLE])))
    try:
        return await main
    finally:
        watch.cancel()


async def _watch(file: Path) -> None:
    """Write down each tick that came late: when, and by how many seconds."""
    with file.open("w", encoding="ascii", buffering=1) as log:
        while True:
            due = time.perf_counter() + _TICK_S
            await asyncio.sleep(_TICK_S)
            late = time.perf_counter() - due
            if late >= _NOTED_S:
                log.write(f"{time.time():.4f} {late:.4f}\n")
