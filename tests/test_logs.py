"""What a log line looks like, and who may write one."""

import json
import logging
from collections.abc import Iterator

import pytest

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


def test_a_line_for_a_person_names_the_job(capfd: pytest.CaptureFixture[str]) -> None:
    set_up(LogSettings())
    log = logging.getLogger("bot.engine")
    log.info("job started", extra={"job_id": "01hx"})
    log.info("nothing else to do")
    first, second = capfd.readouterr().err.splitlines()
    assert first.endswith("INFO    bot.engine: job started [01hx]")
    assert second.endswith("bot.engine: nothing else to do")


def test_a_line_for_a_machine_is_one_object(capfd: pytest.CaptureFixture[str]) -> None:
    set_up(LogSettings(format="json"))
    try:
        raise ValueError("no such thing")
    except ValueError:
        logging.getLogger("bot").exception("it %s", "failed", extra={"job_id": "01hx"})
    [line] = capfd.readouterr().err.splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == ("error", "bot", "it failed")
    assert entry["job_id"] == "01hx"
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
