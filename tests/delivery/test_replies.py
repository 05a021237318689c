"""A sentence reaches its person in whatever state the interaction is."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import discord
import pytest
from discord import app_commands

from bot.delivery.replies import CONTENT_LIMIT, answer_message, reply, shorten
from tests.conftest import World


@app_commands.command(description="Says something")
async def say(
    interaction: discord.Interaction[Any],
    text: str,
    after_s: float = 0.0,
    defer: bool = False,
    private: bool = True,
) -> None:
    if defer:
        await interaction.response.defer(ephemeral=private)
    await asyncio.sleep(after_s)
    await reply(interaction, text, ephemeral=private)


@pytest.fixture
async def saying(world: World) -> World:
    world.bot.tree.add_command(say)
    await world.bot.tree.sync()
    return world


async def test_fresh_privately_or_not(saying: World) -> None:
    await saying.member.slash(saying.channel, "say", text="for me")
    await saying.member.slash(saying.channel, "say", text="for all", private=False)
    assert [m.content for m in saying.messages(saying.stranger)] == ["for all"]
    assert [m.content for m in saying.messages()] == ["for me", "for all"]


async def test_a_deferred_reply_is_filled_and_no_second_message_comes(saying: World) -> None:
    await saying.member.slash(saying.channel, "say", text="there", defer=True)
    assert [m.content for m in saying.messages()] == ["there"]


async def test_an_interaction_that_was_acknowledged_without_our_knowing_is_filled(
    saying: World,
) -> None:
    """The call was repeated after its answer had been lost: Discord says 40060."""
    await saying.member.slash(saying.channel, "say", text="x", after_s=5, defer=True)
    saying.env.inject_error("PATCH", "/webhooks/*/*/messages/@original", status=400, code=40060)
    await saying.env.advance_time(5)
    assert [m.content for m in saying.messages()] == ["x"]


async def test_after_a_quarter_of_an_hour_the_person_is_told_directly(saying: World) -> None:
    await saying.member.slash(saying.channel, "say", text="late", after_s=1000, defer=True)
    await saying.env.advance_time(1001)
    assert [m.content for m in saying.direct()] == ["late"]


async def test_an_invalid_token_is_told_directly(saying: World) -> None:
    saying.env.inject_error("POST", "/interactions/*/*/callback", status=404, code=10062)
    await saying.member.slash(saying.channel, "say", text="late")
    assert [m.content for m in saying.direct()] == ["late"]


async def test_who_takes_no_direct_messages_costs_nothing(saying: World) -> None:
    saying.env.inject_error("POST", "/interactions/*/*/callback", status=404, code=10062)
    saying.env.inject_error("POST", "/channels/*/messages", status=403, code=50007)
    await saying.member.slash(saying.channel, "say", text="late")
    assert saying.direct() == []
    assert saying.env.errors == []


async def test_another_refusal_is_raised(saying: World) -> None:
    saying.env.inject_error("POST", "/interactions/*/*/callback", status=400, code=50035)
    await saying.member.slash(saying.channel, "say", text="x")
    [error] = saying.env.errors
    assert isinstance(error.original, discord.HTTPException)  # type: ignore[attr-defined]


async def test_what_is_too_long_is_shortened_visibly(saying: World) -> None:
    await saying.member.slash(saying.channel, "say", text="x" * 3000)
    [message] = saying.messages()
    assert message.content == "x" * (CONTENT_LIMIT - 1) + "…"
    assert shorten("x" * CONTENT_LIMIT) == "x" * CONTENT_LIMIT


async def test_an_answer_to_a_message_that_is_gone_stands_alone(world: World) -> None:
    asked = await world.member.send(world.channel, "hello")
    channel: Any = world.bot.get_channel(world.channel.id)
    message = await channel.fetch_message(asked.id)
    await world.member.delete(asked)
    posted = await answer_message(message, "here", "1:test")
    assert posted.content == "here"


async def test_an_answer_carries_the_same_nonce_each_time(world: World) -> None:
    asked = await world.member.send(world.channel, "hello")
    channel: Any = world.bot.get_channel(world.channel.id)
    message = await channel.fetch_message(asked.id)
    for key in ("1:a", "1:a", "1:b"):
        await answer_message(message, "here", key)
    sent = [
        e.json for e in world.env.http_requests if e.method == "POST" and "nonce" in (e.json or {})
    ]
    assert [s["enforce_nonce"] for s in sent] == [True] * 3
    assert sent[0]["nonce"] == sent[1]["nonce"] != sent[2]["nonce"]
    assert len(sent[0]["nonce"]) <= 25


@pytest.mark.parametrize(
    ("failures", "posts"), [(1, True), (2, True), (3, False)], ids=["once", "twice", "for good"]
)
async def test_a_call_without_an_answer_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch, failures: int, posts: bool
) -> None:
    asked = await world.member.send(world.channel, "hello")
    channel: Any = world.bot.get_channel(world.channel.id)
    message = await channel.fetch_message(asked.id)
    send, calls = discord.TextChannel.send, 0

    async def dropped(*args: Any, **kwargs: Any) -> discord.Message:
        nonlocal calls
        calls += 1
        if calls <= failures:
            raise aiohttp.ServerDisconnectedError
        return await send(*args, **kwargs)

    monkeypatch.setattr(discord.TextChannel, "send", dropped)
    monkeypatch.setattr("bot.delivery.replies._PAUSES_S", (0.0, 0.0))
    if posts:
        await answer_message(message, "here", "1:test")
        assert [message.content for message in world.messages()] == ["hello", "here"]
    else:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await answer_message(message, "here", "1:test")
