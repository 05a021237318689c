"""The tables of the database, as SQLAlchemy classes.

This module owns the schema; ``alembic/versions`` holds the way there. Times are Unix seconds, ids
of Discord are 64-bit integers, and 0 stands for "no server" or "the whole server".
"""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

_ROW_ID = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the type is INTEGER."""


class Table(DeclarativeBase):
    """Base of every table."""

    metadata = MetaData(naming_convention=_NAMING)
    type_annotation_map: ClassVar[dict[object, object]] = {int: BigInteger, str: Text}


class JobTable(Table):
    """The usage log: one row a job, without any text that a member wrote (that is ``prompts``).

    ``micro_usd`` is what a provider charged, in millionths of a dollar; None is unknown.
    ``device_s`` are the seconds of a lane that were its own, ``work`` its size as
    ``bot.engine.durations`` counts it, ``lane`` where it ran last, ``deaths`` how often the bot
    died while it ran.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "user_id", "created_at"),
        Index(None, "guild_id", "created_at"),
        Index(None, "state"),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    source_key: Mapped[str] = mapped_column(String(100), unique=True)
    user_id: Mapped[int]
    guild_id: Mapped[int]
    channel_id: Mapped[int]
    modality: Mapped[str] = mapped_column(String(20))
    model_id: Mapped[str] = mapped_column(String(100))
    state: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    load_s: Mapped[float] = mapped_column(default=0.0)
    units: Mapped[float | None]
    unit: Mapped[str | None] = mapped_column(String(20))
    micro_usd: Mapped[int | None]
    error_kind: Mapped[str | None] = mapped_column(String(40))
    work: Mapped[float | None]
    device_s: Mapped[float] = mapped_column(default=0.0, server_default="0")
    lane: Mapped[str | None] = mapped_column(String(40))
    deaths: Mapped[int] = mapped_column(default=0, server_default="0")


class SpendingTable(Table):
    """What the jobs of a server cost that ended in a month (UTC, such as ``2026-11``).

    The sums stay when jobs are deleted, so that nobody frees a budget by deleting data.
    ``micro_usd`` is in millionths of a dollar, ``unpriced_jobs`` those whose cost is unknown.
    """

    __tablename__ = "spending"

    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    guild_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    micro_usd: Mapped[int]
    unpriced_jobs: Mapped[int]


class AllowanceTable(Table):
    """What was used of a limit: jobs, and milliseconds of a lane, in a slot of one minute.

    ``subject_id`` is a member, a channel, or 0 for the whole server, as ``kind`` says; ``slot``
    counts the minutes since 1970. The sums stay when jobs are deleted, so that nobody frees a
    limit by deleting data.
    """

    __tablename__ = "allowances"
    __table_args__ = (Index(None, "slot"),)

    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    guild_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    subject_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    slot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    jobs: Mapped[int]
    device_ms: Mapped[int]


class JobPayloadTable(Table):
    """What an unfinished job needs to run: request, anchor, presentation. Deleted at its end.

    A row of a job that has ended is what follows that job, and has yet to begin.
    """

    __tablename__ = "job_payloads"

    job_id: Mapped[str] = mapped_column(
        String(16), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    payload: Mapped[str]


class PromptTable(Table):
    """What a member asked for, in a server that keeps it for its moderators."""

    __tablename__ = "prompts"
    __table_args__ = (
        Index(None, "guild_id", "created_at"),
        Index(None, "user_id"),
        Index(None, "created_at"),
    )

    job_id: Mapped[str] = mapped_column(
        String(16), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int]
    guild_id: Mapped[int]
    channel_id: Mapped[int]
    modality: Mapped[str] = mapped_column(String(20))
    text: Mapped[str]
    created_at: Mapped[float]


class OutboxTable(Table):
    """Parts of answers that Discord has yet to confirm, committed together with the outcome."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("job_id", "position"),
        Index(None, "state", "due_at"),
        Index(None, "message_id"),
    )

    id: Mapped[int] = mapped_column(_ROW_ID, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(16), ForeignKey("jobs.id", ondelete="CASCADE"))
    user_id: Mapped[int]
    position: Mapped[int]
    anchor: Mapped[str]
    payload: Mapped[str]
    state: Mapped[str] = mapped_column(String(20), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[float]
    created_at: Mapped[float]
    sent_at: Mapped[float | None]
    message_id: Mapped[int | None]


class RecipeTable(Table):
    """What a button needs to do its work again: owned by a member, kept for a while.

    ``conversation_id`` is the conversation that the request repeats a part of, 0 for none.
    """

    __tablename__ = "recipes"
    __table_args__ = (
        Index(None, "user_id"),
        Index(None, "expires_at"),
        Index(None, "conversation_id"),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    user_id: Mapped[int]
    guild_id: Mapped[int]
    channel_id: Mapped[int]
    conversation_id: Mapped[int]
    model_id: Mapped[str] = mapped_column(String(100))
    request: Mapped[str]
    presentation: Mapped[str]
    created_at: Mapped[float]
    expires_at: Mapped[float]


class SettingTable(Table):
    """A setting of a server (channel_id 0) or of one channel, as JSON."""

    __tablename__ = "settings"

    guild_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    channel_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(60), primary_key=True)
    value: Mapped[str]


class SettingChangeTable(Table):
    """Who changed which setting, when, from what to what (JSON; None for unset)."""

    __tablename__ = "setting_changes"
    __table_args__ = (Index(None, "guild_id", "changed_at"),)

    id: Mapped[int] = mapped_column(_ROW_ID, primary_key=True)
    changed_at: Mapped[float]
    guild_id: Mapped[int]
    channel_id: Mapped[int]
    user_id: Mapped[int]
    key: Mapped[str] = mapped_column(String(60))
    old_value: Mapped[str | None]
    new_value: Mapped[str | None]


class TurnTable(Table):
    """One remembered message of a conversation with the bot.

    ``conversation_id`` is the thread's id, or the id of the message that began a chain of replies.
    ``user_id`` is the member whom the turn belongs to, also for the bot's answers to them.
    """

    __tablename__ = "turns"
    __table_args__ = (
        Index(None, "conversation_id", "message_id"),
        Index(None, "user_id"),
        Index(None, "answers_id"),
        Index(None, "created_at"),
    )

    message_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    conversation_id: Mapped[int]
    guild_id: Mapped[int]
    channel_id: Mapped[int]
    user_id: Mapped[int]
    role: Mapped[str] = mapped_column(String(10))
    content: Mapped[str]
    answers_id: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float]


class ChannelCursorTable(Table):
    """The last message that was looked at in a channel, for catching up after a pause."""

    __tablename__ = "channel_cursors"

    channel_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    guild_id: Mapped[int]
    message_id: Mapped[int]


class InstanceTable(Table):
    """Small facts about this installation, such as the checksum of the synced commands."""

    __tablename__ = "instance"

    key: Mapped[str] = mapped_column(String(60), primary_key=True)
    value: Mapped[str]
