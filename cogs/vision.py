"""/describe, its right-click twin, and questions that reply to a description.

This cog owns what they offer and how pictures become a request. Channels where every picture is
described are ``cogs.photos``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.intake import settings_channel
from bot.services.addressing import Addressing, asked_about, from_person, replied_to, spoken_to
from bot.services.choices import LANGUAGES, choices, language_options, model_options
from bot.services.given import given
from bot.services.pictures import (
    MOST_PICTURES,
    POINTERS,
    looking_at,
    pictures,
    pointed_at,
    pointers,
    shows_something,
)
from bot.services.texts import is_blank
from bot.views.base import TOO_OLD
from models.catalog import ModelSpec
from models.contracts import Modality, VisionRequest
from models.errors import (
    EmptyInput,
    HandlerError,
    InvalidMedia,
    InvalidRequest,
    UnsupportedOption,
)

if TYPE_CHECKING:
    from bot.client import Sextant

Task = Literal["caption", "detailed", "alt_text", "ocr", "question"]

_CAN = {
    "caption": "write captions",
    "detailed": "describe pictures in detail",
    "alt_text": "write alt text",
    "ocr": "read text in pictures",
    "question": "answer questions about pictures",
}


class Vision(commands.Cog):
    """Says what pictures show."""

    def __init__(self, bot: Sextant) -> None:
        self._bot = bot
        self._services = bot.services
        self._addressing = Addressing(bot.services.memory, bot.services.server_settings)
        self._menu = app_commands.ContextMenu(
            name="Describe image", callback=self._describe_message
        )

    async def cog_load(self) -> None:
        """Add the right-click menu, which belongs to the tree."""
        self._bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Take the right-click menu away."""
        self._bot.tree.remove_command(self._menu.name, type=self._menu.type)

    @app_commands.command()
    async def describe(
        self,
        interaction: discord.Interaction,
        picture: discord.Attachment | None = None,
        url: app_commands.Range[str, 1, 2000] | None = None,
        task: Task | None = None,
        question: app_commands.Range[str, 1, 2000] | None = None,
        layout: bool = False,
        language: app_commands.Range[str, 1, 20] | None = None,
        private: bool = False,
        picture_2: discord.Attachment | None = None,
        picture_3: discord.Attachment | None = None,
        picture_4: discord.Attachment | None = None,
        model: str | None = None,
    ) -> None:
        """Have pictures described, or the text in them read.

        Args:
            picture: A picture.
            url: A link to a picture, instead of a file.
            task: A sentence, several, alt text, the text in it (ocr), or the answer to a question.
            question: What you want to know about it.
            layout: With ocr: keep columns and the places of lines.
            language: With ocr: which language the text is in. Helps with small or unclear letters.
            private: Only you see the answer.
            picture_2: Another picture.
            picture_3: Another picture.
            picture_4: Another picture.
            model: Which model looks. /models tells more about each.
        """
        wanted = _task(task, question, read=layout or language is not None)
        spec, wanted = self._model(interaction, wanted, model)
        _require_reader(spec, language, layout=layout)
        sent = (picture, picture_2, picture_3, picture_4)
        files = given(self._services, interaction, url, *sent)
        if not files:
            raise EmptyInput("Give me a picture, or a link to one.")

        async def build() -> VisionRequest:
            return await looking_at(
                self._services,
                files,
                task=wanted,
                question=question or "",
                layout=layout,
                languages=(language,) if language else (),
                copies=True,  # what a command brings along, nobody sees otherwise
            )

        await self._services.intake.from_interaction(
            interaction,
            build,
            model=spec,
            purpose="describe",
            presentation={},
            ephemeral=private,
        )

    @describe.autocomplete("model")
    async def _complete_model(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        return choices(model_options(self._services, Modality.VISION), current)

    @describe.autocomplete("language")
    async def _complete_language(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        try:
            spec, _ = self._model(interaction, "ocr", interaction.namespace.model)
        except HandlerError:  # the command itself tells what is wrong
            return []
        return choices(language_options(spec.languages or LANGUAGES), current)

    async def _describe_message(
        self, interaction: discord.Interaction, message: discord.Message
    ) -> None:
        files = pictures(message)
        if not files:
            raise InvalidMedia("There is no picture in that message.")
        left_out = len(files) - MOST_PICTURES
        files = files[:MOST_PICTURES]
        spec, task = self._model(interaction, None)

        async def build() -> VisionRequest:
            return await looking_at(self._services, files, task=task)

        await self._services.intake.from_interaction(
            interaction,
            build,
            model=spec,
            purpose="describe",
            presentation={
                POINTERS: pointers(message, files),
                "notes": [f"{left_out} more were left out."] if left_out > 0 else [],
            },
        )

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Answer a question about a picture that was described, or that comes with the question."""
        me = self._bot.user
        if me is None or not from_person(message):
            return
        recipe_id = asked_about(message, me)
        if recipe_id:
            await self._answer(message, await self._kept(message, recipe_id), message.content)
        elif (
            shows_something(self._services, message)
            and await self._addressing.conversation_of(message, me) is not None
        ):
            kept = pointers(message, pictures(message)[:MOST_PICTURES])
            await self._answer(message, kept, spoken_to(message, me))

    async def _answer(self, message: discord.Message, kept: object, said: str) -> None:
        """Answer a question about pictures; where there are no words, say what they show."""
        place = message.guild.id if message.guild else 0, settings_channel(message.channel)
        task: Task = "caption" if is_blank(said) else "question"
        spec = self._services.admission.model_for(Modality.VISION, *place, able=task)
        _require_able(spec, task)

        async def build() -> VisionRequest:
            files = await pointed_at(self._bot, kept)
            question = said.strip()[:2000] if task == "question" else ""
            return await looking_at(self._services, files, task=task, question=question)

        await self._services.intake.from_message(
            message, build, model=spec, purpose="question", presentation={POINTERS: kept}
        )

    async def _kept(self, message: discord.Message, recipe_id: str) -> object:
        """Return where the pictures of a description are: in it, or in the message it is about."""
        earlier = replied_to(message)
        shown = pictures(earlier) if earlier else []
        if earlier is not None and shown:
            return pointers(earlier, shown)
        recipe = await self._services.recipes.load(recipe_id)
        if recipe is None:
            raise InvalidRequest(TOO_OLD)
        return recipe.presentation.get(POINTERS)

    def _model(
        self, interaction: discord.Interaction, task: Task | None, chosen: str | None = None
    ) -> tuple[ModelSpec, Task]:
        """Return the model, and the task: where none was named, a caption if that can be had."""
        spec = self._services.admission.model_for(
            Modality.VISION,
            interaction.guild_id or 0,
            settings_channel(interaction.channel),
            chosen,
            able=task or "caption",
        )
        if task is None:
            task = "ocr" if "caption" not in spec.capabilities else "caption"
        _require_able(spec, task)
        return spec, task


def _task(task: Task | None, question: str | None, *, read: bool) -> Task | None:
    """Return what is wanted, as far as the options say; ``read`` if some are about text."""
    if question is not None:
        if task not in (None, "question") or read:
            raise InvalidRequest("A question goes with the task `question` alone.")
        if is_blank(question):
            raise EmptyInput("There is no question in that.")
        return "question"
    if task == "question":
        raise EmptyInput("Which question should be answered? Put it into `question`.")
    if read and task not in (None, "ocr"):
        raise InvalidRequest("Only the text of a picture (`ocr`) has a layout and a language.")
    return "ocr" if read else task


def _require_reader(spec: ModelSpec, language: str | None, *, layout: bool) -> None:
    if layout and "layout" not in spec.capabilities:
        raise UnsupportedOption(f"{spec.name} can't keep the layout. Pick another model.")
    if language is not None and spec.languages and language not in spec.languages:
        raise UnsupportedOption(
            f"{spec.name} can't read “{language}”. Pick a language from the list, or another model."
        )


def _require_able(spec: ModelSpec, task: str) -> None:
    if task not in spec.capabilities:
        raise UnsupportedOption(
            f"{spec.name} can't {_CAN[task]}, and no other model here can unless you pick it. "
            "`/models` tells what each does."
        )


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Vision(bot))
