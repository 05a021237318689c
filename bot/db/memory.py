"""What the bot remembers of conversations: the table ``turns``.

This module owns that table. It must not know how a conversation is put to a model
(``bot.services.memory``).
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, CursorResult, case, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.session import Database
from bot.db.tables import TurnTable


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation.

    Attributes:
        message_id: The message; remembering it again replaces what was known of it.
        conversation_id: The thread, or the message that began a chain of replies.
        user_id: The member whom it belongs to, also when the bot wrote it for them.
        answers_id: The bot's turns: the message that is answered.
        created_at: Unix time in seconds.
    """

    message_id: int
    conversation_id: int
    guild_id: int
    channel_id: int
    user_id: int
    role: Literal["user", "assistant"]
    content: str
    created_at: float
    answers_id: int = 0


class TurnRepository:
    """Reads and writes turns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remember(self, turn: Turn) -> None:
        """Write a turn."""
        async with self._database.session() as session:
            await session.merge(TurnTable(**asdict(turn)))

    async def conversation_of(self, message_ids: Collection[int]) -> int | None:
        """Return the conversation of the first of these messages that is remembered."""
        query = select(TurnTable.conversation_id).where(TurnTable.message_id.in_(message_ids))
        async with self._database.reading() as session:
            found: int | None = await session.scalar(query.order_by(TurnTable.message_id).limit(1))
            return found

    async def has_conversation(self, conversation_id: int) -> bool:
        """Return whether there is any turn of a conversation."""
        query = select(TurnTable.message_id).where(TurnTable.conversation_id == conversation_id)
        async with self._database.reading() as session:
            return await session.scalar(query.limit(1)) is not None

    async def latest(self, conversation_id: int, *, until: int, limit: int) -> list[Turn]:
        """Return the last turns up to a member's message, newest first.

        An answer stands by its question, also when something else was said in between. The answer
        to that last message is left out.
        """
        question = case(
            (TurnTable.answers_id > 0, TurnTable.answers_id), else_=TurnTable.message_id
        )
        query = (
            select(TurnTable)
            .where(
                TurnTable.conversation_id == conversation_id,
                question <= until,
                TurnTable.answers_id != until,
            )
            .order_by(question.desc(), TurnTable.message_id.desc())
            .limit(limit)
        )
        async with self._database.reading() as session:
            return [_turn(row) for row in await session.scalars(query)]

    async def of_member(self, user_id: int) -> list[Turn]:
        """Return every turn of a member, oldest first."""
        query = select(TurnTable).where(TurnTable.user_id == user_id).order_by(TurnTable.message_id)
        async with self._database.reading() as session:
            return [_turn(row) for row in await session.scalars(query)]

    async def delete_messages(self, message_ids: Collection[int]) -> set[int]:
        """Delete messages and the answers to them; return the conversations they were part of."""
        condition = or_(
            TurnTable.message_id.in_(message_ids), TurnTable.answers_id.in_(message_ids)
        )
        async with self._database.session() as session:
            query = delete(TurnTable).where(condition).returning(TurnTable.conversation_id)
            return set(await session.scalars(query))

    async def delete_channel(self, channel_id: int) -> int:
        """Delete every turn of a channel or thread; return how many."""
        return await self._delete(TurnTable.channel_id == channel_id)

    async def delete_guild(self, guild_id: int) -> int:
        """Delete every turn of a server; return how many."""
        return await self._delete(TurnTable.guild_id == guild_id)

    async def delete_member(self, user_id: int) -> int:
        """Delete every turn of a member; return how many."""
        return await self._delete(TurnTable.user_id == user_id)

    async def delete_before(self, moment: float) -> int:
        """Delete turns older than a moment; return how many."""
        return await self._delete(TurnTable.created_at < moment)

    async def _delete(self, condition: ColumnElement[bool]) -> int:
        async with self._database.session() as session:
            result = cast(
                "CursorResult[Any]", await session.execute(delete(TurnTable).where(condition))
            )
            return result.rowcount


async def write_answer(
    session: AsyncSession, *, message_id: int, question_id: int, content: str
) -> None:
    """Write an answer in the place of an earlier one to the same question, where that was asked.

    Nothing is written when the question is not there any more.

    Args:
        session: The transaction that this is a part of.
        message_id: The answer.
        question_id: The member's message.
        content: What the answer says.
    """
    question = await session.get(TurnTable, question_id)
    if question is None:
        return
    await session.execute(delete(TurnTable).where(TurnTable.answers_id == question_id))
    answer = replace(
        _turn(question),
        message_id=message_id,
        role="assistant",
        content=content,
        created_at=time.time(),
        answers_id=question_id,
    )
    await session.merge(TurnTable(**asdict(answer)))


def _turn(row: TurnTable) -> Turn:
    return Turn(
        message_id=row.message_id,
        conversation_id=row.conversation_id,
        guild_id=row.guild_id,
        channel_id=row.channel_id,
        user_id=row.user_id,
        role=cast("Literal['user', 'assistant']", row.role),
        content=row.content,
        created_at=row.created_at,
        answers_id=row.answers_id,
    )
