"""How fast a member's command is acknowledged while every worker is busy.

One worker answers, another transcribes, and members keep asking. What counts is the time from the
dispatch of a command to its acknowledgement, both seen by Discord's double, and how long the bot's
event loop ever stood still, from the moment the models begin to load. Meanwhile somebody reads the
metrics every second. The peer is the same bot with the same work in a thread executor instead of
processes.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks import production, speech
from benchmarks.report import Measurement
from benchmarks.stalls import longest_stall_s
from benchmarks.wired import THREADED, WATCHED, RealBot, wired
from tests.e2e.harness import encoded
from tests.ports import free_port

PROBES = 120
RECORDING_MINUTES = 5.0
RECORDINGS = 6
_EVERY_S = 0.2
_DROPPED_S = 3.0
_SCRAPE_S = 1.0
_WAITING = "select count(*) from jobs where state = 'queued'"


@dataclass(frozen=True, slots=True)
class Latencies:
    """What members felt, in milliseconds."""

    p50: float
    p99: float
    stall: float


def run() -> list[Measurement]:
    """Measure the bot and its peer."""
    recording = encoded("talk.ogg", speech.ogg(RECORDING_MINUTES), "audio/ogg")
    ours = asyncio.run(_measure(WATCHED, recording))
    peer = asyncio.run(_measure(THREADED, recording))
    rows = [
        ("ack.p50", ours.p50, peer.p50),
        ("ack.p99", ours.p99, peer.p99),
        ("ack.longest_stall", ours.stall, peer.stall),
    ]
    return [
        Measurement(name, value, "ms", "lower", 50.0, peer="thread executor", peer_value=peer_value)
        for name, value, peer_value in rows
    ]


async def _measure(program: Path, recording: dict[str, object]) -> Latencies:
    lanes = {"SEXTANT_ENGINE__LANES": "2", "SEXTANT_ENGINE__THREADS": str(production.THREADS)}
    port = free_port()
    async with wired(program, SEXTANT_WEB__PORT=str(port), **lanes) as bot:
        await bot.start()
        scraping = asyncio.create_task(_scrape(port))
        await asyncio.sleep(1)
        since = time.time()
        for number in range(RECORDINGS):
            await bot.wire.command("transcribe", user=5000 + number, file=recording)
        asked = await _ask(bot)
        [(waiting,)] = bot.rows(_WAITING)
        assert waiting, "there was not enough work for two workers"
        stall_s = longest_stall_s(bot.stalls, since)
        state = await bot.wire.state()
        assert not scraping.done(), "the metrics could not be read"
        scraping.cancel()
    acknowledged = {i["id"]: i["ack_s"] for i in state["interactions"]}
    waits = sorted(1000 * (acknowledged[number] or _DROPPED_S) for number in asked)
    percentiles = statistics.quantiles(waits, n=100, method="inclusive")
    return Latencies(percentiles[49], percentiles[98], 1000 * stall_s)


async def _scrape(port: int) -> None:
    """Read the metrics as Prometheus does, more often."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", raise_for_status=True) as http:
        while True:
            async with http.get("/metrics") as response:
                await response.read()
            await asyncio.sleep(_SCRAPE_S)


async def _ask(bot: RealBot) -> list[int]:
    """Have many members ask, a few a second; return the ids of their interactions."""
    asked = []
    for number in range(PROBES):
        interaction = await bot.wire.command(
            "ask", user=10_000 + number, prompt="Tell me a story.", max_tokens=64
        )
        asked.append(interaction["id"])
        await asyncio.sleep(_EVERY_S)
    return asked
