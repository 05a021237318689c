"""What workers take of GPUs: asked of the driver, counted, kept within the budget."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from bot.engine import vram
from bot.engine.job import JobState
from bot.engine.local import LocalPort, LocalWorkers, local_budgets
from bot.engine.port import LanePlan, Vitals
from bot.engine.vram import gpu_memory
from bot.settings import EngineSettings
from models.errors import OutOfMemory
from tests.engine.conftest import until
from tests.fakes import fake_catalog, fake_model, outcome_of, submission

MIB = 1 << 20


class Refused(Exception):
    """The driver does not answer."""


class Driver:
    """The library of a machine with two GPUs, as far as it is asked."""

    def __init__(self) -> None:
        self.used = [0, 0]
        self.by_process: dict[int, int | None] = {}
        self.absent = False
        self.library = SimpleNamespace(
            NVMLError=Refused,
            nvmlInit=self.open,
            nvmlDeviceGetHandleByIndex=self.gpu,
            nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(
                total=1000 * MIB, used=self.used[gpu]
            ),
            nvmlDeviceGetComputeRunningProcesses=lambda gpu: [
                SimpleNamespace(pid=pid, usedGpuMemory=used)
                for pid, used in self.by_process.items()
            ],
        )

    def open(self):
        if self.absent:
            raise Refused

    def gpu(self, index):
        if index > 1:
            raise Refused
        return index


@pytest.fixture
def driver(monkeypatch):
    driver = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", driver.library)
    vram._driver.cache_clear()
    yield driver
    vram._driver.cache_clear()


def test_a_gpus_memory_is_what_its_driver_counts(driver):
    driver.used, driver.by_process = [0, 300 * MIB], {7: 200 * MIB, 8: None}
    memory = gpu_memory("cuda:1")
    assert (memory.total_bytes(), memory.used_bytes()) == (1000 * MIB, 300 * MIB)
    assert [memory.used_by(pid) for pid in (7, 8, 9)] == [200 * MIB, 0, 0]
    assert gpu_memory("cuda").used_bytes() == 0


@pytest.mark.parametrize("lacking", ["library", "driver", "gpu"])
def test_without_it_nothing_is_known(driver, monkeypatch, lacking):
    driver.used = [300 * MIB, 0]
    driver.absent = lacking == "driver"
    if lacking == "library":
        monkeypatch.setitem(sys.modules, "pynvml", None)
    memory = gpu_memory("cuda:5" if lacking == "gpu" else "cuda:0")
    assert (memory.total_bytes(), memory.used_bytes(), memory.used_by(7)) == (0, 0, 0)


def test_each_gpu_has_a_budget(driver):
    of_one = {"device": "cuda:1", "memory_mb": 500}
    assert local_budgets(EngineSettings(**of_one)) == {"ram": 500, "cuda:1": 900}
    assert local_budgets(EngineSettings(**of_one, vram_mb=70)) == {"ram": 500, "cuda:1": 70}
    driver.absent = True
    vram._driver.cache_clear()
    assert local_budgets(EngineSettings(**of_one)) == {"ram": 500, "cuda:1": 500}


@pytest.mark.slow
async def test_what_the_driver_does_not_tell_of_a_worker_is_what_was_taken_since(driver, tmp_path):
    workers = LocalWorkers(
        EngineSettings(device="cuda:0"), tmp_path, resolver="tests.scripted:resolve"
    )
    [plan] = [plan for plan in workers.lanes() if plan.kind == "gpu"]
    port: LocalPort = workers.port(plan)
    driver.used[0] = 100 * MIB
    await port.start()
    driver.used[0] = 350 * MIB
    assert port.vitals().vram_bytes == 250 * MIB
    driver.by_process = {port.pid: 240 * MIB}
    assert port.vitals().vram_bytes == 240 * MIB
    await port.kill()
    assert port.vitals() == Vitals()


class OneGpu:
    """Inline workers of a machine with a GPU. ``held`` is what each of them takes of it, in MiB."""

    def __init__(self, stage) -> None:
        self._stage = stage
        self.held = 0

    def lanes(self):
        return [
            LanePlan("cpu/0", "cpu", "cpu", "ram"),
            LanePlan("cuda:0/0", "gpu", "cuda:0", "gpu"),
        ]

    def budgets(self):
        return {"ram": 500, "gpu": 1000}

    async def open(self): ...

    def port(self, lane):
        port = self._stage.start_worker(lane.name)
        if lane.kind == "gpu":
            port.vitals = lambda: Vitals(0, self.held * MIB)
        return port

    async def close(self): ...


@pytest.fixture
async def with_gpu(started, stage, monkeypatch):
    workers = OneGpu(stage)
    monkeypatch.setattr("tests.fakes.SomeWorkers", lambda *_: workers)
    models = [fake_model(name, memory_mb=300) for name in ("one", "two")]
    engine = await started(catalog=fake_catalog(*models), memory_mb=500, vram_mb=1000)
    return engine, workers


async def test_a_model_counts_with_what_it_was_seen_to_take(with_gpu):
    engine, workers = with_gpu
    workers.held = 800
    await outcome_of(engine, await engine.submit(submission("a", "one")))
    [_, lane] = engine._fleet.residency.lanes
    assert lane.residents["one"].memory_mb == 800
    await outcome_of(engine, await engine.submit(submission("a", "two")))
    assert set(lane.residents) == {"two"}


async def test_a_worker_above_the_bound_of_its_gpu_is_ended(with_gpu):
    engine, workers = with_gpu
    job = await engine.submit(submission("!delay 1\n!words 60", "one"))
    await until(lambda: job.state is JobState.RUNNING)
    workers.held = 1001
    outcome = await outcome_of(engine, job)
    assert (outcome.state, type(outcome.error)) == (JobState.FAILED, OutOfMemory)
