"""Places and expected waits: foretold, told, and corrected by what came of them."""

from __future__ import annotations

import asyncio
import gc
import math
import time
from functools import partial

import pytest

from bot.engine import forecast as forecasts
from bot.engine.forecast import MOST_PLAYED, SLICE_S, Forecast
from bot.engine.inflow import Inflow
from bot.engine.job import Job, Waiting
from bot.engine.lookahead import Lookahead
from tests.engine.test_scheduler import BIG, DRAWS, NOW, SMALL, Desk
from tests.fakes import fake_model


class Oracle(Desk):
    """A scheduler whose waits are foretold. ``told`` are the sights, in order."""

    def __init__(self, *models, **options) -> None:
        super().__init__(*models, **options)
        self.now = NOW
        self.told: list[tuple[str, Waiting]] = []
        lookahead = partial(Lookahead, self.catalog, self.residency, self.durations)
        self.forecast = Forecast(
            self.scheduler.queue,
            lookahead,
            self.durations,
            lambda job_id, waiting: self.told.append((job_id, waiting)),
            width=self.residency.width,
            clock=lambda: self.now,
        )

    def make(self, name: str, model: str, **fields) -> Job:
        job = super().make(name, model, **fields)
        job.work = 1.0
        return job

    def measure(self, seconds: float, model: str = "small") -> None:
        self.durations.ran(self.make("measured", model), seconds)

    def waits(self) -> dict[str, Waiting]:
        while not self.forecast.play(math.inf):
            pass
        return {job.id: self.forecast.of(job.id) for job in self.scheduler.queue}


def busy(*models, **options) -> Oracle:
    """Return an oracle whose lane works on a job of eight seconds since now."""
    desk = Oracle(*(models or (SMALL, BIG)), **options)
    desk.load("small")
    desk.measure(8.0)
    desk.ask("runs", "small")
    desk.start(NOW)
    return desk


# --------------------------------------------------------------------------- what is foretold


def test_places_and_waits_come_from_measured_durations():
    desk = busy()
    desk.ask("b", "small")
    desk.ask("c", "small")
    desk.now = NOW + 3.0
    waits = desk.waits()
    assert (waits["b"].place, waits["b"].eta_s) == (1, pytest.approx(5.0))
    assert (waits["c"].place, waits["c"].eta_s) == (2, pytest.approx(13.0))


def test_a_wait_counts_the_load_of_another_model():
    desk = busy()
    desk.measure(2.0, "big")
    desk.durations.loaded("big", 30.0)
    desk.ask("b", "big")
    desk.ask("c", "big")
    waits = desk.waits()
    assert waits["b"].eta_s == pytest.approx(8.0), "its own load is shown once it has started"
    assert waits["c"].eta_s == pytest.approx(8.0 + 30.0 + 2.0)


def test_a_model_that_was_freed_for_another_is_loaded_again():
    desk = busy()
    desk.measure(2.0, "big")
    desk.durations.loaded("big", 30.0)
    desk.durations.loaded("small", 5.0)
    for name, model in (("b", "big"), ("c", "small"), ("d", "small")):
        desk.ask(name, model)
    assert desk.waits()["d"].eta_s == pytest.approx(8.0 + 30.0 + 2.0 + 5.0 + 8.0)


def test_a_wait_that_cannot_be_known_is_not_made_up():
    desk = Oracle(SMALL)
    desk.load("small")
    desk.ask("runs", "small")
    desk.start(NOW)
    desk.ask("b", "small")
    assert desk.waits()["b"] == Waiting(1, None)


def test_only_those_behind_an_unknown_job_wait_for_nobody_knows_how_long():
    desk = Oracle(SMALL)
    desk.load("small")
    desk.ask("a", "small")
    desk.ask("b", "small")
    assert desk.waits() == {"a": Waiting(1, 0.0), "b": Waiting(2, None)}


def test_two_lanes_halve_the_wait():
    desk = Oracle(SMALL, lanes=2)
    desk.measure(10.0)
    for lane in (0, 1):
        desk.load("small", lane)
    for name in "abcd":
        desk.ask(name, "small")
    desk.start(NOW), desk.start(NOW)
    assert [wait.eta_s for wait in desk.waits().values()] == [pytest.approx(10.0)] * 2


def test_a_batch_takes_as_many_as_it_has_slots():
    desk = Oracle(SMALL)
    desk.load("small", slots=4)
    desk.measure(10.0)
    for number in range(9):
        desk.ask(f"job{number}", "small")
    for _ in range(3):
        desk.start(NOW)
    assert [wait.eta_s for wait in desk.waits().values()] == [0, *[10.0] * 4, 20.0]


