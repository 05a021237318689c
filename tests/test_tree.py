"""Every exception becomes one clear sentence, and what nobody foresaw a number as well."""

from __future__ import annotations

import re
from typing import Any

import discord
import pytest
from discord import app_commands

from bot.db.session import InstanceLost
from bot.engine.journal import JournalUnavailable
from bot.tree import sentence_for
from models import errors
from tests.conftest import World


class _Response:
    def __init__(self, status: int) -> None:
        self.status = status
        self.reason = "because"


def http_error(kind: type[discord.HTTPException], status: int) -> discord.HTTPException:
    return kind(_Response(status), {"code": 0, "message": "internal words"})  # type: ignore[arg-type]


def every_error() -> list[type[errors.HandlerError]]:
    found = [errors.HandlerError]
    for kind in found:
        found += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_handler_error_brings_its_own_sentence(kind: type[errors.HandlerError]) -> None:
    sentence = sentence_for(kind(), where="test")
    assert sentence == kind.default_message
    assert sentence[0].isupper()
    assert sentence.endswith((".", "…"))


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (
            app_commands.MissingPermissions(["manage_guild"]),
            "You need the permission “Manage Server”",
        ),
        (
            app_commands.BotMissingPermissions(["send_messages", "attach_files"]),
            "I need the permission “Send Messages” and “Attach Files”",
        ),
        (app_commands.CommandOnCooldown(app_commands.Cooldown(1, 10), 4.4), "try again in 4 s"),
        (app_commands.NoPrivateMessage(), "works in a server only"),
        (app_commands.CommandNotFound("x", []), "has just changed"),
        (app_commands.CheckFailure("internal words"), "You may not use that here"),
        (JournalUnavailable("internal words"), "database is busy"),
        (InstanceLost("internal words"), "database is busy"),
        (http_error(discord.Forbidden, 403), "I lack a permission"),
        (http_error(discord.NotFound, 404), "That is gone"),
        (http_error(discord.DiscordServerError, 503), "Discord has trouble"),
        (http_error(discord.HTTPException, 429), "Discord has trouble"),
    ],
)
def test_what_was_foreseen_is_told_without_being_logged(
    error: Exception, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    sentence = sentence_for(error, where="test")
    assert part in sentence
    assert "internal words" not in sentence
    assert caplog.records == []


def test_a_bug_is_told_by_a_number_that_the_log_has_once(caplog: pytest.LogCaptureFixture) -> None:
    sentence = sentence_for(KeyError("a path or a secret"), where="/ask")
    number = re.search(r"error `([0-9a-f]{8})`", sentence)
    assert number
    assert "secret" not in sentence
    [record] = caplog.records
    assert record.getMessage() == f"/ask failed (error {number[1]})"
    assert record.exc_info
    assert record.exc_info[0] is KeyError


# --------------------------------------------------------------------------- in Discord


@app_commands.command(description="Fails as it is told")
@app_commands.choices(
    state=[app_commands.Choice(name=n, value=n) for n in ("fresh", "deferred", "answered")]
)
async def fail(
    interaction: discord.Interaction[Any], state: str, number: app_commands.Range[int, 1, 3] = 1
) -> None:
    if state == "deferred":
        await interaction.response.defer()
    elif state == "answered":
        await interaction.response.send_message("so far")
    raise errors.InvalidRequest("That cannot be done.") if number == 1 else KeyError("bug")


@pytest.fixture
async def failing(world: World) -> World:
    world.bot.tree.add_command(fail)
    await world.bot.tree.sync()
    return world


async def test_a_fresh_interaction_is_answered_privately(failing: World) -> None:
    result = await failing.member.slash(failing.channel, "fail", state="fresh")
    assert result.response.content == "That cannot be done."
    assert result.response.flags.ephemeral


async def test_a_deferred_reply_is_filled(failing: World) -> None:
    await failing.member.slash(failing.channel, "fail", state="deferred")
    [answer] = failing.messages()
    assert answer.content == "That cannot be done."


async def test_behind_an_answer_the_sentence_comes_privately(failing: World) -> None:
    await failing.member.slash(failing.channel, "fail", state="answered")
    assert [m.content for m in failing.messages(failing.stranger)] == ["so far"]
    assert [m.content for m in failing.messages()] == ["so far", "That cannot be done."]


async def test_a_bug_in_a_command_is_told_by_its_number(failing: World) -> None:
    result = await failing.member.slash(failing.channel, "fail", state="fresh", number=2)
    assert re.search(r"error `[0-9a-f]{8}`", result.response.content)
    [error] = failing.env.errors
    assert isinstance(error, app_commands.CommandInvokeError)


async def test_a_member_who_may_not_use_a_command_is_told(world: World) -> None:
    @app_commands.command(description="For moderators")
    @app_commands.checks.has_permissions(manage_guild=True)
    async def govern(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message("done")

    world.bot.tree.add_command(govern)
    await world.bot.tree.sync()
    refused = await world.member.slash(world.channel, "govern")
    assert refused.response.content == "You need the permission “Manage Server” for that."
    assert (await world.moderator.slash(world.channel, "govern")).response.content == "done"
    assert len(world.env.errors) == 1


@pytest.mark.parametrize("status", [403, 500])
async def test_trouble_with_telling_stays_trouble_with_telling(
    failing: World, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    failing.env.inject_error("POST", "/interactions/*/*/callback", status=status, times=None)
    await failing.member.slash(failing.channel, "fail", state="fresh")
    assert [r.levelname for r in caplog.records if r.name == "bot.tree"] == ["WARNING"]
