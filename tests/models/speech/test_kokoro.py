"""Kokoro by the production path: real phonemes, and a stand-in with its inputs and output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.contracts import SpeechRequest, SpeechResult
from models.errors import ModelLoadFailed, UnsupportedOption
from models.speech import kokoro
from models.speech.kokoro import KokoroHandler, PhonemeReader
from tests.models.checkpoints_sound import write_kokoro
from tests.models.control import ScratchControl, heard, notices, result_of, spec_of, stages

VOICES = ["af_heart", "bm_george"]


@pytest.fixture(scope="module")
def phonemes(packaged) -> str:
    return packaged("hibari")[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_kokoro(tmp_path_factory.mktemp("weights") / "kokoro", VOICES)


def loaded(folder: Path, phonemes: str, **options: Any) -> KokoroHandler:
    options["phonemes_dir"] = phonemes
    spec = spec_of("kokoro", "speech", voices=VOICES, options=options)
    return kokoro.load(spec, str(folder), "cpu")


@pytest.fixture(scope="module")
def handler(folder: Path, phonemes: str) -> KokoroHandler:
    return loaded(folder, phonemes)


def speak(handler: KokoroHandler, control: ScratchControl, text: str, **options) -> SpeechResult:
    result = result_of(handler.run(SpeechRequest(text, **options), control))
    assert isinstance(result, SpeechResult)
    return result


def test_it_speaks_sentence_by_sentence(handler, control) -> None:
    events = list(handler.run(SpeechRequest("Good morning. How are you?"), control))

    assert stages(events) == ["sentence 1 of 2", "sentence 2 of 2"]
    result = result_of(events)
    assert isinstance(result, SpeechResult)
    assert result.voice == "af_heart"
    # 13 and 10 phonemes with their two ends, 0.1 s each, and the pause
    assert 2.0 < result.duration_s < 4.0


def test_each_voice_has_its_own_style(handler, control) -> None:
    def pitch(voice: str) -> float:
        samples = heard(control, speak(handler, control, "Good morning.", voice=voice))
        crossings = np.count_nonzero(np.diff(np.signbit(samples)))
        return crossings / samples.size * 16_000 / 2

    assert pitch("af_heart") == pytest.approx(0.05 * 24_000 / (2 * np.pi), rel=0.05)
    assert pitch("bm_george") == pytest.approx(0.10 * 24_000 / (2 * np.pi), rel=0.05)


def test_speed_changes_the_length(handler, control) -> None:
    slow, fast = (speak(handler, control, "Hello.", speed=speed).duration_s for speed in (0.5, 2.0))

    assert slow / fast == pytest.approx(4.0, rel=0.1)


def test_a_seed_is_said_to_be_of_no_use(handler, control) -> None:
    events = list(handler.run(SpeechRequest("Hello.", seed=1), control))

    assert notices(events) == ["Tiny takes no seed, so yours was not used."]


@pytest.mark.parametrize(
    ("options", "word"), [({"language": "de"}, "English alone"), ({"voice": "me"}, "no voice")]
)
def test_it_refuses_what_it_cannot_do(handler, control, options, word) -> None:
    with pytest.raises(UnsupportedOption, match=word):
        speak(handler, control, "Hello.", **options)


def test_phonemes_are_numbered_as_kokoro_numbers_them(phonemes: str) -> None:
    reader = PhonemeReader(phonemes)

    (numbers,) = reader("Hello!", british=False)

    # h ə l ˈ O ! as the model's own configuration has them
    assert numbers == [50, 83, 54, 156, 31, 5]
    assert list(reader("water", british=True)) != list(reader("water", british=False))
    assert list(reader("…", british=False)) in ([], [[10]])


def test_long_sentences_come_in_pieces_that_the_model_takes(phonemes: str) -> None:
    pieces = list(PhonemeReader(phonemes)("wonderful " * 120, british=False))

    assert len(pieces) > 1
    assert all(0 < len(piece) <= 509 for piece in pieces)


@pytest.mark.parametrize("missing", ["onnx/model_quantized.onnx", "voices/bm_george.bin"])
def test_a_folder_that_lacks_a_file_is_refused(phonemes, missing: str, tmp_path: Path) -> None:
    folder = write_kokoro(tmp_path / "kokoro", VOICES)
    (folder / missing).unlink()

    with pytest.raises(ModelLoadFailed) as caught:
        loaded(folder, phonemes)
    assert str(tmp_path) not in caught.value.user_message
