"""Ada, who plays the tour: she gives commands, and waits until the bot has said its last word.

This module owns acting and waiting. What an answer must be is ``bot.demo.tour``'s business.
"""

from __future__ import annotations

from typing import Final

from simcord.results import InteractionResult

from bot.demo.channel import ShownButton, ShownMessage
from bot.demo.checks import StepFailed
from bot.demo.world import World
from bot.views.ids import VERSION

_PATIENCE_S: Final = 900.0
"""Weights may have to be converted first, and without a GPU a large model draws for minutes."""

_VOICE_FOLLOWS_S: Final = 20.0
"""The voice message comes right after the message that controls it."""


class Member:
    """Acts as the world's member, and returns what comes of it.

    Every method that waits raises TimeoutError when nothing comes.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    async def command(self, name: str, **options: object) -> ShownMessage:
        """Give a command and return its answer; see ``_answer``."""
        world = self._world
        return await self._answer(
            await world.env.act(world.member.slash(world.channel, name, **options))
        )

    async def press(self, message: ShownMessage, button: ShownButton) -> ShownMessage:
        """Press a button that is answered by a new message; see ``_answer``."""
        return await self._answer(await self._world.press(message, button.custom_id))

    async def drop(self, name: str, data: bytes) -> ShownMessage:
        """Drop a file into the channel and return the bot's reply to it."""
        world = self._world
        dropped = await world.env.act(world.member.send(world.channel, attachments=[(name, data)]))
        return await world.until(lambda: self._reply_to(str(dropped.id)), _PATIENCE_S)

    async def voice_message(self) -> ShownMessage:
        """Return the bot's voice message, which follows the answer to /speak."""
        return await self._world.until(self._voice_message, _VOICE_FOLLOWS_S)

    def file(self, message: ShownMessage) -> bytes:
        """Return the file of an answer.

        Raises:
            StepFailed: It has none.
        """
        if not message.files:
            raise StepFailed(f"the answer has no file: {message.content!r}")
        return self._world.view.read(message.files[0])

    async def _answer(self, result: InteractionResult) -> ShownMessage:
        """Return the answer to a command or a press in its final form.

        Raises:
            StepFailed: There was no answer, or it tells of a failure.
        """
        response = result.response
        if response is None:
            raise StepFailed("the bot did not answer in time")
        answer = await self._world.until(
            lambda: _finished(self._world.view.message(str(response.id))), _PATIENCE_S
        )
        if answer.content.startswith("⚠️"):
            raise StepFailed(answer.content.removeprefix("⚠️").strip())
        return answer

    def _voice_message(self) -> ShownMessage | None:
        messages = self._world.view.messages()
        return next((m for m in messages if m.by_bot and m.voice and m.files), None)

    def _reply_to(self, message_id: str) -> ShownMessage | None:
        """Return the bot's reply to a message, once it has replaced its first words."""
        messages = self._world.view.messages()
        return _finished(next((m for m in messages if m.reply_to == message_id and m.edited), None))


def _finished(message: ShownMessage | None) -> ShownMessage | None:
    """Pass a message on once the bot has said its last word in it."""
    working = message is None or message.thinking or message.button(f"{VERSION}:stop:")
    return None if working else message
