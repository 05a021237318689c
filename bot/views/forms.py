"""Forms that a button opens, for what needs words.

This module owns how they look and how their fields are read. What is done with the words is the
button's business. A form lives as long as the bot runs: who is interrupted opens it once more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import discord

from bot.services.texts import is_blank
from bot.tree import tell
from models.errors import EmptyInput, InvalidRequest

DEFAULT_STRENGTH = 0.6


@dataclass(frozen=True, slots=True)
class Filled:
    """What a member wrote.

    Attributes:
        words: The prompt or question.
        negative: What a picture is not to show.
        strength: How far to leave the reference, 0 to 1.
    """

    words: str
    negative: str = ""
    strength: float = DEFAULT_STRENGTH


Then = Callable[[discord.Interaction[Any], Filled], Awaitable[None]]
"""What is done with it."""

_MOST_CHARS = 4000
_TITLE_CHARS = 45


class PromptForm(discord.ui.Modal):
    """Asks for a prompt, and where that matters for how far to leave the picture.

    Args:
        title: What the form is for.
        label: Names the field of the words.
        prompt: What stands in it at first.
        then: Called with what the member wrote.
        negative: What stands in the field for what not to show; None for no such field.
        with_strength: Whether there is a field for the strength.
    """

    def __init__(
        self,
        title: str,
        *,
        label: str,
        prompt: str,
        then: Then,
        negative: str | None = None,
        with_strength: bool = False,
    ) -> None:
        super().__init__(title=title[:_TITLE_CHARS])
        self._then = then
        self._words: discord.ui.TextInput[PromptForm] = discord.ui.TextInput(
            label=label,
            style=discord.TextStyle.paragraph,
            default=prompt[:_MOST_CHARS] or None,
            max_length=_MOST_CHARS,
            custom_id="prompt",
        )
        self.add_item(self._words)
        self._negative: discord.ui.TextInput[PromptForm] | None = None
        if negative is not None:
            self._negative = discord.ui.TextInput(
                label="Not to be seen",
                style=discord.TextStyle.paragraph,
                default=negative[:_MOST_CHARS] or None,
                max_length=_MOST_CHARS,
                required=False,
                custom_id="negative",
            )
            self.add_item(self._negative)
        self._strength: discord.ui.TextInput[PromptForm] | None = None
        if with_strength:
            self._strength = discord.ui.TextInput(
                label="Strength: 0.1 keeps the picture, 1 ignores it",
                default=str(DEFAULT_STRENGTH),
                max_length=5,
                custom_id="strength",
            )
            self.add_item(self._strength)

    async def on_submit(self, interaction: discord.Interaction[Any], /) -> None:
        """Hand the words on."""
        if is_blank(self._words.value):
            raise EmptyInput("There are no words in that, so nothing was begun.")
        negative = self._negative.value.strip() if self._negative else ""
        filled = Filled(self._words.value.strip(), negative, self._read_strength())
        await self._then(interaction, filled)

    async def on_error(
        self, interaction: discord.Interaction[Any], error: Exception, /, *_: Any
    ) -> None:
        """Tell the member."""
        await tell(interaction, error, where=f"form “{self.title}”")

    def _read_strength(self) -> float:
        if self._strength is None:
            return DEFAULT_STRENGTH
        try:
            strength = float(self._strength.value.replace(",", "."))
        except ValueError:
            strength = 0.0
        if not 0.0 < strength <= 1.0:
            raise InvalidRequest("The strength is a number above 0 and up to 1, such as 0.6.")
        return strength
