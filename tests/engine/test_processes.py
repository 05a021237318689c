"""Workers as real processes: death, memory, hangs, cancels, and the tie to the bot's life."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bot.engine.job import JobState, Restarted
from bot.engine.local import LocalWorkers, lane_plans
from bot.engine.port import Vitals, WorkerGone
from bot.engine.protocol import Load, Loaded, Ready, Shutdown
from bot.settings import EngineSettings
from models.contracts import TextDelta
from models.errors import DeadlineExceeded, OutOfMemory, WorkerCrashed
from tests.engine.conftest import until
from tests.fakes import MemoryJournal, fake_engine, fake_model, outcome_of, submission

pytestmark = pytest.mark.slow

RESOLVER = "tests.scripted:resolve"


def a_port(spool, resolver=RESOLVER, *, log_format="text", **settings):
    workers = LocalWorkers(
        EngineSettings(device="cpu", **settings), spool, log_format=log_format, resolver=resolver
    )
    return workers.port(workers.lanes()[0])


class Ports:
    """Starts real workers and remembers them."""

    def __init__(self, spool: Path, resolver: str = RESOLVER) -> None:
        self._spool = spool
        self._resolver = resolver
        self.started = []

    def start_worker(self, lane):
        self.started.append(a_port(self._spool, self._resolver))
        return self.started[-1]

    @property
    def pids(self):
        return [port.pid for port in self.started]


@pytest.fixture
def ports(tmp_path):
    return Ports(tmp_path)


@pytest.fixture
async def started(ports, tmp_path):
    engines = []

    async def start(**options):
        engine = fake_engine(ports.start_worker, tmp_path, **options)
        engines.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in engines:
        await engine.close()
    assert not [pid for pid in ports.pids if psutil.pid_exists(pid)]


async def first_words(engine, job) -> None:
    async for sight in engine.watch(job.id):
        if isinstance(sight, TextDelta):
            return


async def test_a_job_runs_in_another_process_at_lower_priority(started, ports):
    engine = await started()
    outcome = await outcome_of(engine, await engine.submit(submission("hello there")))
    assert outcome.result.text == "hello there"
    (pid,) = ports.pids
    assert pid != os.getpid()
    assert psutil.Process(pid).nice() == min(os.nice(0) + 10, 19)


async def test_a_second_job_starts_no_second_process(started, ports):
    """What a job costs beside its computing is measured by `benchmarks/overhead.py`."""
    engine = await started()
    for _ in range(5):
        await outcome_of(engine, await engine.submit(submission("word")))
    assert len(ports.started) == 1


async def test_a_worker_killed_in_mid_job_loses_nothing(started, ports):
    journal = MemoryJournal()
    engine = await started(journal=journal)
    job = await engine.submit(submission("!delay 0.02\n!words 20"))
    waiting = await engine.submit(submission("next"))
    await first_words(engine, job)
    os.kill(ports.pids[0], signal.SIGKILL)
    sights = [sight async for sight in engine.watch(job.id)]
    outcome = sights[-1].outcome
    assert (outcome.state, len(outcome.result.text.split())) == (JobState.DONE, 20)
    after = sights[sights.index(Restarted(2)) :]
    assert "".join(s.text for s in after if isinstance(s, TextDelta)).split() == [
        f"word{number}" for number in range(20)
    ]
    assert (await outcome_of(engine, waiting)).state is JobState.DONE
    assert (job.attempt, waiting.attempt) == (2, 1)


async def test_a_stop_of_the_process_group_leaves_the_worker_to_the_bot(started, ports):
    engine = await started()
    job = await engine.submit(submission("!delay 0.02\n!words 20"))
    await first_words(engine, job)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(ports.pids[0], number)
    await engine.drain()
    assert (job.state, job.attempt) == (JobState.DONE, 1)


async def test_a_job_that_kills_its_worker_is_given_up_after_one_retry(started, ports):
    engine = await started()
    job = await engine.submit(submission("a\n!crash"))
    outcome = await outcome_of(engine, job)
    assert (outcome.state, type(outcome.error)) == (JobState.FAILED, WorkerCrashed)
    assert job.attempt == 2
    following = await outcome_of(engine, await engine.submit(submission("fine")))
    assert following.state is JobState.DONE


async def test_a_worker_above_its_memory_limit_is_ended(started, ports):
    engine = await started(worker_memory_mb=250)
    greedy = await engine.submit(submission("a\n!eat 400"))
    outcome = await outcome_of(engine, greedy)
    assert (outcome.state, type(outcome.error)) == (JobState.FAILED, OutOfMemory)
    assert greedy.attempt == 1
    following = await outcome_of(engine, await engine.submit(submission("fine")))
    assert following.state is JobState.DONE
    assert len(ports.started) == 2


async def test_a_handler_that_hangs_is_ended_after_its_deadline(started, ports):
    engine = await started(event_gap_deadline_s=2.0, cancel_grace_s=0.2)
    outcome = await outcome_of(engine, await engine.submit(submission("a\n!hang")))
    assert (outcome.state, type(outcome.error)) == (JobState.EXPIRED, DeadlineExceeded)
    following = await outcome_of(engine, await engine.submit(submission("fine")))
    assert following.state is JobState.DONE


async def test_a_cancel_acts_within_one_step(started, ports):
    engine = await started()
    job = await engine.submit(submission("!delay 0.05\n!words 1000"))
    await first_words(engine, job)
    await engine.cancel(job.id)
    outcome = await outcome_of(engine, job)
    assert (outcome.state, outcome.partial_text[:6]) == (JobState.CANCELLED, "word0 ")
    assert len(outcome.partial_text.split()) < 200, "of a thousand, which take fifty seconds"
    assert len(ports.started) == 1


async def test_a_cancel_of_a_hanging_job_is_enforced(started, ports, tmp_path):
    engine = await started(cancel_grace_s=0.3)
    hangs = tmp_path / "it-hangs"
    job = await engine.submit(submission(f"a\n!touch {hangs}\n!hang"))
    await until(hangs.exists)
    await engine.cancel(job.id)
    assert (await outcome_of(engine, job)).state is JobState.CANCELLED
    await until(lambda: not psutil.pid_exists(ports.pids[0]))


async def test_a_worker_that_cannot_start_fails_the_job(tmp_path):
    engine = fake_engine(Ports(tmp_path, "no.such:module").start_worker, tmp_path)
    await engine.start()
    outcome = await outcome_of(engine, await engine.submit(submission("a")))
    assert (outcome.state, type(outcome.error)) == (JobState.FAILED, WorkerCrashed)
    await engine.close()


async def test_the_event_loop_stays_free_while_a_worker_starts_and_computes(started):
    engine = await started()
    longest, turns = 0.0, 0

    async def watch_the_loop():
        nonlocal longest, turns
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.001)
            longest, turns = max(longest, time.thread_time() - began), turns + 1

    watching = asyncio.create_task(watch_the_loop())
    job = await engine.submit(submission("!words 2000"))
    await first_words(engine, job)
    assert turns > 20, "it took turns while the worker started"
    await outcome_of(engine, job)
    watching.cancel()
    assert longest < 0.5, "seconds of this thread alone, so whatever else runs here"


async def test_a_workers_lines_name_its_lane_its_process_and_the_job(tmp_path, capfd):
    port = a_port(tmp_path, log_format="json")
    engine = fake_engine(lambda lane: port, tmp_path, device="cpu")
    await engine.start()
    job = await engine.submit(submission("!log careful\nfine"))
    assert (await outcome_of(engine, job)).state is JobState.DONE
    await engine.close()
    [line] = map(json.loads, capfd.readouterr().err.splitlines())
    assert (line["logger"], line["message"], line["level"]) == ("library", "careful", "warning")
    assert (line["job_id"], line["attempt"], line["model"]) == (job.id, 1, "fake-text")
    assert (line["lane"], line["worker"]) == ("cpu/0", port.pid)


# --------------------------------------------------------------------------- the port alone


async def test_the_port_speaks_and_ends_politely(tmp_path):
    port = a_port(tmp_path)
    await port.start()
    events = port.events()
    assert await anext(events) == Ready(port.pid)
    long_script = "x" * 300_000  # far beyond one read of the pipe
    await port.send(Load(fake_model(options={"comment": long_script}), "/nowhere"))
    loaded = await anext(events)
    assert isinstance(loaded, Loaded)
    assert loaded.rss_bytes > 10 << 20
    assert port.vitals().rss_bytes > 10 << 20
    await port.send(Shutdown())
    with pytest.raises(WorkerGone, match="status 0"):
        await anext(events)
    assert port.vitals() == Vitals()
    with pytest.raises(WorkerGone):
        await port.send(Shutdown())
    await port.kill()


async def test_a_worker_told_to_end_does_not_wait_for_its_libraries(tmp_path):
    """The next model waits for it, and they take seconds to be taken down."""
    resolver = "tests.scripted:resolve_slow_to_end"
    port = a_port(tmp_path, resolver)
    await port.start()
    events = port.events()
    await anext(events)
    await port.send(Load(fake_model(), "/nowhere"))
    assert isinstance(await anext(events), Loaded)
    await port.send(Shutdown())
    async with asyncio.timeout(60):
        with pytest.raises(WorkerGone, match="status 0"):
            await anext(events)


async def test_a_dead_workers_signal_is_named(tmp_path):
    port = a_port(tmp_path)
    await port.start()
    events = port.events()
    await anext(events)
    os.kill(port.pid, signal.SIGSEGV)
    with pytest.raises(WorkerGone, match=f"signal {signal.SIGSEGV.value}"):
        await anext(events)


async def test_a_worker_gets_no_secret_and_bounded_threads(tmp_path, monkeypatch):
    monkeypatch.setenv("DISCORD_TOKEN", "secret")
    port = a_port(tmp_path, threads=3)
    await port.start()
    await anext(port.events())
    environment = psutil.Process(port.pid).environ()
    await port.kill()
    assert "DISCORD_TOKEN" not in environment
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["HF_HUB_OFFLINE"] == "1"


PARENT = """
import asyncio, pathlib, sys
from bot.engine.local import LocalWorkers
from bot.settings import EngineSettings

