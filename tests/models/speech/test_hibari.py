"""The embedded voice, from its wheel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.contracts import SpeechRequest, SpeechResult
from models.errors import ModelLoadFailed, UnsupportedOption
from models.speech import hibari
from models.speech.hibari import HibariHandler
from tests.models.control import heard, result_of, stages

TEXT = "Fresh bread and strong coffee make a good breakfast. Our train leaves soon."


@pytest.fixture(scope="module")
def handler(packaged) -> HibariHandler:
    spec, location = packaged("hibari")
    return hibari.load(spec, location, "cpu")


def speak(handler: HibariHandler, control, **options) -> SpeechResult:
    result = result_of(handler.run(SpeechRequest(TEXT, **options), control))
    assert isinstance(result, SpeechResult)
    return result


def test_it_speaks_with_progress(handler, control) -> None:
    events = list(handler.run(SpeechRequest(TEXT), control))

    assert stages(events) == ["sentence 1 of 2", "sentence 2 of 2"]
    result = result_of(events)
    assert 3.0 < result.duration_s < 8.0
    assert result.voice == "heart"
    assert max(result.waveform) == 255


def test_speed_changes_the_length(handler, control) -> None:
    slow, fast = (speak(handler, control, speed=speed, seed=1).duration_s for speed in (0.7, 1.5))

    assert slow / fast == pytest.approx(1.5 / 0.7, rel=0.15)


def test_a_seed_repeats(handler, control) -> None:
    first, again, other = (heard(control, speak(handler, control, seed=seed)) for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("language", ["en", "en-US", None])
def test_it_takes_english(handler, control, language) -> None:
    assert speak(handler, control, language=language).duration_s > 1


@pytest.mark.parametrize(
    ("options", "word"), [({"language": "de"}, "English alone"), ({"voice": "emma"}, "no voice")]
)
def test_it_refuses_what_it_cannot_do(handler, control, options, word) -> None:
    with pytest.raises(UnsupportedOption, match=word):
        speak(handler, control, **options)


def test_only_voices_inside_the_wheel_are_offered(handler) -> None:
    assert list(handler.voices) == ["heart"]


def test_a_folder_without_the_package_is_named_so(packaged, tmp_path: Path) -> None:
    spec, _ = packaged("hibari")

    with pytest.raises(ModelLoadFailed, match="no package `hibari`"):
        hibari.load(spec, str(tmp_path), "cpu")
