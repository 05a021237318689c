"""The buttons below answers. They live on after a restart, because their ids say everything.

This module owns what a press does, and who may press: the member whose answer it is, or a
moderator (who may manage messages). That is checked again at every press. How buttons look is
``bot.delivery``'s business; the ids are ``bot.views.ids``'s.
"""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.delivery.intake import requester_of, settings_channel
from bot.delivery.replies import reply
from bot.engine.job import Job
from bot.tree import tell
from bot.views.ids import AGAIN_TEMPLATE, DELETE_TEMPLATE, STOP_TEMPLATE
from models.contracts import Request, SpeechRequest, TextRequest
from models.errors import InvalidRequest

if TYPE_CHECKING:
    from bot.services.container import Services

Press = discord.Interaction[Any]

_PATIENCE_S = 1.5
"""Discord wants an acknowledgement within three seconds."""


class _Button(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"sx\d+:none"):
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


class StopButton(_Button, template=STOP_TEMPLATE):
    """Stops a job that waits or runs."""

    name = "stop"

    async def pressed(self, interaction: Press) -> None:
        engine = _services(interaction).engine
        job = _find(engine.jobs(), self._fields["job"])
        if job is not None:
            _require_owner(interaction, job.submission.requester.user_id, "stop this")
            await interaction.response.defer()
        if job is None or not await engine.cancel(job.id):
            await reply(interaction, "This has already ended.")


class AgainButton(_Button, template=AGAIN_TEMPLATE):
    """Carries out a recipe once more, as a new job of whoever pressed.

    The recipe is read before the press is acknowledged, so that a refusal is private: reading waits
    for no writer, and a disk that is slow all the same only makes the refusal public.
    """

    name = "again"

    async def pressed(self, interaction: Press) -> None:
        _require_owner(interaction, int(self._fields["user"]), "repeat this")
        services = _services(interaction)
        where = settings_channel(interaction.channel)
        services.admission.check_limit(requester_of(interaction), where)
        ephemeral = interaction.message is not None and interaction.message.flags.ephemeral
        loading = asyncio.create_task(services.recipes.load(self._fields["recipe"]))
        await asyncio.wait({loading}, timeout=_PATIENCE_S)
        if not loading.done():
            await interaction.response.defer(ephemeral=ephemeral, thinking=True)
        recipe = await loading
        if recipe is None:
            raise InvalidRequest("This is too old to be repeated. Please ask again.")
        model = services.admission.model_for(
            recipe.request.modality,
            interaction.guild_id or 0,
            where,
            recipe.model_id,
        )
        await services.intake.from_interaction(
            interaction,
            _anew(recipe.request),
            model=model,
            purpose=self.name,
            presentation=recipe.presentation,
            ephemeral=ephemeral,
        )


class DeleteButton(_Button, template=DELETE_TEMPLATE):
    """Deletes an answer with everything that was posted for it."""

    name = "delete"

    async def pressed(self, interaction: Press) -> None:
        _require_owner(interaction, int(self._fields["user"]), "delete this")
        await interaction.response.defer()
        posted = await _services(interaction).outbox.messages(self._fields["job"])
        pressed = interaction.message.id if interaction.message else 0
        channel = interaction.client.get_partial_messageable(interaction.channel_id or 0)
        for message_id in set(posted) - {pressed}:
            with suppress(discord.NotFound):
                await channel.get_partial_message(message_id).delete()
        await interaction.delete_original_response()


BUTTONS: Sequence[type[_Button]] = (StopButton, AgainButton, DeleteButton)
"""Every kind of button, for ``Client.add_dynamic_items``."""


def _services(interaction: Press) -> Services:
    services: Services = interaction.client.services
    return services


def _find(jobs: Sequence[Job], job_id: str) -> Job | None:
    return next((job for job in jobs if job.id == job_id), None)


def _require_owner(interaction: Press, owner_id: int, deed: str) -> None:
    moderator = interaction.guild_id is not None and interaction.permissions.manage_messages
    if interaction.user.id != owner_id and not moderator:
        raise InvalidRequest(
            f"Only the member who asked, or a moderator, may {deed}. Ask for your own with `/ask`."
        )


def _anew(request: Request) -> Request:
    """Drop the seed: whoever wants the same once more has it already."""
    if isinstance(request, TextRequest | SpeechRequest):
        return replace(request, seed=None)
    return request
