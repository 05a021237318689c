"""What a log line looks like, and who may write one."""

import asyncio
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.engine.engine import Engine
from bot.engine.job import Job, Outcome, new_job_id
from bot.logs import about, set_up, set_up_worker
from bot.settings import LogSettings
from tests.fakes import fake_engine, outcome_of, submission
from tests.scripted import Stage


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
    logging.captureWarnings(False)
    sys.excepthook = sys.__excepthook__
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


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_a_line_has_the_fields_of_what_it_is_about(capfd: pytest.CaptureFixture[str]) -> None:
    set_up(LogSettings(format="json"))
    with about(job_id=JOB, attempt=2, lane="cpu/0", guild_id=10):
        logging.getLogger("bot").warning("a library complains")
    logging.getLogger("bot").warning("nothing to do with it")
    inside, outside = lines(capfd)
    assert (inside["job_id"], inside["attempt"], inside["lane"], inside["guild_id"]) == (
        JOB,
        2,
        "cpu/0",
        10,
    )
    assert set(outside) == {"time", "level", "logger", "message"}


def test_a_job_that_is_named_counts_more_than_the_one_that_is_at_work(
    capfd: pytest.CaptureFixture[str],
) -> None:
    set_up(LogSettings(format="json"))
    other = new_job_id()
    with about(job_id=JOB, model="fake-text"):
        logging.getLogger("bot").info("job %s made room", other)
    [line] = lines(capfd)
    assert line["job_id"] == other
    assert "model" not in line


def test_a_job_that_is_named_joins_what_is_known_of_the_place(
    capfd: pytest.CaptureFixture[str],
) -> None:
    set_up(LogSettings(format="json"))
    with about(lane="cpu/0"):
        logging.getLogger("bot").info("the worker is gone with job %s", JOB)
    [line] = lines(capfd)
    assert (line["lane"], line["job_id"]) == ("cpu/0", JOB)


async def test_jobs_that_run_side_by_side_keep_their_own_fields(
    capfd: pytest.CaptureFixture[str],
) -> None:
    set_up(LogSettings(format="json"))

    async def work(job_id: str) -> None:
        with about(job_id=job_id):
            for _ in range(3):
                await asyncio.sleep(0)
                logging.getLogger("bot").info("%s", job_id)

    ids = [new_job_id() for _ in range(3)]
    await asyncio.gather(*map(work, ids))
    shown = lines(capfd)
    assert len(shown) == 9
    assert all(line["job_id"] == line["message"] for line in shown)


def test_a_person_reads_the_job_once(capfd: pytest.CaptureFixture[str]) -> None:
    set_up(LogSettings())
    with about(job_id=JOB, lane="cpu/0"):
        logging.getLogger("bot").warning("a library complains")
        logging.getLogger("bot").warning("job %s is late", JOB)
    first, second = capfd.readouterr().err.splitlines()
    assert first.endswith(f"a library complains [job {JOB}]")
    assert second.endswith(f"job {JOB} is late")


def test_a_worker_names_itself_and_tells_no_news(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_worker("text", lane="cpu/1", pid=77)
    logging.getLogger("library").info("news")
    with about(job_id=JOB):
        logging.getLogger("library").warning("careful")
    [line] = capfd.readouterr().err.splitlines()
    assert line.endswith(f"WARNING library: careful [worker cpu/1, job {JOB}]")


def test_what_libraries_warn_of_is_a_line_too(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_worker("json", lane="cpu/1", pid=77)
    with about(job_id=JOB), warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)  # this block has put the original back
        warnings.warn("that is slow", UserWarning, stacklevel=1)
    [line] = lines(capfd)
    assert "that is slow" in str(line["message"])
    assert (line["logger"], line["worker"], line["job_id"]) == ("py.warnings", 77, JOB)


def test_what_ends_the_process_is_a_line_too() -> None:
    script = (
        "from bot.logs import set_up; from bot.settings import LogSettings\n"
        "set_up(LogSettings(format='json'))\n"
        "raise ValueError('no such thing')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    [line] = map(json.loads, done.stderr.splitlines())
    assert (line["level"], line["message"]) == ("critical", "the process ends")
    assert line["error"].endswith("ValueError: no such thing")


# --------------------------------------------------------------------------- the engine


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    engine = fake_engine(Stage(tmp_path).start_worker, tmp_path, device="cpu")
    await engine.start()
    yield engine
    await engine.close()


async def test_lines_of_the_engine_have_the_fields_of_their_job(
    engine: Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up(LogSettings(format="json"))
    job = await engine.submit(submission("!log careful\n!bug", guild=77))
    await outcome_of(engine, job)
    careful, failed = lines(capfd)
    assert (careful["message"], careful["job_id"], careful["attempt"]) == ("careful", job.id, 1)
    assert failed["job_id"] == job.id
    assert (failed["lane"], failed["model"], failed["modality"]) == ("cpu/0", "fake-text", "text")
    assert (failed["attempt"], failed["guild_id"]) == (1, 77)


async def test_a_job_that_begins_when_another_ends_has_fields_of_its_own(
    engine: Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up(LogSettings(format="json"))

    heard: asyncio.Queue[int] = asyncio.Queue()

    async def ended(job: Job, outcome: Outcome) -> None:
        logging.getLogger("observer").info("%s", job.submission.requester.guild_id)
        heard.put_nowait(job.submission.requester.guild_id)

    engine.observe(ended)
    jobs = [await engine.submit(submission("fine", guild=guild)) for guild in (1, 2, 3)]
    for job in jobs:
        await outcome_of(engine, job)
    assert {await heard.get() for _ in jobs} == {1, 2, 3}
    seen = lines(capfd)
    assert {line["job_id"] for line in seen} == {job.id for job in jobs}
    assert all(line["message"] == str(line["guild_id"]) for line in seen)
    logging.getLogger("bot").info("nothing to do with them")
    [line] = lines(capfd)
    assert "job_id" not in line
