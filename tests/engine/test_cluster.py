"""Workers in a cluster of two nodes: streams, files, cancels, deaths, and no place to be."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bot.engine.cluster import RayWorkers
from bot.engine.job import JobState, Restarted
from bot.engine.port import WorkerGone
from bot.settings import EngineSettings, RaySettings
from models.catalog import PathSource
from models.contracts import ImageRequest, Modality, TextDelta
from models.errors import ModelUnavailable, WorkerCrashed
from tests.fake_pictures import colour_of, picture
from tests.fakes import MemoryJournal, fake_catalog, fake_engine, fake_model, outcome_of, submission

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.timeout(400)]

RESOLVER = "tests.scripted:resolve"


class TwoNodes:
    """The program of that name, as long as tests need it."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self._program = program
        self.address = self._answer()["address"]

    def actors(self) -> list[psutil.Process]:
        """Return the processes of the actors that there are."""
        everybody = psutil.Process(self._program.pid).children(recursive=True)
        return [process for process in everybody if _is_actor(process)]

    def end_node_of(self, actor: psutil.Process) -> None:
        self._program.stdin.write(f"kill {actor.pid}\n")
        self._program.stdin.flush()
        self._answer()

    def _answer(self) -> dict[str, str]:
        return json.loads(self._program.stdout.readline())


def _is_actor(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("ray::Worker")
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def nodes():
    command = [sys.executable, str(Path(__file__).with_name("two_nodes.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        yield TwoNodes(program)
        program.stdin.close()
        program.wait(timeout=60)


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def ray_workers(folder, address, **ray):
    ray = {"lanes": 1, "gpus": 0, "cpus": 0, "resources": {"lane": 1}, "memory_mb": 1000} | ray
    settings = RaySettings(address=address, **ray)
    return RayWorkers(EngineSettings(), settings, folder, folder / "weights", resolver=RESOLVER)


@pytest.fixture
async def started(nodes, tmp_path):
    """Return a function that starts an engine with lanes in the cluster."""
    engines = []
    rows = [fake_model(f"fake-{m}", m, source=PathSource(path=str(tmp_path))) for m in Modality]

    async def start(*, lanes=1, **options):
        workers = ray_workers(tmp_path / "spool", nodes.address, lanes=lanes)
        catalog = fake_catalog(*rows)
        engine = fake_engine(workers, tmp_path / "spool", catalog=catalog, **options)
        engines.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in engines:
        await engine.close()
    await until(lambda: not nodes.actors())


async def first_words(engine, job) -> None:
    async for sight in engine.watch(job.id):
        if isinstance(sight, TextDelta):
            return


async def test_the_machines_say_how_much_models_may_take(nodes, tmp_path):
    workers = ray_workers(tmp_path, nodes.address, memory_mb=0)
    assert workers.budgets() == {}
    await workers.open()
    half_mb = psutil.virtual_memory().total >> 21
    assert workers.budgets() == {"ray/0": pytest.approx(half_mb, rel=0.01)}
    greedy = ray_workers(tmp_path, nodes.address, resources={"lane": 2})
    with pytest.raises(ModelUnavailable, match=r"No machine of the cluster has \{'lane': 2.0\}"):
        await greedy.open()


async def test_jobs_stream_stop_and_carry_their_files(started, nodes, monkeypatch):
    monkeypatch.setenv("DISCORD_TOKEN", "secret")
    engine = await started()
    job = await engine.submit(submission("!delay 0.02\n!words 20"))
    sights = [sight async for sight in engine.watch(job.id)]
    assert [s.text for s in sights if isinstance(s, TextDelta)] == [f"word{n} " for n in range(20)]

    endless = await engine.submit(submission("!delay 0.05\n!words 100000"))
    await first_words(engine, endless)
    await engine.cancel(endless.id)
    outcome = await outcome_of(engine, endless)
    assert (outcome.state, outcome.partial_text[:6]) == (JobState.CANCELLED, "word0 ")

    spool = engine._spool
    reference = spool.store(picture("blue"), "blue.png", "image/png")
    drawing = ImageRequest("grey", reference=reference)
    drawn = await outcome_of(engine, await engine.submit(submission(drawing, "fake-image")))
    assert colour_of(spool.checked_path(drawn.result.pictures[0].media)) == "blue"

    assert len(nodes.actors()) == 1
    [bridge] = [
        child for child in psutil.Process().children() if "ray_bridge" in str(child.cmdline())
    ]
    assert "DISCORD_TOKEN" not in bridge.environ()


async def test_a_job_that_kills_its_worker_is_given_up_after_one_retry(started):
    engine = await started()
    outcome = await outcome_of(engine, await engine.submit(submission("a\n!crash")))
    assert (outcome.state, type(outcome.error)) == (JobState.FAILED, WorkerCrashed)


PARENT = """
import asyncio, pathlib, sys
from tests.engine.test_cluster import ray_workers

async def main():
    workers = ray_workers(pathlib.Path(sys.argv[1]), sys.argv[2])
    port = workers.port(workers.lanes()[0])
    await port.start()
    ready = await anext(port.events())
    print(ready.pid, *(name for name in ("ray", "torch") if name in sys.modules), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_bot_that_is_killed_leaves_no_actor(nodes, tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path), nodes.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bot:
        told = await asyncio.to_thread(bot.stdout.readline)
        assert told.split() == [str(process.pid) for process in nodes.actors()]  # and no library
        bot.kill()
    await until(lambda: not nodes.actors())


@pytest.mark.parametrize(
    ("ray", "reason"),
    [
        ({"resources": {"lane": 2}, "start_s": 1.0}, "no machine of the cluster took it"),
        ({"address": "127.0.0.2:1"}, "the cluster is out of reach"),
    ],
)
async def test_where_there_is_no_place_the_port_says_so(nodes, tmp_path, ray, reason):
    workers = ray_workers(tmp_path, **{"address": nodes.address} | ray)
    port = workers.port(workers.lanes()[0])
    await port.start()
    with pytest.raises(WorkerGone, match=reason) as gone:
        await anext(port.events())
    assert gone.value.innocent


async def test_a_job_whose_node_dies_is_done_on_the_other_once(started, nodes):
    journal = MemoryJournal()
    engine = await started(lanes=2, journal=journal)
    job = await engine.submit(submission("!delay 0.05\n!words 40"))
    await first_words(engine, job)
    [actor] = nodes.actors()
    nodes.end_node_of(actor)
    sights = [sight async for sight in engine.watch(job.id)]
    outcome = sights[-1].outcome
    assert (outcome.state, len(outcome.result.text.split())) == (JobState.DONE, 40)
    after = sights[sights.index(Restarted(2)) :]
    assert [s.text for s in after if isinstance(s, TextDelta)] == [f"word{n} " for n in range(40)]
    assert (job.attempt, journal.calls.count(("finished", job.id))) == (2, 1)
