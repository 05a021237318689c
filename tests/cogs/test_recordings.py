from datetime import UTC, datetime
from typing import Any

import discord
import pytest

from models.catalog import Catalog
from models.contracts import Modality
from tests.cogs.people import OGG, open_thread, speak
from tests.conftest import World
from tests.fakes import fake_catalog, fake_model

WORDS = "one two three"
KEY = "transcription.automatic"


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("fake-text"),
        fake_model("ears", Modality.TRANSCRIPTION, options={"script": WORDS}),
    )


@pytest.fixture
def world(world: World) -> World:
    """Put the simulated Discord into the same year as the database's clock."""
    world.env.backend.clock._epoch = datetime.now(UTC)
    return world


async def switch(world: World, value: str, channel: Any = None) -> None:
    await world.services.server_settings.set(
        KEY,
        value,
        guild_id=world.guild.id,
        channel_id=(channel or world.channel).id,
        user_id=world.moderator.id,
    )
    await world.env.advance_time(5)


async def drop(world: World, *names: str, channel: Any = None, by: Any = None) -> discord.Message:
    return await (by or world.member).send(
        channel or world.channel, "", attachments=[(name, OGG) for name in names]
    )


async def missed(world: World, *names: str, channel: Any = None) -> None:
    """Drop files while the bot is away, and let it come back."""
    backend = world.env.backend
    await world.run.close()
    await world.env._detach_bot()
    place = (channel or world.channel).id
    for name in names:
        backend.create_message(
            place, world.member.id, attachments=backend.store_attachments(place, [(name, OGG)])
        )
    await world.env.restart_bot(await world.run.open())


def transcripts(world: World, channel: Any = None) -> list[str]:
    """Return the transcripts in a channel, oldest first."""
    history = (channel or world.channel).history()
    return [message.content for message in history if message.author.bot]


# ------------------------------------------------------------------ while the bot is there


async def test_a_dropped_recording_is_written_down_in_a_reply(world: World) -> None:
    await switch(world, "on")
    message = await drop(world, "talk.ogg")
    answer = world.messages()[-1]
    assert WORDS in answer.content
    assert answer.reference is not None
    assert answer.reference.message_id == message.id


async def test_each_recording_of_a_message_gets_its_own_transcript(world: World) -> None:
    await switch(world, "on")
    await world.member.send(
        world.channel,
        "",
        attachments=[("a.ogg", OGG), ("b.mp4", OGG), ("notes.txt", b"text")],
    )
    assert len(transcripts(world)) == 2
    assert "a.ogg" in transcripts(world)[0]
    assert "b.mp4" in transcripts(world)[1]


async def test_nothing_is_written_down_where_it_is_not_switched_on(world: World) -> None:
    other = world.guild.create_text_channel("other")
    await switch(world, "on", other)
    await drop(world, "talk.ogg")
    await speak(world, world.member)
    assert transcripts(world) == []


async def test_switching_off_counts_at_once(world: World) -> None:
    await switch(world, "on")
    await switch(world, "off")
    await drop(world, "talk.ogg")
    assert transcripts(world) == []


async def test_a_thread_follows_its_channel(world: World) -> None:
    await switch(world, "on")
    thread = open_thread(world, "memos", world.member)
    await drop(world, "talk.ogg", channel=thread)
    assert WORDS in transcripts(world, thread)[0]


async def test_bots_and_webhooks_are_not_written_down(world: World) -> None:
    await switch(world, "on")
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    webhook = world.guild.create_webhook(world.channel)
    await webhook.send("", attachments=[("talk.ogg", OGG)])
    backend = world.env.backend
    for author in (robot.id, world.bot.user.id):
        files = backend.store_attachments(world.channel.id, [("talk.ogg", OGG)])
        backend.create_message(world.channel.id, author, attachments=files)
    await world.env.settle()
    assert await world.services.jobs.of_member(robot.id) == []
    assert all(WORDS not in text for text in transcripts(world))