async def main():
    spool = pathlib.Path(sys.argv[1])
    workers = LocalWorkers(EngineSettings(), spool, resolver="tests.scripted:resolve")
    port = workers.port(workers.lanes()[0])
    await port.start()
    await anext(port.events())
    print(port.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_worker_dies_with_the_bot(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        worker.wait(timeout=60)
    assert not worker.is_running()


def test_the_worker_imports_no_heavy_library():
    script = "import bot.engine.process, sys, json; print(json.dumps(list(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    heavy = {"torch", "transformers", "numpy", "discord", "sqlalchemy"}
    assert not heavy & set(json.loads(output))


@pytest.mark.parametrize(
    ("settings", "lanes"),
    [
        ({"device": "cpu"}, ["cpu/0"]),
        ({"device": "cpu", "lanes": 2}, ["cpu/0", "cpu/1"]),
        ({"device": "cuda:1", "lanes": 1}, ["cpu/0", "cuda:1/0"]),
    ],
)
def test_lanes_are_named_after_their_device(settings, lanes):
    plans = lane_plans(EngineSettings(**settings))
    assert [plan.name for plan in plans] == [*lanes, "net/0"]


def test_each_gpu_has_a_lane_beside_those_of_the_processor(tmp_path, monkeypatch):
    monkeypatch.setattr("bot.engine.local._NVIDIA_DEVICES", tmp_path)
    assert {plan.kind for plan in lane_plans(EngineSettings())} == {"cpu", "net"}
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    plans = lane_plans(EngineSettings(lanes=2))
    assert [(plan.name, plan.pool) for plan in plans] == [
        ("cpu/0", "ram"),
        ("cpu/1", "ram"),
        ("cuda:0/0", "cuda:0"),
        ("cuda:1/0", "cuda:1"),
        ("net/0", "net"),
    ]
