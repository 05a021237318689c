"""The outbox against the simulated Discord, whose time these tests move."""

from dataclasses import replace
from pathlib import Path

import discord
import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from bot.db.tables import OutboxTable
from bot.delivery import fallback
from bot.delivery.faults import Transient
from bot.delivery.outbox import GIVE_UP_S
from bot.delivery.parts import AnchorEdit, Button, ChannelMessage, File, Pointer, VoiceMessage
from bot.engine.job import Anchor
from bot.engine.spool import Spool
from tests.delivery.conftest import Stage
from tests.delivery.jobs import JOB_ID

BY_TOKEN = "/webhooks/*/messages/*"
BY_BOT = "/channels/*/messages/*"
POSTS = "/channels/*/messages"
ANSWER = AnchorEdit("one", buttons=(Button(f"sx1:delete:1:{JOB_ID}", "Delete"),))
TWO = ChannelMessage("two")
THREE = ChannelMessage("three")


def contents(stage: Stage) -> list[str]:
    return [message.content for message in stage.messages()]


def untokened(anchor: Anchor) -> Anchor:
    return replace(anchor, token="", token_expires_at=0.0)


def voice(spool: Spool) -> VoiceMessage:
    stored = spool.store(b"OggS", "speech.ogg", "audio/ogg")
    file = File("speech-1.ogg", stored.content_type, spool_path=stored.path, description="Speech")
    return VoiceMessage(file, 1.5, b"\x00\xff")


async def test_parts_arrive_in_order_and_their_text_is_forgotten(stage: Stage) -> None:
    job_id = await stage.deliver(await stage.ask(), ANSWER, TWO, THREE)
    assert contents(stage) == ["one", "two", "three"]
    rows = await stage.rows(job_id)
    assert [row.state for row in rows] == ["sent"] * 3
    assert [row.payload + row.anchor for row in rows] == [""] * 3
    assert [row.message_id for row in rows] == [message.id for message in stage.messages()]


async def test_the_anchor_carries_its_buttons(stage: Stage) -> None:
    await stage.deliver(await stage.ask(), ANSWER)
    [message] = stage.messages()
    [row] = message.components
    assert isinstance(row, discord.ActionRow)
    [button] = row.children
    assert isinstance(button, discord.Button)
    assert (button.label, button.custom_id) == ("Delete", f"sx1:delete:1:{JOB_ID}")


async def test_generated_text_pings_nobody(stage: Stage) -> None:
    text = f"@everyone <@{stage.member.id}> @here"
    await stage.deliver(await stage.ask(), AnchorEdit(text), ChannelMessage(text))
    for message in stage.messages():
        assert message.content == text
        assert not message.mention_everyone
        policy = stage.mention_policy(message)
        assert (policy.everyone, policy.users, policy.roles) == (False, frozenset(), frozenset())


async def test_a_late_answer_pings_its_owner_and_the_anchor_leads_to_it(stage: Stage) -> None:
    owner = stage.member.id
    other = stage.guild.add_member(stage.env.create_user("bob"))
    late = ChannelMessage(f"<@{owner}> <@{other.id}> @everyone done", mention_user_id=owner)
    await stage.deliver(await stage.ask(), late, Pointer("It is here:", stage.guild.id))
    anchor, answer = stage.messages()
    policy = stage.mention_policy(answer)
    assert (policy.everyone, policy.users, policy.roles) == (False, {owner}, frozenset())
    assert anchor.content == f"It is here: {answer.jump_url}"


async def test_files_bring_their_alt_text_and_leave_the_spool(stage: Stage, spool: Spool) -> None:
    stored = spool.store(b"hello", "x", "text/plain")
    file = File("x.txt", "text/plain", spool_path=stored.path, description="A greeting")
    written = File("y.md", "text/markdown", text="wörter")
    await stage.deliver(await stage.ask(), AnchorEdit("files", files=(file, written)))
    [message] = stage.messages()
    assert [a.filename for a in message.attachments] == ["x.txt", "y.md"]
    assert message.attachments[0].description == "A greeting"
    assert list(Path(spool.folder).iterdir()) == []


