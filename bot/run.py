"""Running against Discord: from the start to a stop that tells those who wait.

This module owns signals, the order of a stop, and the exit codes. What the bot is made of is
``bot.app``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from typing import TYPE_CHECKING, Final

from bot.logs import set_up
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.app import App
    from bot.client import Sextant

log = logging.getLogger(__name__)

STOPPED: Final = 0
CRASHED: Final = 1
TRY_LATER: Final = 75
"""Discord could not be reached (EX_TEMPFAIL)."""
MISCONFIGURED: Final = 78
"""The owner has to mend something first; starting again would not help (EX_CONFIG)."""


def main(settings: Settings) -> int:
    """Run until a signal or a failure and return the exit code."""
    set_up(settings.log)
    if not settings.token.get_secret_value():
        return _refuse("DISCORD_TOKEN is not set. `python -m bot doctor` says how to get one.")
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    import aiohttp
    import discord

    from bot.app import open_app
    from bot.db.session import DatabaseUnavailable, InstanceRunning

    try:
        async with open_app(settings) as app:
            _warn_of_missing_models(app)
            return await _serve(app, settings.token.get_secret_value())
    except (InstanceRunning, DatabaseUnavailable) as error:
        return _refuse(str(error))
    except discord.LoginFailure:
        return _refuse(
            "Discord refused the token. Copy it anew from the developer portal (Bot, Reset Token) "
            "into DISCORD_TOKEN."
        )
    except discord.PrivilegedIntentsRequired:
        return _refuse(
            "The bot may not read messages yet. Switch on Message Content Intent in the developer "
            "portal (Bot, Privileged Gateway Intents)."
        )
    except (aiohttp.ClientConnectionError, discord.GatewayNotFound, discord.DiscordServerError):
        log.exception("Discord cannot be reached")
        return TRY_LATER


async def _serve(app: App, token: str) -> int:
    """Stay connected until a signal; then drain while Discord can still be told."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop)
    _settle_when_connected(app.bot)
    serving = asyncio.create_task(app.bot.start(token), name="discord")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()  # raises what ended it
            return CRASHED
        log.info("stopping: running jobs may finish, waiting ones go on after the restart")
        await app.drain()
        return STOPPED
    finally:
        stopping.cancel()
        await app.bot.close()
        serving.cancel()  # where it has yet to log in, closing does not end it
        await asyncio.gather(serving, stopping, return_exceptions=True)


def _settle_when_connected(bot: Sextant) -> None:
    """Look for garbage once, before anybody is served, and keep what lives on out of it.

    Each collection of everything stalled the event loop for 70 ms.
    """

    async def settle() -> None:
        bot.remove_listener(settle, "on_connect")  # Discord may be lost and found again
        gc.collect()
        gc.freeze()

    bot.add_listener(settle, "on_connect")


def _on_signal(stop: asyncio.Event) -> None:
    """Stop politely; at the second signal at once, as the default is."""
    stop.set()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)


def _warn_of_missing_models(app: App) -> None:
    services = app.services
    for spec in services.catalog.needed_by(services.settings.profile):
        if not services.weights.is_installed(spec):
            log.warning("%s is not installed: python -m bot models pull %s", spec.id, spec.id)


def _refuse(sentence: str) -> int:
    log.critical("%s", sentence)
    return MISCONFIGURED
