"""Hibari: a small English voice that carries its weights in its wheel.

This module owns the backend ``hibari``. The wheel is not a dependency: it lies unpacked in the
folder of weights, and is put on the path of the worker. Only voices inside the wheel are offered,
since the library would fetch the others from a hub.

Source: https://github.com/MMWilliams/hibari
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from models.catalog import ModelSpec
from models.contracts import Control, HandlerEvent, SpeechRequest
from models.errors import ModelLoadFailed, OutOfMemory, UnsupportedOption
from models.speech.narration import Voice, chosen_seed, chosen_voice, narrate

if TYPE_CHECKING:
    import hibari

_MAX_CHARS = 300


def load(spec: ModelSpec, location: str, device: str) -> HibariHandler:
    """Load the voices of an unpacked wheel.

    Args:
        spec: Row of the catalogue.
        location: Folder that has the package ``hibari`` in it.
        device: Ignored: it runs on the CPU.

    Raises:
        ModelLoadFailed: The package is not there, or its model is damaged.
    """
    if not (Path(location) / "hibari").is_dir():
        raise ModelLoadFailed("The model can't be loaded: its folder has no package `hibari`.")
    if location not in sys.path:
        sys.path.append(location)
    try:
        from hibari import Hibari
        from hibari.voices import VOICES

        threads = int(spec.options.get("threads", 1))
        bundled = [name for name, row in VOICES.items() if row.get("bundled")]
        voices = {name: Hibari(voice=name, threads=threads) for name in bundled}
        for voice in voices.values():
            voice("Ready.")  # reads its dictionaries now instead of in the first job
    except MemoryError as error:
        raise OutOfMemory from error
    except Exception as error:
        raise ModelLoadFailed from error
    return HibariHandler(spec, voices)


class HibariHandler:
    """Speaks English. See ``models.contracts.Handler``."""

    def __init__(self, spec: ModelSpec, voices: dict[str, hibari.Hibari]) -> None:
        self._spec = spec
        self.voices = voices

    def close(self) -> None:
        """Free the model."""
        self.voices = {}

    def run(self, request: SpeechRequest, control: Control) -> Iterator[HandlerEvent]:
        """Speak; see ``models.contracts.Handler.run``."""
        if request.language and request.language.split("-")[0].lower() != "en":
            raise UnsupportedOption(
                f"{self._spec.name} speaks English alone, not `{request.language[:20]}`."
            )
        name = chosen_voice(self._spec, request, list(self.voices))
        hibari = self.voices[name]
        seed = chosen_seed(request)
        voice = Voice(
            name=name,
            sampling_rate_hz=hibari.sample_rate,
            max_chars=_MAX_CHARS,
            speak=lambda text: hibari(text, speed=request.speed, seed=seed),
        )
        yield from narrate(self._spec, request, control, voice, seed)
