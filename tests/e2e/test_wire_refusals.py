"""The bot as a process against limits, refusals and lost replies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from models.errors import error_of_kind
from tests.e2e.fake_backend import answer
from tests.e2e.harness import AMIR, OLGA, Bot, Wire
from tests.e2e.looking import BOT, anchor, answer_of, final, of_bot, saying, whole_answer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_many_jobs_keep_to_the_rate_limits(wire: Wire, bot: Bot) -> None:
    """Ten answers stream into one channel, whose edits share a bucket of five in five seconds."""
    bot.environment["SEXTANT_ENGINE__LANES"] = "2"
    await bot.start()
    tags = [f"#r{number}" for number in range(10)]
    for number, tag in enumerate(tags):
        await wire.say(f"<@{BOT}> {tag} ticks=5 tick_s=0.1", user=(OLGA, AMIR, 4002)[number % 3])
        await asyncio.sleep(0.3)
    for tag in tags:
        await wire.until(final(tag), bot=bot, within_s=100)
    state = await wire.state()
    limited = [r for r in state["requests"] if r["status"] == 429]
    assert len(limited) <= len(state["requests"]) // 10
    assert not state["problems"]


FAULTS = [
    pytest.param("PATCH", "/webhooks/", 429, 3, id="edits are limited"),
    pytest.param("PATCH", "/webhooks/", 500, 2, id="edits meet an error"),
    pytest.param("PATCH", "/webhooks/", 503, 2, id="edits are unavailable"),
    pytest.param("POST", "/channels/.*/messages$", 429, 2, id="posts are limited"),
    pytest.param("POST", "/channels/.*/messages$", 500, 2, id="posts meet an error"),
    pytest.param("POST", "/channels/.*/messages$", 403, 99, id="posts are forbidden"),
    pytest.param("POST", "/channels/.*/messages$", 404, 99, id="the channel is gone"),
]


@pytest.mark.parametrize(("method", "path", "status", "times"), FAULTS)
async def test_an_answer_survives_refusals(
    wire: Wire, bot: Bot, method: str, path: str, status: int, times: int
) -> None:
    await bot.start()
    await wire.fault(method, path, status, times)
    interaction = await wire.command("ask", prompt="#f chars=3000")
    if times == 99:  # the channel is closed: everything goes into the anchor, as a file
        message = await wire.until(
            lambda s: anchor(s, interaction)["attachments"] and anchor(s, interaction), bot=bot
        )
        text = (await wire.download(message["attachments"][0]["url"])).decode()
        assert answer_of(f"{message['content']}\n{text}", "#f") == answer("#f", 3000)
    else:
        await wire.until(whole_answer("#f", 3000), bot=bot)
    assert bot.job_states() == ["done"]
    await wire.command("ask", prompt="#next")
    await wire.until(final("#next"), bot=bot)


@pytest.mark.parametrize("status", [403, 404])
async def test_an_anchor_out_of_reach_loses_nothing_else(wire: Wire, bot: Bot, status: int) -> None:
    await bot.start()
    await wire.fault("PATCH", "/webhooks/|/channels/", status, times=99)
    await wire.command("ask", prompt="#lost")
    await wire.until(lambda _: bot.job_states() == ["done"], bot=bot)
    await wire.until(
        lambda _: not bot.rows("select id from outbox where state = 'pending'"), bot=bot
    )
    await wire.say(f"<@{BOT}> still there?")
    await wire.until(lambda _: bot.job_states() == ["done", "done"], bot=bot)


async def test_a_failed_acknowledgement_is_logged_and_the_next_command_works(
    wire: Wire, bot: Bot
) -> None:
    await bot.start()
    await wire.fault("POST", "/callback", 404, code=10062)
    await wire.command("ask", prompt="#missed")
    await wire.command("ask", prompt="#taken")
    await wire.until(final("#taken"), bot=bot)
    assert sorted(bot.job_states()) == ["done", "failed"]


async def test_an_acknowledgement_whose_reply_is_lost_counts(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.fault("POST", "/callback", 500, when="after")
    await wire.command("ask", prompt="#acknowledged")
    await wire.until(final("#acknowledged"), bot=bot)
    assert len(of_bot(await wire.state())) == 1


async def test_an_expired_token_gives_way_to_the_bots_own(wire: Wire, bot: Bot) -> None:
    await bot.start()
    interaction = await wire.command("ask", prompt="#late held")
    await wire.until(lambda s: "id" in anchor(s, interaction), bot=bot)
    await wire.expire(interaction)
    bot.let_go()
    [message] = await wire.until(final("#late"), bot=bot)
    assert message["id"] == anchor(await wire.state(), interaction)["id"]


async def test_a_private_answer_whose_time_is_over_comes_by_direct_message(
    wire: Wire, bot: Bot
) -> None:
    await bot.start()
    interaction = await wire.command("ask", prompt="#mine held", private=True)
    await wire.until(lambda s: "id" in anchor(s, interaction), bot=bot)
    await wire.expire(interaction)
    bot.let_go()
    [message] = await wire.until(final("#mine"), bot=bot)
    assert int(message["channel_id"]) == 900_000 + OLGA


async def test_a_killed_worker_costs_time_and_nothing_else(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.command("ask", prompt="#twice held")
    await wire.until(saying("tick0 "), bot=bot)
    [worker] = bot.workers()
    worker.kill()
    bot.let_go()
    await wire.until(final("#twice"), bot=bot)
    assert bot.rows("select state, attempt from jobs") == [("done", 2)]
    assert len(of_bot(await wire.state())) == 1


@pytest.mark.parametrize(
    ("prompt", "setting", "value", "ending"),
    [
        ("#x crash", "LANES", "1", ("failed", "worker_crashed")),
        ("#x hang", "EVENT_GAP_DEADLINE_S", "3", ("expired", "deadline_exceeded")),
        ("#x eat=400 held", "WORKER_MEMORY_MB", "250", ("failed", "out_of_memory")),
    ],
)
async def test_a_job_that_ends_its_worker_fails_alone(
    wire: Wire, tmp_path: Path, prompt: str, setting: str, value: str, ending: tuple[str, str]
) -> None:
    bot = Bot(wire, tmp_path, **{f"SEXTANT_ENGINE__{setting}": value})
    await bot.start()
    await wire.command("ask", prompt=prompt)
    await wire.until(lambda _: bot.rows("select 1 from jobs where attempt > 0"), bot=bot)
    await wire.command("ask", prompt="#next", user=AMIR)
    await wire.until(final("#next"), bot=bot)
    await wire.until(saying(error_of_kind(ending[1], "").user_message), bot=bot)
    states = bot.rows("select state, error_kind from jobs order by created_at")
    assert states == [ending, ("done", None)]
    assert len(of_bot(await wire.state())) == 2


async def test_a_database_locked_for_ten_seconds_is_waited_for(wire: Wire, bot: Bot) -> None:
    await bot.start()
    with bot.locked_database():
        interaction = await wire.command("ask", prompt="#patient")
        await wire.until(lambda state: "id" in anchor(state, interaction), bot=bot)
        await asyncio.sleep(10)
    await wire.until(final("#patient"), bot=bot)
    assert bot.job_states() == ["done"]
