"""Limits and pauses of a real bot that is killed by SIGKILL."""

import time

import pytest

from tests.e2e.harness import AMIR, Bot, Wire
from tests.e2e.looking import anchor, final, saying

pytestmark = [pytest.mark.slow]

ENDED = "select state from jobs where state not in ('queued', 'running')"
USED = "select sum(jobs), sum(device_ms) from allowances where kind = 'member'"


@pytest.mark.timeout(300)
async def test_what_a_kill_leaves_is_under_way_until_it_has_ended(wire: Wire, bot: Bot) -> None:
    began = time.monotonic()
    await bot.start()
    for tag in ("#a", "#b", "#c"):
        await wire.command("ask", user=AMIR, prompt=f"{tag} ticks=10 tick_s=0.1 held")
    await wire.until(lambda _: "running" in bot.job_states(), bot=bot)
    await bot.kill()
    await bot.start()
    refused = await wire.command("ask", user=AMIR, prompt="#d")
    await wire.until(lambda state: "3 jobs under way" in anchor(state, refused)["content"], bot=bot)
    bot.let_go()
    await wire.until(lambda _: len(bot.rows(ENDED)) == 3, bot=bot)
    await wire.command("ask", user=AMIR, prompt="#e")
    await wire.until(final("#e"), bot=bot)
    await wire.until(lambda _: len(bot.rows(ENDED)) == 4, bot=bot)
    [(jobs, device_ms)] = bot.rows(USED)
    assert jobs == 4
    passed_ms = 1000 * (time.monotonic() - began)
    assert 3000 < device_ms < passed_ms, "three jobs of a second each at least, on one lane"


@pytest.mark.timeout(300)
async def test_a_pause_outlives_a_kill(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.command("pause")
    await wire.until(saying("⏸️ Paused"), bot=bot)
    await wire.command("ask", user=AMIR, prompt="#a")
    await wire.until(saying("Place 1 in line · paused by the moderators"), bot=bot)
    await bot.kill()
    await bot.start()
    await wire.command("ask", user=AMIR, prompt="#b")
    await wire.until(saying("Place 2 in line · paused by the moderators"), bot=bot)
    assert bot.job_states() == ["queued", "queued"]
    await wire.command("resume")
    for tag in ("#a", "#b"):
        await wire.until(final(tag), bot=bot)
