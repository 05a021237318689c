"""Text backends, driven as a worker drives them, one job or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bot.engine.stepper import as_stepper
from models.contracts import (
    ChatMessage,
    Finished,
    Handler,
    HandlerEvent,
    Stepper,
    TextRequest,
    TextResult,
)
from tests.models.control import ScratchControl

_MOST_STEPS = 5000


def ask(text: str = "?", **options: Any) -> TextRequest:
    """Return a request, greedy unless it says otherwise."""
    return TextRequest(messages=(ChatMessage("user", text),), **{"temperature": 0, **options})


class Driven:
    """A backend in the hands of its worker."""

    def __init__(self, worker: Handler | Stepper) -> None:
        self.stepper = as_stepper(worker)

    def run(self, request: TextRequest, control: ScratchControl) -> Iterator[HandlerEvent]:
        """Run a job alone; a cancel drops it."""
        self.stepper.admit("job", request, control)
        while True:
            for job_id, event in self.stepper.step():
                assert job_id == "job"
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Finished):
                    return
            if control.cancelled:
                self.stepper.cancel("job")
                assert list(self.stepper.step()) == []
                return

    def together(
        self, requests: Mapping[str, TextRequest], control: ScratchControl
    ) -> dict[str, list[HandlerEvent | Exception]]:
        """Run jobs beside each other to their ends; return what happened to each."""
        happened: dict[str, list[HandlerEvent | Exception]] = {name: [] for name in requests}
        for name, request in requests.items():
            self.stepper.admit(name, request, control)
        running = set(requests)
        for _ in range(_MOST_STEPS):
            for name, event in self.stepper.step():
                happened[name].append(event)
                if isinstance(event, Finished | Exception):
                    running.remove(name)
            if not running:
                return happened
        raise AssertionError(f"{running} do not end")


def text_of(events: list[HandlerEvent | Exception]) -> str:
    """Return the text of a job that was done."""
    last = events[-1]
    assert isinstance(last, Finished), last
    assert isinstance(last.result, TextResult)
    return last.result.text