async def test_a_spoken_prompt_is_answered_and_not_written_down_twice(world: World) -> None:
    await switch(world, "on")
    await world.member.send(world.channel, f"<@{world.bot.user.id}> hello")
    await speak(world, world.member, reply_to=world.messages()[-1])
    contents = transcripts(world)
    assert len(contents) == 3
    assert sum(WORDS in text for text in contents) == 2  # what was heard, and the answer to it


async def test_a_voice_message_for_nobody_is_written_down(world: World) -> None:
    await switch(world, "on")
    await speak(world, world.member)
    assert WORDS in transcripts(world)[0]


async def test_a_deleted_recording_is_not_written_down(world: World) -> None:
    await switch(world, "on")
    await world.member.send(world.channel, f"<@{world.bot.user.id}> !sleep 30")
    message = await drop(world, "talk.ogg")
    await world.member.delete(message)
    await world.env.advance_time(60)
    assert all(WORDS not in text for text in transcripts(world))


async def test_a_damaged_file_gets_one_sentence(world: World) -> None:
    await switch(world, "on")
    await world.member.send(world.channel, "", attachments=[("song.mp3", b"\x89PNG\r\n\x1a\n")])
    [text] = transcripts(world)
    assert "a picture (PNG)" in text


# ------------------------------------------------------------------ while it was away


async def test_what_was_dropped_while_the_bot_was_away_is_caught_up(world: World) -> None:
    await switch(world, "on")
    await missed(world, "first.ogg", "second.ogg")
    assert "first.ogg" in transcripts(world)[0]
    assert "second.ogg" in transcripts(world)[1]


async def test_nothing_is_written_down_twice(world: World) -> None:
    await switch(world, "on")
    await drop(world, "before.ogg")
    await missed(world, "away.ogg")
    await missed(world)
    await drop(world, "after.ogg")
    await world.restart()
    assert [text.split("**")[1] for text in transcripts(world)] == [
        "before.ogg",
        "away.ogg",
        "after.ogg",
    ]


async def test_what_was_deleted_since_is_not_caught_up_from_the_database(world: World) -> None:
    await switch(world, "on")
    await drop(world, "before.ogg")
    answer = world.messages()[-1]
    await world.moderator.delete(answer)
    await missed(world)
    assert transcripts(world) == []


async def test_what_came_before_it_was_switched_on_is_left_alone(world: World) -> None:
    await drop(world, "early.ogg")
    await world.env.advance_time(60)
    world.env.backend.clock._epoch = datetime.now(UTC)
    await world.services.server_settings.set(
        KEY, "on", guild_id=world.guild.id, channel_id=world.channel.id, user_id=1
    )
    await missed(world)
    assert transcripts(world) == []


async def test_more_than_a_day_is_not_caught_up(world: World) -> None:
    await switch(world, "on")
    backend = world.env.backend
    files = backend.store_attachments(world.channel.id, [("old.ogg", OGG)])
    await world.run.close()
    await world.env._detach_bot()
    backend.create_message(world.channel.id, world.member.id, attachments=files)
    backend.advance_clock(86_500)
    await world.env.restart_bot(await world.run.open())
    assert transcripts(world) == []


async def test_catching_up_waits_for_room_instead_of_refusing(world: World) -> None:
    await world.services.server_settings.set(
        "limits.jobs_at_once", "1", guild_id=world.guild.id, user_id=1
    )
    await switch(world, "on")
    await missed(world, *(f"{number}.ogg" for number in range(4)))
    await world.env.advance_time(30)
    texts = transcripts(world)
    assert len(texts) == 4
    assert all(WORDS in text for text in texts)


async def test_a_channel_that_may_not_be_read_is_left_out(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    closed = world.guild.create_text_channel("closed")
    await switch(world, "on", closed)
    await switch(world, "on")
    world.env.inject_error("GET", f"/channels/{closed.id}/messages", status=403, times=1)
    await missed(world, "talk.ogg")
    assert WORDS in transcripts(world)[0]
    assert f"channel {closed.id} cannot be caught up" in caplog.text