def test_a_seeded_job_has_the_lane_for_itself():
    desk = Oracle(SMALL)
    desk.load("small", slots=4)
    desk.measure(10.0)
    desk.ask("runs", "small")
    desk.start(NOW)
    desk.ask("seeded", "small", seed=1)
    desk.ask("plain", "small")
    waits = desk.waits()
    assert (waits["seeded"].eta_s, waits["plain"].eta_s) == (10.0, 20.0)


def test_a_seeded_job_is_expected_in_an_exact_batch():
    desk = Oracle(SMALL)
    desk.load("small", slots=2, exact=True)
    desk.measure(10.0)
    desk.ask("runs", "small", seed=2)
    desk.start(NOW)
    desk.ask("seeded", "small", seed=1)
    desk.ask("plain", "small")
    waits = desk.waits()
    assert (waits["seeded"].eta_s, waits["plain"].eta_s) == (0.0, 10.0)


def test_who_starts_together_ends_together():
    desk = Oracle(DRAWS)
    desk.load("draws", slots=3, joins="start")
    desk.measure(10.0, "draws")
    desk.ask("runs", "draws")
    desk.start()
    for number in range(4):
        desk.ask(f"square{number}", "draws", user=2 + number)
    desk.ask("wide", "draws", user=6, width_px=1536)
    waits = {name: waiting.eta_s for name, waiting in desk.waits().items()}
    assert waits == {
        "square0": 10.0,
        "square1": 10.0,
        "square2": 10.0,
        "square3": 20.0,
        "wide": 30.0,
    }


def test_a_model_on_its_way_counts_until_it_is_there():
    desk = busy()
    desk.durations.loaded("small", 20.0)
    desk.lanes[0].changing = True
    desk.ask("b", "small")
    desk.now = NOW + 6.0
    assert desk.waits()["b"].eta_s == pytest.approx(20.0 + 8.0 - 6.0)


def test_a_job_that_takes_longer_than_expected_is_not_about_to_end():
    desk = busy()
    desk.ask("b", "small")
    desk.now = NOW + 80.0
    assert desk.waits()["b"].eta_s == pytest.approx(8.0)


def test_who_is_paused_keeps_the_place_among_those_of_the_server():
    desk = busy()
    for number in range(3):
        desk.ask(f"ada{number}", "small", guild=5, user=3)
    desk.ask("grace", "small", guild=5, user=4)
    desk.ask("elsewhere", "small", guild=6, user=5)
    desk.scheduler.queue.hold(5, held=True)
    waits = desk.waits()
    assert waits["elsewhere"] == Waiting(1, 8.0)
    assert [waits[name] for name in ("ada0", "grace", "ada1", "ada2")] == [
        Waiting(place, None, paused=True) for place in (1, 2, 3, 4)
    ]


# --------------------------------------------------------------------------- who goes ahead


def came(desk: Oracle, name: str, user: int, seconds: float) -> Job:
    """Let a member ask for so many seconds of work."""
    job = desk.make(name, "small", user=user)
    job.work = seconds / 8.0
    desk.scheduler.queue.add(job)
    desk.forecast.came(job)
    return job


def test_what_newcomers_ask_for_is_expected_to_go_on():
    desk = busy()
    for number in range(10):
        newcomer = came(desk, f"new{number}", 100 + number, 30.0)
        desk.scheduler.queue.remove(newcomer.id)
    came(desk, "ada's next", 1, 8.0)  # one of hers runs
    came(desk, "grace's first", 2, 8.0)
    waits = desk.waits()
    assert waits["grace's first"].eta_s == pytest.approx(8.0), "nobody goes ahead of her"
    assert waits["ada's next"].eta_s == pytest.approx(16.0 / (1 - 308 / 510), rel=0.01)


def test_ones_own_jobs_are_not_expected_to_overtake_the_others():
    desk = busy()
    for number in range(20):
        newcomer = came(desk, f"earlier{number}", 2, 30.0)
        desk.scheduler.queue.remove(newcomer.id)
    came(desk, "first", 2, 8.0)
    came(desk, "second", 2, 8.0)
    assert desk.waits()["second"].eta_s == pytest.approx(16.0)


def test_newcomers_never_take_all_lanes():
    desk = busy()
    for number in range(100):
        newcomer = came(desk, f"new{number}", 100 + number, 500.0)
        desk.scheduler.queue.remove(newcomer.id)
    came(desk, "ada's next", 1, 8.0)
    assert desk.waits()["ada's next"].eta_s == pytest.approx(8.0 / 0.2)


def test_an_inflow_is_forgotten_in_time():
    inflow = Inflow()
    for minute in range(120):
        inflow.add(minute % 7, 30.0, 60.0 * minute)
    assert inflow.rate(7200.0, without=99) == pytest.approx(0.5, rel=0.05)
    assert inflow.rate(7200.0, without=3) == pytest.approx(0.5 * 6 / 7, rel=0.05)
    assert inflow.rate(7200.0 + 4 * 1800.0, without=99) < 0.02
    assert inflow.rate(7200.0 - 90 * 86400.0, without=99) >= 0.5, "a clock may be set back"


