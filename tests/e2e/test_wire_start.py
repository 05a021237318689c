"""How the bot starts and stops as a process, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.harness import AMIR, Bot, Wire
from tests.e2e.looking import anchor, calls, final, labels, saying

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

READY_BUDGET_S = 2.0
MEMORY_BUDGET_MB = 150
SEND_VOICE = 1 << 46


# --------------------------------------------------------------------------- start


async def test_ready_in_time_and_small_and_without_torch(wire: Wire, bot: Bot) -> None:
    """Time is the processor's: what other tests take of it says nothing (`make bench` has both)."""
    await bot.start()  # the first start makes the database and syncs the commands
    await bot.kill()
    await bot.start()
    assert bot.cpu_s() <= READY_BUDGET_S
    await wire.command("ask", prompt="#a")
    await wire.until(final("#a"), bot=bot)
    assert bot.memory_mb() < MEMORY_BUDGET_MB
    mapped = bot.mapped()
    assert not [name for name in ("/torch/", "onnxruntime", "ctranslate2") if name in mapped]


async def test_commands_are_synced_only_when_their_definition_changed(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await bot.kill()
    await bot.start()
    state = await wire.state()
    assert len(calls(state, "PUT", "/commands")) == 1
    assert {"ask", "speak", "transcribe", "config"} <= {c["name"] for c in state["commands"]}
    await bot.kill()
    change = bot.rows("select key from instance where key like 'commands%'")
    assert len(change) == 1
    bot.write("update instance set value = 'of another version' where key like 'commands%'")
    await bot.start()
    assert len(calls(await wire.state(), "PUT", "/commands")) == 2


@pytest.mark.parametrize(
    ("environment", "flags", "says"),
    [
        ({"DISCORD_TOKEN": ""}, 1 << 18, "DISCORD_TOKEN is not set"),
        ({"DISCORD_TOKEN": "wrong"}, 1 << 18, "Discord refused the token"),
        ({}, 0, "Message Content Intent"),
        ({"SEXTANT_PROFILE": "none"}, 1 << 18, "no profile `none`"),
        ({"SEXTANT_ENGINE__LANES": "-1"}, 1 << 18, "engine.lanes"),
    ],
)
async def test_what_the_owner_must_mend_is_one_sentence(
    wire: Wire, tmp_path: Path, environment: dict[str, str], flags: int, says: str
) -> None:
    await wire.set(flags=flags)
    bot = Bot(wire, tmp_path, **environment)
    await bot.launch()
    assert await bot.wait() == 78
    log = bot.log.read_text()
    assert says in log
    assert "Traceback" not in log


async def test_discord_out_of_reach_is_worth_another_try(wire: Wire, bot: Bot) -> None:
    await wire.fault("GET", "/users/@me", 503, times=99)
    await bot.launch()
    assert await bot.wait() == 75
    assert "Discord cannot be reached" in bot.log.read_text()


async def test_a_second_bot_on_the_same_database_refuses(wire: Wire, bot: Bot) -> None:
    await bot.start()
    second = Bot(wire, bot.folder)
    second.log = bot.folder / "second.log"
    await second.launch()
    assert await second.wait() == 78
    assert "Traceback" not in second.log.read_text()
    assert "already" in second.log.read_text()
    await wire.command("ask", prompt="#still")
    await wire.until(final("#still"), bot=bot)


async def test_the_doctor_asks_discord(wire: Wire, bot: Bot) -> None:
    await bot.launch("doctor")
    assert await bot.wait() == 0, bot.log.read_text()
    found = bot.log.read_text()
    assert "belongs to Sextant" in found
    assert "client_id=1000" in found
    assert "Ready: `python -m bot run`" in found


@pytest.mark.parametrize(
    ("set_up", "environment", "code", "says"),
    [
        ({}, {"DISCORD_TOKEN": "wrong"}, 1, "Discord refuses it"),
        ({"flags": 0}, {}, 1, "Switch on Message Content Intent"),
        ({"denied": SEND_VOICE}, {}, 0, "Wire does not grant: send voice messages"),
    ],
)
async def test_the_doctor_finds_what_is_wrong_at_discord(
    wire: Wire,
    tmp_path: Path,
    set_up: dict[str, int],
    environment: dict[str, str],
    code: int,
    says: str,
) -> None:
    await wire.set(**set_up)
    bot = Bot(wire, tmp_path, **environment)
    await bot.launch("doctor")
    assert await bot.wait() == code
    assert says in bot.log.read_text()


# --------------------------------------------------------------------------- stop


async def test_a_stop_lets_running_jobs_finish_and_tells_those_who_wait(
    wire: Wire, bot: Bot
) -> None:
    await bot.start()
    await wire.command("ask", prompt="#runs held")
    await wire.until(lambda _: bot.job_states() == ["running"], bot=bot)
    waiting = await wire.command("ask", prompt="#waits", user=AMIR)
    await wire.until(saying("tick0 "), bot=bot)
    bot.terminate()
    await wire.until(saying("restart"), bot=bot)
    assert not final("#runs")(await wire.state())
    bot.let_go()
    assert await bot.wait() == 0
    state = await wire.state()
    assert len(final("#runs")(state)) == 1
    assert "restart" in anchor(state, waiting)["content"]
    await bot.start()
    await wire.until(final("#waits"), bot=bot)
    state = await wire.state()
    assert len(final("#waits")(state)) == len(final("#runs")(state)) == 1
    assert bot.job_states() == ["done", "done"]


async def test_a_stop_before_the_login_is_a_stop(wire: Wire, bot: Bot) -> None:
    await wire.fault("GET", "/users/@me", 500, times=99)
    await bot.launch()
    await wire.until(lambda s: calls(s, "GET", "/users/@me"), bot=bot)
    bot.terminate()
    assert await bot.wait() == 0


async def test_a_second_signal_ends_it_at_once(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.command("ask", prompt="#runs held")
    await wire.until(saying("tick0 "), bot=bot)
    bot.terminate()
    await wire.until(lambda _: "stopping: " in bot.log.read_text(), bot=bot)
    bot.terminate()
    assert await bot.wait() == -15


async def test_a_button_works_after_a_restart(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.command("ask", prompt="#again")
    [message] = await wire.until(final("#again"), bot=bot)
    await bot.kill()
    await bot.start()
    again = next(label for label in labels(message) if "gain" in label or "egenerate" in label)
    await wire.press(message, again)
    await wire.until(lambda s: len(final("#again")(s)) == 2, bot=bot)
