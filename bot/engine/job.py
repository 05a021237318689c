"""A job: one request in the engine, who asked for it, and how it ended.

This module owns the words that the engine, the database and delivery use about jobs. It must not
import Discord: a reply's place is an opaque ``Anchor``.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from enum import StrEnum

from models.contracts import Modality, Request, Result
from models.errors import HandlerError


class JobState(StrEnum):
    """queued -> running -> done | failed | cancelled | expired."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asked and where.

    Attributes:
        guild_id: 0 in a direct message.
        parent_id: The channel that a thread belongs to, 0 where it is none.
        roles: Those that the member has in the server, while a request is on its way in.
    """

    user_id: int
    guild_id: int
    channel_id: int
    parent_id: int = 0
    roles: tuple[int, ...] = ()

    @property
    def settings_channel_id(self) -> int:
        """The channel whose settings and limits count: a thread has those of its parent."""
        return self.parent_id or self.channel_id


@dataclass(frozen=True, slots=True)
class Anchor:
    """The message that a job's answer hangs on.

    Attributes:
        channel_id: Where it stands.
        message_id: The deferred reply, or the bot's reply in the channel.
        application_id: Set with ``token``.
        token: Interaction token while it may be used; empty for a message of the bot's own.
        token_expires_at: Unix time in seconds; the token serves for 15 minutes.
        ephemeral: Only the member sees it, so nothing of it may be posted into the channel.
        source_message_id: The member's message that is answered, 0 for a slash command.
    """

    channel_id: int
    message_id: int
    application_id: int = 0
    token: str = ""
    token_expires_at: float = 0.0
    ephemeral: bool = False
    source_message_id: int = 0


@dataclass(frozen=True, slots=True)
class Submission:
    """What a cog hands to the engine.

    Attributes:
        request: What to do.
        model_id: Row of the catalogue.
        requester: Who asked.
        anchor: Where the answer goes.
        source_key: Interaction or message id plus purpose; submitting it again gives the same job.
        presentation: How the answer is shown, a small JSON object owned by delivery (transcript
            format, recipe id, ...). The engine keeps it and never reads it.
    """

    request: Request
    model_id: str
    requester: Requester
    anchor: Anchor
    source_key: str
    presentation: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Job:
    """A submission with its life. Owned by the engine; others only read it.

    Attributes:
        attempt: Counts the starts.
        created_at, started_at, finished_at: Unix times in seconds.
        load_s: Seconds of the last attempt that went into loading the model.
        micro_usd: What providers charged in all attempts that ended, in millionths of a dollar;
            None when a part of it is unknown.
        work: Its size, as ``bot.engine.durations`` counts it.
        device_s: Seconds of lanes that were its own, in all attempts that ended, without the
            loading of models. Jobs that run side by side share their lane's equally.
        lane: Where it ran last.
        deaths: How often the bot died while it ran.
    """

    id: str
    submission: Submission
    state: JobState = JobState.QUEUED
    attempt: int = 0
    created_at: float = field(default_factory=time.time)
    started_at: float | None = None
    finished_at: float | None = None
    load_s: float = 0.0
    micro_usd: int | None = 0
    work: float = 0.0
    device_s: float = 0.0
    lane: str = ""
    deaths: int = 0

    def charge(self, micro_usd: int | None) -> None:
        """Add what an attempt cost."""
        if self.micro_usd is None or micro_usd is None:
            self.micro_usd = None
        else:
            self.micro_usd += micro_usd

    @property
    def modality(self) -> Modality:
        return self.submission.request.modality

    @property
    def log_fields(self) -> dict[str, str | int]:
        """What a log line about this job has as fields."""
        fields: dict[str, str | int] = {"job_id": self.id, "model": self.submission.model_id}
        if self.attempt:
            fields |= {"attempt": self.attempt, "lane": self.lane}
        return fields | {
            "modality": self.modality.value,
            "guild_id": self.submission.requester.guild_id,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        state: A final state.
        result: Set when done.
        error: Set when failed, cancelled or expired.
        partial_text: What had been streamed when a text job was stopped.
        notices: Sentences that the member should read with it.
    """

    state: JobState
    result: Result | None = None
    error: HandlerError | None = None
    partial_text: str = ""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """What a job took that was done, for the estimates of those to come.

    Attributes:
        work: Its size, as ``bot.engine.durations`` counts it.
        run_s: Seconds from its beginning to its end, without the loading of its model.
        device_s: Seconds of a lane that were its own.
        units: What it used, such as tokens, if it is known.
        load_s: Seconds for which it waited for its model, 0 where that was loaded.
    """

    model_id: str
    modality: Modality
    work: float
    run_s: float
    device_s: float
    units: float | None = None
    load_s: float = 0.0


def new_job_id() -> str:
    """Return 16 characters that sort by time: 9 of milliseconds, 7 at random (base 32)."""
    return _base32(int(time.time() * 1000), 9) + _base32(secrets.randbits(35), 7)


_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def _base32(number: int, length: int) -> str:
    return "".join(_ALPHABET[(number >> 5 * i) & 31] for i in reversed(range(length)))


# --------------------------------------------------------------------------- what onlookers see


@dataclass(frozen=True, slots=True)
class Waiting:
    """The job waits: its place (1 is next) and the expected wait in seconds, if it is known.

    While its server is paused the place is the one among the jobs of that server.
    """

    place: int
    eta_s: float | None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class LoadingModel:
    """The model is being loaded, for about so many seconds."""

    name: str
    expected_s: float


@dataclass(frozen=True, slots=True)
class GivesWay:
    """The job rests between two steps, while a short one runs in its place."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """A new attempt began: forget what was streamed."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The last thing an onlooker sees; the outbox delivers the outcome."""

    outcome: Outcome
