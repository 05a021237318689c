from collections.abc import Awaitable, Callable, Collection

import pytest

from bot.db.memory import TurnRepository
from bot.db.session import Database
from bot.engine.job import Anchor, Job, JobState, Outcome, Requester, Submission
from bot.services.memory import (
    CONVERSATION,
    QUESTION,
    Memory,
    Turn,
    estimated_tokens,
    remember_answer,
)
from models.contracts import SpeechRequest, TextResult, Usage
from models.errors import JobCancelled
from tests.fakes import text_request

ANNA, BEN = 1, 2
TALK = 1000
LONG_ANSWER, LATER_PART = 70, 71
"""Two messages of one answer."""

End = Callable[[Job, Outcome], Awaitable[None]]


@pytest.fixture
def memory(database: Database) -> Memory:
    async def siblings(message_ids: Collection[int]) -> set[int]:
        return {LONG_ANSWER, LATER_PART} if LATER_PART in message_ids else set()

    return Memory(TurnRepository(database), siblings)


@pytest.fixture
def end(database: Database) -> End:
    async def end(job: Job, outcome: Outcome) -> None:
        async with database.session() as session:
            await remember_answer(session, job, outcome)

    return end


def _turn(message_id: int, content: str, **fields: object) -> Turn:
    values: dict[str, object] = {
        "message_id": message_id,
        "conversation_id": TALK,
        "guild_id": 10,
        "channel_id": 100,
        "user_id": ANNA,
        "role": "user",
        "content": content,
        "created_at": float(message_id),
    }
    return Turn(**(values | fields))  # type: ignore[arg-type]


def _answer(message_id: int, to: int, content: str, **fields: object) -> Turn:
    return _turn(message_id, content, role="assistant", answers_id=to, **fields)


def _chat_job(message_id: int, answers: int, user_id: int = ANNA) -> Job:
    return Job(
        "0" * 16,
        Submission(
            text_request("hello"),
            "fake-text",
            Requester(user_id, 10, 100),
            Anchor(100, message_id, source_message_id=answers),
            f"{answers}:chat",
            {CONVERSATION: TALK, QUESTION: answers},
        ),
    )


def _done(text: str) -> Outcome:
    return Outcome(JobState.DONE, TextResult(text, Usage(1, "tokens")))


async def _said(memory: Memory, until: int, limit: float = 1000) -> list[tuple[str, str]]:
    turns = await memory.conversation(TALK, limit, until=until)
    return [(turn.role, turn.content) for turn in turns]


async def test_a_conversation_comes_back_in_order(memory: Memory) -> None:
    for turn in (_turn(1, "one"), _answer(2, 1, "two"), _turn(3, "three")):
        await memory.remember(turn)
    await memory.remember(_turn(4, "elsewhere", conversation_id=TALK + 1))
    assert await _said(memory, 3) == [("user", "one"), ("assistant", "two"), ("user", "three")]


async def test_an_answer_stands_by_its_question(memory: Memory) -> None:
    for turn in (_turn(1, "A?"), _turn(2, "B?"), _answer(3, 2, "b"), _answer(4, 1, "a")):
        await memory.remember(turn)
    await memory.remember(_turn(5, "C?"))
    assert await _said(memory, 5) == [
        ("user", "A?"),
        ("assistant", "a"),
        ("user", "B?"),
        ("assistant", "b"),
        ("user", "C?"),
    ]


async def test_what_was_said_later_is_left_out(memory: Memory) -> None:
    for turn in (_turn(1, "A?"), _turn(2, "B?"), _answer(3, 1, "an answer of an earlier attempt")):
        await memory.remember(turn)
    assert await _said(memory, 1) == [("user", "A?")]


async def test_unanswered_turns_become_one_so_that_roles_take_turns(memory: Memory) -> None:
    for turn in (_turn(1, "one"), _turn(2, "two"), _answer(3, 2, "three"), _turn(4, "four")):
        await memory.remember(turn)
    assert await _said(memory, 4) == [
        ("user", "one\n\ntwo"),
        ("assistant", "three"),
        ("user", "four"),
    ]


async def test_only_the_end_fits_and_it_begins_with_a_member(memory: Memory) -> None:
    for turn in (_turn(1, "a" * 50), _answer(2, 1, "b" * 50), _turn(3, "c" * 50)):
        await memory.remember(turn)
    whole = 3 * estimated_tokens("a" * 50)
    assert await _said(memory, 3, limit=whole + 0.1) == [
        ("user", "a" * 50),
        ("assistant", "b" * 50),
        ("user", "c" * 50),
    ]
    assert await _said(memory, 3, limit=whole - 0.1) == [("user", "c" * 50)]


def test_other_scripts_are_estimated_to_take_more_tokens() -> None:
    english, hebrew, emoji = "a" * 70, "ש" * 70, "🙂" * 70
    assert estimated_tokens(english) == pytest.approx(28)
    assert estimated_tokens(hebrew) == pytest.approx(106)
    assert estimated_tokens(emoji) == pytest.approx(204)


