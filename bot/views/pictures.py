"""The buttons below pictures, and below what is said about pictures.

This module owns which picture is meant, and who may press: vary, upscale, edit, use as reference
and animate are for the member whose picture it is, and for moderators; describe and ask are for
everybody. What follows is ``bot.views.actions`` and ``bot.views.enlarging``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast, get_args

import discord

from bot.delivery.intake import requester_of
from bot.delivery.replies import reply
from bot.services.pictures import message_at, pictures
from bot.views import actions
from bot.views.base import PersistentButton, Press, load_recipe, require_owner, services_of
from bot.views.enlarging import upscale
from bot.views.ids import PICK_TEMPLATE, PICTURE_TEMPLATE, PictureAction, pick_id
from models.errors import InvalidMedia, InvalidRequest

_FOR_ALL: frozenset[PictureAction] = frozenset({"describe", "ask"})
_FORMS: frozenset[PictureAction] = frozenset({"edit", "reference", "animate", "ask"})
_PICTURES_NEEDED: frozenset[PictureAction] = frozenset(
    {"vary", "upscale", "reference", "animate", "describe"}
)
_ONE_PICTURE: frozenset[PictureAction] = _PICTURES_NEEDED - {"describe"}


class PictureButton(PersistentButton, template=PICTURE_TEMPLATE):
    """Does something with the pictures of an answer; asks which one, where there are several."""

    name = "picture"

    async def pressed(self, interaction: Press) -> None:
        action = _action(interaction, self._fields)
        message = interaction.message
        if message is None:
            raise InvalidMedia
        files = pictures(message)
        if action in _PICTURES_NEEDED and not files:
            raise InvalidMedia("There is no picture in this message any more.")
        if action in _ONE_PICTURE and len(files) > 1:
            user_id, recipe_id = int(self._fields["user"]), self._fields["recipe"]
            view = _choice(action, user_id, recipe_id, message.id, len(files))
            await reply(interaction, "Which picture?", view=view)
            return
        await _perform(interaction, action, message, files, self._fields["recipe"])


class PickButton(PersistentButton, template=PICK_TEMPLATE):
    """Does something with one of several pictures of an answer."""

    name = "pick"

    async def pressed(self, interaction: Press) -> None:
        action = _action(interaction, self._fields)
        message = await message_at(
            interaction.client, interaction.channel_id or 0, int(self._fields["message"])
        )
        files = pictures(message)
        number = int(self._fields["number"])
        if number >= len(files):
            raise InvalidMedia("That picture is not there any more.")
        await _perform(interaction, action, message, [files[number]], self._fields["recipe"])


PICTURE_BUTTONS: tuple[type[PersistentButton], ...] = (PictureButton, PickButton)
"""Every kind of button, for ``Client.add_dynamic_items``."""


def _action(interaction: Press, fields: dict[str, str]) -> PictureAction:
    if fields["action"] not in get_args(PictureAction):
        raise InvalidRequest("This button is of another version. Please ask again.")
    action = cast("PictureAction", fields["action"])
    if action not in _FOR_ALL:
        require_owner(interaction, int(fields["user"]), "do this")
    return action


def _choice(
    action: PictureAction, user_id: int, recipe_id: str, message_id: int, count: int
) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for number in range(count):
        custom_id = pick_id(action, user_id, recipe_id, message_id=message_id, number=number)
        view.add_item(discord.ui.Button(label=str(number + 1), custom_id=custom_id))
    view.stop()  # discord.py forgets it: the ids say everything
    return view


async def _perform(
    interaction: Press,
    action: PictureAction,
    message: discord.Message,
    files: list[discord.Attachment],
    recipe_id: str,
) -> None:
    services_of(interaction).admission.allowances.check(requester_of(interaction))
    if action == "upscale":
        await upscale(interaction, message, files[0])
        return
    if action == "describe":
        await actions.describe(interaction, message, files)
        return
    recipe = await load_recipe(interaction, recipe_id, acknowledge=action not in _FORMS)
    await _ACTIONS[action](interaction, actions.Subject(message, files, recipe))


_ACTIONS: dict[PictureAction, Callable[[Press, actions.Subject], Awaitable[None]]] = {
    "vary": actions.vary,
    "edit": actions.edit,
    "reference": actions.use_as_reference,
    "animate": actions.animate,
    "ask": actions.ask,
}
