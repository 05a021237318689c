"""What the benchmarks that judge a whole course make of it."""

from __future__ import annotations

import pytest

from benchmarks import cancel, growth, memory, previews, recovery, swap
from benchmarks.cancel import Cancelled


@pytest.mark.parametrize(("latency_s", "met"), [(1.45, True), (1.55, False)])
def test_a_cancel_may_take_a_step_and_half_a_second(latency_s: float, met: bool) -> None:
    course = [Cancelled(step_s=0.4, latency_s=0.1), Cancelled(step_s=1.0, latency_s=latency_s)]
    row = cancel.measurement("image", course)
    assert (row.name, row.value, row.peer_value) == ("cancel.image", latency_s, 1.0)
    assert row.met is met


def test_the_longest_step_is_that_between_two_events_that_followed() -> None:
    assert cancel.longest_gap_s([0.0, 0.25, 1.0, 1.5]) == 0.75
    assert cancel.longest_gap_s([3.0]) == 0.0


def test_the_pair_with_the_median_ratio_counts() -> None:
    """Neither the one that was disturbed with previews nor the one that was without."""
    pairs = [(5.1, 5.0), (9.0, 5.0), (5.0, 9.0), (10.4, 10.0), (5.05, 5.0)]
    assert previews.middle(pairs) == (5.1, 5.0)
    assert previews.measurement("clip", pairs).met is True
    assert previews.measurement("clip", [(5.3, 5.0)] * 3).met is False


@pytest.mark.parametrize(("swapped_s", "met"), [(2.6, True), (2.8, False)])
def test_a_swap_may_take_a_tenth_and_half_a_second_more(swapped_s: float, met: bool) -> None:
    row = swap.measurement("text", [9.0, swapped_s], [2.0, 3.0])
    assert (row.value, row.peer_value) == (swapped_s, 2.0)
    assert row.met is met


def _judged(resident_mb: list[float]) -> tuple[bool | None, bool | None]:
    whole, slope = memory.measurements("text", resident_mb)
    return whole.met, slope.met


def test_memory_that_depends_on_the_size_of_a_job_does_not_grow() -> None:
    assert _judged([300.0 + 40 * (number % 5) for number in range(memory.JOBS)]) == (True, True)


def test_memory_that_grows_is_found_out() -> None:
    assert _judged([300.0 + number for number in range(memory.JOBS)]) == (False, False)


def test_memory_that_grows_slowly_in_a_large_worker_is_found_out_by_its_slope() -> None:
    assert _judged([3000.0 + 0.6 * number for number in range(memory.JOBS)]) == (True, False)


@pytest.mark.parametrize(("worker_s", "bot_s"), [(2.6, 4.7), (2.8, 4.9)])
def test_the_worst_recovery_counts_beside_the_worst_of_its_peer(
    worker_s: float, bot_s: float
) -> None:
    rows = recovery.measurements([1.0, worker_s], [2.0, 1.0], [bot_s, 1.0], [1.0, 0.5])
    assert [row.value for row in rows] == [worker_s, bot_s]
    assert [row.peer_value for row in rows] == [2.0, 3.0]
    assert [row.met for row in rows] == [worker_s < 2.7, bot_s < 4.8]


@pytest.mark.parametrize(("grown", "met"), [(1.0, [True, True]), (1.2, [False, False])])
def test_the_end_of_ten_thousand_jobs_is_held_against_their_beginning(
    grown: float, met: list[bool]
) -> None:
    early = growth.JOBS - 500
    memory_mb = [100.0] * early + [100.0 * grown] * 500
    latency_s = [0.1] * early + [0.1 * grown] * 500
    rows = growth.measurements([1.0] * 500 + memory_mb[500:], [9.0] * 500 + latency_s[500:])
    assert [row.met for row in rows] == met, "the first five hundred are a warm-up"
