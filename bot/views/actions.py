"""What can be done with pictures, and with what is said about pictures.

This module owns what follows a press: the request that it becomes, or the form that it opens.
Which button was pressed, and by whom, is ``bot.views.pictures``'s business. A picture is fetched
from the message that shows it, so that its address is fresh and a restart harms nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import discord

from bot.delivery.intake import place_of
from bot.services.house_rules import FIRST_FRAME
from bot.services.pictures import (
    LIKENESS,
    POINTERS,
    fetched,
    looking_at,
    pointed_at,
    pointers,
    reading_again,
)
from bot.services.recipes import Recipe
from bot.services.styles import Style
from bot.views.base import Press, services_of
from bot.views.forms import Filled, PromptForm
from models.catalog import ModelSpec
from models.contracts import (
    ImageRequest,
    Modality,
    Request,
    VideoRequest,
    amended,
    make_request,
)
from models.errors import InvalidRequest

_VARY_STRENGTH = 0.5


@dataclass(frozen=True, slots=True)
class Subject:
    """What a press is about: the message, its pictures or the one that was picked, the recipe."""

    message: discord.Message
    files: list[discord.Attachment]
    recipe: Recipe

    @property
    def prompt(self) -> str:
        """What the member wrote, without what a style added."""
        request, quote = self.recipe.request, self.recipe.presentation.get("quote")
        words = request.prompt if isinstance(request, ImageRequest | VideoRequest) else ""
        return str(quote) if quote else words

    def pointers(self) -> list[list[int]]:
        return pointers(self.message, self.files)


def _model(
    interaction: Press, modality: Modality, chosen: str | None = None, *, able: str = ""
) -> ModelSpec:
    admission = services_of(interaction).admission
    return admission.model_for(modality, *place_of(interaction), chosen, able=able)


# --------------------------------------------------------------------------- new pictures


async def vary(interaction: Press, subject: Subject) -> None:
    """Draw near the picture, with a new seed; a model that can't starts from the prompt again."""
    request, model_id = _drawn(subject), subject.recipe.model_id
    model = _model(interaction, Modality.IMAGE, model_id)
    services, presentation = services_of(interaction), dict(subject.recipe.presentation)
    near = "reference" in model.capabilities
    if near:
        presentation[POINTERS] = subject.pointers()
    else:
        presentation["notes"] = [f"{model.name} can't start from a picture, so this is a new one."]

    async def build() -> Request:
        if not near:
            return replace(request, seed=None)
        [media] = await fetched(services, subject.files)
        return replace(request, reference=media, strength=_VARY_STRENGTH, seed=None)

    await services.intake.from_interaction(
        interaction, build, model=model, purpose="vary", presentation=presentation
    )


async def edit(interaction: Press, subject: Subject) -> None:
    """Draw, or film, with other words and everything else as it was."""
    services, presentation = services_of(interaction), subject.recipe.presentation
    request, model_id = subject.recipe.request, subject.recipe.model_id
    if not isinstance(request, ImageRequest | VideoRequest):
        raise InvalidRequest("This button is of another version. Please ask again.")

    async def then(pressed: Press, filled: Filled) -> None:
        async def build() -> Request:
            words, negative = _styled(pressed, presentation, filled)
            changed = amended(request, prompt=words, negative_prompt=negative)
            return await reading_again(services, pressed.client, changed, presentation)

        await services.intake.from_interaction(
            pressed,
            build,
            model=_model(pressed, request.modality, model_id),
            purpose="edit",
            presentation=presentation | {"quote": filled.words, "negative": filled.negative},
        )

    negative = str(presentation.get("negative", request.negative_prompt))
    form = PromptForm(
        "Edit the prompt", label="Prompt", prompt=subject.prompt, negative=negative, then=then
    )
    await interaction.response.send_modal(form)


