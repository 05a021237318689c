"""The simulated Discord in real time."""

from __future__ import annotations

import asyncio

from simcord.preview import _markdown

from bot.demo.preview import LivePreview
from bot.demo.world import World


async def test_a_command_returns_when_it_is_acknowledged(plain_world: World) -> None:
    result = await plain_world.env.act(plain_world.member.slash(plain_world.channel, "count"))
    assert result.acknowledged
    assert result.response.content != "1000"  # it goes on counting


async def test_edits_arrive_while_the_command_works(plain_world: World) -> None:
    world = plain_world
    result = await world.env.act(world.member.slash(world.channel, "count"))
    seen: set[str] = set()
    await world.until(lambda: seen.add(result.response.content) or len(seen) >= 4 or None, 60)


async def test_a_button_works_in_the_middle_of_it(plain_world: World) -> None:
    world = plain_world
    result = await world.env.act(world.member.slash(world.channel, "count"))
    await world.until(lambda: result.response.content or None, 60)
    await world.env.act(world.member.click(result.response, label="Stop"))
    await world.until(lambda: result.response.content == "stopped" or None, 60)


async def test_an_answer_after_three_seconds_is_refused(plain_world: World) -> None:
    world = plain_world
    result = await world.env.act(world.member.slash(world.channel, "dawdle"))
    assert not result.acknowledged
    (error,) = await world.until(lambda: world.env.bot.too_late or None, 60)
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
