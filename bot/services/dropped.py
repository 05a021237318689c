"""What members drop into channels where the bot acts unasked: who takes it, and what was missed.

This module owns that each message is offered once to whoever takes such files, and that what was
dropped while the bot was away is caught up: within the last day, 50 messages a channel. It must
not know what becomes of a file: cogs are the takers, and the source key of what they submit keeps
anything from being done twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import discord

from bot.db.instance import InstanceRepository
from bot.delivery.intake import author_of, settings_channel
from bot.services.addressing import from_person
from bot.services.admission import Admission
from models.contracts import Modality

_log = logging.getLogger(__name__)

Readable = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread

_CATCH_UP_S = 86_400.0
_CATCH_UP_MESSAGES = 50
_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class Taker:
    """Somebody who takes files where the setting ``automatic`` of a modality is on.

    Attributes:
        finds: Returns the files of a message that it would take.
        take: Takes them. Whatever goes wrong it tells, or logs, itself.
    """

    modality: Modality
    finds: Callable[[discord.Message], Sequence[discord.Attachment]]
    take: Callable[[discord.Message], Awaitable[None]]


@dataclass(slots=True)
class Dropped:
    """Offers messages of people in servers to the takers."""

    instance: InstanceRepository
    admission: Admission
    _takers: list[Taker] = field(default_factory=list)
    _behind: bool = True
    _catching_up: asyncio.Lock = field(default_factory=asyncio.Lock)
    _under_way: set[tuple[int, int]] = field(default_factory=set)

    def add(self, taker: Taker) -> None:
        """Offer messages to somebody more."""
        self._takers.append(taker)

    def missed(self) -> None:
        """Note that messages may be missed from here on."""
        self._behind = True

    async def arrived(self, message: discord.Message) -> None:
        """Offer a new message."""
        takers = self._takers_in(message.channel)
        if not any(taker.finds(message) for taker in takers):
            return
        place = message.channel.id, message.id
        self._under_way.add(place)
        try:
            for taker in takers:
                if taker.finds(message):
                    await taker.take(message)
        finally:
            self._under_way.discard(place)
        if not self._behind:  # otherwise catching up begins where the cursor stands
            await self._move_cursor(message)

    async def catch_up(self, guilds: Iterable[discord.Guild]) -> None:
        """Offer what was dropped while the bot was away, or its connection gone."""
        async with self._catching_up:
            cursors = await self.instance.cursors()
            for guild in guilds:
                channels: list[Readable] = [
                    *guild.text_channels,
                    *guild.voice_channels,
                    *guild.stage_channels,
                    *guild.threads,
                ]
                for channel in channels:
                    takers = await self._with_beginnings(channel)
                    if takers:
                        await self._catch_up_channel(channel, takers, cursors.get(channel.id, 0))
            self._behind = False

    async def _catch_up_channel(
        self, channel: Readable, takers: Sequence[tuple[Taker, float]], cursor: int
    ) -> None:
        since = datetime.fromtimestamp(min(moment for _, moment in takers), UTC)
        after = discord.Object(max(cursor, discord.utils.time_snowflake(since)))
        try:
            missed = [
                message
                async for message in channel.history(
                    limit=_CATCH_UP_MESSAGES, after=after, oldest_first=False
                )
            ]
        except discord.HTTPException as error:
            _log.warning("channel %d cannot be caught up: %s", channel.id, error)
            return
        for message in reversed(missed):
            if not from_person(message):
                continue
            for taker, moment in takers:
                if message.created_at.timestamp() >= moment and taker.finds(message):
                    await self._wait_for_room(message)
                    await taker.take(message)
        if missed:
            await self._move_cursor(missed[0])

    async def _with_beginnings(self, channel: Readable) -> list[tuple[Taker, float]]:
        """Return the takers in a channel, each with the Unix time from which on it takes."""
        place = channel.guild.id, settings_channel(channel)
        settings = self.admission.server_settings
        earliest = discord.utils.utcnow().timestamp() - _CATCH_UP_S
        return [
            (taker, max(earliest, await settings.changed_at(_switch(taker), *place) or 0.0))
            for taker in self._takers_in(channel)
        ]

    async def _wait_for_room(self, message: discord.Message) -> None:
        """Wait while as many jobs are under way as may be: nothing missed is refused for it."""
        allowances, requester = self.admission.allowances, author_of(message)
        while not allowances.has_room(requester):  # noqa: ASYNC110 - room has no event
            await asyncio.sleep(_RETRY_S)

    async def _move_cursor(self, message: discord.Message) -> None:
        """Note how far a channel was looked at, unless an older message is still on its way in."""
        channel_id = message.channel.id
        if any(place == channel_id and id_ <= message.id for place, id_ in self._under_way):
            return
        await self.instance.move_cursor(
            guild_id=message.guild.id if message.guild else 0,
            channel_id=channel_id,
            message_id=message.id,
        )

    def _takers_in(self, channel: discord.abc.MessageableChannel) -> list[Taker]:
        """Return those who take files in a channel."""
        guild = getattr(channel, "guild", None)
        if guild is None:
            return []
        settings, place = self.admission.server_settings, (guild.id, settings_channel(channel))
        return [
            taker
            for taker in self._takers
            if settings.get(_switch(taker), *place)
            and settings.get(f"{taker.modality}.enabled", *place)
        ]


def _switch(taker: Taker) -> str:
    return f"{taker.modality}.automatic"
