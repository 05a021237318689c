"""What a power cut may leave behind: the next start mends it, ends every job, and tells its losses.

A power cut takes what was not brought to the disk. The database and the spool bring everything to
it that they promise, so that the damage is done here by hand.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.chaos import spooled, undelivered, unfinished
from tests.e2e.harness import AMIR, Bot, Wire, encoded, wav
from tests.e2e.looking import anchor, saying, voices

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def damage(file: Path) -> None:
    """Leave the first half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def is_whole(bot: Bot) -> bool:
    with closing(sqlite3.connect(bot.folder / "data" / "sextant.db")) as database:
        return database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_damaged_files_and_requests_are_told_and_everything_else_goes_on(
    wire: Wire, bot: Bot
) -> None:
    await bot.start()
    await wire.command("ask", prompt="#whole held")
    await wire.until(lambda _: bot.job_states() == ["running"], bot=bot)
    sound = encoded("talk.wav", wav(seconds=0.5), "audio/wav")
    torn = await wire.command("transcribe", file=sound)
    unreadable = await wire.command("ask", prompt="#unreadable")
    without = await wire.command("ask", user=AMIR, prompt="#without")
    await wire.until(lambda _: len(bot.job_states()) == 4, bot=bot)
    await bot.kill()

    [recording] = spooled(bot)
    damage(recording)
    recording.with_name(f"{'a' * 32}.part").write_bytes(b"half of someth")
    of = "(select id from jobs where source_key like '{}%')"
    payload = "update job_payloads set payload = replace(payload, '\"request\"', '\"what\"')"
    bot.write(f"{payload} where job_id = {of.format(unreadable['id'])}")
    bot.write(f"delete from job_payloads where job_id = {of.format(without['id'])}")
    bot.let_go()
    await bot.start()
    await wire.until(saying("answer #whole part0"), bot=bot)
    await wire.until(lambda s: "damaged" in anchor(s, torn)["content"], bot=bot)
    await wire.until(
        lambda s: "cannot read it any more" in anchor(s, unreadable)["content"], bot=bot
    )
    await wire.until(lambda _: not unfinished(bot) and not spooled(bot), bot=bot)
    assert sorted(bot.job_states()) == ["done", "failed", "failed", "failed"]
    assert is_whole(bot)


async def test_an_answer_whose_file_is_damaged_is_told_and_not_sent(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.fault("*", "/webhooks/|/channels/", 503, times=1000)
    asked = await wire.command("speak", text="#x")
    await wire.until(lambda _: undelivered(bot), bot=bot)
    await bot.kill()
    [voice] = spooled(bot)
    damage(voice)
    await wire.set()
    await bot.start()
    await wire.until(lambda s: "was lost here" in anchor(s, asked)["content"], bot=bot)
    await wire.until(lambda _: not undelivered(bot) and not spooled(bot), bot=bot)
    assert not voices(await wire.state())


async def test_a_log_that_ends_in_mid_write_costs_what_was_not_committed(
    wire: Wire, bot: Bot
) -> None:
    await bot.start()
    for number in range(3):
        await wire.command("ask", prompt=f"#k{number} held")
    await wire.until(lambda _: len(bot.job_states()) == 3, bot=bot)
    await bot.kill()
    log = bot.folder / "data" / "sextant.db-wal"
    with log.open("ab") as file:  # a frame whose commit never came
        file.write(log.read_bytes()[32:1500])
    bot.let_go()
    await bot.start()
    await wire.until(lambda _: not unfinished(bot), bot=bot)
    assert bot.job_states() == ["done"] * 3
    await bot.kill()
    damage(log)  # what no disk that keeps its word does: commits are gone, the rest is whole
    await bot.start()
    await wire.until(lambda _: not unfinished(bot), bot=bot)
    assert is_whole(bot)
