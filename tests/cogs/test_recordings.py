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
