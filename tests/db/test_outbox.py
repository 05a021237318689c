import pytest

from bot.db.outbox import OutboxRepository, PendingPart, outbox_rows
from bot.db.session import Database
from bot.db.tables import JobTable
from bot.engine.job import Anchor, Job, Requester, Submission, new_job_id
from models.contracts import ChatMessage, TextRequest
from tests.db.rows import on_both

pytestmark = on_both

ANCHOR = Anchor(70, 900, application_id=5, token="secret", token_expires_at=123.5, ephemeral=True)


@pytest.fixture
def outbox(database: Database) -> OutboxRepository:
    return OutboxRepository(database)


async def ended(database: Database, *parts: str, at: float = 100.0, user_id: int = 1) -> str:
    request = TextRequest((ChatMessage("user", "hello"),))
    submission = Submission(request, "model", Requester(user_id, 2, 3), ANCHOR, new_job_id())
    job = Job(new_job_id(), submission, finished_at=at)
    async with database.session() as session:
        session.add(
            JobTable(
                id=job.id,
                source_key=submission.source_key,
                user_id=user_id,
                guild_id=2,
                channel_id=3,
                modality="text",
                model_id="model",
                state="done",
                created_at=at,
            )
        )
        await session.flush()
        session.add_all(outbox_rows(job, parts))
    return job.id


async def first(outbox: OutboxRepository, job_id: str) -> PendingPart:
    return (await outbox.pending(job_id))[0]


async def test_parts_come_back_in_order_with_their_anchor(
    database: Database, outbox: OutboxRepository
) -> None:
    job_id = await ended(database, "one", "two")
    parts = await outbox.pending(job_id)
    assert [(part.position, part.payload) for part in parts] == [(0, "one"), (1, "two")]
    assert all(part.anchor == ANCHOR and part.created_at == 100.0 for part in parts)


async def test_a_job_is_due_from_its_end_on_those_that_waited_longest_first(
    database: Database, outbox: OutboxRepository
) -> None:
    later = await ended(database, "x", "y", at=100.0)
    sooner = await ended(database, "x", at=50.0)
    assert await outbox.due(49.0) == []
    assert await outbox.due(100.0) == [sooner, later]
    assert await outbox.due(100.0, limit=1) == [sooner]
    assert await outbox.next_due_at(50.0) == 100.0
    assert await outbox.next_due_at(100.0) is None


async def test_what_is_put_off_keeps_its_order_and_counts_its_attempts(
    database: Database, outbox: OutboxRepository
) -> None:
    job_id = await ended(database, "one", "two", "three")
    await outbox.mark_sent(await first(outbox, job_id), 901)
    await outbox.mark_retry(job_id, 160.0)
    assert await outbox.due(159.0) == []
    assert await outbox.due(160.0) == [job_id]
    assert [(p.payload, p.attempts) for p in await outbox.pending(job_id)] == [
        ("two", 1),
        ("three", 1),
    ]


async def test_text_is_kept_while_a_part_is_pending_and_then_forgotten(
    database: Database, outbox: OutboxRepository
) -> None:
    job_id = await ended(database, "one", "two")
    await outbox.mark_sent(await first(outbox, job_id), 901)
    assert await outbox.payloads(job_id) == ["one", "two"]
    await outbox.mark_sent(await first(outbox, job_id), 902)
    assert await outbox.payloads(job_id) == []
    assert await outbox.messages(job_id) == [901, 902]
    assert await outbox.due(1e9) == []


async def test_what_is_given_up_is_forgotten_and_what_arrived_is_remembered(
    database: Database, outbox: OutboxRepository
) -> None:
    job_id = await ended(database, "one", "two")
    await outbox.mark_sent(await first(outbox, job_id), 901)
    await outbox.mark_dropped(job_id)
    assert await outbox.pending(job_id) == []
    assert await outbox.payloads(job_id) == []
    assert await outbox.messages(job_id) == [901]


async def test_the_messages_of_one_answer_know_each_other(
    database: Database, outbox: OutboxRepository
) -> None:
    for message_id in (900, 800):
        job_id = await ended(database, "one", "two")
        for offset in (1, 2):
            await outbox.mark_sent(await first(outbox, job_id), message_id + offset)
    assert await outbox.siblings([902, 5]) == {901, 902}
    assert await outbox.siblings([5]) == set()
    assert await outbox.known_messages([5, 801, 902]) == {801, 902}


async def test_settled_rows_go_after_a_while_and_pending_ones_never(
    database: Database, outbox: OutboxRepository
) -> None:
    sent, waiting = await ended(database, "one"), await ended(database, "two")
    await outbox.mark_sent(await first(outbox, sent), 901)
    assert await outbox.delete_settled(1e9) == 0
    assert await outbox.delete_settled(1e12) == 1
    assert await outbox.messages(sent) == []
    assert len(await outbox.pending(waiting)) == 1


async def test_a_members_rows_can_be_deleted_whatever_their_state(
    database: Database, outbox: OutboxRepository
) -> None:
    mine, others = await ended(database, "x", "y", user_id=1), await ended(database, "z", user_id=2)
    await outbox.mark_sent(await first(outbox, mine), 901)
    assert await outbox.delete_member(1) == 2
    assert await outbox.messages(mine) == []
    assert len(await outbox.pending(others)) == 1