async def test_jobs_do_not_wait_for_each_other(stage: Stage) -> None:
    stage.env.inject_error("PATCH", BY_TOKEN, status=500, times=1)
    first = await stage.deliver(await stage.ask(), AnchorEdit("first"))
    second = await stage.deliver(await stage.ask(), AnchorEdit("second"))
    assert await stage.states(first) == ["pending"]
    assert await stage.states(second) == ["sent"]


# --------------------------------------------------------------------------- Discord's refusals


@pytest.mark.parametrize("status", [500, 502, 503, 429])
@pytest.mark.parametrize(("method", "path"), [("PATCH", BY_TOKEN), ("POST", POSTS)])
async def test_what_passes_is_tried_again_and_nothing_doubles(
    stage: Stage, status: int, method: str, path: str
) -> None:
    anchor = await stage.ask()
    stage.env.inject_error(method, path, status=status, times=3)
    job_id = await stage.deliver(anchor, ANSWER, TWO, THREE)
    assert "pending" in await stage.states(job_id)
    await stage.env.advance_time(1)
    assert "pending" in await stage.states(job_id)
    await stage.env.advance_time(60)
    assert contents(stage) == ["one", "two", "three"]
    assert await stage.states(job_id) == ["sent"] * 3


async def test_pauses_between_attempts_grow(stage: Stage) -> None:
    anchor = await stage.ask()
    stage.env.inject_error("PATCH", BY_TOKEN, status=500, times=None)
    await stage.deliver(anchor, ANSWER)
    counts = []
    for _ in range(4):
        await stage.env.advance_time(30)
        counts.append(stage.calls("PATCH", BY_TOKEN))
    assert counts == [5, 5, 6, 6]


async def test_what_cannot_be_sent_for_a_day_is_given_up(stage: Stage) -> None:
    anchor = await stage.ask()
    stage.env.inject_error("PATCH", BY_TOKEN, status=500, times=None)
    job_id = await stage.deliver(anchor, ANSWER, TWO, age_s=GIVE_UP_S + 1)
    assert await stage.states(job_id) == ["dropped"] * 2
    assert [row.payload for row in await stage.rows(job_id)] == ["", ""]


async def test_an_expired_token_gives_way_to_the_bots_own(stage: Stage) -> None:
    anchor = await stage.ask()
    await stage.env.advance_time(901)
    await stage.deliver(anchor, ANSWER, TWO)
    assert contents(stage) == ["one", "two"]
    assert stage.calls("PATCH", BY_TOKEN) == 0


@pytest.mark.parametrize(("status", "code"), [(401, 50027), (404, 10015), (403, 50001)])
async def test_a_token_that_discord_no_longer_takes_gives_way_too(
    stage: Stage, status: int, code: int
) -> None:
    anchor = await stage.ask()
    stage.env.inject_error("PATCH", BY_TOKEN, status=status, code=code, times=None)
    job_id = await stage.deliver(anchor, ANSWER)
    assert contents(stage) == ["one"]
    assert await stage.states(job_id) == ["sent"]


async def test_a_deleted_anchor_ends_its_answer(stage: Stage) -> None:
    anchor = await stage.ask()
    stage.env.backend.delete_message(anchor.channel_id, anchor.message_id)
    job_id = await stage.deliver(anchor, ANSWER, TWO)
    assert stage.messages() == []
    assert await stage.states(job_id) == ["dropped"] * 2


async def test_a_reply_of_the_bots_own_is_edited_as_such(stage: Stage) -> None:
    anchor = untokened(await stage.ask())
    await stage.deliver(anchor, ANSWER)
    assert contents(stage) == ["one"]
    assert stage.calls("PATCH", BY_BOT) == 1


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_the_bots_own_edit_is_tried_again_too(stage: Stage, status: int) -> None:
    anchor = untokened(await stage.ask())
    stage.env.inject_error("PATCH", BY_BOT, status=status, times=2)
    job_id = await stage.deliver(anchor, ANSWER)
    assert await stage.states(job_id) == ["pending"]
    await stage.env.advance_time(10)
    assert contents(stage) == ["one"]
    assert stage.calls("PATCH", BY_BOT) == 3


