"""Which settings moderators have, and how each is read, checked and shown.

This module owns the registry. It must not know what is set anywhere:
``bot.services.server_settings`` keeps the values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from bot.settings import HostedSettings, LimitSettings
from models.catalog import Catalog
from models.contracts import Modality
from models.errors import InvalidRequest

Value = bool | int | float | str
Kind = Literal["bool", "int", "float", "str", "choice", "model"]

MONTHLY_CAP = "limits.usd_month"
PAUSED = "queue.paused"
MEMBER_LIMITS = ("jobs_at_once", "jobs_hour", "device_s_day")
"""The limits of a member, each also one of a channel and of the server."""

_WORDS = {
    "on": True, "yes": True, "true": True, "1": True,
    "off": False, "no": False, "false": False, "0": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that moderators may set.

    Attributes:
        key: Its name, ``group.name``.
        kind: How a value is read and checked.
        default: The value where nothing is set.
        description: One sentence for moderators.
        minimum: Least number, or fewest characters.
        maximum: Greatest number, or most characters.
        modality: Kind "model": what the model must do.
        choices: Kind "choice": the values there are.
        channel_scope: Whether a channel may differ from its server.
    """

    key: str
    kind: Kind
    default: Value
    description: str
    minimum: float = 0
    maximum: float = math.inf
    modality: Modality | None = None
    choices: tuple[str, ...] = ()
    channel_scope: bool = True

    def parse(self, text: str, catalog: Catalog) -> Value:
        """Read a value from what a moderator typed.

        Raises:
            InvalidRequest: It does not fit; the sentence says what would.
            ModelUnavailable: There is no such model.
        """
        text = text.strip()
        match self.kind:
            case "bool":
                return self._parse_bool(text)
            case "int" | "float":
                return self._parse_number(text)
            case "model":
                return self._parse_model(text, catalog)
            case "choice":
                return self._parse_choice(text)
            case "str":
                return self._parse_str(text)

    def show(self, value: Value) -> str:
        """Return a value as a moderator reads and types it."""
        if isinstance(value, bool):
            return "on" if value else "off"
        if self.kind == "model" and value == "":
            return "the owner's choice"
        return str(value)

    @property
    def _range(self) -> str:
        return f"from {self.minimum:g} to {self.maximum:g}"

    def _parse_bool(self, text: str) -> bool:
        try:
            return _WORDS[text.lower()]
        except KeyError:
            raise InvalidRequest(f"`{self.key}` is either `on` or `off`.") from None

    def _parse_number(self, text: str) -> int | float:
        whole = self.kind == "int"
        sentence = f"`{self.key}` is a {'whole number' if whole else 'number'} {self._range}."
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            raise InvalidRequest(sentence) from None
        if not self.minimum <= value <= self.maximum:  # also refuses NaN
            raise InvalidRequest(sentence)
        return value

    def _parse_model(self, text: str, catalog: Catalog) -> str:
        model = catalog.get(text)
        if model.modality is not self.modality:
            raise InvalidRequest(
                f"`{model.id}` is a {model.modality} model; `{self.key}` needs a "
                f"{self.modality} one."
            )
        return model.id

    def _parse_choice(self, text: str) -> str:
        if text.lower() not in self.choices:
            known = ", ".join(f"`{choice}`" for choice in self.choices)
            raise InvalidRequest(f"`{self.key}` is one of {known}.")
        return text.lower()

    def _parse_str(self, text: str) -> str:
        if not self.minimum <= len(text) <= self.maximum:
            raise InvalidRequest(
                f"`{self.key}` takes {self._range} characters; that was {len(text)}."
            )
        return text


def _switch(key: str, description: str, *, default: bool = True) -> Setting:
    return Setting(key=key, kind="bool", default=default, description=description)


def _model(modality: Modality, description: str) -> Setting:
    return Setting(
        key=f"{modality}.model",
        kind="model",
        default="",
        description=description,
        modality=modality,
    )


def _limit(name: str, description: str, *, channel_scope: bool = False) -> Setting:
    return Setting(
        key=f"limits.{name}",
        kind="int",
        default=0,
        description=description,
        maximum=1_000_000,
        channel_scope=channel_scope,
    )


