"""What a member sees in the demo's channel, as plain values.

This module owns reading the simulated channel; the tour checks these values, the page shows them,
the transcript keeps them. It changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import simcord
from simcord.backend.models import Message

from bot.demo.shim import LiveEnv

_THINKING = 1 << 7
_VOICE_MESSAGE = 1 << 13
_BUTTON = 2
_MESSAGE_COMMAND = 3

_REFERENCE = re.compile(r"<(?P<kind>@!?|@&|#|/)(?P<name>[\w -]*?):?(?P<id>\d+)>")


@dataclass(frozen=True, slots=True)
class ShownFile:
    """An attachment. ``url`` is its address in the simulated Discord."""

    name: str
    content_type: str
    size_bytes: int
    url: str


@dataclass(frozen=True, slots=True)
class ShownButton:
    label: str
    custom_id: str
    style: int
    disabled: bool


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message as its readers see it.

    Attributes:
        id: Its snowflake, as text: JavaScript's numbers are too short for it.
        sent_at: ISO 8601.
        reply_to: Id of the message that it answers, or "".
        thinking: Discord shows "is thinking…" in place of the text.
        private: Only the viewer sees it.
        voice: It is a voice message.
    """

    id: str
    author: str
    by_bot: bool
    sent_at: str
    edited: bool
    content: str
    reply_to: str
    thinking: bool
    private: bool
    voice: bool
    files: tuple[ShownFile, ...]
    buttons: tuple[ShownButton, ...]

    def button(self, custom_id_prefix: str) -> ShownButton | None:
        """Return the first button whose id begins so."""
        return next((b for b in self.buttons if b.custom_id.startswith(custom_id_prefix)), None)


class ChannelView:
    """A channel through the eyes of one member."""

    def __init__(
        self, env: LiveEnv, channel: simcord.ChannelHandle, viewer: simcord.MemberActor
    ) -> None:
        self._env = env
        self._channel = channel
        self._viewer = viewer

    @property
    def version(self) -> int:
        """Grows with everything that happens in the simulated Discord."""
        return len(self._env.backend.transcript)

    def messages(self) -> list[ShownMessage]:
        """Return what the member sees, oldest first."""
        stored = self._env.backend.messages.get(self._channel.id, {})
        return [
            self._shown(message)
            for _, message in sorted(stored.items())
            if message.visible_to(self._viewer.id)
        ]

    def message(self, message_id: str) -> ShownMessage | None:
        """Return one message, or None when it is gone or not for the member's eyes."""
        stored = self._env.backend.messages.get(self._channel.id, {}).get(int(message_id))
        visible = stored is not None and stored.visible_to(self._viewer.id)
        return self._shown(stored) if stored is not None and visible else None

    def menu(self) -> list[str]:
        """Return the commands of a message's right-click menu."""
        commands = self._env.backend.visible_commands(
            user_id=self._viewer.id, channel_id=self._channel.id, type=_MESSAGE_COMMAND
        )
        return [command["name"] for command in commands]

    def read(self, file: ShownFile) -> bytes:
        """Return an attachment's bytes.

        Raises:
            FileNotFoundError: There is none at that address.
        """
        data = self._env.backend.cdn.get(file.url)
        if data is None:
            raise FileNotFoundError(file.url)
        return data

    def _shown(self, message: Message) -> ShownMessage:
        author = self._env.backend.get_user(message.author_id)
        return ShownMessage(
            id=str(message.id),
            author=author.global_name or author.name,
            by_bot=author.bot,
            sent_at=message.timestamp,
            edited=message.edited_timestamp is not None,
            content=_REFERENCE.sub(self._name, message.content),
            reply_to=str((message.reference or {}).get("message_id", "")),
            thinking=bool(message.flags & _THINKING),
            private=message.is_ephemeral,
            voice=bool(message.flags & _VOICE_MESSAGE),
            files=tuple(
                ShownFile(f["filename"], f["content_type"] or "", f["size"], f["url"])
                for f in message.attachments
            ),
            buttons=tuple(_buttons(message)),
        )

    def _name(self, reference: re.Match[str]) -> str:
        backend = self._env.backend
        match reference["kind"]:
            case "@" | "@!":
                user = backend.users.get(int(reference["id"]))
                return f"@{user.global_name or user.name}" if user else reference[0]
            case "#":
                channel = backend.channels.get(int(reference["id"]))
                return f"#{channel.name}" if channel else reference[0]
            case "/":
                return f"/{reference['name']}"
        return reference[0]


def _buttons(message: Message) -> Iterator[ShownButton]:
    for row in message.components:
        for item in row.get("components", []):
            if item.get("type") == _BUTTON and "custom_id" in item:
                emoji = (item.get("emoji") or {}).get("name") or ""
                label = f"{emoji} {item.get('label') or ''}".strip()
                disabled = bool(item.get("disabled"))
                yield ShownButton(label, item["custom_id"], item.get("style", 2), disabled)
