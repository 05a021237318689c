"""Coqui voices: XTTS v2 with its built-in speakers, and VITS.

This module owns the backend ``coqui`` (``TTS.api``). Checkpoints are pickles by nature: only
architectures whose loader reads nothing but weights are let in, and a checkpoint that holds more
is refused. Recordings of people are never used as voices.

Source: https://coqui-tts.readthedocs.io
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from models.catalog import ModelSpec
from models.contracts import Control, HandlerEvent, SpeechRequest
from models.errors import ModelLoadFailed, OutOfMemory, UnsupportedOption
from models.speech.narration import Voice, chosen_seed, chosen_voice, narrate

if TYPE_CHECKING:
    from TTS.api import TTS

    from models.media import Samples

_ARCHITECTURES = ("xtts", "vits")
_MAX_CHARS = 250
_READERS = {"ja": "cutlet", "ko": "hangul_romanize", "zh": "pypinyin"}
"""Packages that XTTS reads these languages with, which coqui-tts does not bring."""


def load(spec: ModelSpec, location: str, device: str) -> CoquiHandler:
    """Load a checkpoint.

    Args:
        spec: Row of the catalogue.
        location: Folder of XTTS (``model.pth``, ``config.json``, ``vocab.json``,
            ``speakers_xtts.pth``), or checkpoint of VITS with ``config.json`` beside it.
        device: ``cpu`` or ``cuda:0``.

    Raises:
        ModelLoadFailed: A file is missing, damaged, or holds more than weights.
    """
    path = Path(location)
    folder = path if path.is_dir() else path.parent
    architecture = _architecture(folder / "config.json")
    checkpoint = folder if architecture == "xtts" else _checkpoint(path)
    try:
        from TTS.api import TTS

        logging.getLogger("TTS").setLevel(logging.ERROR)  # it logs what members write
        _read_checkpoints_only()
        tts = TTS(
            model_path=str(checkpoint),
            config_path=str(folder / "config.json"),
            progress_bar=False,
        ).to(device)
    except MemoryError as error:
        raise OutOfMemory from error
    except UnpicklingError as error:
        raise ModelLoadFailed(
            "The model can't be loaded: its file holds more than weights, so it might run code."
        ) from error
    except Exception as error:
        raise ModelLoadFailed from error
    if architecture == "xtts" and not _speakers(tts):
        raise ModelLoadFailed("The model can't be loaded: its folder has no speakers_xtts.pth.")
    return CoquiHandler(spec, tts, architecture)


def _architecture(config: Path) -> str:
    try:
        name = str(json.loads(config.read_text("utf-8"))["model"]).lower()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelLoadFailed(
            "The model can't be loaded: it has no config.json of Coqui."
        ) from error
    if name not in _ARCHITECTURES:
        raise ModelLoadFailed(f"The model can't be loaded: `{name[:40]}` is neither XTTS nor VITS.")
    return name


def _checkpoint(path: Path) -> Path:
    """Return the file with the weights of VITS."""
    if path.is_file():
        return path
    found = [file for file in sorted(path.glob("*.pth")) if "speaker" not in file.name]
    if len(found) != 1:
        raise ModelLoadFailed("The model can't be loaded: name the .pth file, not its folder.")
    return found[0]


def _read_checkpoints_only() -> None:
    """Keep XTTS from rewriting an older checkpoint in place, which would break its checksum."""
    import torch
    from TTS.tts.models import xtts

    def read(_model: object, path: Path) -> Any:
        with xtts._legacy_safe_globals():  # noqa: SLF001 - the published checkpoint needs it
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)["model"]

    xtts.Xtts._load_checkpoint = read  # noqa: SLF001 - there is no option for it


def _speakers(tts: TTS) -> list[str]:
    manager = tts.synthesizer.tts_model.speaker_manager
    return list(manager.speaker_names) if manager is not None else []


def _primary(language: str) -> str:
    return language.split("-")[0].lower()


def _matching(wanted: str, known: list[str]) -> str | None:
    """Return the same language, else one that differs in region alone."""
    same = [name for name in known if name.lower() == wanted.lower()]
    return next(iter(same + [name for name in known if _primary(name) == _primary(wanted)]), None)


class CoquiHandler:
    """Speaks with Coqui's models. See ``models.contracts.Handler``."""

    def __init__(self, spec: ModelSpec, tts: TTS, architecture: str) -> None:
        self._spec = spec
        self._tts: TTS | None = tts
        self._is_xtts = architecture == "xtts"
        self._speakers = _speakers(tts)
        # A voice of one language guesses its name, and is not to be told it.
        manager = tts.synthesizer.tts_model.language_manager
        self._languages = list(manager.language_names) if tts.is_multi_lingual else []

    def close(self) -> None:
        """Free the model."""
        self._tts = None

    def run(self, request: SpeechRequest, control: Control) -> Iterator[HandlerEvent]:
        """Speak; see ``models.contracts.Handler.run``."""
        assert self._tts is not None
        language = self._language(request)
        name = chosen_voice(self._spec, request, self._speakers or [self._spec.name])
        seed = chosen_seed(request)
        voice = Voice(
            name=name,
            sampling_rate_hz=self._tts.synthesizer.output_sample_rate,
            max_chars=self._max_chars(language),
            speak=self._speaker(name, language, request.speed, seed),
        )
        yield from narrate(self._spec, request, control, voice, seed)

    def _speaker(
        self, name: str, language: str | None, speed: float, seed: int
    ) -> Callable[[str], Samples]:
        """Return the function that speaks one sentence."""
        import numpy as np
        import torch

        assert self._tts is not None
        tts, model = self._tts, self._tts.synthesizer.tts_model
        speaker = name if self._speakers else None
        options = {"speed": speed} if self._is_xtts else {}
        sentences = count()

        def speak(text: str) -> Samples:
            if not self._is_xtts:
                model.length_scale = model.args.length_scale / speed
                if len(model.tokenizer.text_to_ids(text, language=language)) <= 1:
                    return np.zeros(0, np.float32)  # no letter that it knows
            # Per sentence, so that other models of this process can't shift the numbers.
            torch.manual_seed((seed + next(sentences)) % 2**32)
            spoken = tts.tts(
                text, speaker=speaker, language=language, split_sentences=False, **options
            )
            return np.asarray(spoken, np.float32)

        return speak

    def _language(self, request: SpeechRequest) -> str | None:
        """Return the model's name of the language, None where it has only one.

        Raises:
            UnsupportedOption: It does not speak that language, or a package is missing for it.
        """
        known = self._languages or list(self._spec.languages)
        wanted = request.language
        if wanted is None or not known:
            first = [_matching(name, known) for name in self._spec.languages]
            language = next((name for name in [*first, *known] if name), None)
        else:
            language = _matching(wanted, known)
            if language is None:
                raise UnsupportedOption(
                    f"{self._spec.name} does not speak `{wanted[:20]}`; "
                    f"it speaks {', '.join(known)}."
                )
        package = _READERS.get(_primary(language or "")) if self._is_xtts else None
        if package and find_spec(package) is None:
            raise UnsupportedOption(
                f"{self._spec.name} needs the Python package `{package}` for `{language}`. "
                "Tell the owner."
            )
        return language if self._languages else None

    def _max_chars(self, language: str | None) -> int:
        if not self._is_xtts or language is None:
            return _MAX_CHARS
        assert self._tts is not None
        limits = self._tts.synthesizer.tts_model.tokenizer.char_limits
        return int(limits.get(language.split("-")[0], _MAX_CHARS))