_ALL = (
    _switch("text.enabled", "Whether members may ask and chat."),
    _model(Modality.TEXT, "The model that answers."),
    Setting(
        key="text.system_prompt",
        kind="str",
        default="You are Sextant, a friendly and helpful assistant. Answer clearly and briefly.",
        description="What the model is told before every conversation.",
        minimum=1,
        maximum=2000,
    ),
    Setting(
        key="text.temperature",
        kind="float",
        default=0.7,
        description="How varied answers are: 0 is strict, 2 is wild.",
        maximum=2,
    ),
    _switch("text.fact_notice", "Whether answers remind readers to check the facts."),
    _switch("text.chat", "Whether the bot answers mentions, replies and its threads."),
    _switch("speech.enabled", "Whether members may have texts spoken."),
    _model(Modality.SPEECH, "The model that speaks."),
    _switch("transcription.enabled", "Whether members may have sound written down."),
    _model(Modality.TRANSCRIPTION, "The model that writes down."),
    _switch(
        "transcription.automatic",
        "Whether sound, videos and voice messages are written down unasked.",
        default=False,
    ),
    _switch("image.enabled", "Whether members may have pictures made."),
    _model(Modality.IMAGE, "The model that makes pictures."),
    _switch("vision.enabled", "Whether members may have pictures described."),
    _model(Modality.VISION, "The model that describes pictures."),
    _switch(
        "vision.automatic",
        "Whether pictures are described, and text in them read, unasked.",
        default=False,
    ),
    _switch("video.enabled", "Whether members may have clips made."),
    _model(Modality.VIDEO, "The model that makes clips."),
    _switch("upscaling.enabled", "Whether members may have pictures made larger."),
    _model(Modality.UPSCALING, "The model that makes pictures larger; without one a resampler."),
    _switch("links.enabled", "Whether members may give links instead of files."),
    Setting(
        key="safety.pictures",
        kind="choice",
        default="block",
        description="Explicit pictures: `block`, `spoiler`, or `age_restricted` channels only.",
        choices=("block", "spoiler", "age_restricted"),
    ),
    Setting(
        key="safety.threshold",
        kind="float",
        default=0.7,
        description="From which score of the safety check on a picture counts as explicit.",
        minimum=0.05,
        maximum=1,
    ),
    Setting(
        key="privacy.keep_prompts",
        kind="bool",
        default=False,
        description="Whether moderators may read what members ask (`/prompts`); answers say so.",
        channel_scope=False,
    ),
    Setting(
        key="limits.jobs_at_once",
        kind="int",
        default=3,
        description="How many jobs a member may have waiting or running.",
        minimum=1,
        maximum=50,
        channel_scope=False,
    ),
    _limit("jobs_hour", "How many jobs a member may start in an hour; 0 is no limit."),
    _limit("device_s_day", "How many seconds a member may compute in a day; 0 is no limit."),
    _limit(
        "channel_jobs_at_once",
        "How many jobs of a channel may wait or run; 0 is no limit.",
        channel_scope=True,
    ),
    _limit(
        "channel_jobs_hour",
        "How many jobs a channel may start in an hour; 0 is no limit.",
        channel_scope=True,
    ),
    _limit(
        "channel_device_s_day",
        "How many seconds a channel may compute in a day; 0 is no limit.",
        channel_scope=True,
    ),
    _limit(
        "server_jobs_at_once", "How many jobs of the server may wait or run; the owner has a bound."
    ),
    _limit("server_jobs_hour", "How many jobs the server may start in an hour; 0 is no limit."),
    _limit(
        "server_device_s_day", "How many seconds the server may compute in a day; 0 is no limit."
    ),
    Setting(
        key=MONTHLY_CAP,
        kind="float",
        default=HostedSettings().usd_per_server_month,
        description="What hosted models may cost in a month, in US dollars, below the owner's cap.",
        maximum=HostedSettings().usd_per_server_month,
        channel_scope=False,
    ),
    Setting(
        key=PAUSED,
        kind="bool",
        default=False,
        description="Whether jobs wait: `/pause` switches it on, `/resume` off.",
        channel_scope=False,
    ),
)


def settings_under(hosted: HostedSettings, limits: LimitSettings) -> Mapping[str, Setting]:
    """Return every setting, within what the owner allows."""
    most = hosted.usd_per_server_month
    found = {setting.key: setting for setting in _ALL}
    found[MONTHLY_CAP] = replace(found[MONTHLY_CAP], default=most, maximum=most)
    for name in MEMBER_LIMITS:
        key, bound = f"limits.server_{name}", getattr(limits, name)
        if bound:  # 0 would be no limit
            found[key] = replace(found[key], default=bound, minimum=1, maximum=bound)
    return found


SETTINGS: Mapping[str, Setting] = settings_under(HostedSettings(), LimitSettings())
"""Every setting by its key, in the order in which they are shown."""
