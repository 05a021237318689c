"""The page of a real bot, looked at from outside while things go wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.harness import Bot, Wire
from tests.e2e.looking import final, saying
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Checks = dict[str, dict[str, Any]]


class Visitor:
    """Reads a bot's page."""

    def __init__(self, bot: Bot, port: int) -> None:
        self.bot = bot
        self.address = f"http://127.0.0.1:{port}"
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))

    async def close(self) -> None:
        await self._http.close()

    async def look(self, path: str) -> tuple[int, Checks]:
        async with self._http.get(self.address + path) as response:
            body = await response.json()
        assert (
            body["ok"] is (response.status == 200) is all(c["ok"] for c in body["checks"].values())
        )
        return response.status, body["checks"]

    async def until(self, what: Callable[[Checks], bool], *, within_s: float = 60.0) -> Checks:
        """Wait until /readyz says something, and give it back."""
        end, checks = time.monotonic() + within_s, Checks()
        while time.monotonic() < end:
            _, checks = await self.look("/readyz")
            if what(checks):
                return checks
            await asyncio.sleep(0.05)
        raise AssertionError(f"not so within {within_s} s: {checks}\n{self.bot.log.read_text()}")

    async def values(self) -> dict[tuple[str, ...], float]:
        """Return every sample: its name and the values of its labels, in the labels' order."""
        async with self._http.get(self.address + "/metrics") as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            families = text_string_to_metric_families(await response.text())
        return {
            (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
            for family in families
            for sample in family.samples
        }


def well(checks: Checks) -> bool:
    return all(check["ok"] for check in checks.values())


def only(name: str) -> Callable[[Checks], bool]:
    return lambda checks: [n for n, check in checks.items() if not check["ok"]] == [name]


async def doctors_findings(bot: Bot) -> str:
    """Run the doctor beside a bot, with its settings."""
    doctor = Bot(bot.wire, bot.folder, **bot.environment)
    doctor.log = bot.folder / "doctor.log"
    await doctor.launch("doctor --offline")
    await doctor.wait()
    return doctor.log.read_text()


@pytest.fixture
async def page(wire: Wire, tmp_path: Path) -> AsyncIterator[Visitor]:
    port = free_port()
    visitor = Visitor(Bot(wire, tmp_path, SEXTANT_WEB__PORT=str(port)), port)
    yield visitor
    await visitor.close()


async def test_no_page_is_served_from_the_start(wire: Wire, bot: Bot) -> None:
    await bot.start()
    held = psutil.Process(bot.pid).net_connections("inet")
    assert [c for c in held if c.status == psutil.CONN_LISTEN] == []


async def test_a_lost_gateway_is_seen_and_so_is_its_return(wire: Wire, page: Visitor) -> None:
    await page.bot.start()
    await page.until(well)
    await wire.gateway("away")
    checks = await page.until(only("gateway"))
    assert checks["gateway"]["finding"] == "shard 0 of 1 is not connected"
    assert (await page.look("/healthz"))[0] == 200
    assert (await page.values())["sextant_check", "gateway"] == 0
    await wire.gateway("back")
    await page.until(well)
    assert (await page.values())["sextant_check", "gateway"] == 1


async def test_the_doctor_reads_the_page_of_the_bot_that_runs(wire: Wire, page: Visitor) -> None:
    await page.bot.start()
    await page.until(well)
    assert "the bot that runs is ready" in await doctors_findings(page.bot)
    (page.bot.folder / "data" / "sextant.db.lock").unlink()
    checks = await page.until(only("database"))
    assert "lock is lost" in checks["database"]["finding"]
    assert f"not ready: database: {checks['database']['finding']}" in await doctors_findings(
        page.bot
    )


async def test_before_the_login_nobody_is_told_that_it_is_ready(wire: Wire, page: Visitor) -> None:
    await wire.fault("GET", "/users/@me", 500, times=99)
    await page.bot.launch()
    deadline = time.monotonic() + 60
    while True:
        try:
            status, checks = await page.look("/readyz")
            break
        except aiohttp.ClientConnectionError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    assert (status, checks["gateway"]["finding"]) == (503, "it is not connected yet")
    assert (await page.look("/healthz"))[0] == 200


async def test_a_database_and_a_loop_that_stand_still_are_seen(wire: Wire, page: Visitor) -> None:
    await page.bot.start()
    await page.until(well)
    with page.bot.locked_database():
        checks = await page.until(only("database"))
        assert "no transaction within 1 s" in checks["database"]["finding"]
        assert (await page.values())["sextant_check", "database"] == 0
    await page.until(well)
    os.kill(page.bot.pid, signal.SIGSTOP)
    await asyncio.sleep(2)
    os.kill(page.bot.pid, signal.SIGCONT)
    status, checks = await page.look("/readyz")
    assert (status, checks["loop"]["ok"]) == (503, False)
    assert (await page.values())["sextant_loop_lag_seconds",] > 1.5


async def test_workers_that_die_again_and_again_are_seen_until_a_job_is_done(
    wire: Wire, page: Visitor
) -> None:
    await page.bot.start()
    await page.until(well)
    for number in range(2):  # each job is tried twice
        await wire.command("ask", prompt=f"#bad{number} crash")
    checks = await page.until(only("workers"))
    assert "lost 3 in a minute" in checks["workers"]["finding"]
    await wire.until(lambda _: page.bot.job_states() == ["failed"] * 2, bot=page.bot)
    values = await page.values()
    [lane] = [key[1] for key in values if key[0] == "sextant_workers_lost_total"]
    assert values["sextant_workers_lost_total", lane, "died"] == 4
    assert values["sextant_jobs_total", "worker_crashed", "text", "failed"] == 2
    await wire.command("ask", prompt="#good")
    await wire.until(final("#good"), bot=page.bot)
    await page.until(well)


async def test_what_is_done_can_be_counted_until_the_bot_has_stopped(
    wire: Wire, page: Visitor
) -> None:
    await page.bot.start()
    await wire.command("ask", prompt="#first ticks=3 tick_s=0.1")
    await wire.until(final("#first"), bot=page.bot)
    await wire.command("ask", prompt="#runs held")
    await wire.until(saying("tick0 "), bot=page.bot)
    await wire.command("ask", prompt="#waits")
    await wire.until(lambda _: "queued" in page.bot.job_states(), bot=page.bot)
    [worker] = page.bot.workers()
    while ("sextant_worker_memory_bytes", "cpu/0") not in (values := await page.values()):
        await asyncio.sleep(0.05)
    assert values["sextant_jobs_submitted_total", "text"] == 3
    assert values["sextant_jobs_total", "", "text", "done"] == 1
    assert values["sextant_jobs_live", "text", "running"] == 1
    assert values["sextant_jobs_live", "text", "queued"] == 1
    assert values["sextant_jobs_live", "image", "queued"] == 0
    assert values["sextant_model_loads_total", "fake-text", "ok"] == 1
    assert 0.2 < values["sextant_stage_seconds_sum", "text", "run"] < 60
    counted = {stage: values["sextant_stage_seconds_count", "text", stage] for stage in (
        "queued", "load", "first_event", "run",
    )}  # fmt: skip
    assert counted == {"queued": 2, "load": 1, "first_event": 2, "run": 1}
    assert (values["sextant_delivery_seconds_count",], values["sextant_answers_waiting",]) == (1, 0)
    [memory] = [value for key, value in values.items() if key[0] == "sextant_worker_memory_bytes"]
    assert memory == pytest.approx(worker.memory_info().rss, rel=0.2)
    assert values["process_resident_memory_bytes",] > 30e6
    assert 0 <= values["sextant_loop_lag_seconds",] < 60
    assert values["sextant_discord_latency_seconds",] < 30
    page.bot.terminate()
    checks = await page.until(lambda checks: not checks["jobs"]["ok"])
    assert "the bot stops" in checks["jobs"]["finding"]
    page.bot.let_go()
    assert await page.bot.wait() == 0
    assert final("#runs")(await wire.state())
    with pytest.raises(aiohttp.ClientConnectionError):
        await page.look("/healthz")


async def test_a_port_that_is_taken_costs_the_page_and_nothing_else(
    wire: Wire, page: Visitor
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(page.address.rpartition(":")[2])))
        other.listen()
        await page.bot.start()
        await wire.command("ask", prompt="#served")
        await wire.until(final("#served"), bot=page.bot)
    assert "the page cannot be served at 127.0.0.1" in page.bot.log.read_text()
