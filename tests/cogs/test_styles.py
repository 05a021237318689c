from typing import Any

import pytest

from tests.conftest import World


async def style(world: World, deed: str, **options: Any) -> Any:
    return await world.moderator.slash(world.channel, f"style {deed}", **options)


async def imagine(world: World, **options: Any) -> Any:
    return await world.member.slash(world.channel, "imagine", prompt="a door", **options)


async def test_a_server_has_a_style_of_its_own_also_after_a_restart(world: World) -> None:
    await style(world, "set", name="Noir", prompt="film noir", negative_prompt="colour")
    await world.restart()
    await imagine(world, style="noir")
    [row] = await world.services.recipes.of_member(world.member.id)
    recipe = await world.services.recipes.load(row.id)
    assert recipe is not None
    assert recipe.request.prompt == "a door, film noir"
    assert recipe.request.negative_prompt == "colour"


async def test_styles_are_listed(world: World) -> None:
    await style(world, "set", name="noir", prompt="film *noir*")
    result = await style(world, "list")
    assert result.response.ephemeral
    [embed] = result.response.embeds
    assert "**noir**: film \\*noir\\*" in embed.description
    assert "**watercolour**" in embed.description


async def test_a_style_is_removed_a_default_one_too(world: World) -> None:
    await style(world, "set", name="noir", prompt="film noir")
    await style(world, "remove", name="noir")
    await style(world, "remove", name="watercolour")
    await world.restart()
    for name in ("noir", "watercolour"):
        result = await imagine(world, style=name)
        assert f"no style called “{name}”" in result.response.content
    assert "photo" in world.services.styles.of(world.guild.id)
    assert "watercolour" in world.services.styles.of(0)


async def test_a_removed_style_can_come_back(world: World) -> None:
    await style(world, "remove", name="watercolour")
    await style(world, "set", name="watercolour", prompt="soft washes")
    assert world.services.styles.get(world.guild.id, "watercolour").prompt == "soft washes"


async def test_changes_are_in_the_history_and_break_no_settings(world: World) -> None:
    await style(world, "set", name="noir", prompt="film noir")
    await style(world, "remove", name="watercolour")
    await world.restart()
    result = await world.moderator.slash(world.channel, "config history")
    assert "`style.noir` from **not set** to **film noir**" in result.response.content
    assert "`style.watercolour` from **not set** to **removed**" in result.response.content


@pytest.mark.parametrize(
    ("deed", "options", "part"),
    [
        ("set", {"name": "*", "prompt": "x"}, "A style's name has"),
        ("remove", {"name": "nope"}, "no style called “nope”"),
    ],
)
async def test_what_does_not_fit_is_refused(
    world: World, deed: str, options: dict[str, Any], part: str
) -> None:
    result = await style(world, deed, **options)
    assert part in result.response.content


async def test_styles_complete(world: World) -> None:
    found = await world.moderator.autocomplete(world.channel, "style remove", "name", "art")
    assert [choice["value"] for choice in found] == ["line art", "pixel art"]
