from typing import Any

import discord
import pytest

from models.catalog import Catalog
from models.contracts import Modality
from tests.cogs.people import open_thread
from tests.conftest import World
from tests.fakes import fake_catalog, fake_model


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("fake-text", context_tokens=2048),
        fake_model("fake-speech", Modality.SPEECH),
    )


def mention(world: World) -> str:
    return f"<@{world.bot.user.id}>" if world.bot.user else ""


def answers(world: World, channel: Any = None) -> list[discord.Message]:
    """Return what the bot said in a channel, oldest first."""
    history = (channel or world.channel).history()
    return [message for message in history if message.author.bot]


async def asked(world: World, person: Any = None) -> list[tuple[str, str]]:
    """Return the conversation that the last request of somebody carried."""
    rows = await world.services.recipes.of_member((person or world.member).id)
    recipe = await world.services.recipes.load(rows[-1].id)
    assert recipe is not None
    return [(turn.role, turn.content) for turn in recipe.request.messages[1:]]


# ------------------------------------------------------------------ who is answered, and where


async def test_a_mention_is_answered_in_a_reply_without_the_mention(world: World) -> None:
    message = await world.member.send(world.channel, f"{mention(world)} good evening")
    [answer] = answers(world)
    assert answer.content.startswith("good evening")
    assert answer.reference is not None
    assert answer.reference.message_id == message.id
    assert await asked(world) == [("user", "good evening")]


async def test_a_conversation_goes_on_by_replies(world: World) -> None:
    await world.member.send(world.channel, f"{mention(world)} my name is Ada")
    await world.member.send(world.channel, "what is my name?", reply_to=answers(world)[-1])
    assert await asked(world) == [
        ("user", "my name is Ada"),
        ("assistant", "my name is Ada"),
        ("user", "what is my name?"),
    ]


async def test_the_conversation_is_remembered_over_a_restart(world: World) -> None:
    await world.member.send(world.channel, f"{mention(world)} one")
    await world.restart()
    await world.member.send(world.channel, "two", reply_to=answers(world)[-1])
    assert ("user", "one") in await asked(world)


async def test_an_answer_is_in_memory_as_soon_as_its_job_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        world.services.engine._endings, "_observers", []
    )  # as if it were killed just then
    await world.member.send(world.channel, f"{mention(world)} one")
    await world.restart()
    await world.env.advance_time(1)
    await world.member.send(world.channel, "two", reply_to=answers(world)[-1])
    assert await asked(world) == [("user", "one"), ("assistant", "one"), ("user", "two")]


async def test_a_reply_to_a_later_part_of_an_answer_goes_on_with_it(world: World) -> None:
    await world.member.send(world.channel, f"{mention(world)} !words 400")
    first, *_, last = answers(world)
    assert first.id != last.id
    await world.member.send(world.channel, "and then?", reply_to=last)
    roles = [role for role, _ in await asked(world)]
    assert roles == ["user", "assistant", "user"]


async def test_a_reply_to_an_answer_that_came_late_goes_on_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.delivery.shape.LATE_S", -1.0)
    await world.member.send(world.channel, f"{mention(world)} at last")
    late = answers(world)[-1]
    assert late.content.startswith(world.member.mention)
    await world.member.send(world.channel, "and then?", reply_to=late)
    assert (await asked(world))[1:] == [("assistant", "at last"), ("user", "and then?")]
    await world.moderator.delete(late)
    kept = await world.services.memory.of_member(world.member.id)
    assert "at last" not in [turn.content for turn in kept if turn.role == "assistant"]


async def test_a_reply_to_an_answer_of_ask_knows_what_is_replied_to(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt="the sky is green")
    await world.stranger.send(world.channel, "really?", reply_to=answers(world)[-1])
    assert await asked(world, world.stranger) == [
        ("user", "You wrote earlier:\n“> the sky is green\nthe sky is green”\n\nreally?")
    ]
    kept = await world.services.memory.of_member(world.stranger.id)
    assert [turn.content for turn in kept if turn.role == "user"] == ["really?"]


async def test_a_new_mention_begins_a_new_conversation(world: World) -> None:
    await world.member.send(world.channel, f"{mention(world)} one")
    await world.member.send(world.channel, f"{mention(world)} two")
    assert await asked(world) == [("user", "two")]


