"""Kokoro: small English voices in ONNX, quick enough for a processor.

This module owns the backend ``kokoro``. Words become phonemes by the rules of the package
``hibari``, which writes them in Kokoro's alphabet and needs no espeak; it lies unpacked in the
folder of weights. It must not fetch weights.

Source: https://huggingface.co/onnx-community/Kokoro-82M-v1.0-ONNX
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from models.catalog import ModelSpec
from models.contracts import Control, HandlerEvent, Notice, SpeechRequest
from models.errors import ModelLoadFailed, OutOfMemory, UnsupportedOption
from models.options import Options
from models.speech.narration import Voice, chosen_voice, narrate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.media import Samples

    Styles = NDArray[np.float32]

_RATE_HZ: Final = 24_000
_MAX_CHARS: Final = 300
_MAX_PHONEMES: Final = 509
_STYLE: Final = 256


class KokoroOptions(Options):
    """Load-time options, from the catalogue.

    Attributes:
        file: Which of the model's files in its folder.
        threads: Of the processor.
        cache_dir, phonemes_dir: Set by the engine; the latter only where the rules are there.
    """

    file: str = "onnx/model_quantized.onnx"
    threads: int = Field(1, ge=1, le=64)
    cache_dir: str = ""
    phonemes_dir: str = ""


def load(spec: ModelSpec, location: str, device: str) -> KokoroHandler:
    """Load the model and the voices that the catalogue names.

    Args:
        spec: Row of the catalogue.
        location: Folder with the model and ``voices/*.bin``.
        device: Ignored: it runs on the CPU.

    Raises:
        ModelLoadFailed: A file is missing or damaged, or there are no rules for phonemes.
    """
    import numpy as np
    import onnxruntime

    options = KokoroOptions.of(spec)
    try:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(
            str(Path(location) / options.file), settings, providers=["CPUExecutionProvider"]
        )
        voices = {
            name: np.fromfile(Path(location) / "voices" / f"{name}.bin", np.float32)
            for name in spec.voices
        }
        styles = {name: data.reshape(-1, _STYLE) for name, data in voices.items()}
        reader = PhonemeReader(options.phonemes_dir)
    except MemoryError as error:
        raise OutOfMemory from error
    except Exception as error:
        raise ModelLoadFailed from error
    return KokoroHandler(spec, session, styles, reader)


class PhonemeReader:
    """Turns English into the numbers of Kokoro's alphabet."""

    def __init__(self, folder: str) -> None:
        """Read the rules.

        Args:
            folder: Has the package ``hibari`` in it.

        Raises:
            ImportError: It has not.
            OSError: The package lacks its files.
        """
        if folder and folder not in sys.path:
            sys.path.append(folder)
        from hibari.g2p import ASSETS, G2P

        self._numbers: Mapping[str, int] = json.loads(
            (Path(ASSETS) / "vocab.json").read_text("utf-8")
        )
        self._rules = {british: G2P(british=british) for british in (False, True)}

    def __call__(self, text: str, *, british: bool) -> Iterator[list[int]]:
        """Yield the phonemes of a sentence in pieces that the model can take."""
        phonemes = self._rules[british](text) or ""
        while phonemes.strip():
            end = len(phonemes)
            if end > _MAX_PHONEMES:
                end = phonemes.rfind(" ", 1, _MAX_PHONEMES) + 1 or _MAX_PHONEMES
            piece, phonemes = phonemes[:end], phonemes[end:]
            if numbers := [self._numbers[c] for c in piece.strip() if c in self._numbers]:
                yield numbers


class KokoroHandler:
    """Speaks English. See ``models.contracts.Handler``."""

    def __init__(
        self, spec: ModelSpec, session: Any, styles: dict[str, Styles], reader: PhonemeReader
    ) -> None:
        self._spec = spec
        self._session = session
        self._tokens = session.get_inputs()[0].name  # exports differ: input_ids, tokens
        self._styles = styles
        self._reader = reader

    def close(self) -> None:
        """Free the model."""
        self._session = None

    def run(self, request: SpeechRequest, control: Control) -> Iterator[HandlerEvent]:
        """Speak; see ``models.contracts.Handler.run``."""
        if request.language and request.language.split("-")[0].lower() != "en":
            raise UnsupportedOption(
                f"{self._spec.name} speaks English alone, not `{request.language[:20]}`."
            )
        name = chosen_voice(self._spec, request, list(self._styles))
        if request.seed is not None:
            yield Notice(f"{self._spec.name} takes no seed, so yours was not used.")
        voice = Voice(
            name=name,
            sampling_rate_hz=_RATE_HZ,
            max_chars=_MAX_CHARS,
            speak=lambda text: self._spoken(text, name, request.speed),
        )
        yield from narrate(self._spec, request, control, voice, None)

    def _spoken(self, text: str, voice: str, speed: float) -> Samples:
        import numpy as np

        styles = self._styles[voice]
        pieces = [np.zeros(0, np.float32)]
        for numbers in self._reader(text, british=voice.startswith("b")):
            style = styles[min(len(numbers), len(styles) - 1)]
            (waveform,) = self._session.run(
                None,
                {
                    self._tokens: np.array([[0, *numbers, 0]], np.int64),
                    "style": style.reshape(1, _STYLE),
                    "speed": np.array([speed], np.float32),
                },
            )
            pieces.append(np.asarray(waveform, np.float32).reshape(-1))
        return np.concatenate(pieces)
