"""The crowd on a virtual clock: its arithmetic, and a few minutes of it."""

from __future__ import annotations

import pytest

from benchmarks import crowd, crowd_world
from benchmarks.crowd_costs import Cost, line
from benchmarks.crowd_shares import jain, max_min, windows
from benchmarks.crowd_world import Asked, Crowd, Floor, as_one_member
from bot.engine.job import Job
from models.contracts import Modality
from tests.fakes import fake_model, submission


def took(member: int, at: float, began: float, takes_s: float) -> Asked:
    asked = Asked(Job("j", submission("a")), member, at, takes_s, 1.0)
    asked.began, asked.ended = began, began + takes_s
    return asked


@pytest.fixture
def costs() -> dict[Modality, Cost]:
    by_work_s = {
        Modality.TEXT: 0.02,
        Modality.SPEECH: 0.005,
        Modality.TRANSCRIPTION: 0.05,
        Modality.IMAGE: 1e-5,
    }
    return {
        modality: Cost(fake_model(f"fake-{modality}", modality), 0.5, slope, 3.0)
        for modality, slope in by_work_s.items()
    }


def test_a_share_is_what_is_left_of_those_who_want_less() -> None:
    assert max_min({1: 1.0, 2: 10.0, 3: 20.0}, 13.0) == {1: 1.0, 2: 6.0, 3: 6.0}
    assert max_min({1: 1.0, 2: 2.0}, 99.0) == {1: 1.0, 2: 2.0}


def test_the_index_tells_equal_shares_from_one_who_has_all() -> None:
    assert jain([0.3, 0.3, 0.3]) == pytest.approx(1.0)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)


def test_what_spans_two_windows_counts_in_both() -> None:
    first, second = windows([took(1, 500.0, 550.0, 100.0), took(2, 590.0, 700.0, 10.0)])
    assert first == ({1: 100.0, 2: 10.0}, {1: 50.0, 2: 0.0})
    assert second == ({1: 50.0, 2: 10.0}, {1: 50.0, 2: 10.0})


def test_what_gave_way_is_served_before_and_after() -> None:
    long = took(1, 0.0, 500.0, 200.0)
    long.ended, long.rests = 730.0, [(550.0, 580.0)]
    assert (long.served_s(0.0, 600.0), long.served_s(600.0, 1200.0)) == (70.0, 130.0)
    first, second = windows([long])
    assert first == ({1: 200.0}, {1: 70.0})
    assert second == ({1: 130.0}, {1: 130.0})


def test_no_lane_works_on_two_jobs_at_once(costs, monkeypatch) -> None:
    monkeypatch.setattr(crowd_world, "HOURS_S", 900.0)
    asked = Crowd(costs).arrivals()
    Floor(costs, foretells=False).serve(asked)
    assert any(one.rests for one in asked), "else this shows nothing"
    for second in range(int(max(one.ended for one in asked))):
        served = sum(one.served_s(second, second + 1.0) for one in asked)
        assert served <= crowd_world.LANES + 1e-6


def test_the_least_fair_window_counts() -> None:
    fair = [took(member, 0.0, 10.0 * member, 10.0) for member in range(4)]
    assert crowd.worst_jain(fair) == pytest.approx(1.0)
    unfair = [took(1, 600.0, 600.0, 590.0), took(2, 600.0, 1300.0, 590.0)]
    assert crowd.worst_jain([*fair, *unfair]) < 0.6


def test_a_cost_is_a_line_that_never_falls() -> None:
    assert line([(10.0, 3.0), (20.0, 5.0)]) == (pytest.approx(1.0), pytest.approx(0.2))
    assert line([(10.0, 5.0), (20.0, 3.0)]) == (4.0, 0.0)
    assert line([(10.0, 1.0), (20.0, 5.0)]) == (pytest.approx(0.0), pytest.approx(0.2))


def test_a_forecast_is_judged_by_the_waits_that_were_worth_one() -> None:
    right, wrong, short = (took(1, 0.0, began, 1.0) for began in (10.0, 20.0, 1.0))
    right.foretold_s, wrong.foretold_s, short.foretold_s = 10.0, 30.0, 99.0
    [row] = crowd.foretold([right, wrong, short])
    assert (row.value, row.met) == (0.25, True)


def test_a_crowd_is_served_fairly_and_wholly(costs, monkeypatch) -> None:
    monkeypatch.setattr(crowd_world, "HOURS_S", 1500.0)
    asked = Crowd(costs).arrivals()
    in_line = as_one_member(asked)
    Floor(costs, foretells=True).serve(asked)
    Floor(costs, foretells=False).serve(in_line)
    assert all(one.waited_s >= 0 for one in (*asked, *in_line))
    served = [one.at for one in sorted(in_line, key=lambda one: one.began)]
    assert served == sorted(served), "the peer serves first in, first out"
    assert [one.takes_s for one in asked] == [one.takes_s for one in in_line]
    rows = {row.name: row for row in crowd.shared(asked, in_line)}
    assert rows["crowd.jain"].met
    assert rows["crowd.jain"].value > rows["crowd.jain"].peer_value
    assert rows["crowd.light_wait_p50"].ratio < 0.5
    assert any(one.foretold_s for one in asked)


def test_what_a_waiting_job_holds_is_within_its_bound(costs) -> None:
    row = crowd.bytes_per_job(costs, waiting=1000)
    assert row.met
    assert row.value > 1000, "its prompt and its token alone are 400"
