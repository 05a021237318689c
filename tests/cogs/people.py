"""What people do in a channel that simcord has no verb for."""

from __future__ import annotations

from typing import Any

import discord
from simcord.results import to_discord_message

from tests.conftest import World

VOICE = 1 << 13
OGG = b"OggS" + bytes(3000)
"""A recording that lasts 3 s to the fake model, whatever is in it."""


async def speak(
    world: World, person: Any, reply_to: discord.Message | None = None, channel: Any = None
) -> discord.Message:
    """Send a voice message."""
    return await _post(
        world, person, channel or world.channel, reply_to=reply_to, flags=VOICE, data=OGG
    )


async def _post(
    world: World,
    person: Any,
    channel: Any,
    *,
    reply_to: discord.Message | None,
    flags: int,
    data: bytes,
) -> discord.Message:
    backend = world.env.backend
    reference = None
    if reply_to is not None:
        target = {"channel_id": str(channel.id), "message_id": str(reply_to.id)}
        reference = backend.normalize_message_reference(channel.id, target)
    message = backend.create_message(
        channel.id,
        person.id,
        attachments=backend.store_attachments(channel.id, [("voice-message.ogg", data)]),
        flags=flags,
        reference=reference,
    )
    world.env._mark_mutation()
    await world.env.settle()
    return to_discord_message(world.env, message)


def open_thread(world: World, name: str, owner: Any, on: discord.Message | None = None) -> Any:
    """Open a thread in the channel, on a message or by itself."""
    from simcord.builders import ChannelHandle

    thread = world.env.backend.create_thread(
        world.channel.id, name, owner.id, message_id=on.id if on else None
    )
    return ChannelHandle(world.env, world.guild, thread)
