"""What members read when they have used what they may, and what moderators do about it."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
import pytest

from bot.settings import LimitSettings, Settings
from models.errors import InvalidMedia
from tests.cogs.people import open_thread, speak
from tests.conftest import World


async def configure(world: World, key: str, value: int, **options: Any) -> None:
    said = await world.moderator.slash(
        world.channel, "config set", key=f"limits.{key}", value=str(value), **options
    )
    assert f"**{value}**" in said.response.content


async def ask(world: World, prompt: str = "hello", person: Any = None, channel: Any = None) -> str:
    result = await (person or world.member).slash(channel or world.channel, "ask", prompt=prompt)
    return str(result.response.content)


def pass_time(world: World, seconds: float) -> None:
    """Let hours pass for what was used, without a tick for everybody else."""
    allowances, before = world.services.allowances, world.services.allowances.clock
    allowances.clock = lambda: before() + seconds


async def limit_role(world: World, **options: Any) -> str:
    result = await world.moderator.slash(world.channel, "config role", **options)
    assert result.response.ephemeral
    return str(result.response.content)


async def limits_shown(world: World, person: Any) -> str:
    [embed] = (await person.slash(world.channel, "usage")).response.embeds
    return "".join(field.value for field in embed.fields if field.name == "Limits here")


async def test_who_has_used_an_hour_reads_when_it_goes_on(world: World) -> None:
    await configure(world, "jobs_hour", 2)
    for _ in range(2):
        assert "hello" in await ask(world)
    refused = await world.member.slash(world.channel, "ask", prompt="hello")
    assert refused.response.ephemeral
    said = refused.response.content
    assert said.startswith("You have started 2 of the 2 jobs that you may start here in an hour. ")
    assert "You are free again in 1 h 0 min" in said or "You are free again in 59 min" in said
    assert "hello" in await ask(world, person=world.stranger)
    assert await limits_shown(world, world.member) == "**You**: 2 of 2 jobs in an hour"
    pass_time(world, 61 * 60)
    assert "hello" in await ask(world)


async def test_a_restart_forgives_nothing(world: World) -> None:
    await configure(world, "jobs_hour", 1)
    await ask(world)
    await world.restart()
    assert "1 of the 1 jobs" in await ask(world)


async def test_what_failed_is_not_counted(world: World) -> None:
    await configure(world, "jobs_hour", 1)
    assert "not today" in await ask(world, "!refuse not today")
    assert "failed while working" in await ask(world, "!bug")
    assert "hello" in await ask(world)
    assert "1 of the 1 jobs" in await ask(world)


async def test_what_was_cancelled_while_it_waited_is_not_counted(world: World) -> None:
    await configure(world, "jobs_hour", 1)
    await ask(world, "!sleep 30\nlong", person=world.stranger)
    await ask(world)
    assert "1 of the 1 jobs" in await ask(world)
    assert "Stopped" in (await world.member.slash(world.channel, "cancel")).response.content
    await ask(world)  # it waits
    await world.env.advance_time(31)
    assert "1 of the 1 jobs" in await ask(world)


async def test_seconds_of_computing_are_counted_and_shown(world: World) -> None:
    await configure(world, "device_s_day", 60)
    await ask(world, "!sleep 45\nlong")
    await world.env.advance_time(46)
    shown = await limits_shown(world, world.member)
    assert shown == "**You**: computed for 45 s of 1 min 0 s in a day"
    await ask(world, "!sleep 20\nlong")
    await world.env.advance_time(21)
    refused = await ask(world)
    assert refused.startswith(
        "You have used 1 min 5 s of the 1 min 0 s of computing that you may use here in a day. "
        "You are free again in "
    )
    pass_time(world, 86_460)
    assert "hello" in await ask(world)


async def test_two_commands_at_the_same_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is a job yet when the second is checked; the first then comes to nothing."""
    await configure(world, "jobs_hour", 1)
    gate = asyncio.Event()

    async def slow(_: Any, attachment: discord.Attachment) -> str:
        await gate.wait()
        raise InvalidMedia("That is no text.")

    monkeypatch.setattr(type(world.services.attachments), "read_text", slow)
    await world.member.slash(world.channel, "ask", prompt="hello", file=("a.txt", b"sky"))
    assert "1 of the 1 jobs" in await ask(world)
    gate.set()
    await world.env.settle()
    assert "That is no text." in [message.content for message in world.messages()]
    assert "hello" in await ask(world)


