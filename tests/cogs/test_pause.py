"""/pause and /resume: what waits, who is told what, and what outlives a restart."""

from __future__ import annotations

from typing import Any

import discord
import pytest

from bot.engine.job import JobState
from tests.conftest import World


async def ask(world: World, prompt: str, person: Any = None, channel: Any = None) -> Any:
    result = await (person or world.member).slash(channel or world.channel, "ask", prompt=prompt)
    return result.response


async def say(world: World, command: str, person: Any = None, channel: Any = None) -> str:
    result = await (person or world.moderator).slash(channel or world.channel, command)
    assert result.response.ephemeral
    return str(result.response.content)


def contents(world: World) -> list[str]:
    """Return what the messages of the channel say that are answers, or will be."""
    return [message.content for message in world.messages()]


async def test_what_runs_ends_and_what_waits_keeps_its_place(world: World) -> None:
    await ask(world, "!sleep 5\nruns")
    await ask(world, "!sleep 5\nfirst")
    said = await say(world, "pause")
    assert said == (
        "⏸️ Paused: what runs goes on to its end, and new requests wait with the others. "
        "1 job waits and keeps its place. `/resume` lets them go on."
    )
    await ask(world, "!sleep 5\nsecond")
    await world.env.advance_time(6)
    runs, first, second = contents(world)
    assert "\nruns" in f"\n{runs}"
    assert first == "⏸️ Place 1 in line · paused by the moderators"
    assert second == "⏸️ Place 2 in line · paused by the moderators"
    assert "paused by the moderators" in await say(world, "queue", world.member)
    said = await say(world, "resume")
    assert said == "▶️ This server goes on. 2 jobs wait and keep their places."
    states = [job.state for job in world.services.engine.jobs()]
    assert states == [JobState.RUNNING, JobState.QUEUED]
    await world.env.advance_time(6)
    assert "first" in contents(world)[1]
    await world.env.advance_time(6)
    assert "second" in contents(world)[2]


async def test_other_servers_and_direct_messages_go_on(world: World) -> None:
    other = world.env.create_guild("Elsewhere")
    there, guest = other.create_text_channel("general"), other.add_member(world.user)
    await say(world, "pause")
    assert "there" in (await ask(world, "there", guest, there)).content
    direct = await world.user.slash("ask", prompt="direct")
    assert "direct" in direct.response.content
    await ask(world, "here")
    await world.env.advance_time(2)
    assert contents(world)[-1] == "⏸️ Place 1 in line · paused by the moderators"


async def test_a_pause_outlives_a_restart(world: World) -> None:
    await say(world, "pause")
    await ask(world, "first")
    await ask(world, "second", world.stranger)
    await world.restart()
    await world.env.advance_time(3)
    assert contents(world) == [
        f"⏸️ Place {place} in line · paused by the moderators" for place in (1, 2)
    ]
    assert await say(world, "pause") == (
        "This server is paused already. 2 jobs wait and keep their places."
    )
    await say(world, "resume")
    await world.env.advance_time(2)
    assert ["first" in contents(world)[0], "second" in contents(world)[1]] == [True, True]
    await world.restart()
    assert "on again" in (await ask(world, "on again")).content


async def test_what_waits_in_a_paused_server_can_be_stopped(world: World) -> None:
    await say(world, "pause")
    await ask(world, "never")
    assert "Stopped" in await say(world, "cancel", world.member)
    assert "Nothing waits." in await say(world, "pause")
    await say(world, "resume")
    assert world.services.engine.jobs() == []


async def test_the_setting_is_the_pause_and_is_recorded(world: World) -> None:
    set_on = {"key": "queue.paused", "value": "on"}
    await world.moderator.slash(world.channel, "config set", **set_on)
    await ask(world, "waits")
    assert [job.state for job in world.services.engine.jobs()] == [JobState.QUEUED]
    await say(world, "resume")
    assert "waits" in contents(world)[0]
    assert await say(world, "resume") == "This server is not paused."
    history = (await world.moderator.slash(world.channel, "config history")).response.content
    assert "`queue.paused` from **on** to **not set**" in history


@pytest.mark.parametrize("away", [False, True])
async def test_nothing_waits_for_a_server_that_the_bot_has_left(
    world: World, *, away: bool
) -> None:
    """Nor for one that it had to leave while it was away."""
    other = world.env.create_guild("Elsewhere")
    there, guest = other.create_text_channel("general"), other.add_member(world.user)
    settings = world.services.server_settings
    for guild in (world.guild, other):
        await settings.set("queue.paused", "on", guild_id=guild.id, user_id=1)
    await ask(world, "stays")
    gone = [await ask(world, f"waits {number}", guest, there) for number in range(2)]
    assert len(world.services.engine.jobs()) == 3
    if away:
        await world.run.close()
    world.env.backend.remove_guild(other.id)
    if away:
        await world.env.restart_bot(await world.run.open())
    await world.env.settle()
    [left] = world.services.engine.jobs()
    assert left.submission.requester.guild_id == world.guild.id
    rows = await world.services.jobs.of_member(world.member.id)
    assert [row.state for row in rows] == ["queued", *["cancelled"] * len(gone)]
    settings = world.services.server_settings
    assert settings.servers_with("queue.paused") == [world.guild.id]


@pytest.mark.parametrize("command", ["pause", "resume"])
async def test_who_does_not_manage_this_server_cannot(world: World, command: str) -> None:
    """Not even a moderator of another one, whom Discord lets through."""
    world.env.backend.commands[None][command, 1]["default_member_permissions"] = None
    other, vera = world.env.create_guild("Elsewhere"), world.env.create_user("vera")
    manages = other.create_role("M", permissions=discord.Permissions(manage_guild=True))
    other.add_member(vera, roles=[manages])
    guest = world.guild.add_member(vera)
    assert "“Manage Server”" in await say(world, command, guest)
    assert [type(error).__name__ for error in world.env.errors] == ["MissingPermissions"]
    assert "runs" in (await ask(world, "runs")).content
