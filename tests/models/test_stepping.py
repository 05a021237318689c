"""Long calls as steps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from models.stepping import StepThread, Stopped


@pytest.fixture
def thread() -> Iterator[StepThread]:
    thread = StepThread()
    yield thread
    thread.close()


def never() -> bool:
    return False


def counting(tell: Callable[[int], None]) -> str:
    for number in range(3):
        tell(number)
    return "done"


def test_what_is_told_comes_out_in_order_and_the_value_last(thread: StepThread) -> None:
    def whole() -> Iterator[int | str]:
        value = yield from thread.run(counting, never)
        yield value

    assert list(whole()) == [0, 1, 2, "done"]


def test_all_calls_run_in_one_thread(thread: StepThread) -> None:
    def who(tell: Callable[[int], None]) -> None:
        tell(threading.get_ident())

    first, second = (list(thread.run(who, never)) for _ in range(2))
    assert first == second != [threading.get_ident()]


def test_an_error_comes_out_after_what_was_told(thread: StepThread) -> None:
    def failing(tell: Callable[[int], None]) -> None:
        tell(1)
        raise ZeroDivisionError

    steps = thread.run(failing, never)
    assert next(steps) == 1
    with pytest.raises(ZeroDivisionError):
        next(steps)
    assert list(thread.run(counting, never)) == [0, 1, 2]


def test_a_cancel_stops_the_call_at_its_next_step(thread: StepThread) -> None:
    cancelled = threading.Event()
    made = threading.Semaphore(0)
    told: list[int] = []

    def work(tell: Callable[[int], None]) -> None:
        for number in range(100):
            made.acquire()
            told.append(number)
            tell(number)

    steps = thread.run(work, cancelled.is_set)
    made.release()
    assert next(steps) == 0
    cancelled.set()
    made.release()
    with pytest.raises(Stopped):
        next(steps)
    assert told == [0, 1]


def test_closing_waits_until_the_call_has_stopped(thread: StepThread) -> None:
    running = threading.Event()

    def work(tell: Callable[[int], None]) -> None:
        running.set()
        try:
            while True:
                tell(1)
        finally:
            running.clear()

    with closing(thread.run(work, never)) as steps:
        next(steps)
        assert running.is_set()
    assert not running.is_set()
