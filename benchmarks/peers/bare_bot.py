"""A bot of discord.py alone against the wire double: what no bot of this library can go below."""

import asyncio
import os
import sys

import discord
import yarl
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from discord.http import Route


def main(url: str) -> None:
    """Connect and stay."""
    Route.BASE = url + "/api/v10"
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url.replace("http", "ws", 1) + "/gateway")
    bot = commands.AutoShardedBot(commands.when_mentioned, intents=discord.Intents.default())
    asyncio.run(bot.start(os.environ["DISCORD_TOKEN"]))


if __name__ == "__main__":
    main(sys.argv[1])