async def test_in_a_thread_the_bot_follows_once_it_was_mentioned(world: World) -> None:
    thread = open_thread(world, "talk", world.member)
    await world.member.send(thread, "nobody asked the bot")
    assert answers(world, thread) == []
    await world.member.send(thread, f"{mention(world)} one")
    await world.stranger.send(thread, "two")
    assert len(answers(world, thread)) == 2
    assert await asked(world, world.stranger) == [
        ("user", "one"),
        ("assistant", "one"),
        ("user", "two"),
    ]
    await world.restart()
    await world.member.send(thread, "three")
    assert len(answers(world, thread)) == 3


async def test_a_thread_on_an_answer_goes_on_with_its_conversation(world: World) -> None:
    await world.member.send(world.channel, f"{mention(world)} one")
    thread = open_thread(world, "more", world.member, on=answers(world)[-1])
    await world.member.send(thread, "two")
    assert await asked(world) == [("user", "one"), ("assistant", "one"), ("user", "two")]


async def test_a_thread_on_an_answer_of_ask_belongs_to_the_bot(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt="one")
    thread = open_thread(world, "more", world.stranger, on=answers(world)[-1])
    await world.member.send(thread, "two")
    assert len(answers(world, thread)) == 1


async def test_a_long_conversation_is_cut_to_the_models_context(world: World) -> None:
    for number in range(12):
        await world.member.user.send_dm(f"{number} " + "word " * 100)
    turns = await asked(world)
    assert turns[-1][1].startswith("11 ")
    assert 2 < len(turns) < 23
    assert turns[0][0] == "user"


async def test_direct_messages_are_one_conversation(world: World) -> None:
    await world.member.send_dm("one")
    await world.member.send_dm("two")
    assert await asked(world) == [("user", "one"), ("assistant", "one"), ("user", "two")]


async def test_other_messages_are_left_alone(world: World) -> None:
    message = await world.member.send(world.channel, "hello everybody")
    await world.stranger.send(world.channel, "hello Ada", reply_to=message)
    await world.member.send(world.channel, f"@everyone and {world.stranger.mention}")
    assert answers(world) == []
    assert await world.services.memory.of_member(world.member.id) == []


async def test_bots_webhooks_and_itself_are_not_answered(world: World) -> None:
    other_bot = world.guild.add_member(world.env.create_user("robot", bot=True))
    backend = world.env.backend
    backend.create_message(world.channel.id, other_bot.id, f"{mention(world)} hello")
    webhook = world.guild.create_webhook(world.channel)
    await webhook.send(f"{mention(world)} hello")
    backend.create_message(world.channel.id, world.bot.user.id, f"{mention(world)} hello")
    await world.env.settle()
    assert world.services.engine.jobs() == []
    assert all(message.reference is None for message in answers(world))


async def test_chat_can_be_switched_off_in_a_channel(world: World) -> None:
    await world.services.server_settings.set(
        "text.chat", "off", guild_id=world.guild.id, channel_id=world.channel.id, user_id=1
    )
    await world.member.send(world.channel, f"{mention(world)} hello")
    thread = open_thread(world, "talk", world.member)
    await world.member.send(thread, f"{mention(world)} hello")
    assert answers(world) == []
    assert answers(world, thread) == []


# ------------------------------------------------------------------ what is said


async def test_a_mention_without_words_gets_a_hint(world: World) -> None:
    await world.member.send(world.channel, f"{mention(world)} \u200b")
    [answer] = answers(world)
    assert "Mention me together with a question" in answer.content


async def test_a_text_file_is_read_and_other_files_are_named(world: World) -> None:
    await world.member.send(
        world.channel,
        f"{mention(world)} summarise",
        attachments=[("notes.txt", b"the notes"), ("photo.png", b"\x89PNG\r\n\x1a\n")],
    )
    assert await asked(world) == [("user", "summarise\n\nthe notes")]
    assert "can't use “photo.png”" in answers(world)[-1].content


async def test_a_picture_alone_is_said_to_be_of_no_use(world: World) -> None:
    await world.member.send(
        world.channel, mention(world), attachments=[("photo.png", b"\x89PNG\r\n\x1a\n")]
    )
    assert "not use “photo.png”" in answers(world)[-1].content