async def test_the_bots_own_reply_may_be_deleted_as_well(stage: Stage) -> None:
    anchor = untokened(await stage.ask())
    stage.env.backend.delete_message(anchor.channel_id, anchor.message_id)
    job_id = await stage.deliver(anchor, ANSWER, TWO)
    assert stage.messages() == []
    assert await stage.states(job_id) == ["dropped"] * 2


@pytest.mark.parametrize("status", [403, 404])
async def test_where_no_messages_are_allowed_the_rest_is_a_file(stage: Stage, status: int) -> None:
    anchor = await stage.ask()
    stage.env.inject_error("POST", POSTS, status=status, code=50013, times=None)
    job_id = await stage.deliver(anchor, ANSWER, TWO, ChannelMessage("three", buttons=()))
    [message] = stage.messages()
    assert message.content.startswith("one\n-# ")
    assert len(message.components) == 1
    [rest] = message.attachments
    assert await rest.read() == b"two\n\nthree"
    assert await stage.states(job_id) == ["sent"] * 3


async def test_a_voice_message_is_a_message_of_its_own(stage: Stage, spool: Spool) -> None:
    await stage.deliver(await stage.ask(), ANSWER, voice(spool))
    control, spoken = stage.messages()
    assert control.content == "one"
    assert spoken.flags.voice
    assert spoken.content == ""
    assert await spoken.attachments[0].read() == b"OggS"


@pytest.mark.parametrize("status", [400, 403])
async def test_without_the_permission_the_sound_is_in_the_anchor(
    stage: Stage, spool: Spool, status: int
) -> None:
    anchor = await stage.ask()
    stage.env.inject_error("POST", POSTS, status=status, code=50013, times=None)
    job_id = await stage.deliver(anchor, ANSWER, voice(spool))
    [message] = stage.messages()
    assert message.attachments[0].filename == "speech-1.ogg"
    assert "🔇" in message.content
    assert len(message.components) == 1
    assert await stage.states(job_id) == ["sent"] * 2
    assert list(Path(spool.folder).iterdir()) == []


async def test_what_discord_never_takes_is_told(stage: Stage) -> None:
    anchor = await stage.ask()
    job_id = await stage.deliver(anchor, AnchorEdit("x" * 2001), TWO)
    assert contents(stage) == [fallback.REFUSED]
    assert await stage.states(job_id) == ["dropped"] * 2


async def test_a_file_that_is_gone_is_told(stage: Stage) -> None:
    lost = File("x.ogg", "audio/ogg", spool_path="0" * 32)
    await stage.deliver(await stage.ask(), AnchorEdit("listen", files=(lost,)))
    assert contents(stage) == [fallback.LOST]


async def test_a_channel_that_is_closed_to_the_bot_leaves_direct_messages(stage: Stage) -> None:
    anchor = untokened(await stage.ask())
    stage.env.inject_error("PATCH", BY_BOT, status=403, code=50001, times=None)
    job_id = await stage.deliver(anchor, ANSWER, TWO)
    assert [message.content for message in stage.direct()] == ["one", "two"]
    assert await stage.states(job_id) == ["sent"] * 2


# --------------------------------------------------------------------------- private answers


async def test_a_private_answer_is_edited_in_place(stage: Stage) -> None:
    anchor = await stage.ask(private=True)
    await stage.deliver(anchor, ANSWER)
    [message] = stage.messages()
    assert message.content == "one"
    assert message.flags.ephemeral


async def test_a_private_answer_that_comes_too_late_is_a_direct_message(stage: Stage) -> None:
    anchor = await stage.ask(private=True)
    await stage.env.advance_time(901)
    job_id = await stage.deliver(anchor, ANSWER)
    assert "one" not in contents(stage)
    assert [message.content for message in stage.direct()] == ["one"]
    assert await stage.states(job_id) == ["sent"]


async def test_with_direct_messages_closed_only_a_notice_is_public(stage: Stage) -> None:
    anchor = await stage.ask(private=True)
    await stage.env.advance_time(901)
    stage.env.inject_error("POST", "/users/@me/channels", status=403, code=50007, times=None)
    job_id = await stage.deliver(anchor, AnchorEdit("a secret"))
    notice = stage.messages()[-1]
    assert notice.content == fallback.closed_to_us(stage.member.id).content
    assert not any("a secret" in content for content in contents(stage))
    assert await stage.states(job_id) == ["dropped"]


