"""Which model serves a request, and whether a member may have one more.

This module owns the rules for what is let in. They look into memory alone, so that a refusal needs
no disk and a request can be acknowledged at once. It must not know Discord.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.engine.job import Requester
from bot.services.allowances import Allowances
from bot.services.server_settings import ServerSettings
from models.catalog import Catalog, EndpointSource, ModelSpec, Profile
from models.contracts import Modality
from models.errors import HandlerError, ModelNotInstalled, ModelUnavailable
from models.weights import WeightStore, remedy

_NAMES = {
    Modality.TEXT: "Answering questions",
    Modality.IMAGE: "Making pictures",
    Modality.VISION: "Looking at pictures",
    Modality.VIDEO: "Making clips",
    Modality.UPSCALING: "Making pictures larger",
    Modality.SPEECH: "Speaking",
    Modality.TRANSCRIPTION: "Transcribing",
}


@dataclass(slots=True)
class Admission:
    """Says yes, or raises the sentence that says why not."""

    catalog: Catalog
    profile: Profile
    weights: WeightStore
    allowances: Allowances
    server_settings: ServerSettings

    def model_for(
        self,
        modality: Modality,
        guild_id: int,
        channel_id: int,
        chosen: str | None = None,
        *,
        able: str = "",
    ) -> ModelSpec:
        """Return the model that serves a request: the chosen one, the server's, or the profile's.

        Where the profile has none, one that the owner fetched nevertheless.

        Args:
            modality: What is to be done.
            guild_id: 0 in a direct message.
            channel_id: The channel whose settings count; see ``settings_channel``.
            chosen: Id of a model that the person named.
            able: What it has to be able to do. Where nobody named a model and the usual one is
                not, another one of this machine takes its place, if there is any.

        Raises:
            ModelUnavailable: There is none, it does something else, or the modality is switched
                off here.
            ModelNotInstalled: Its weights are not on this machine.
        """
        self._require_enabled(modality, guild_id, channel_id)
        wanted = chosen or str(self.server_settings.get(f"{modality}.model", guild_id, channel_id))
        wanted = wanted or self.profile.defaults.get(modality, "")
        if able and not chosen and (other := self._more_able(modality, wanted, able)):
            return other
        if not wanted:
            wanted = self._only_fetched(modality)
        spec = self.catalog.get(wanted)
        if spec.modality is not modality:
            raise ModelUnavailable(f"`{spec.id}` is no {modality} model; pick another one.")
        if not self.weights.is_installed(spec):
            raise ModelNotInstalled(
                f"{spec.name} is not installed here. `/models` shows the models that are. "
                f"{remedy(spec)}"
            )
        return spec

    def is_able(self, modality: Modality, guild_id: int, channel_id: int, able: str) -> bool:
        """Return whether the model that serves a place can do something."""
        try:
            spec = self.model_for(modality, guild_id, channel_id, able=able)
        except HandlerError:
            return False
        return able in spec.capabilities

    def _more_able(self, modality: Modality, usual: str, able: str) -> ModelSpec | None:
        if usual and able in self.catalog.get(usual).capabilities:
            return None
        return next(
            (
                spec
                for spec in self.catalog.of(modality)
                if able in spec.capabilities
                and not isinstance(spec.source, EndpointSource)
                and self.weights.is_installed(spec)
            ),
            None,
        )

    def check(self, requester: Requester, modality: Modality) -> None:
        """Refuse what is switched off, or one job too many. Looks into memory alone.

        Raises:
            ModelUnavailable: The modality is switched off here.
            LimitReached: The member, the channel or the server has as many jobs as it may.
        """
        self._require_enabled(modality, requester.guild_id, requester.settings_channel_id)
        self.allowances.check(requester)

    def _only_fetched(self, modality: Modality) -> str:
        """Return a model of this machine; a server's is never taken unasked: it may cost money."""
        here = [
            spec
            for spec in self.catalog.of(modality)
            if not isinstance(spec.source, EndpointSource)
        ]
        if ready := next(filter(self.weights.is_installed, here), None):
            return ready.id
        sentence = f"{_NAMES[modality]} has no model on this machine yet."
        fetched = [spec for spec in here if spec.download_mb]
        if not fetched:
            raise ModelUnavailable(f"{sentence} Tell the owner.")
        least = min(fetched, key=lambda spec: spec.memory_mb)
        raise ModelNotInstalled(f"{sentence} {remedy(least)}")

    def _require_enabled(self, modality: Modality, guild_id: int, channel_id: int) -> None:
        if not self.server_settings.get(f"{modality}.enabled", guild_id, channel_id):
            raise ModelUnavailable(f"{_NAMES[modality]} is switched off here by the moderators.")