async def test_ten_thousand_characters_are_answered(world: World) -> None:
    text = ("word " * 2000).strip()
    await world.member.send(
        world.channel, mention(world), attachments=[("long.txt", text.encode())]
    )
    assert await asked(world) == [("user", text)]


async def test_what_cannot_fit_is_refused_and_not_remembered(world: World) -> None:
    await world.member.send(
        world.channel, mention(world), attachments=[("long.txt", b"x" * 20_000)]
    )
    assert "20,000 characters" in answers(world)[-1].content
    assert await world.services.memory.of_member(world.member.id) == []


async def test_generated_mentions_ping_nobody(world: World) -> None:
    await world.member.send(
        world.channel, f"{mention(world)} say @everyone {world.stranger.mention}"
    )
    answer = answers(world)[-1]
    assert "@everyone" in answer.content
    assert not answer.mention_everyone
    assert not world.env.backend.get_message(answer.channel.id, answer.id).ping_user_ids


async def test_ids_become_names(world: World) -> None:
    await world.member.send(
        world.channel, f"{mention(world)} who is {world.stranger.mention}? {mention(world)}"
    )
    assert await asked(world) == [("user", "who is @grace?")]


@pytest.mark.parametrize("text", ["👩‍🚀🏳️‍🌈", "שלום \u202eabc\u202c", "a\u200bb\u200dc"])
async def test_any_script_goes_through(world: World, text: str) -> None:
    await world.member.send(world.channel, f"{mention(world)} {text}")
    assert await asked(world) == [("user", text)]


async def test_without_the_right_to_write_the_author_is_told_directly(world: World) -> None:
    closed = world.guild.create_text_channel(
        "closed",
        overwrites={world.guild.me: discord.PermissionOverwrite(send_messages=False)},
    )
    await world.member.send(closed, f"{mention(world)} hello")
    assert answers(world, closed) == []
    [told] = [m for m in world.member.user.dm_channel.history() if m.author.bot]
    assert "lack a permission" in told.content


# ------------------------------------------------------------------ edits and deletions


async def test_a_deleted_message_stops_its_job_and_is_forgotten(world: World) -> None:
    message = await world.member.send(world.channel, f"{mention(world)} !delay 1\na b c d e f")
    await world.env.advance_time(2)
    assert len(world.services.engine.jobs()) == 1
    await world.member.delete(message)
    await world.env.advance_time(2)
    assert world.services.engine.jobs() == []
    assert await world.services.memory.of_member(world.member.id) == []
    assert await world.services.recipes.of_member(world.member.id) == []


async def test_a_deleted_answer_stops_its_job(world: World) -> None:
    await world.member.send(world.channel, f"{mention(world)} !delay 1\na b c d e f")
    await world.env.advance_time(2)
    await world.moderator.delete(answers(world)[-1])
    await world.env.advance_time(2)
    assert world.services.engine.jobs() == []
    [row] = await world.services.jobs.of_member(world.member.id)
    assert row.state == "cancelled"


async def test_a_deleted_message_leaves_the_conversation(world: World) -> None:
    first = await world.member.send(world.channel, f"{mention(world)} the secret is 42")
    await world.member.send(world.channel, "two", reply_to=answers(world)[-1])
    await world.member.delete(first)
    await world.member.send(world.channel, "three", reply_to=answers(world)[-1])
    assert await asked(world) == [("user", "two"), ("assistant", "two"), ("user", "three")]
    kept = await world.services.privacy.export(world.member.id)
    assert "secret" not in kept


async def test_messages_deleted_together_are_forgotten(world: World) -> None:
    for text in ("one", "two"):
        await world.member.send(world.channel, f"{mention(world)} {text}")
    ids = [message.id for message in world.messages()]
    world.env.backend.bulk_delete_messages(world.channel.id, ids)
    await world.env.settle()
    assert await world.services.memory.of_member(world.member.id) == []


async def test_an_edit_changes_nothing(world: World) -> None:
    message = await world.member.send(world.channel, f"{mention(world)} one")
    await world.member.edit(message, f"{mention(world)} something else")
    assert len(answers(world)) == 1
    assert await asked(world) == [("user", "one")]