async def use_as_reference(interaction: Press, subject: Subject) -> None:
    """Start a new picture from this one, with words of its own."""
    request, services = _drawn(subject), services_of(interaction)
    usual = subject.recipe.model_id
    able = "reference" in services.catalog.get(usual).capabilities
    model = _model(interaction, Modality.IMAGE, usual if able else None, able="reference")
    presentation = subject.recipe.presentation

    async def then(pressed: Press, filled: Filled) -> None:
        async def build() -> Request:
            [media] = await fetched(services, await pointed_at(pressed.client, subject.pointers()))
            words, _ = _styled(pressed, presentation, filled)
            changed = amended(request, prompt=words, strength=filled.strength, seed=None)
            return replace(changed, reference=media)

        shown = {"quote": filled.words, "notes": [LIKENESS], POINTERS: subject.pointers()}
        await services.intake.from_interaction(
            pressed, build, model=model, purpose="reference", presentation=presentation | shown
        )

    form = PromptForm(
        "Use as reference",
        label="What should it become?",
        prompt=subject.prompt,
        then=then,
        with_strength=True,
    )
    await interaction.response.send_modal(form)


async def animate(interaction: Press, subject: Subject) -> None:
    """Make a clip that begins with this picture."""
    services = services_of(interaction)
    model = _model(interaction, Modality.VIDEO, able=FIRST_FRAME)
    drawn = _drawn(subject)

    async def then(pressed: Press, filled: Filled) -> None:
        async def build() -> Request:
            [media] = await fetched(services, await pointed_at(pressed.client, subject.pointers()))
            return make_request(
                VideoRequest,
                prompt=filled.words,
                width_px=drawn.width_px,
                height_px=drawn.height_px,
                first_frame=media,
            )

        shown: dict[str, object] = {"quote": filled.words, POINTERS: subject.pointers()}
        await services.intake.from_interaction(
            pressed, build, model=model, purpose="animate", presentation=shown
        )

    form = PromptForm("Animate", label="What happens?", prompt=subject.prompt, then=then)
    await interaction.response.send_modal(form)


# --------------------------------------------------------------------------- words about pictures


async def describe(
    interaction: Press, message: discord.Message, files: list[discord.Attachment]
) -> None:
    """Say what pictures of a message show."""
    model = _model(interaction, Modality.VISION, able="caption")
    services = services_of(interaction)

    async def build() -> Request:
        task = "detailed" if "detailed" in model.capabilities else "caption"
        return await looking_at(services, files, task=task)

    await services.intake.from_interaction(
        interaction,
        build,
        model=model,
        purpose="describe",
        presentation={POINTERS: pointers(message, files)},
    )


async def ask(interaction: Press, subject: Subject) -> None:
    """Answer a question about the pictures that a description is of."""
    services = services_of(interaction)
    model = _model(interaction, Modality.VISION, able="question")
    kept = subject.recipe.presentation.get(POINTERS)
    private = subject.message.flags.ephemeral
    # What only its member sees cannot be pointed at, so it is shown again with the answer.
    shown = {} if private and not kept else {POINTERS: kept or subject.pointers()}

    async def then(pressed: Press, filled: Filled) -> None:
        async def build() -> Request:
            files = await pointed_at(pressed.client, kept) if kept else subject.files
            asked = {"task": "question", "question": filled.words, "copies": not shown}
            return await looking_at(services, files, **asked)

        await services.intake.from_interaction(
            pressed, build, model=model, purpose="ask", presentation=shown, ephemeral=private
        )

    form = PromptForm("Ask about the picture", label="Your question", prompt="", then=then)
    await interaction.response.send_modal(form)


def _drawn(subject: Subject) -> ImageRequest:
    if not isinstance(subject.recipe.request, ImageRequest):
        raise InvalidRequest("This button is of another version. Please ask again.")
    return subject.recipe.request


def _styled(interaction: Press, presentation: dict[str, object], filled: Filled) -> tuple[str, str]:
    """Return both prompts in the style of the picture, if the server still has that."""
    styles = services_of(interaction).styles.of(interaction.guild_id or 0)
    style = styles.get(str(presentation.get("style") or ""), Style(""))
    return style.apply(filled.words, filled.negative)
