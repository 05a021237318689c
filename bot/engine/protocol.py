"""The messages between the engine and a worker, and their framing.

This module owns the wire format: one JSON object a frame, with the version of the protocol, so
that a worker of another version is refused instead of misread. Bytes go through the spool, never
through the pipe.
"""

from __future__ import annotations

import struct
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from models.catalog import ModelSpec
from models.contracts import EventUnion, Joins, RequestUnion

PROTOCOL_VERSION = 3


# --------------------------------------------------------------------------- engine -> worker


@dataclass(frozen=True)
class Load:
    """Load a model. ``location`` is its file, folder or URL."""

    spec: ModelSpec
    location: str
    type: Literal["load"] = "load"


@dataclass(frozen=True)
class Unload:
    """Free a model; its jobs must have ended."""

    model_id: str
    type: Literal["unload"] = "unload"


@dataclass(frozen=True)
class Run:
    """Start a job on a loaded model."""

    job_id: str
    attempt: int
    model_id: str
    request: RequestUnion
    type: Literal["run"] = "run"


@dataclass(frozen=True)
class RunTogether:
    """Start jobs on one loaded model, all of them before the next step."""

    runs: tuple[Run, ...]
    type: Literal["run_together"] = "run_together"


@dataclass(frozen=True)
class Cancel:
    """Stop a job at the next step."""

    job_id: str
    type: Literal["cancel"] = "cancel"


@dataclass(frozen=True)
class Hold:
    """Do not step the jobs of a model until ``Go``: another model's go first."""

    model_id: str
    type: Literal["hold"] = "hold"


@dataclass(frozen=True)
class Go:
    """Go on with the jobs of a model."""

    model_id: str
    type: Literal["go"] = "go"


@dataclass(frozen=True)
class Shutdown:
    """Close every model and exit."""

    type: Literal["shutdown"] = "shutdown"


Command = Load | Unload | Run | RunTogether | Cancel | Hold | Go | Shutdown


# --------------------------------------------------------------------------- worker -> engine


@dataclass(frozen=True)
class Ready:
    """The worker is up and speaks ``protocol``."""

    pid: int
    protocol: int = PROTOCOL_VERSION
    type: Literal["ready"] = "ready"


@dataclass(frozen=True)
class Loaded:
    """A model is loaded; ``slots`` jobs may run on it at once, as its ``Stepper`` says.

    ``vram_bytes`` is what the worker holds of its GPU, 0 where that is not known.
    """

    model_id: str
    seconds: float
    slots: int
    rss_bytes: int
    joins: Joins
    exact: bool
    vram_bytes: int = 0
    type: Literal["loaded"] = "loaded"


@dataclass(frozen=True)
class LoadFailed:
    """A model did not load."""

    model_id: str
    kind: str
    user_message: str
    detail: str
    type: Literal["load_failed"] = "load_failed"


@dataclass(frozen=True)
class Unloaded:
    """A model was freed."""

    model_id: str
    rss_bytes: int
    type: Literal["unloaded"] = "unloaded"


@dataclass(frozen=True)
class JobEvent:
    """Something happened in a job. ``seq`` counts from 0 within the attempt."""

    job_id: str
    attempt: int
    seq: int
    event: EventUnion
    type: Literal["event"] = "event"


@dataclass(frozen=True)
class JobCharged:
    """What a provider charges for an attempt so far, in millionths of a dollar; None is unknown."""

    job_id: str
    attempt: int
    micro_usd: int | None
    type: Literal["charged"] = "charged"


@dataclass(frozen=True)
class JobFailed:
    """A job ended with an error. ``detail`` is for the log alone."""

    job_id: str
    attempt: int
    kind: str
    user_message: str
    detail: str
    type: Literal["failed"] = "failed"


@dataclass(frozen=True)
class JobStopped:
    """A cancelled job has stopped."""

    job_id: str
    attempt: int
    type: Literal["stopped"] = "stopped"


@dataclass(frozen=True)
class Vital:
    """What the worker holds, in bytes, where the engine's machine cannot see it."""

    rss_bytes: int
    vram_bytes: int
    type: Literal["vitals"] = "vitals"


Report = (
    Ready | Loaded | LoadFailed | Unloaded | JobEvent | JobCharged | JobFailed | JobStopped | Vital
)

_COMMANDS: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="type")])
_REPORTS: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="type")])


def encode_command(command: Command) -> bytes:
    return _COMMANDS.dump_json(command)


def decode_command(frame: bytes) -> Command:
    return _COMMANDS.validate_json(frame)


def encode_report(report: Report) -> bytes:
    return _REPORTS.dump_json(report)


def decode_report(frame: bytes) -> Report:
    return _REPORTS.validate_json(frame)


# --------------------------------------------------------------------------- framing

HEADER = struct.Struct("!I")
"""A frame is its length in bytes, then that many bytes of JSON."""


def frame(message: bytes) -> bytes:
    """Return a message ready for the pipe."""
    return HEADER.pack(len(message)) + message
