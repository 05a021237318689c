"""The calls to Discord that deliver an answer.

This module owns how a part becomes a call: which token, which files, who may be pinged. Faults
are raised as ``bot.delivery.faults``; whether a call is repeated is decided by its callers.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import discord
from discord.http import handle_message_parameters

from bot.delivery.faults import Barred, translated
from bot.delivery.parts import Button, ChannelMessage, File, VoiceMessage
from bot.delivery.uploads import Upload, opened, upload_limit
from bot.engine.job import Anchor

_STYLES = {
    "primary": discord.ButtonStyle.primary,
    "secondary": discord.ButtonStyle.secondary,
    "success": discord.ButtonStyle.success,
    "danger": discord.ButtonStyle.danger,
}
_NOBODY = discord.AllowedMentions.none()
_SEARCH_DEPTH = 300
"""Messages after the anchor that are searched for a part."""


class Sender:
    """Edits anchors and posts messages.

    Args:
        client: The logged-in client.
        spool_dir: Where files of answers are.
    """

    def __init__(self, client: discord.Client, spool_dir: Path) -> None:
        self._client = client
        self._spool_dir = spool_dir

    def token_serves(self, anchor: Anchor) -> bool:
        """Return whether the anchor's interaction token can still be used."""
        now = discord.utils.utcnow().timestamp()
        return bool(anchor.token) and now < anchor.token_expires_at

    async def edit_anchor(
        self,
        anchor: Anchor,
        content: str,
        buttons: Sequence[Button] = (),
        files: Sequence[File] | None = None,
    ) -> None:
        """Bring an anchor into a state. Doing it twice is the same as once.

        Args:
            anchor: Edited by the interaction's token while that serves, else as the bot's message.
            content: The whole text.
            buttons: All of its buttons.
            files: All of its files; None leaves those that are there.

        Raises:
            Barred: It is out of reach: ephemeral and too old, or in a channel closed to the bot.
            DeliveryFault: Another one.
        """
        if self.token_serves(anchor):
            try:
                await self._edit_by_token(anchor, await self._edit(anchor, content, buttons, files))
            except Barred:
                if anchor.ephemeral:
                    raise
            else:
                return
        if anchor.ephemeral:
            raise Barred("the time of an ephemeral answer is over")
        channel = self._client.get_partial_messageable(anchor.channel_id)
        message = channel.get_partial_message(anchor.message_id)
        edit = await self._edit(anchor, content, buttons, files)
        with translated():
            await message.edit(**edit)

    async def post(
        self, channel_id: int, part: ChannelMessage | VoiceMessage, *, nonce: str
    ) -> int:
        """Post a message; Discord takes a nonce once within some minutes.

        Returns:
            The id of the message.

        Raises:
            DeliveryFault: As the tree tells.
        """
        with translated():
            if isinstance(part, VoiceMessage):
                return await self._post_voice(channel_id, part, nonce)
            message: dict[str, Any] = {
                "content": part.content or None,
                "files": await self._uploads(part.files, channel_id),
                "nonce": nonce,
                "allowed_mentions": _mentions(part.mention_user_id),
            }
            if view := _view(part.buttons):
                message["view"] = view
            sent = await self._client.get_partial_messageable(channel_id).send(**message)
            return int(sent.id)

    async def direct_channel(self, user_id: int) -> int:
        """Return the channel of direct messages with a member.

        Raises:
            DeliveryFault: As the tree tells.
        """
        with translated():
            channel = await self._client.create_dm(discord.Object(user_id))
            return channel.id

    async def find(
        self, channel_id: int, after_id: int, part: ChannelMessage | VoiceMessage, *, nonce: str
    ) -> list[int]:
        """Return the bot's messages after another that look as a part would, oldest first.

        Raises:
            DeliveryFault: As the tree tells.
        """
        own = self._client.user
        channel = self._client.get_partial_messageable(channel_id)
        after = discord.Object(after_id)
        with translated():
            return [
                message.id
                async for message in channel.history(
                    limit=_SEARCH_DEPTH, after=after, oldest_first=True
                )
                if own is not None and message.author.id == own.id and _is(message, part, nonce)
            ]

    async def _edit_by_token(self, anchor: Anchor, edit: dict[str, Any]) -> None:
        webhook = discord.Webhook.partial(anchor.application_id, anchor.token, client=self._client)
        with translated():
            await webhook.edit_message(anchor.message_id, **edit)

    async def _edit(
        self,
        anchor: Anchor,
        content: str,
        buttons: Sequence[Button],
        files: Sequence[File] | None,
    ) -> dict[str, Any]:
        edit: dict[str, Any] = {
            "content": content,
            "view": _view(buttons),
            "allowed_mentions": _NOBODY,
        }
        if files is not None:
            with translated():
                edit["attachments"] = await self._uploads(files, anchor.channel_id)
        return edit

    async def _post_voice(self, channel_id: int, part: VoiceMessage, nonce: str) -> int:
        [upload] = await self._uploads([part.file], channel_id)
        upload.voice = {
            "duration_secs": round(part.duration_s, 3),
            "waveform": base64.b64encode(part.waveform).decode(),
        }
        flags = discord.MessageFlags(voice=True)
        with handle_message_parameters(
            file=upload, flags=flags, nonce=nonce, allowed_mentions=_NOBODY
        ) as params:
            for field in params.multipart or ():
                # Discord wants the sound's own type, and discord.py calls every file octets.
                if "filename" in field:
                    field["content_type"] = part.file.content_type
            sent = await self._client.http.send_message(channel_id, params=params)
        return int(sent["id"])

    async def _uploads(self, files: Sequence[File], channel_id: int) -> list[Upload]:
        limit = upload_limit(self._client.get_channel(channel_id))
        return [await opened(file, self._spool_dir, limit) for file in files]


def _view(buttons: Sequence[Button]) -> discord.ui.View | None:
    """Return buttons as a view that discord.py forgets at once: ``bot.views`` hears the presses."""
    if not buttons:
        return None
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(
            discord.ui.Button(
                custom_id=button.custom_id,
                label=button.label,
                style=_STYLES[button.style],
                emoji=button.emoji or None,
            )
        )
    view.stop()
    return view


def _mentions(user_id: int) -> discord.AllowedMentions:
    if not user_id:
        return _NOBODY
    return discord.AllowedMentions(
        everyone=False, roles=False, replied_user=False, users=[discord.Object(user_id)]
    )


def _is(message: discord.Message, part: ChannelMessage | VoiceMessage, nonce: str) -> bool:
    if message.nonce is not None and str(message.nonce) == nonce:
        return True
    files = [part.file] if isinstance(part, VoiceMessage) else part.files
    content = "" if isinstance(part, VoiceMessage) else part.content
    names = [attachment.filename for attachment in message.attachments]
    return message.content.strip() == content.strip() and names == [f.filename for f in files]