async def test_a_channels_limit_is_that_of_its_threads_too(world: World) -> None:
    await configure(world, "channel_jobs_hour", 1, channel=world.channel)
    await ask(world, channel=open_thread(world, "talk", world.stranger), person=world.stranger)
    assert (await ask(world)).startswith("This channel has started 1 of the 1 jobs that may be ")
    elsewhere = world.guild.create_text_channel("elsewhere")
    assert "hello" in await ask(world, channel=elsewhere)


async def test_a_server_is_one_and_its_moderators_set_it_alone(world: World) -> None:
    """A moderator here is nobody in another server, and what is used there is not used here."""
    world.env.backend.commands[None]["config", 1]["default_member_permissions"] = None
    other = world.env.create_guild("Elsewhere")
    there, vera = other.create_text_channel("general"), world.env.create_user("vera")
    manages = other.create_role("M", permissions=discord.Permissions(manage_guild=True))
    ada, moderator = other.add_member(world.user), other.add_member(vera, roles=[manages])
    guest, helpers = world.guild.add_member(vera), world.guild.create_role("Helpers")
    for command, options in (
        ("set", {"key": "limits.server_jobs_hour", "value": "1"}),
        ("role", {"role": helpers, "limit": "jobs_hour", "value": 1}),
    ):
        refused = await guest.slash(world.channel, f"config {command}", **options)
        assert "“Manage Server”" in refused.response.content
    assert [type(error).__name__ for error in world.env.errors] == ["MissingPermissions"] * 2
    said = await moderator.slash(there, "config set", key="limits.server_jobs_hour", value="1")
    assert "**1** (server)" in said.response.content
    assert "hello" in await ask(world, person=ada, channel=there)
    refused_there = await ask(world, person=moderator, channel=there)
    assert refused_there.startswith("This server has started 1 of the 1 jobs")
    for _ in range(2):
        assert "hello" in await ask(world)


async def test_a_role_has_its_own_limit(world: World) -> None:
    helpers = world.guild.create_role("Helpers")
    helper = world.guild.add_member(world.env.create_user("alan"), roles=[helpers])
    await configure(world, "jobs_hour", 1)
    said = await limit_role(world, role=helpers, limit="jobs_hour", value=2)
    assert said == f"{helpers.mention} `jobs_hour` **2**\nThis counts from now on."
    for _ in range(2):
        assert "hello" in await ask(world, person=helper)
    assert "2 of the 2 jobs" in await ask(world, person=helper)
    await ask(world)
    assert "1 of the 1 jobs" in await ask(world)
    await limit_role(world, role=helpers, limit="jobs_hour", value=0)
    assert "hello" in await ask(world, person=helper)
    [embed] = (await world.moderator.slash(world.channel, "config show")).response.embeds
    [shown] = [field.value for field in embed.fields if field.name == "Limits of roles"]
    assert shown == f"{helpers.mention} `jobs_hour` **0** (no limit)"
    await world.restart()
    assert "hello" in await ask(world, person=helper)
    said = await limit_role(world, role=helpers, limit="jobs_hour")
    assert said == f"`jobs_hour` of {helpers.mention} is that of all members from now on."
    assert "4 of the 1 jobs" in await ask(world, person=helper)
    assert "no such limit" in await limit_role(world, role=helpers, limit="jobs_hour")
    history = (await world.moderator.slash(world.channel, "config history")).response.content
    assert f"`jobs_hour` of {helpers.mention} from **0** to **not set**" in history


async def test_a_role_counts_for_what_messages_ask_for(world: World) -> None:
    helpers = world.guild.create_role("Helpers")
    helper = world.guild.add_member(world.env.create_user("alan"), roles=[helpers])
    await limit_role(world, role=helpers, limit="jobs_hour", value=1)
    key = "transcription.automatic"
    await world.moderator.slash(world.channel, "config set", key=key, value="on")
    await speak(world, helper)
    await speak(world, helper)
    said = world.messages()[-1].content
    assert said.startswith("You have started 1 of the 1 jobs that you may start here in an hour.")


class TestBounds:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        limits = LimitSettings(jobs_hour=2)
        return settings.model_copy(update={"limits": limits})

    async def test_nobody_goes_over_the_owners_bound(self, world: World) -> None:
        for value in ("3", "0"):
            result = await world.moderator.slash(
                world.channel, "config set", key="limits.server_jobs_hour", value=value
            )
            assert "a whole number from 1 to 2" in result.response.content
        await ask(world)
        await ask(world, person=world.stranger)
        assert (await ask(world)).startswith("This server has started 2 of the 2 jobs")
