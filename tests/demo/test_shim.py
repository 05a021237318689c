"""The simulated Discord in real time."""

from __future__ import annotations

import asyncio
import time

from simcord.preview import _markdown

from bot.demo.preview import LivePreview
from bot.demo.world import World


async def test_a_command_returns_when_it_is_acknowledged(plain_world: World) -> None:
    began = time.monotonic()
    result = await plain_world.env.act(plain_world.member.slash(plain_world.channel, "count"))
    assert result.acknowledged
    assert time.monotonic() - began < 2  # counting takes ten seconds


async def test_edits_arrive_while_the_command_works(plain_world: World) -> None:
    world = plain_world
    result = await world.env.act(world.member.slash(world.channel, "count"))
    seen = set()
    for _ in range(10):
        await asyncio.sleep(0.1)
        seen.add(result.response.content)
    assert len(seen) >= 4


async def test_a_button_works_in_the_middle_of_it(plain_world: World) -> None:
    world = plain_world
    result = await world.env.act(world.member.slash(world.channel, "count"))
    await asyncio.sleep(0.3)
    await world.env.act(world.member.click(result.response, label="Stop"))
    await asyncio.sleep(0.3)
    assert result.response.content == "stopped"


async def test_an_answer_after_three_seconds_is_refused(plain_world: World) -> None:
    world = plain_world
    result = await world.env.act(world.member.slash(world.channel, "dawdle"))
    assert not result.acknowledged
    await asyncio.sleep(0.5)
    (error,) = world.env.bot.too_late
    assert error.code == 10062  # unknown interaction


async def test_members_act_one_after_another(plain_world: World) -> None:
    world = plain_world
    results = await asyncio.gather(
        world.env.act(world.member.slash(world.channel, "count")),
        world.env.act(world.guest.slash(world.channel, "count")),
        world.env.act(world.member.send(world.channel, "hello")),
    )
    assert results[0].acknowledged
    assert results[1].acknowledged
    assert [m.content for m in world.view.messages() if not m.by_bot] == ["hello"]


async def test_a_quote_ends_with_its_line(plain_world: World) -> None:
    async with LivePreview(plain_world):
        quote, paragraph = _markdown.markdown_tokens("> a\n> question\nan answer")
    assert (quote["type"], paragraph["type"]) == ("blockquote", "paragraph")
