"""Each check, failing for what it is meant to see and for nothing else."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.client import Sextant
from bot.db.session import Database
from bot.web import health
from bot.web.health import Health, Losses, Question, Watched
from bot.web.lag import LoopLag
from tests.db.locking import locked


class Bot:
    """What a healthy bot says; a test changes one thing."""

    def __init__(self) -> None:
        self.trouble = ""
        self.takes_jobs = True
        self.database_error: Exception | None = None
        self.asked = 0
        self.lag = LoopLag()
        self.losses = Losses()

    def health(self) -> Health:
        watched = Watched(
            gateway=lambda: self.trouble,
            latency_s=lambda: 0.05,
            takes_jobs=lambda: self.takes_jobs,
            jobs=Counter,
            database=self._database,
            backlog=self._backlog,
            clock=lambda: 0.0,
        )
        return Health(watched, self.lag, self.losses)

    async def _database(self) -> None:
        self.asked += 1
        if self.database_error is not None:
            raise self.database_error

    async def _backlog(self) -> tuple[int, float | None]:
        return 0, None


@pytest.fixture
def bot() -> Bot:
    return Bot()


async def failing(bot: Bot) -> dict[str, str]:
    checks = await bot.health().checks()
    return {name: check.finding for name, check in checks.items() if not check.ok}


async def test_a_healthy_bot_is_ready(bot: Bot) -> None:
    assert await failing(bot) == {}
    assert set(await bot.health().checks()) == {"gateway", "loop", "jobs", "workers", "database"}


async def test_each_trouble_is_named_alone(bot: Bot) -> None:
    bot.trouble = "shard 1 of 2 is not connected"
    assert await failing(bot) == {"gateway": "shard 1 of 2 is not connected"}
    bot.trouble, bot.takes_jobs = "", False
    assert list(await failing(bot)) == ["jobs"]
    bot.takes_jobs, bot.database_error = True, OSError("disk I/O error")
    assert await failing(bot) == {"database": "OSError: disk I/O error"}


async def test_a_loop_that_stands_still_is_late_and_at_last_dead(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot.lag, "longest_s", lambda within_s: 0.99)
    assert await failing(bot) == {}
    monkeypatch.setattr(bot.lag, "longest_s", lambda within_s: 1.01)
    assert list(await failing(bot)) == ["loop"]
    assert bot.health().alive().ok
    monkeypatch.setattr(bot.lag, "overdue_s", lambda: 5.01)
    assert not bot.health().alive().ok


def test_a_lane_is_named_once_it_lost_three_workers_in_a_minute() -> None:
    now = 0.0
    losses = Losses(lambda: now)
    losses.lost("cpu/0")
    now = 30.0
    losses.lost("cpu/0")
    losses.lost("cpu/1")
    assert losses.lanes() == []
    now = 59.0
    losses.lost("cpu/0")
    assert losses.lanes() == ["cpu/0"]
    losses.done("cpu/1")
    assert losses.lanes() == ["cpu/0"]
    now = 61.0
    assert losses.lanes() == []  # the first of them is long ago
    losses.lost("cpu/0")
    assert losses.lanes() == ["cpu/0"]
    losses.done("cpu/0")
    assert losses.lanes() == []


async def test_a_question_that_takes_long_is_asked_once_and_not_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "ANSWER_S", 0.05)
    asked, answered = 0, asyncio.Event()

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await answered.wait()
        return 7

    question = Question(ask)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await question.answer()
    answered.set()
    monkeypatch.setattr(health, "ANSWER_S", 60)
    assert (await question.answer(), asked) == (7, 1)
    assert (await question.answer(), asked) == (7, 2)
    monkeypatch.setattr(health, "ANSWER_S", 0.05)
    answered.clear()
    with pytest.raises(TimeoutError):
        await question.answer()
    await question.close()
    assert len(asyncio.all_tasks()) == 1


async def test_who_asks_again_takes_no_answer_from_who_waits() -> None:
    number = 0

    async def ask() -> int:
        nonlocal number
        number += 1
        await asyncio.sleep(0.01)
        return number

    question = Question(ask)

    async def twice() -> list[int]:
        return [await question.answer(), await question.answer()]

    assert await asyncio.gather(twice(), question.answer()) == [[1, 2], 1]


async def test_an_error_that_comes_late_is_not_complained_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "ANSWER_S", 0.01)

    async def ask() -> int:
        await asyncio.sleep(0.03)
        raise OSError("disk I/O error")

    question = Question(ask)
    with pytest.raises(TimeoutError):
        await question.answer()
    await asyncio.sleep(0.05)
    del question
    gc.collect()
    assert caplog.text == ""


# --------------------------------------------------------------------------- what it asks of others


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'sextant.db'}")
    await database.open()
    yield database
    await database.close()


async def test_a_database_that_somebody_else_writes_takes_no_transaction(
    bot: Bot, database: Database, tmp_path: Path
) -> None:
    watched = bot.health()
    watched._database = Question(database.ping)
    assert (await watched.checks())["database"].ok
    with locked(tmp_path / "sextant.db"):
        check = (await watched.checks())["database"]
        assert (check.ok, check.finding) == (False, "took no transaction within 1 s")
    async with asyncio.timeout(60):
        while not (await watched.checks())["database"].ok:
            await asyncio.sleep(0.05)
    await watched.close()


async def test_a_lock_file_that_was_replaced_is_no_lock(
    bot: Bot, database: Database, tmp_path: Path
) -> None:
    lock = tmp_path / "sextant.db.lock"
    lock.unlink()
    lock.touch()
    watched = bot.health()
    watched._database = Question(database.ping)
    assert "lock is lost" in (await watched.checks())["database"].finding


async def test_a_bot_that_was_never_connected_has_no_gateway() -> None:
    bot = Sextant(shard_count=2)
    assert bot.gateway_trouble() == "it is not connected yet"


class Shard:
    """A shard of discord.py, as far as it is looked at."""

    def __init__(self) -> None:
        self.closed = False

    def is_closed(self) -> bool:
        return self.closed


async def test_every_shard_must_have_a_session_and_a_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bot, shards, latencies = Sextant(shard_count=2), {0: Shard(), 1: Shard()}, [(0, 0.1), (1, 0.2)]
    monkeypatch.setattr(Sextant, "is_ready", lambda self: True)
    monkeypatch.setattr(Sextant, "shards", property(lambda self: shards))
    monkeypatch.setattr(Sextant, "latencies", property(lambda self: latencies))
    await bot.on_shard_ready(0)
    assert bot.gateway_trouble() == "shard 1 of 2 is not connected"
    await bot.on_shard_resumed(1)
    assert bot.gateway_trouble() == ""
    await bot.on_shard_disconnect(0)
    assert bot.gateway_trouble() == "shard 0 of 2 is not connected"
    await bot.on_shard_ready(0)
    shards[1].closed = True
    assert bot.gateway_trouble() == "shard 1 of 2 is not connected"
    shards[1].closed = False
    latencies[1] = (1, float("inf"))
    assert bot.gateway_trouble() == "no heartbeat"
    latencies[1] = (1, 31.0)
    assert bot.gateway_trouble() == "a heartbeat took 31 s"
