"""What a member sees, as plain values."""

from __future__ import annotations

import pytest

from bot.demo.channel import ShownFile
from bot.demo.world import World


async def test_references_read_as_names(plain_world: World) -> None:
    world = plain_world
    content = f"{world.guest.mention} in {world.channel.mention} </ask:5> <@1> <#1> <t:5:R> a < 3"
    await world.env.act(world.member.send(world.channel, content))
    shown = world.view.messages()[0]
    assert shown.content == "@Grace in #workbench /ask <@1> <#1> <t:5:R> a < 3"
    assert (shown.author, shown.by_bot) == ("Ada", False)


async def test_what_only_somebody_else_may_see_is_left_out(plain_world: World) -> None:
    world = plain_world
    message = await world.env.act(world.member.send(world.channel, "", attachments=[("a", b"")]))
    result = await world.env.act(world.guest.context_menu(world.channel, "Name files", message))
    assert result.ephemeral
    assert world.view.message(str(result.response.id)) is None
    assert all(not shown.private for shown in world.view.messages())


async def test_the_version_grows_with_what_happens(plain_world: World) -> None:
    before = plain_world.view.version
    await plain_world.env.act(plain_world.member.send(plain_world.channel, "hello"))
    assert plain_world.view.version > before


async def test_a_file_that_is_nowhere(plain_world: World) -> None:
    with pytest.raises(FileNotFoundError):
        plain_world.view.read(ShownFile("a", "", 0, "https://cdn.invalid/a"))


async def test_waiting_for_what_never_comes_ends(plain_world: World) -> None:
    with pytest.raises(TimeoutError):
        await plain_world.until(lambda: None, 0.2)
