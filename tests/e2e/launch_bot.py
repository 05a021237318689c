"""``python -m bot`` against the wire double: ``python launch_bot.py URL CONFIG_FOLDER COMMAND``.

This is the one place that points discord.py elsewhere; production code knows no such switch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

import bot.settings


def main(url: str, config_folder: str, *arguments: str) -> int:
    """Run a command and return the exit code."""
    Route.BASE = url + "/api/v10"
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url.replace("http", "ws", 1) + "/gateway")
    bot.settings.CONFIG_FOLDER = Path(config_folder)

    from bot.__main__ import main as command_line

    return command_line(arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