# --------------------------------------------------------------------------- after a crash


async def test_what_was_posted_before_a_crash_is_found_and_not_posted_again(
    stage: Stage, spool: Spool
) -> None:
    anchor = await stage.ask()
    parts = (ANSWER, TWO, voice(spool), THREE)
    job_id = await stage.put(anchor, *parts)
    rows = await stage.bot.repository.pending(job_id)
    for row, part in zip(rows[1:3], parts[1:3], strict=True):
        with stage.env.time_context():
            await stage.bot.sender.post(anchor.channel_id, part, nonce=f"{row.id}")

    await stage.env.advance_time(5)
    await stage.restart()

    assert [m.content for m in stage.messages()] == ["one", "two", "", "three"]
    assert await stage.states(job_id) == ["sent"] * 4
    assert [row.message_id for row in await stage.rows(job_id)] == [m.id for m in stage.messages()]


async def test_a_search_that_fails_is_repeated_before_anything_is_posted(stage: Stage) -> None:
    anchor = await stage.ask()
    job_id = await stage.put(anchor, ANSWER, TWO)
    with stage.env.time_context():
        await stage.bot.sender.post(anchor.channel_id, TWO, nonce="lost")
    stage.env.inject_error("GET", POSTS, status=500, times=1)
    await stage.env.advance_time(5)
    await stage.restart()
    assert await stage.states(job_id) == ["sent", "pending"]
    await stage.env.advance_time(3)
    assert contents(stage) == ["one", "two"]
    assert await stage.states(job_id) == ["sent"] * 2


async def test_a_like_message_of_another_job_is_not_taken_for_ones_own(stage: Stage) -> None:
    anchor = await stage.ask()
    await stage.deliver(anchor, TWO)
    job_id = await stage.put(anchor, TWO)
    await stage.env.advance_time(5)
    await stage.restart()
    assert contents(stage).count("two") == 2
    assert await stage.states(job_id) == ["sent"]


async def test_a_message_whose_answer_was_lost_is_not_posted_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchor = await stage.ask()
    post = stage.bot.sender.post

    async def lost(*args: object, **options: object) -> int:
        await post(*args, **options)  # type: ignore[arg-type]
        monkeypatch.setattr(stage.bot.sender, "post", post)
        raise Transient("the line broke")

    monkeypatch.setattr(stage.bot.sender, "post", lost)
    job_id = await stage.deliver(anchor, ANSWER, TWO)
    assert await stage.states(job_id) == ["sent", "pending"]
    await stage.env.advance_time(3)
    assert contents(stage) == ["one", "two"]
    assert await stage.states(job_id) == ["sent"] * 2


async def test_a_new_run_delivers_what_the_last_one_left(stage: Stage) -> None:
    anchor = await stage.ask()
    job_id = await stage.put(anchor, ANSWER, TWO)
    await stage.restart()
    assert contents(stage) == ["one", "two"]
    assert await stage.states(job_id) == ["sent"] * 2


async def test_trouble_with_one_job_does_not_hold_up_the_next(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    broken = await stage.put(await stage.ask(), ANSWER)
    async with stage.database.session() as session:
        await session.execute(update(OutboxTable).values(payload="{}"))
    job_id = await stage.deliver(await stage.ask(), AnchorEdit("fine"))
    assert await stage.states(broken) == ["pending"]
    assert await stage.states(job_id) == ["sent"]
    assert f"the delivery of job {broken} failed" in caplog.text


async def test_a_database_that_cannot_be_read_is_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchor = await stage.ask()

    async def locked(*_: object, **__: object) -> list[str]:
        raise OperationalError("select", None, Exception("database is locked"))

    with monkeypatch.context() as patched:
        patched.setattr(stage.bot.repository, "due", locked)
        await stage.deliver(anchor, ANSWER)
    assert contents(stage) == [""]
    await stage.env.advance_time(6)
    assert contents(stage) == ["one"]
