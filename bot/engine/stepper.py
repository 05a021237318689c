"""A handler as a stepper with one slot.

This module owns the step of a generator: one event. Backends that batch are steppers themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from models.contracts import Control, Finished, Handler, HandlerEvent, Joins, Stepper
from models.errors import BackendError


class GeneratorStepper:
    """Runs a handler's generator one event at a time."""

    slots = 1
    joins: Joins = "anytime"
    exact = True

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._job_id = ""
        self._events: Iterator[HandlerEvent] | None = None
        self._control: Control | None = None

    def admit(self, job_id: str, request: Any, control: Control) -> None:
        self._job_id, self._control = job_id, control
        self._events = iter(self._handler.run(request, control))

    def step(self) -> list[tuple[str, HandlerEvent | Exception]]:
        """Return the generator's next event, or the exception that ended it.

        A cancelled handler may return or raise as it likes: nothing is reported of it.
        """
        if self._events is None or self._control is None:
            return []
        event: HandlerEvent | Exception
        try:
            event = next(self._events)
        except StopIteration:
            event = BackendError()
            event.__cause__ = RuntimeError("the handler returned without a Finished event")
        except Exception as error:  # noqa: BLE001 - whatever a library raises ends this job alone
            event = error
        if isinstance(event, Exception) and self._control.cancelled:
            self._events = None
            return []
        if isinstance(event, Finished | Exception):
            self._end()
        return [(self._job_id, event)]

    def cancel(self, job_id: str) -> None:
        if job_id == self._job_id:
            self._end()

    def close(self) -> None:
        self._end()
        self._handler.close()

    def _end(self) -> None:
        """Let the generator run its ``finally`` blocks now."""
        events, self._events, self._control = self._events, None, None
        close = getattr(events, "close", None)
        if close is not None:
            close()


def as_stepper(loaded: Handler | Stepper) -> Stepper:
    """Return what a backend loaded as a stepper."""
    if hasattr(loaded, "admit"):
        return cast(Stepper, loaded)
    return GeneratorStepper(loaded)
