"""What the bot asks of Discord, what it loads and syncs, and whom it ignores."""

from __future__ import annotations

from typing import Any

import discord
import pytest

from bot.client import Sextant
from bot.services.addressing import from_person
from models.errors import InvalidRequest
from tests.conftest import World


def syncs(world: World) -> int:
    return sum(
        entry.method == "PUT" and entry.path.endswith("/commands")
        for entry in world.env.http_requests
    )


async def test_commands_are_synced_only_when_they_changed(world: World) -> None:
    assert syncs(world) == 1
    await world.restart()
    assert syncs(world) == 1
    application_id = world.bot.application_id
    await world.services.instance.set(f"commands:{application_id}", "what an older version had")
    await world.restart()
    assert syncs(world) == 2


async def test_a_failed_sync_stops_nothing_and_is_repeated_at_the_next_start(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.services.instance.set(f"commands:{world.bot.application_id}", "old")
    world.env.inject_error("PUT", "/applications/*/commands", status=500)
    await world.restart()
    assert "could not be synced" in caplog.text
    assert world.bot.is_ready()
    before = syncs(world)
    await world.restart()
    assert syncs(world) == before + 1


async def test_every_cog_is_loaded(world: World) -> None:
    names = {command.qualified_name for command in world.bot.tree.walk_commands()}
    assert {"ask", "speak", "transcribe", "queue", "cancel", "usage", "models"} <= names
    assert {"imagine", "describe", "video", "style set"} <= names
    assert {"help", "about", "privacy delete", "config set"} <= names
    menus = world.bot.tree.get_commands(type=discord.AppCommandType.message)
    assert {menu.name for menu in menus} == {"Describe image", "Transcribe"}


def test_it_asks_for_no_more_than_it_needs() -> None:
    bot = Sextant()
    asked = {name for name, wanted in bot.intents if wanted}
    assert asked == {"guilds", "guild_messages", "dm_messages", "message_content"}


async def test_it_keeps_neither_messages_nor_members(world: World) -> None:
    await world.member.send(world.channel, "hello")
    await world.member.slash(world.channel, "ask", prompt="blue")
    assert list(world.bot.cached_messages) == []
    [guild] = world.bot.guilds
    assert {member.id for member in guild.members} <= {world.bot.user.id if world.bot.user else 0}


async def test_generated_text_pings_nobody(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt=f"@everyone {world.stranger.mention}")
    [answer] = world.messages()
    assert "@everyone" in answer.content
    written = [e.json for e in world.env.http_requests if "content" in (e.json or {})]
    assert written
    assert all(payload["allowed_mentions"]["parse"] == [] for payload in written)


async def test_it_tells_people_from_machines(world: World) -> None:
    seen: list[discord.Message] = []

    async def on_message(message: discord.Message) -> None:
        seen.append(message)

    world.bot.add_listener(on_message)
    await world.member.send(world.channel, "a person")
    robot: Any = world.guild.add_member(world.env.create_user("robot", bot=True))
    await robot.send(world.channel, "another bot")
    await world.guild.create_webhook(world.channel).send("a webhook")
    await world.member.slash(world.channel, "ask", prompt="blue")
    assert [m.content for m in seen if from_person(m)] == ["a person"]
    assert len(seen) == 4


async def test_another_bot_that_mentions_it_gets_no_answer(world: World) -> None:
    robot: Any = world.guild.add_member(world.env.create_user("robot", bot=True))
    assert world.bot.user
    await robot.send(world.channel, f"<@{world.bot.user.id}> hello")
    assert len(world.messages()) == 1


async def test_a_listener_that_refuses_tells_the_author(world: World) -> None:
    async def on_message(message: discord.Message) -> None:
        if message.content == "do it":
            raise InvalidRequest("That cannot be done.")

    world.bot.add_listener(on_message)
    await world.member.send(world.channel, "do it")
    assert world.messages()[-1].content == "That cannot be done."


async def test_a_listener_with_a_bug_writes_nothing_into_the_channel(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def on_message(message: discord.Message) -> None:
        if message.content == "do it":
            raise KeyError("bug")

    world.bot.add_listener(on_message)
    await world.member.send(world.channel, "do it")
    assert len(world.messages()) == 1
    assert "on_message failed" in caplog.text
    assert len(world.env.errors) == 1