async def test_the_last_turn_is_there_whatever_its_length(memory: Memory) -> None:
    await memory.remember(_turn(1, "a" * 5000))
    assert await _said(memory, 1, limit=10) == [("user", "a" * 5000)]


async def test_a_forgotten_question_has_no_conversation(memory: Memory) -> None:
    await memory.remember(_turn(1, "one"))
    assert await _said(memory, 2) == []


async def test_a_deleted_message_takes_its_answer_along(memory: Memory) -> None:
    for turn in (_turn(1, "one"), _answer(2, 1, "two"), _turn(3, "three")):
        await memory.remember(turn)
    assert await memory.forget_messages({1, 99}) == {TALK}
    assert await memory.conversation_of(2) is None
    assert await _said(memory, 3) == [("user", "three")]
    assert await memory.forget_messages({99}) == set()


async def test_a_deleted_answer_leaves_its_question(memory: Memory) -> None:
    for turn in (_turn(1, "one"), _answer(2, 1, "two")):
        await memory.remember(turn)
    assert await memory.forget_messages({2}) == {TALK}
    assert await _said(memory, 1) == [("user", "one")]


async def test_every_message_of_an_answer_belongs_to_its_conversation(memory: Memory) -> None:
    await memory.remember(_turn(1, "one"))
    await memory.remember(_answer(LONG_ANSWER, 1, "two"))
    assert await memory.conversation_of(LATER_PART) == TALK
    assert await memory.conversation_of(LATER_PART + 1) is None


async def test_an_answer_is_forgotten_with_any_of_its_messages(memory: Memory) -> None:
    await memory.remember(_turn(1, "one"))
    await memory.remember(_answer(LONG_ANSWER, 1, "two"))
    assert await memory.forget_messages({LATER_PART}) == {TALK}
    assert [turn.content for turn in await memory.of_member(ANNA)] == ["one"]


async def test_members_channels_servers_and_ages_are_forgotten_apart(memory: Memory) -> None:
    await memory.remember(_turn(1, "anna"))
    await memory.remember(_answer(2, 1, "to anna"))
    await memory.remember(_turn(3, "ben", user_id=BEN))
    await memory.remember(_turn(4, "ben in a thread", user_id=BEN, channel_id=200))
    await memory.remember(_turn(5, "ben elsewhere", user_id=BEN, guild_id=20))
    assert await memory.forget_user(ANNA) == 2
    await memory.forget_channel(200)
    await memory.forget_guild(20)
    assert [turn.content for turn in await memory.of_member(BEN)] == ["ben"]
    assert await memory.forget_before(3.0) == 0
    assert await memory.forget_before(3.5) == 1


async def test_an_answer_is_remembered_when_its_job_has_ended(memory: Memory, end: End) -> None:
    await memory.remember(_turn(1, "one"))
    await end(_chat_job(2, answers=1), _done("two"))
    await memory.remember(_turn(3, "three"))
    assert await memory.conversation_of(2) == TALK
    assert await _said(memory, 3) == [("user", "one"), ("assistant", "two"), ("user", "three")]


async def test_a_new_answer_takes_the_place_of_the_old_one(memory: Memory, end: End) -> None:
    await memory.remember(_turn(1, "one"))
    await end(_chat_job(2, answers=1), _done("two"))
    await end(_chat_job(3, answers=1, user_id=BEN), _done("better"))
    await memory.remember(_turn(4, "four"))
    assert await _said(memory, 4) == [("user", "one"), ("assistant", "better"), ("user", "four")]
    assert [turn.content for turn in await memory.of_member(BEN)] == []


async def test_a_stopped_answer_is_remembered_as_far_as_it_was_read(
    memory: Memory, end: End
) -> None:
    await memory.remember(_turn(1, "one"))
    stopped = Outcome(JobState.CANCELLED, error=JobCancelled(), partial_text="half of")
    await end(_chat_job(2, answers=1), stopped)
    await memory.remember(_turn(3, "three"))
    assert ("assistant", "half of") in await _said(memory, 3)


@pytest.mark.parametrize("text", ["", " \n"])
async def test_an_empty_answer_is_not_remembered(memory: Memory, end: End, text: str) -> None:
    await memory.remember(_turn(1, "one"))
    await end(_chat_job(2, answers=1), _done(text))
    assert await memory.conversation_of(2) is None


async def test_an_answer_to_a_deleted_message_is_not_remembered(memory: Memory, end: End) -> None:
    await end(_chat_job(2, answers=1), _done("too late"))
    assert await memory.conversation_of(2) is None


async def test_jobs_outside_of_conversations_are_none_of_memorys_business(
    memory: Memory, end: End
) -> None:
    submission = Submission(SpeechRequest("hi"), "v", Requester(1, 10, 100), Anchor(100, 2), "k")
    await end(Job("0" * 16, submission), _done("text"))
    assert await memory.of_member(ANNA) == []
