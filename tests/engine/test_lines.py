"""Those who wait for the same lanes are in one line, with shares of its own."""

from __future__ import annotations

import pytest

from bot.engine.job import Waiting
from models.catalog import EndpointSource
from tests.engine.test_forecast import Oracle, came
from tests.engine.test_scheduler import SMALL, Desk
from tests.fakes import fake_model

FAR = fake_model("far", source=EndpointSource(url="http://127.0.0.1:9/v1", model="far"))
GPU = fake_model("big", memory_mb=800)
CPU = fake_model("small", memory_mb=300, device="cpu")


def lines(desk: Desk) -> dict[str, int]:
    return {name: len(queue) for name, queue in desk.scheduler.queue.named()}


def test_there_is_a_line_for_each_kind_of_lane_and_for_each_model_of_a_server():
    desk = Desk(CPU, GPU, FAR, gpus=1)
    jobs = [desk.ask(f"{n}", model) for n, model in enumerate(("small", "big", "far", "far"))]
    assert lines(desk) == {"cpu": 1, "gpu": 1, "net/far": 2}
    assert len(desk.scheduler.queue) == 4
    assert list(desk.scheduler.queue) == jobs
    assert jobs[1].id in desk.scheduler.queue
    assert desk.scheduler.queue.remove("2") is jobs[2]
    assert desk.scheduler.queue.remove("nobody") is None
    assert lines(desk) == {"cpu": 1, "gpu": 1, "net/far": 1}


def test_without_a_gpu_all_local_models_are_in_one_line():
    desk = Desk(CPU, GPU)
    desk.ask("a", "small")
    desk.ask("b", "big")
    assert lines(desk) == {"cpu": 2}


def test_what_somebody_asks_a_server_for_costs_no_turn_at_the_processor():
    desk = Desk(SMALL, FAR)
    desk.load("small")
    desk.load("far", slots=20)
    for number in range(10):
        desk.ask(f"far{number}", "far", user=1)
        desk.scheduler.queue.settle(desk.start().job, 100.0)
    desk.ask("ada", "small", user=1)
    desk.ask("grace", "small", user=2)
    assert desk.start().job.id == "ada", "who came first; she owes nothing here"


def test_a_pause_holds_lines_that_come_later():
    desk = Desk(SMALL, FAR)
    desk.ask("a", "small", guild=5)
    desk.scheduler.queue.hold(5, held=True)
    desk.ask("b", "far", guild=5)
    assert desk.start() is None
    desk.scheduler.queue.hold(5, held=False)
    assert {desk.start().job.id, desk.start().job.id} == {"a", "b"}


def test_places_count_within_a_line():
    desk = Oracle(SMALL, FAR)
    for model in ("small", "far"):
        desk.load(model)
        desk.measure(10.0, model)
        for number in range(2):
            desk.ask(f"{model}{number}", model, user=number)
    assert desk.waits() == {
        "small0": Waiting(1, 0.0),
        "small1": Waiting(2, 10.0),
        "far0": Waiting(1, 0.0),
        "far1": Waiting(2, 10.0),
    }


def test_newcomers_of_one_line_go_ahead_of_nobody_in_another():
    desk = Oracle(SMALL, FAR)
    for model in ("small", "far"):
        desk.load(model)
        desk.measure(8.0, model)
        desk.ask(f"runs {model}", model, user=1)
        desk.start()
    for number in range(20):
        newcomer = came(desk, f"new{number}", 100 + number, 30.0)
        desk.scheduler.queue.remove(newcomer.id)
    desk.ask("small", "small", user=1)
    desk.ask("far", "far", user=1)
    waits = desk.waits()
    assert waits["far"].eta_s == pytest.approx(8.0)
    assert waits["small"].eta_s > 16.0


def test_a_line_is_as_wide_as_its_lanes_or_as_a_server_is():
    desk = Desk(CPU, GPU, FAR, lanes=3, gpus=2)
    assert [desk.residency.width(line) for line in ("cpu", "gpu", "net/far")] == [3, 2, 1]
    desk.load("far", slots=16)
    assert desk.residency.width("net/far") == 16


def test_jobs_of_servers_pay_for_their_own_time_alone():
    desk = Desk(SMALL, FAR)
    first, second = (desk.make(name, "far") for name in ("first", "second"))
    for job in (first, second):
        desk.net.begin(job, 0.0)
        desk.lanes[0].begin(job, 0.0)
    desk.net.end(first, 10.0)
    assert (first.device_s, second.device_s) == (10.0, 10.0)
    desk.lanes[0].end(first, 10.0)
    assert (first.device_s, second.device_s) == (15.0, 15.0)
