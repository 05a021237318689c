"""What a log line looks like, and who may write one."""

import json
import logging
from collections.abc import Iterator

import pytest

from bot.engine.job import new_job_id
from bot.logs import set_up
from bot.settings import LogSettings


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    levels = {
        name: logging.getLogger(name).level
        for name in ("discord", "discord.client", "aiosqlite", "aiohttp", "asyncio", "alembic")
    }
    yield
    root.handlers, root.level = handlers, level
    for name, value in levels.items():
        logging.getLogger(name).setLevel(value)


JOB = new_job_id()


def test_a_line_for_a_person(capfd: pytest.CaptureFixture[str]) -> None:
    set_up(LogSettings())
    logging.getLogger("bot.engine").info("job %s started", JOB)
    [line] = capfd.readouterr().err.splitlines()
    assert line.endswith(f"INFO    bot.engine: job {JOB} started")


def test_a_line_for_a_machine_is_one_object(capfd: pytest.CaptureFixture[str]) -> None:
    set_up(LogSettings(format="json"))
    try:
        raise ValueError("no such thing")
    except ValueError:
        logging.getLogger("bot").exception("job %s failed", JOB)
    [line] = capfd.readouterr().err.splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == (
        "error",
        "bot",
        f"job {JOB} failed",
    )
    assert entry["job_id"] == JOB
    assert "ValueError: no such thing" in entry["error"]
    assert entry["time"].endswith("+00:00")


def test_libraries_that_would_print_messages_stay_quiet(
    capfd: pytest.CaptureFixture[str],
) -> None:
    set_up(LogSettings(level="DEBUG"))
    logging.getLogger("discord.gateway").debug("content: a member's secret")
    logging.getLogger("aiosqlite").debug("INSERT 'a member's secret'")
    logging.getLogger("bot").debug("ours")
    assert "secret" not in (shown := capfd.readouterr().err)
    assert "ours" in shown
