"""What slash commands offer while a member types.

This module owns turning the catalogue into choices within Discord's bounds. It must not decide
whether a choice is allowed: a member may send anything, and that is checked when it arrives.
"""

from __future__ import annotations

from collections.abc import Iterable

from discord import app_commands

from bot.services.container import Services
from models.catalog import ModelSpec
from models.contracts import Modality

_MOST_CHOICES = 25
_LONGEST = 100


def choices(options: Iterable[tuple[str, str]], current: str) -> list[app_commands.Choice[str]]:
    """Return the (name, value) options that contain what was typed, in order, 25 at most."""
    typed = current.casefold().strip()
    fitting = [
        app_commands.Choice(name=name[:_LONGEST], value=value)
        for name, value in options
        if len(value) <= _LONGEST and (typed in name.casefold() or typed in value.casefold())
    ]
    return fitting[:_MOST_CHOICES]


def model_options(
    services: Services, modality: Modality, *, installed_only: bool = True
) -> list[tuple[str, str]]:
    """Return the models of a modality as (name, id)."""
    found: list[tuple[str, str]] = []
    for spec in services.catalog.of(modality):
        if services.weights.is_installed(spec):
            found.append((spec.name, spec.id))
        elif not installed_only:
            found.append((f"{spec.name} (not installed)", spec.id))
    return found


def voice_options(spec: ModelSpec) -> list[tuple[str, str]]:
    """Return the voices of a model."""
    return [(voice, voice) for voice in spec.voices]


def language_options(codes: Iterable[str]) -> list[tuple[str, str]]:
    """Return languages as (name, code), by name."""
    names = LANGUAGES | _READ_ALONE
    return sorted((f"{names.get(code, code)} ({code})", code) for code in codes)


LANGUAGES = {
    "af": "Afrikaans", "ar": "Arabic", "az": "Azerbaijani", "bg": "Bulgarian", "bn": "Bengali",
    "bs": "Bosnian", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "eu": "Basque",
    "fa": "Persian", "fi": "Finnish", "fr": "French", "gl": "Galician", "he": "Hebrew",
    "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "is": "Icelandic",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "la": "Latin", "lb": "Luxembourgish",
    "lt": "Lithuanian", "lv": "Latvian", "mi": "Māori", "ms": "Malay", "mt": "Maltese",
    "nl": "Dutch", "no": "Norwegian", "oc": "Occitan", "pl": "Polish", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "sq": "Albanian",
    "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu",
    "th": "Thai", "tl": "Tagalog", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu",
    "uz": "Uzbek", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
"""Names of the languages that models here speak or understand, by BCP 47 code."""

_READ_ALONE = {"ga": "Irish", "ku": "Kurdish", "qu": "Quechua", "rm": "Romansh"}
"""Those that only models which read text know."""
