"""Voice messages as prompts: written down first, then answered."""

import pytest

from models.catalog import Catalog
from models.contracts import Modality
from tests.cogs.people import open_thread, speak
from tests.cogs.test_chat import answers, asked, mention
from tests.conftest import World
from tests.fakes import fake_catalog, fake_model


@pytest.fixture
def catalog() -> Catalog:
    said = {"script": "what is the time"}
    return fake_catalog(
        fake_model("fake-text"),
        fake_model("fake-transcription", Modality.TRANSCRIPTION, options=said),
    )


async def test_a_voice_message_that_replies_is_a_prompt(world: World) -> None:
    await world.member.send(world.channel, f"{mention(world)} hello")
    await speak(world, world.member, reply_to=answers(world)[-1])
    heard, said = answers(world)[-2:]
    assert "what is the time" in heard.content
    assert said.content.startswith("what is the time")
    assert await asked(world) == [
        ("user", "hello"),
        ("assistant", "hello"),
        ("user", "what is the time"),
    ]


async def test_a_voice_message_for_nobody_is_left_alone(world: World) -> None:
    await speak(world, world.member)
    assert answers(world) == []


async def test_a_voice_message_is_answered_after_a_restart_in_between(
    world: World,
) -> None:
    await world.member.send(world.channel, f"{mention(world)} !sleep 5\nhello")
    await world.env.advance_time(6)
    await world.stranger.send(world.channel, f"{mention(world)} !sleep 60")  # keeps the lane busy
    await speak(world, world.member, reply_to=answers(world)[0])
    assert len(world.services.engine.jobs()) == 2
    await world.restart()
    await world.env.advance_time(130)
    assert answers(world)[-1].content.startswith("what is the time")
    assert "voice-message.ogg" not in answers(world)[-1].content


async def test_a_voice_message_is_answered_when_the_bot_was_killed_after_it_was_written_down(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.member.send(world.channel, f"{mention(world)} hello")
    monkeypatch.setattr(world.services.engine._endings, "_observers", [])
    await speak(world, world.member, reply_to=answers(world)[0])
    *_, heard = await world.services.jobs.of_member(world.member.id)
    assert (heard.modality, heard.state) == ("transcription", "done")
    await world.restart()
    await world.restart()
    _, heard_text, said = answers(world)
    assert "what is the time" in heard_text.content
    assert said.content.startswith("what is the time")
    assert await asked(world) == [
        ("user", "hello"),
        ("assistant", "hello"),
        ("user", "what is the time"),
    ]


async def test_a_voice_message_deleted_before_the_restart_is_not_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.member.send(world.channel, f"{mention(world)} hello")
    monkeypatch.setattr(world.services.engine._endings, "_observers", [])
    message = await speak(world, world.member, reply_to=answers(world)[0])
    await world.member.delete(message)
    await world.restart()
    rows = await world.services.jobs.of_member(world.member.id)
    assert [row.modality for row in rows] == ["text", "transcription"]
    assert not await world.services.next_steps._rows.owed()


async def test_a_voice_message_in_a_thread_is_answered_by_the_rules_of_its_channel(
    world: World,
) -> None:
    await world.services.server_settings.set(
        "text.system_prompt",
        "You are a clock.",
        guild_id=world.guild.id,
        channel_id=world.channel.id,
        user_id=1,
    )
    thread = open_thread(world, "talk", world.member)
    await world.member.send(thread, f"{mention(world)} hello")
    await speak(world, world.member, channel=thread)
    rows = await world.services.recipes.of_member(world.member.id)
    recipe = await world.services.recipes.load(rows[-1].id)
    assert recipe is not None
    system, *_, said = recipe.request.messages
    assert (system.content, said.content) == ("You are a clock.", "what is the time")


async def test_a_voice_message_in_a_direct_message_is_answered(world: World) -> None:
    await speak(world, world.member, channel=world.user.dm_channel)
    assert world.direct()[-1].content.startswith("what is the time")


async def test_a_deleted_voice_message_is_not_answered(world: World) -> None:
    await world.member.send(world.channel, f"{mention(world)} hello")
    first = answers(world)[-1]
    await world.stranger.send(world.channel, f"{mention(world)} !sleep 60")
    message = await speak(world, world.member, reply_to=first)
    await world.member.delete(message)
    await world.env.advance_time(61)
    assert all("what is the time" not in answer.content for answer in answers(world))
