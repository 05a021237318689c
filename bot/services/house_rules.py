"""What a place lays down for answers with pictures in it, whoever asks.

This module owns the rule for explicit pictures, and what else can be done with a picture there.
Both are read from memory when a job is submitted, and travel with it. It must not know Discord.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.services.admission import Admission
from models.contracts import (
    ImageRequest,
    Modality,
    Request,
    VideoRequest,
    VisionRequest,
    files_of,
)

FIRST_FRAME = "first_frame"
"""Capability of a model whose clips may begin with a picture."""

_Judged = ImageRequest | VisionRequest | VideoRequest
_OFFERS = {
    Modality.IMAGE: (
        ("describe", Modality.VISION, "caption"),
        ("animate", Modality.VIDEO, FIRST_FRAME),
    ),
    Modality.VISION: (("ask", Modality.VISION, "question"),),
}
"""By what was done: what can be done next, if a model of this kind is able to."""

_PICTURES = frozenset({Modality.IMAGE, Modality.VISION, Modality.VIDEO, Modality.UPSCALING})


@dataclass(frozen=True, slots=True)
class HouseRules:
    """Tells how answers are shown in a place; see ``bot.delivery.present``."""

    admission: Admission

    def presentation(
        self, modality: Modality, guild_id: int, channel_id: int, *, age_restricted: bool
    ) -> dict[str, object]:
        """Return what the place adds to the presentation of a job.

        Args:
            modality: What the job does.
            guild_id: 0 in a direct message.
            channel_id: The channel whose settings count.
            age_restricted: Whether only adults may see the channel.
        """
        if modality not in _PICTURES:
            return {}
        settings, place = self.admission.server_settings, (guild_id, channel_id)
        rule = str(settings.get("safety.pictures", *place))
        if rule == "age_restricted":
            rule = "allow" if age_restricted else "block"
        rules: dict[str, object] = {
            "unsafe": rule,
            "unsafe_from": settings.get("safety.threshold", *place),
        }
        return rules | {"offers": self._offers(modality, place)}

    def bound(self, request: Request, presentation: Mapping[str, object]) -> Request:
        """Return a request that keeps to the rules of its place: what they block reaches no model.

        Args:
            request: Any request.
            presentation: That of its job, with what ``presentation`` added.
        """
        if not isinstance(request, _Judged) or not files_of(request):
            return request
        blocks, from_score = presentation.get("unsafe") == "block", presentation.get("unsafe_from")
        limit = from_score if blocks and isinstance(from_score, float | int) else None
        return replace(request, blocked_from=limit)

    def _offers(self, modality: Modality, place: tuple[int, int]) -> list[str]:
        return [
            offer
            for offer, able_one, able in _OFFERS.get(modality, ())
            if self.admission.is_able(able_one, *place, able)
        ]
