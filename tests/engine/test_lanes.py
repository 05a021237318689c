"""Which jobs run beside which: lanes of the processor, of GPUs, and the one that asks servers."""

from __future__ import annotations

from bot.engine.job import JobState
from models.catalog import EndpointSource
from tests.engine.conftest import until
from tests.engine.test_forecast import Oracle
from tests.engine.test_scheduler import NOW, Desk
from tests.fakes import fake_catalog, fake_model, outcome_of, submission

SERVER = EndpointSource(url="http://127.0.0.1:9/v1", model="far")
LOCAL = fake_model("local", memory_mb=600)
SMALL = fake_model("small", memory_mb=600, device="cpu")
FAR = fake_model("far", source=SERVER, memory_mb=600, options={"slots": 2, "exact": True})
FARTHER = fake_model("farther", source=SERVER, memory_mb=600)

# --------------------------------------------------------------------------- decisions


def test_who_waits_for_the_processor_holds_nobody_up_who_asks_a_server():
    desk = Desk(LOCAL, FAR)
    desk.ask("runs", "local", user=1)
    desk.start()
    desk.ask("waits", "local", user=2, at=NOW - 60)
    desk.ask("asks", "far", user=3)
    placement = desk.start()
    assert (placement.job.id, placement.lane) == ("asks", desk.net)
    assert desk.start() is None


def test_a_full_server_holds_up_no_other():
    desk = Desk(FAR, FARTHER)
    desk.load("far", slots=2, exact=True)
    desk.load("farther", exact=True)
    for number in range(3):
        desk.ask(f"far{number}", "far", user=number, seed=number, at=NOW - 60)
    desk.ask("farther", "farther", user=9)
    assert [desk.start().job.id for _ in range(3)] == ["far0", "far1", "farther"]
    assert desk.start() is None


def test_what_servers_run_takes_no_memory():
    desk = Desk(LOCAL, FAR, budget_mb=600)
    desk.load("local")
    desk.ask("asks", "far")
    assert desk.start().evictions == ()
    assert desk.residency.fits_ever(fake_model("vast", source=SERVER, memory_mb=1 << 20))


def test_a_suspect_asks_its_server_alone():
    desk = Desk(FAR, FARTHER)
    for model in ("far", "farther"):
        desk.load(model, slots=2, exact=True)
    desk.ask("runs", "farther", user=1)
    desk.start()
    suspect = desk.make("suspect", "far", user=2)
    desk.scheduler.run_alone(suspect)
    desk.scheduler.queue.add(suspect)
    assert desk.start() is None
    desk.net.jobs.clear()
    assert desk.start().job is suspect
    desk.ask("late", "farther", user=3)
    assert desk.start() is None


def test_models_that_a_gpu_speeds_up_run_there_and_the_others_beside():
    desk = Desk(LOCAL, SMALL, gpus=2)
    for number in range(3):
        desk.ask(f"local{number}", "local", user=number)
    desk.ask("small", "small", user=9)
    placements = [desk.start() for _ in range(3)]
    where = {placement.job.id: placement.lane.name for placement in placements}
    assert where == {"local0": "cuda:0/0", "local1": "cuda:1/0", "small": "cpu/0"}
    assert desk.start() is None


def test_each_pool_has_a_budget_of_its_own():
    desk = Desk(LOCAL, SMALL, fake_model("other", memory_mb=600), gpus=1, budget_mb=1000)
    desk.ask("a", "local")
    desk.ask("b", "small", user=2)
    assert [desk.start().evictions, desk.start().evictions] == [(), ()]
    for placed in (desk.gpus[0], desk.lanes[0]):
        placed.jobs.clear()
    desk.gpus[0].residents["local"] = desk.resident("local")
    desk.lanes[0].residents["small"] = desk.resident("small")
    desk.ask("c", "other", at=NOW - 60)
    placement = desk.start()
    assert (placement.lane, placement.evictions) == (desk.gpus[0], ((desk.gpus[0], "local"),))


def test_a_wait_for_a_server_does_not_count_what_the_processor_does():
    desk = Oracle(LOCAL, FAR, FARTHER)
    desk.load("local")
    desk.load("far", slots=2, exact=True)
    desk.load("farther", exact=True)
    for model, seconds in (("local", 100.0), ("far", 10.0), ("farther", 50.0)):
        desk.measure(seconds, model)
        desk.ask(f"{model} runs", model, user=1)
        desk.start()
    for model in ("local", "far", "far", "farther"):
        desk.ask(f"{model} waits {len(desk.scheduler.queue)}", model, user=2)
    waits = {name: waiting.eta_s for name, waiting in desk.waits().items()}
    assert waits == {
        "local waits 0": 100.0,
        "far waits 1": 0.0,
        "far waits 2": 10.0,
        "farther waits 3": 50.0,
    }


# --------------------------------------------------------------------------- the engine


async def test_jobs_of_servers_run_side_by_side_beside_the_processors(started, stage):
    engine = await started(catalog=fake_catalog(LOCAL, FAR, FARTHER), memory_mb=600)
    busy = await engine.submit(submission("!hang", "local", user=1))
    await until(lambda: stage.ports)
    assert len(stage.ports) == 1  # nobody has asked a server yet
    waits = await engine.submit(submission("waits", "far", user=2))
    assert (await outcome_of(engine, waits)).state is JobState.DONE
    hangs = [
        await engine.submit(submission("!delay 0.02\n!words 9999", "far", user=n)) for n in (3, 4)
    ]
    await until(lambda: all(job.state is JobState.RUNNING for job in hangs))
    answered = await engine.submit(submission("hello", "farther", user=5))
    assert (await outcome_of(engine, answered)).result.text == "hello"
    assert {job.lane for job in (waits, *hangs, answered)} == {"net/0"}
    assert (busy.lane, len(stage.ports)) == ("cpu/0", 2)


async def test_a_model_of_a_server_is_freed_while_another_is_at_work(started, stage):
    engine = await started(catalog=fake_catalog(FAR, FARTHER), idle_unload_s=0.05)
    asks = await engine.submit(submission("!delay 0.05\n!words 1000", "far", user=1))
    await until(lambda: asks.state is JobState.RUNNING)
    await outcome_of(engine, await engine.submit(submission("a", "farther", user=2)))
    [lane] = [lane for lane in engine._fleet.residency.lanes if lane.kind == "net"]
    await until(lambda: set(lane.residents) == {"far"} and not lane.changing, 30)
    assert asks.state is JobState.RUNNING
    assert len(stage.ports) == 1
