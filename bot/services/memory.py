"""Conversations with the bot: what was said, for as long as its messages exist.

This module owns how turns are kept, put to a model and forgotten. It must not know Discord: the
chat cog and delivery hand it ids.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.memory import Turn, TurnRepository, write_answer
from bot.engine.job import Job, Outcome
from models.contracts import ChatMessage, TextResult

__all__ = ["CONVERSATION", "QUESTION", "Memory", "Turn", "estimated_tokens", "remember_answer"]

CONVERSATION = "conversation"
"""Key of a job's presentation: the conversation that its answer belongs to."""

QUESTION = "answers"
"""Key of a job's presentation: the message that it answers."""

_MOST_TURNS = 100
_TOKENS_PER_TURN = 8
"""What a chat template puts around a turn."""


Siblings = Callable[[Collection[int]], Awaitable[Collection[int]]]


class Memory:
    """What the bot remembers.

    An answer is remembered under one message, whatever number of them it was posted in.

    Args:
        turns: The rows.
        siblings: Gives all messages of the answers that some messages are parts of.
    """

    def __init__(self, turns: TurnRepository, siblings: Siblings) -> None:
        self._turns = turns
        self._siblings = siblings

    async def remember(self, turn: Turn) -> None:
        """Keep a message."""
        await self._turns.remember(turn)

    async def conversation(
        self, conversation_id: int, limit_tokens: float, *, until: int
    ) -> list[ChatMessage]:
        """Return what was said up to a message, oldest turn first, within so many tokens.

        The last turn is there whatever its length. The first one is a member's, and the roles take
        turns: chat templates of some models refuse anything else.

        Returns:
            The turns, the last one being that message; none when it has been forgotten.
        """
        kept: list[Turn] = []
        room = limit_tokens
        latest = await self._turns.latest(conversation_id, until=until, limit=_MOST_TURNS)
        if not latest or latest[0].message_id != until:
            return []
        for turn in latest:
            room -= estimated_tokens(turn.content)
            if kept and room < 0:
                break
            kept.insert(0, turn)
        while kept and kept[0].role == "assistant":
            del kept[0]
        return _taking_turns(kept)

    async def conversation_of(self, message_id: int) -> int | None:
        """Return the conversation that a message belongs to, None when it is not remembered."""
        return await self._turns.conversation_of(await self._with_siblings([message_id]))

    async def knows(self, conversation_id: int) -> bool:
        """Return whether anything of a conversation is remembered."""
        return await self._turns.has_conversation(conversation_id)

    async def of_member(self, user_id: int) -> list[Turn]:
        """Return everything that is remembered of a member, oldest first."""
        return await self._turns.of_member(user_id)

    async def forget_messages(self, message_ids: Collection[int]) -> set[int]:
        """Forget messages and the answers to them; return the conversations they were part of.

        An answer is forgotten with any of its messages.
        """
        return await self._turns.delete_messages(await self._with_siblings(message_ids))

    async def forget_channel(self, channel_id: int) -> None:
        """Forget everything that was said in a channel or thread."""
        await self._turns.delete_channel(channel_id)

    async def forget_guild(self, guild_id: int) -> None:
        """Forget everything that was said in a server."""
        await self._turns.delete_guild(guild_id)

    async def forget_user(self, user_id: int) -> int:
        """Forget a member's messages and the answers to them; return how many turns."""
        return await self._turns.delete_member(user_id)

    async def forget_before(self, moment: float) -> int:
        """Forget what is older than a moment (Unix seconds); return how many turns."""
        return await self._turns.delete_before(moment)

    async def _with_siblings(self, message_ids: Collection[int]) -> set[int]:
        return {*message_ids, *await self._siblings(message_ids)}


async def remember_answer(session: AsyncSession, job: Job, outcome: Outcome) -> None:
    """Keep the answer of a chat job, also one that was stopped half-way.

    An answer to a message that was deleted meanwhile is not kept, and a new answer to the same
    message takes the place of the old one.

    Args:
        session: The transaction that ends the job, so that no answer is delivered and forgotten.
        job: Any job; those outside of conversations are none of memory's business.
        outcome: How it ended.
    """
    question_id, result = job.submission.presentation.get(QUESTION), outcome.result
    content = result.text if isinstance(result, TextResult) else outcome.partial_text
    if isinstance(question_id, int) and content.strip():
        await write_answer(
            session,
            message_id=job.submission.anchor.message_id,
            question_id=question_id,
            content=content,
        )


def estimated_tokens(text: str) -> float:
    """Return about how many tokens a turn takes, rather too many than too few.

    English takes a token for four characters; other scripts up to one for each byte where the
    tokenizer does not know them.
    """
    ascii_chars = sum(char.isascii() for char in text)
    return _TOKENS_PER_TURN + ascii_chars / 3.5 + (len(text.encode()) - ascii_chars) * 0.7


def _taking_turns(turns: Collection[Turn]) -> list[ChatMessage]:
    messages: list[ChatMessage] = []
    for turn in turns:
        if messages and messages[-1].role == turn.role:
            together = f"{messages.pop().content}\n\n{turn.content}"
            messages.append(ChatMessage(turn.role, together))
        else:
            messages.append(ChatMessage(turn.role, turn.content))
    return messages
