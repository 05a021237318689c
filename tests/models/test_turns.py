"""Turns: newcomers begin at once, short jobs end first, equals alternate, nobody is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from models.contracts import (
    Finished,
    HandlerEvent,
    Progress,
    TextDelta,
    TranscriptionResult,
    Usage,
)
from models.errors import BackendError, InvalidMedia
from models.turns import PATIENCE_S, Turns
from tests.models.control import ScratchControl


def done(name: str) -> Finished:
    return Finished(TranscriptionResult((), name, 0.0, Usage(0.0, "seconds")))


@dataclass
class Timed:
    """A handler whose requests are lists: seconds of a step, events, exceptions."""

    now: float = 0.0
    ended: list[object] = field(default_factory=list)
    closed: bool = False

    def run(self, request: list, control: ScratchControl) -> Iterator[HandlerEvent]:
        try:
            for step in request:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    self.now += step
                    yield Progress(f"{self.now:g}", None)
                else:
                    yield step
        finally:
            self.ended.append(request)

    def close(self) -> None:
        self.closed = True


class Table:
    """Turns, with a clock that only work moves."""

    def __init__(self, folder: Path) -> None:
        self.handler = Timed()
        self.turns = Turns(self.handler, 4, lambda: self.handler.now)
        self.controls: dict[str, ScratchControl] = {}
        self.folder = folder

    def admit(self, name: str, *steps: object) -> None:
        control = self.controls[name] = ScratchControl(self.folder)
        self.turns.admit(name, list(steps), control)

    def turn(self) -> str:
        """Make a step; return whose turn it was."""
        return self.turns.step()[0][0]

    def turns_of(self, count: int) -> list[str]:
        return [self.turn() for _ in range(count)]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


def test_a_short_newcomer_begins_at_once_and_ends_before_a_long_job_goes_on(table) -> None:
    table.admit("long", *[3.0] * 100)
    assert set(table.turns_of(20)) == {"long"}
    table.admit("short", 0.0, 2.0, done("short"))
    assert table.turns_of(4) == ["short", "short", "short", "long"]


def test_equals_alternate(table) -> None:
    for name in ("one", "two", "three"):
        table.admit(name, *[2.0] * 10)
    assert table.turns_of(6) == ["one", "two", "three"] * 2


def test_nobody_waits_for_longer_than_the_patience_and_a_step(table) -> None:
    table.admit("old", *[3.0] * 300)
    table.turns_of(100)
    table.admit("new", *[3.0] * 300)
    turns = table.turns_of(60)
    assert turns[:6] == ["new"] * 6
    gaps = [len(gap) for gap in "".join(t[0] for t in turns).split("o")]
    assert max(gaps) * 3.0 <= PATIENCE_S + 3.0
    assert turns.count("new") > turns.count("old") > 5


def test_who_waits_for_long_is_heard_of_again(table) -> None:
    table.admit("waits", 1.0, 1.0)
    [(_, told)] = table.turns.step()
    table.admit("slow", 40.0)
    assert table.turns.step() == [("slow", Progress("41", None)), ("waits", told)]


def test_nothing_is_repeated_of_a_job_that_told_nothing_yet(table) -> None:
    table.admit("first", 40.0, 40.0)
    table.admit("second", 1.0)
    assert [name for name, _ in table.turns.step()] == ["first"]


def test_what_a_job_raises_ends_it_alone(table) -> None:
    table.admit("bad", InvalidMedia("It is broken."))
    table.admit("good", 1.0, done("good"))
    [(name, error)] = table.turns.step()
    assert (name, type(error)) == ("bad", InvalidMedia)
    assert table.turns_of(2) == ["good", "good"]
    assert table.turns.step() == []


def test_a_job_that_just_ends_has_failed(table) -> None:
    table.admit("silent")
    [(_, error)] = table.turns.step()
    assert isinstance(error, BackendError)


def test_a_cancelled_job_is_dropped_and_closed_and_the_others_go_on(table) -> None:
    table.admit("one", 1.0, 1.0)
    table.admit("two", 1.0, done("two"))
    table.turns_of(2)
    table.turns.cancel("one")
    assert table.handler.ended == [[1.0, 1.0]]
    assert table.turn() == "two"
    assert table.turns.step() == []


def test_nothing_is_told_of_what_a_cancelled_job_raises(table) -> None:
    table.admit("one", TextDelta("a"), BackendError())
    table.turn()
    table.controls["one"].cancelled = True
    assert table.turns.step() == []
    table.admit("one", done("again"))
    assert table.turns.step() == [("one", done("again"))]


def test_closing_ends_every_job_and_the_handler(table) -> None:
    table.admit("one", 1.0, 1.0)
    table.admit("two", 1.0, 1.0)
    table.turns_of(2)
    table.turns.close()
    assert len(table.handler.ended) == 2
    assert table.handler.closed
    assert table.turns.step() == []
