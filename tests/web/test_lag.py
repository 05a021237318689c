"""How late a loop is found to be."""

from __future__ import annotations

import asyncio
import time

import pytest

from bot.web.lag import KEPT_S, LoopLag


class Clock:
    """Stands in for the loop's: a loop that only tells the time and keeps one timer."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: object) -> Clock:
        return self

    def cancel(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: clock)
    return clock


@pytest.fixture
def lag(clock: Clock) -> LoopLag:
    lag = LoopLag()
    lag.start()
    return lag


def turn(lag: LoopLag, clock: Clock, after_s: float) -> None:
    """Let the loop come back to its tick after so many seconds."""
    clock.now += after_s
    lag._tick()


def test_a_loop_in_time_is_not_late(lag: LoopLag, clock: Clock) -> None:
    for _ in range(100):
        turn(lag, clock, 0.05)
    assert lag.longest_s() == pytest.approx(0)
    assert lag.overdue_s() == 0


def test_the_longest_is_remembered_for_a_minute(lag: LoopLag, clock: Clock) -> None:
    turn(lag, clock, 0.05 + 2.0)
    turn(lag, clock, 0.05 + 0.3)  # in the same second, and shorter
    assert lag.longest_s() == pytest.approx(2.0)
    for _ in range(30):
        turn(lag, clock, 1.05)
    assert lag.longest_s() == pytest.approx(2.0)
    assert lag.longest_s(within_s=15) == pytest.approx(1.0)
    for _ in range(31):
        turn(lag, clock, 1.05)
    assert lag.longest_s() == pytest.approx(1.0)
    assert len(lag._late) <= KEPT_S + 1


def test_a_stall_that_has_just_ended_counts_before_the_tick_does(
    lag: LoopLag, clock: Clock
) -> None:
    clock.now += 3.05
    assert lag.overdue_s() == pytest.approx(3.0)
    assert lag.longest_s(within_s=15) == pytest.approx(3.0)


async def test_a_real_loop_that_blocks_is_found_out() -> None:
    lag = LoopLag()
    lag.start()
    await asyncio.sleep(0.12)
    time.sleep(0.3)
    await asyncio.sleep(0.06)
    assert 0.24 < lag.longest_s() < 60
    lag.close()
    ticks = len(lag._late)
    await asyncio.sleep(0.12)
    assert (len(lag._late), lag.overdue_s()) == (ticks, 0)
