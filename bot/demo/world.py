"""The server that the demo plays in: one channel, a moderator, a member, the bot.

This module owns who is there and what they may do. The bot is handed in as it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

import discord
import simcord
from discord.ext import commands
from simcord.backend.cdn import CDN_BASE
from simcord.results import InteractionResult, to_discord_message

from bot.demo.channel import ChannelView, ShownMessage
from bot.demo.faces import bot_face, member_face
from bot.demo.shim import LiveEnv

_LOOK_AGAIN_S: Final = 0.1
_FACE: Final = "face"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """Everything that the demo acts through.

    Attributes:
        member: Ada, who may manage the server, so that /config works for her.
        guest: Grace, who may not.
        view: The channel as Ada sees it.
        faces: Avatars by address, for the preview.
    """

    env: LiveEnv
    guild: simcord.GuildHandle
    channel: simcord.ChannelHandle
    member: simcord.MemberActor
    guest: simcord.MemberActor
    view: ChannelView
    faces: Mapping[str, tuple[str, bytes]] = field(repr=False)

    async def until(self, found: Callable[[], T | None], timeout_s: float) -> T:
        """Wait until something can be seen in the channel, and return it.

        Raises:
            TimeoutError: It did not appear in time.
        """
        give_up = time.monotonic() + timeout_s
        while time.monotonic() < give_up:
            value = found()
            if value is not None:
                return value
            await asyncio.sleep(_LOOK_AGAIN_S)
        raise TimeoutError

    async def press(self, message: ShownMessage, custom_id: str) -> InteractionResult:
        """Have the member press a button."""
        return await self.env.act(self.member.click(self.as_sent(message), custom_id=custom_id))

    def as_sent(self, message: ShownMessage) -> discord.Message:
        """Return the message behind what is shown, which members act upon."""
        stored = self.env.backend.get_message(self.channel.id, int(message.id))
        return to_discord_message(self.env, stored)


async def download(attachment: discord.Attachment) -> AsyncGenerator[bytes, None]:
    """Yield an attachment's bytes, which are nowhere but in the simulated Discord."""
    yield await attachment.read()


@asynccontextmanager
async def open_world(bot: commands.AutoShardedBot) -> AsyncIterator[World]:
    """Let a bot log in to a simulated Discord."""
    env = LiveEnv(bot, shard_count=1)
    sextant = env.backend.bot_user
    sextant.name, sextant.avatar = "Sextant", _FACE
    ada = env.create_user("ada", global_name="Ada", avatar=_FACE)
    grace = env.create_user("grace", global_name="Grace", avatar=_FACE)
    faces = {
        f"{CDN_BASE}/avatars/{user.id}/{_FACE}.png": (f"{user.name}.png", png)
        for user, png in (
            (sextant, bot_face()),
            (ada, member_face("Ada", "#4c6a86")),
            (grace, member_face("Grace", "#6a4c86")),
        )
    }
    guild = env.create_guild("Observatory")
    channel = guild.create_text_channel("workbench", topic="Ask, draw, speak, listen")
    moderators = guild.create_role(
        "Moderators", permissions=discord.Permissions(manage_guild=True, manage_messages=True)
    )
    member = guild.add_member(ada, roles=[moderators])
    guest = guild.add_member(grace)
    view = ChannelView(env, channel, member)
    await env.start()
    try:
        await bot.wait_until_ready()
        yield World(env, guild, channel, member, guest, view, faces)
    finally:
        await bot.close()
        await env.shutdown()
