from importlib.metadata import version

import pytest
from discord import app_commands

from bot.settings import Settings
from tests.conftest import World


async def test_help_lists_every_command_that_one_may_use(world: World) -> None:
    result = await world.member.slash(world.channel, "help")
    assert result.response.ephemeral
    [embed] = result.response.embeds
    assert embed.description is not None
    commands = [
        command
        for command in world.bot.tree.walk_commands()
        if isinstance(command, app_commands.Command)
    ]
    for command in commands:
        listed = f"`/{command.qualified_name}` {command.description}" in embed.description
        top = command.root_parent or command
        assert listed is (top.name not in ("config", "pause", "prompts", "resume", "style"))
    assert len(embed) <= 6000


async def test_help_shows_moderators_their_commands(world: World) -> None:
    result = await world.moderator.slash(world.channel, "help")
    assert "`/config set`" in result.response.embeds[0].description


async def test_help_works_in_direct_messages(world: World) -> None:
    result = await world.member.user.slash("help")
    assert "`/ask`" in result.response.embeds[0].description


@pytest.mark.parametrize("contact", ["", "Vera, vera@example.org"])
async def test_about_says_version_contact_and_licences(world: World, contact: str) -> None:
    settings: Settings = world.services.settings.model_copy(update={"contact": contact})
    object.__setattr__(world.services, "settings", settings)
    result = await world.member.slash(world.channel, "about")
    [embed] = result.response.embeds
    text = "\n".join(field.value for field in embed.fields)
    assert embed.title == f"Sextant {version('sextant-bot')}"
    assert (contact or "The owner has not said") in text
    assert "Fake Text: MIT" in text
    assert "/privacy show" in text


async def test_every_text_of_every_command_fits_discord_and_says_something(world: World) -> None:
    for command in world.bot.tree.walk_commands():
        assert 1 <= len(command.description) <= 100
        assert not command.description.startswith("…")
        if isinstance(command, app_commands.Command):
            for parameter in command.parameters:
                assert parameter.description not in ("", "…"), parameter.name
                assert len(parameter.description) <= 100