def test_an_inflow_of_many_members_takes_little_room():
    inflow = Inflow()
    for user in range(10_000):
        inflow.add(user, 5.0, float(user))
    assert len(inflow._by_member) <= 2000


# --------------------------------------------------------------------------- what is told


def test_only_what_is_news_is_told():
    desk = busy()
    for number in range(100):
        desk.ask(f"job{number}", "small")
    desk.waits()
    assert len(desk.told) == 100
    desk.told.clear()
    desk.now = NOW + 0.5
    desk.waits()
    assert desk.told == []

    desk.line().take(desk.line().peek())
    desk.waits()
    places = {job_id: waiting.place for job_id, waiting in desk.told}
    assert places["job1"] == 1
    assert "job99" not in places, "place 99 instead of 100 is no news"


def test_a_wait_is_told_anew_while_it_passes():
    desk = busy()
    desk.ask("b", "small")
    for second in range(7):
        desk.now = NOW + second
        desk.waits()
    assert [waiting.eta_s for _, waiting in desk.told] == [8.0, 2.0]


def test_a_job_that_waits_again_is_told_of_its_place_again():
    desk = busy()
    job = desk.ask("b", "small")
    desk.waits()
    desk.line().take(job)
    desk.forecast.began(job)
    desk.scheduler.queue.put_back(job)
    desk.waits()
    assert desk.told == [("b", Waiting(1, 8.0))] * 2


async def test_it_looks_again_by_itself_while_somebody_waits(monkeypatch):
    monkeypatch.setattr(forecasts, "_REFRESH_S", 0.01)
    desk = busy()
    desk.ask("b", "small")
    desk.forecast.changed()
    await asyncio.sleep(0.02)
    desk.now = NOW + 6.0
    async with asyncio.timeout(60):
        while len(desk.told) < 2:
            await asyncio.sleep(0.01)
    assert desk.forecast._timer is not None
    desk.scheduler.queue.remove("b")
    async with asyncio.timeout(60):
        while desk.forecast._timer is not None:
            await asyncio.sleep(0.01)
    desk.forecast.close()


async def test_who_asks_hears_of_what_has_just_changed():
    desk = busy()
    desk.ask("b", "small")
    desk.forecast.changed()
    assert desk.forecast.of("b") == Waiting(1, 8.0)
    desk.ask("c", "small")
    desk.forecast.changed()
    assert desk.forecast.of("c").place == 2
    assert desk.forecast.of("nobody") is None
    desk.forecast.close()


# --------------------------------------------------------------------------- ten thousand


@pytest.fixture(scope="module")
def crowded() -> Oracle:
    desk = Oracle(SMALL, BIG, fake_model("other", memory_mb=100), lanes=3, budget_mb=2000)
    for model in ("small", "big", "other"):
        desk.measure(5.0, model)
        desk.durations.loaded(model, 3.0)
    for number in range(10_000):
        model = ("small", "other", "big")[number % 3]
        desk.ask(f"job{number}", model, user=number % 4000)
    return desk


def test_ten_thousand_jobs_give_way_to_the_event_loop(crowded, monkeypatch):
    desk, slices, worst = crowded, 0, 0.0
    monkeypatch.setattr(desk.forecast, "_sights", {})
    gc.disable()  # a collection of all that the tests hold would count as well
    while True:
        began = time.thread_time()
        done = desk.forecast.play(SLICE_S)
        worst, slices = max(worst, time.thread_time() - began), slices + 1
        if done:
            break
    gc.enable()
    assert slices > 10
    assert worst < 0.025, "seconds of this thread alone, so whatever else runs here"


def test_everybody_has_a_place_and_the_deep_ones_a_wait(crowded):
    desk = crowded
    waits = desk.waits()
    places = sorted(waiting.place for waiting in waits.values())
    assert places == list(range(1, 10_001))
    deep = [waiting for waiting in waits.values() if waiting.place > MOST_PLAYED]
    assert len(deep) == 10_000 - MOST_PLAYED
    assert all(a.eta_s is not None for a in deep)
    last = max(deep, key=lambda waiting: waiting.place)
    played = next(w for w in waits.values() if w.place == MOST_PLAYED)
    assert last.eta_s == pytest.approx(5 * played.eta_s, rel=0.05)


def test_what_is_foretold_is_what_happens():
    """The order of the places is that in which the queue is taken."""
    desk = Oracle(SMALL)
    for number in range(300):
        desk.scheduler.queue.add(desk.make(f"job{number}", "small", user=number % 7))
    waits = desk.waits()
    taken = [job.id for job in desk.line().turns()]
    assert sorted(waits, key=lambda job_id: waits[job_id].place) == taken
