"""The command tree, and the one place where an exception becomes a person's sentence.

This module owns the wording of everything that is not a ``HandlerError`` (those bring their own
sentence), and the log entry of everything unexpected: once, with a short id that the person sees
too. Commands, buttons and message listeners all come here.
"""

from __future__ import annotations

import logging
import secrets
from typing import Any

import aiohttp
import discord
from discord import app_commands
from sqlalchemy.exc import OperationalError

from bot.db.session import InstanceLost
from bot.delivery.replies import answer_message, is_expired, reply, send_directly, shorten
from bot.engine.journal import JournalUnavailable
from models.errors import HandlerError

_log = logging.getLogger(__name__)

_BUSY = "My database is busy, so nothing was begun. Please try again in a moment."


class SextantTree(app_commands.CommandTree):
    """A command tree whose failures are told to whoever ran the command."""

    async def on_error(
        self, interaction: discord.Interaction[Any], error: app_commands.AppCommandError, /
    ) -> None:
        command = interaction.command.qualified_name if interaction.command else "unknown command"
        await tell(interaction, error, where=f"/{command}")


async def tell(interaction: discord.Interaction[Any], error: Exception, *, where: str) -> None:
    """Tell a person what went wrong with what they typed or pressed.

    Args:
        interaction: In whatever state it is.
        error: Anything that was raised.
        where: Names the command or button in the log.
    """
    if isinstance(cause := _cause(error), discord.HTTPException) and is_expired(cause):
        _log.warning("%s: the interaction had expired before it could be answered", where)
        return
    try:
        await reply(interaction, sentence_for(error, where=where))
    except (TimeoutError, discord.HTTPException, OSError) as refused:
        _log.warning("%s: the person could not be told: %s", where, refused)


async def tell_author(
    message: discord.Message,
    error: Exception,
    *,
    answer: discord.Message | None = None,
    where: str,
) -> None:
    """Tell the author of a message what went wrong.

    Args:
        message: What was asked.
        error: Anything that was raised.
        answer: The answer that stands below it already; it becomes the sentence.
        where: Names the purpose in the log.
    """
    sentence = sentence_for(error, where=where)
    try:
        if answer is not None:
            await answer.edit(content=shorten(sentence))
        else:
            await answer_message(message, sentence, f"{message.id}:{where}:refused")
    except discord.HTTPException:
        await send_directly(message.author, sentence)


def sentence_for(error: BaseException, *, where: str) -> str:
    """Return what a person is told; log it when it was not foreseen."""
    error = _cause(error)
    sentence = _foreseen(error)
    if sentence is None:
        reference = secrets.token_hex(4)
        _log.error("%s failed (error %s)", where, reference, exc_info=error)
        sentence = (
            f"Something went wrong here (error `{reference}`). Please try again; "
            "if it keeps happening, give the owner that number."
        )
    return sentence


def _cause(error: BaseException) -> BaseException:
    if isinstance(error, app_commands.CommandInvokeError):
        return error.original
    if isinstance(error, app_commands.TransformerError) and error.__cause__ is not None:
        return error.__cause__ if isinstance(error.__cause__, HandlerError) else error
    return error


def _foreseen(error: BaseException) -> str | None:
    match error:
        case HandlerError():
            return error.user_message
        case JournalUnavailable() | InstanceLost():
            return _BUSY
        case OperationalError():
            _log.warning("the database is out of reach: %s", error.orig)
            return _BUSY
        case app_commands.AppCommandError():
            return _refused_command(error)
        case discord.Forbidden():
            return "I may not do that here: I lack a permission in this channel. Tell a moderator."
        case discord.NotFound():
            return "That is gone: the message or channel does not exist any more."
        case (
            aiohttp.ClientError()
            | discord.RateLimited()
            | discord.HTTPException(status=429 | 500 | 502 | 503 | 504)
        ):
            return "Discord has trouble right now. Please try again in a moment."
        case _:
            return None


def _refused_command(error: app_commands.AppCommandError) -> str | None:
    match error:
        case app_commands.MissingPermissions():
            return f"You need the permission {_names(error.missing_permissions)} for that."
        case app_commands.BotMissingPermissions():
            return f"I need the permission {_names(error.missing_permissions)} here for that."
        case app_commands.CommandOnCooldown():
            return f"Not so fast: try again in {max(1, round(error.retry_after))} s."
        case app_commands.NoPrivateMessage():
            return "That works in a server only."
        case app_commands.TransformerError():
            return f"`{str(error.value)[:80]}` does not fit this option."
        case app_commands.CommandNotFound() | app_commands.CommandSignatureMismatch():
            return "That command has just changed. Reload Discord and try again."
        case app_commands.CheckFailure():
            return "You may not use that here."
        case _:
            return None


def _names(permissions: list[str]) -> str:
    """Return permissions as Discord shows them, where a guild is called a server."""
    words = (name.replace("_", " ").replace("guild", "server") for name in permissions)
    return " and ".join(f"“{name.title()}”" for name in words)
