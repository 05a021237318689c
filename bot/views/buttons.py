"""The buttons below answers. They live on after a restart, because their ids say everything.

This module owns what a press does, and who may press: the member whose answer it is, or a
moderator (who may manage messages). That is checked again at every press. How buttons look is
``bot.delivery``'s business; the ids are ``bot.views.ids``'s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import discord

from bot.delivery.intake import place_of, requester_of
from bot.delivery.replies import reply
from bot.engine.job import Job
from bot.services.pictures import reading_again
from bot.views.base import PersistentButton, Press, load_recipe, require_owner, services_of
from bot.views.ids import AGAIN_TEMPLATE, DELETE_TEMPLATE, PICTURE_TEMPLATE, STOP_TEMPLATE
from models.contracts import (
    Request,
    TranscriptionRequest,
    UpscalingRequest,
    VisionRequest,
)


class StopButton(PersistentButton, template=STOP_TEMPLATE):
    """Stops a job that waits or runs."""

    name = "stop"

    async def pressed(self, interaction: Press) -> None:
        engine = services_of(interaction).engine
        job = _find(engine.jobs(), self._fields["job"])
        if job is not None:
            require_owner(interaction, job.submission.requester.user_id, "stop this")
            await interaction.response.defer()
        if job is None or not await engine.cancel(job.id):
            await reply(interaction, "This has already ended.")


class AgainButton(PersistentButton, template=AGAIN_TEMPLATE):
    """Carries out a recipe once more, as a new job of whoever pressed.

    The pictures that it reads are those that its presentation points at, or else those that the
    answer itself shows.
    """

    name = "again"

    async def pressed(self, interaction: Press) -> None:
        require_owner(interaction, int(self._fields["user"]), "repeat this")
        services = services_of(interaction)
        services.admission.allowances.check(requester_of(interaction))
        ephemeral = interaction.message is not None and interaction.message.flags.ephemeral
        recipe = await load_recipe(
            interaction, self._fields["recipe"], acknowledge=True, ephemeral=ephemeral
        )
        model = services.admission.model_for(
            recipe.request.modality,
            *place_of(interaction),
            recipe.model_id,
        )
        request, shown = _anew(recipe.request), recipe.presentation

        async def build() -> Request:
            return await reading_again(
                services, interaction.client, request, shown, interaction.message
            )

        await services.intake.from_interaction(
            interaction,
            build,
            model=model,
            purpose=self.name,
            presentation=recipe.presentation,
            ephemeral=ephemeral,
        )


class DeleteButton(PersistentButton, template=DELETE_TEMPLATE):
    """Deletes an answer with everything that was posted for it, and what its buttons carried."""

    name = "delete"

    async def pressed(self, interaction: Press) -> None:
        require_owner(interaction, int(self._fields["user"]), "delete this")
        await interaction.response.defer()
        services = services_of(interaction)
        for recipe_id in _recipes_in(interaction.message):
            await services.recipes.delete(recipe_id)
        posted = await services.outbox.messages(self._fields["job"])
        pressed = interaction.message.id if interaction.message else 0
        channel = interaction.client.get_partial_messageable(interaction.channel_id or 0)
        for message_id in set(posted) - {pressed}:
            with suppress(discord.NotFound):
                await channel.get_partial_message(message_id).delete()
        await interaction.delete_original_response()


BUTTONS: Sequence[type[PersistentButton]] = (StopButton, AgainButton, DeleteButton)
"""Every kind of button, for ``Client.add_dynamic_items``."""

_WITH_RECIPE = (AGAIN_TEMPLATE, PICTURE_TEMPLATE)


def _recipes_in(message: discord.Message | None) -> set[str]:
    """Return the recipes that the buttons below a message carry: no other message has those."""
    rows = message.components if message else []
    ids = [
        item.custom_id or ""
        for row in rows
        if isinstance(row, discord.ActionRow)
        for item in row.children
        if isinstance(item, discord.Button)
    ]
    matches = (re.fullmatch(form, each) for form in _WITH_RECIPE for each in ids)
    return {match["recipe"] for match in matches if match}


def _find(jobs: Sequence[Job], job_id: str) -> Job | None:
    return next((job for job in jobs if job.id == job_id), None)


def _anew(request: Request) -> Request:
    """Drop the seed: whoever wants the same once more has it already."""
    if isinstance(request, VisionRequest | TranscriptionRequest | UpscalingRequest):
        return request
    return replace(request, seed=None)
