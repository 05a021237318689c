"""From the start of the process to READY, and the memory that the bot takes.

Each start but the first counts, which makes the database and tells Discord the commands. The peer
is a bot of discord.py alone.
"""

from __future__ import annotations

import asyncio

from benchmarks.report import Measurement
from benchmarks.wired import BARE, RealBot, wired
from tests.e2e.looking import saying

STARTS = 5
_SETTLE_S = 1.0


def run() -> list[Measurement]:
    """Measure starts, then a bot that has answered and waits."""
    ready_s, ready_mb, idle_mb = asyncio.run(_bot())
    bare_s, bare_mb = asyncio.run(_bare())
    peer = "discord.py alone"
    return [
        Measurement("startup.ready", ready_s, "s", "lower", 2.0, peer=peer, peer_value=bare_s),
        Measurement(
            "startup.memory", ready_mb, "MB", "lower", 150.0, peer=peer, peer_value=bare_mb
        ),
        Measurement("startup.memory_idle", idle_mb, "MB", "lower", 150.0),
    ]


async def _bot() -> tuple[float, float, float]:
    async with wired() as bot:
        await bot.start()
        await bot.kill()
        seconds, memory_mb = await _starts(bot)
        await bot.wire.command("ask", prompt="What is the capital of France?", max_tokens=32)
        await bot.wire.until(saying("Paris"), bot=bot, within_s=120)
        await asyncio.sleep(_SETTLE_S)
        return seconds, memory_mb, bot.memory_mb()


async def _bare() -> tuple[float, float]:
    async with wired(BARE) as bot:
        return await _starts(bot)


async def _starts(bot: RealBot) -> tuple[float, float]:
    """Return the seconds of the fastest start, and the memory of the last; it goes on running."""
    seconds = []
    for _ in range(STARTS):
        await bot.kill()
        seconds.append(await bot.start())
    await asyncio.sleep(_SETTLE_S)
    return min(seconds), bot.memory_mb()
