"""What all persistent buttons share: failures that are told, owners, the recipe that one carries.

This module owns those pieces; ``bot.views.buttons`` and ``bot.views.pictures`` are the buttons.
"""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.services.recipes import Recipe
from bot.tree import tell
from models.errors import InvalidRequest

if TYPE_CHECKING:
    from bot.services.container import Services

Press = discord.Interaction[Any]

PATIENCE_S = 1.5
"""Discord wants an acknowledgement within three seconds."""

TOO_OLD = "This is too old to be repeated. Please ask again."


class PersistentButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"sx\d+:none"):
    """A button whose failures are told to whoever pressed it."""

    name: str

    def __init__(self, item: discord.ui.Button[Any], match: re.Match[str]) -> None:
        super().__init__(item)
        self._fields = match.groupdict()

    @classmethod
    async def from_custom_id(
        cls, interaction: Press, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        if not isinstance(item, discord.ui.Button):
            raise TypeError(f"{item!r} carries the id of a button")
        return cls(item, match)

    async def callback(self, interaction: Press) -> None:
        try:
            await self.pressed(interaction)
        except Exception as error:  # noqa: BLE001 - discord.py would log it and tell nobody
            await tell(interaction, error, where=f"button {self.name}")

    @abstractmethod
    async def pressed(self, interaction: Press) -> None:
        """Do what the button is for.

        Raises:
            Exception: Whatever happens; the person is told.
        """


def services_of(interaction: Press) -> Services:
    """Return what the bot is made of."""
    services: Services = interaction.client.services
    return services


def require_owner(interaction: Press, owner_id: int, deed: str) -> None:
    """Refuse everybody but the member whose answer it is, and moderators.

    Raises:
        InvalidRequest: Somebody else pressed.
    """
    moderator = interaction.guild_id is not None and interaction.permissions.manage_messages
    if interaction.user.id != owner_id and not moderator:
        raise InvalidRequest(
            f"Only the member who asked, or a moderator, may {deed}. "
            "Commands give you one of your own."
        )


async def load_recipe(
    interaction: Press, recipe_id: str, *, acknowledge: bool, ephemeral: bool = False
) -> Recipe:
    """Read a recipe before the press is acknowledged, so that a refusal is private.

    Reading waits for no writer; a disk that is slow all the same makes the refusal public, or has
    the member press again where the acknowledgement must be something else (a form).

    Raises:
        InvalidRequest: It has expired, or it takes too long and ``acknowledge`` is not set.
    """
    loading = asyncio.create_task(services_of(interaction).recipes.load(recipe_id))
    await asyncio.wait({loading}, timeout=PATIENCE_S)
    if not loading.done():
        if not acknowledge:
            loading.cancel()
            raise InvalidRequest("My database is busy. Please press again in a moment.")
        await interaction.response.defer(ephemeral=ephemeral, thinking=True)
    recipe = await loading
    if recipe is None:
        raise InvalidRequest(TOO_OLD)
    return recipe
