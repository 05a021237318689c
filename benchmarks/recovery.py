"""From SIGKILL to the next words of the job that ran: of a worker, and of the whole bot.

A member waits for a long answer while it streams. First the worker is killed, under an engine; then
the bot, which is started again at once, as systemd does. The peer of the former is a fresh process
that loads the model and begins the same answer, that of the latter does so after a start of a bot
that has nothing to do. The worst of some kills counts, beside the worst of its peer.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks import production
from benchmarks.fresh import first_event_s
from benchmarks.report import Measurement
from benchmarks.wired import RealBot, wired
from bot.delivery.live import QUIET_S
from bot.engine.feed import Sight
from bot.engine.job import Ended, Restarted
from models.contracts import ChatMessage, TextDelta, TextRequest
from tests.e2e.looking import Json, anchor

KILLS = 5
ALLOWED_SHARE, ALLOWED_S = 1.1, 0.5
"""Beyond the peer: a new attempt is written down, and what was shown is shown anew. What is seen in
Discord comes ``QUIET_S`` later."""

_QUESTION = "Tell me a long story about a lighthouse keeper and the sea."
_LONG = TextRequest((ChatMessage("user", _QUESTION),), 0.0, max_new_tokens=1024)


def run() -> list[Measurement]:
    """Kill workers, then bots."""
    with tempfile.TemporaryDirectory() as folder:
        worker_s, fresh_s = asyncio.run(_workers(Path(folder)))
    bot_s, start_s = asyncio.run(_bots())
    return measurements(worker_s, fresh_s, bot_s, start_s)


def measurements(
    worker_s: list[float], fresh_s: list[float], bot_s: list[float], start_s: list[float]
) -> list[Measurement]:
    """Compare the worst recoveries with their peers."""
    loaded_s, started_s = max(fresh_s), max(fresh_s) + max(start_s)
    return [
        Measurement(
            "recovery.worker",
            max(worker_s),
            "s",
            "lower",
            loaded_s * ALLOWED_SHARE + ALLOWED_S,
            peer="loaded by a fresh process",
            peer_value=loaded_s,
        ),
        Measurement(
            "recovery.bot",
            max(bot_s),
            "s",
            "lower",
            started_s * ALLOWED_SHARE + ALLOWED_S + QUIET_S,
            peer="an idle start, and such a load",
            peer_value=started_s,
        ),
    ]


async def _workers(folder: Path) -> tuple[list[float], list[float]]:
    """Return the seconds of each recovery of a worker, and of each fresh process."""
    spec = production.catalog().get(production.TEXT)
    ours, fresh = list[float](), list[float]()
    async with production.rig(folder) as rig:
        for _ in range(KILLS):
            job = await rig.submit(spec.id, _LONG)
            sights = rig.follow(job)
            await _next_words(sights)
            await _next_words(sights)
            killed_at = time.perf_counter()
            os.kill(rig.ports[-1].pid, signal.SIGKILL)
            ours.append(await _words_after(sights, rig) - killed_at)
            await rig.engine.cancel(job.id)
            async for _, sight in sights:
                if isinstance(sight, Ended):
                    break
            fresh.append(await asyncio.to_thread(first_event_s, folder, spec, _LONG))
    return ours, fresh


async def _next_words(sights: AsyncIterator[tuple[float, Sight]]) -> float:
    async for at, sight in sights:
        assert not isinstance(sight, Ended), sight
        if isinstance(sight, TextDelta):
            return at
    raise AssertionError("the job is not followed any more")


async def _words_after(sights: AsyncIterator[tuple[float, Sight]], rig: production.Rig) -> float:
    """Return when the next attempt brought its first words."""
    async for _, sight in sights:
        assert not isinstance(sight, Ended), sight
        if isinstance(sight, Restarted):
            return await _next_words(sights)
    raise AssertionError("the job is not followed any more")


async def _bots() -> tuple[list[float], list[float]]:
    """Return the seconds of each recovery of a bot, and of each start of an idle one."""
    ours, idle = list[float](), list[float]()
    async with wired() as bot:
        await bot.start()
        await bot.kill()
        for _ in range(KILLS):
            idle.append(await bot.start())
            ours.append(await _recovery_s(bot))
            await bot.kill()
    return ours, idle


async def _recovery_s(bot: RealBot) -> float:
    """Kill a bot in the middle of an answer; return when the next one goes on writing."""
    wire = bot.wire
    asked = await wire.command("ask", prompt=_QUESTION, max_tokens=1024)
    before = await wire.until(lambda s: _written(s, asked), bot=bot, within_s=120)
    await bot.kill()
    killed_at = time.perf_counter()
    await bot.launch()
    await wire.until(lambda s: _written(s, asked, unlike=before), bot=bot, within_s=120)
    seconds = time.perf_counter() - killed_at
    await wire.command("cancel")
    await wire.until(lambda s: "Stopped." in anchor(s, asked)["content"], bot=bot)
    return seconds


def _written(state: Json, asked: Json, *, unlike: str = "") -> str:
    """Return what a member sees of an answer that is being written, "" while that is nothing."""
    content = str(anchor(state, asked)["content"])
    return content if "Writing" in content and content != unlike else ""
