"""Whisper by the production path: the packaged tiny.en on real speech, a tiny multilingual one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.contracts import Finished, TextDelta, TranscriptionRequest, TranscriptionResult
from models.errors import (
    EmptyInput,
    EncryptedMedia,
    InputTooLong,
    InvalidMedia,
    ModelLoadFailed,
    UnsupportedOption,
)
from models.transcription import listening, whisper
from models.transcription.listening import UNDETERMINED
from models.transcription.whisper import WhisperHandler
from tests.models.checkpoints_sound import LANGUAGES, write_whisper
from tests.models.control import (
    media_of,
    notices,
    result_of,
    spec_of,
    stages,
    streamed,
)
from tests.models.sounds import silence, tone, write, write_cenc

FIRST = "The museum opens at nine and closes at six."
SECOND = "She planted beans and sunflowers behind the garden wall."


@pytest.fixture(scope="module")
def english(packaged) -> WhisperHandler:
    spec, location = packaged("whisper-tiny-en")
    return whisper.load(spec, location, "cpu").handler


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> WhisperHandler:
    location = write_whisper(tmp_path_factory.mktemp("whisper"))
    spec = spec_of("faster-whisper", "transcription", capabilities=["translate", "language"])
    return whisper.load(spec, str(location), "cpu").handler


def pause(seconds: float) -> np.ndarray:
    return silence(seconds, 24_000)


@pytest.fixture(scope="module")
def far_apart(speak: Callable[[str], np.ndarray]) -> np.ndarray:
    """Two sentences with 40 seconds of silence between: more than one window."""
    return np.concatenate([speak(FIRST), pause(40.0), speak(SECOND), pause(0.5)])


def request_for(path: Path, **options: object) -> TranscriptionRequest:
    return TranscriptionRequest(media_of(path), **options)


def clip(folder: Path, samples: np.ndarray, name: str = "clip.ogg") -> Path:
    codec = {"ogg": "libopus", "flac": "flac"}[name.split(".")[1]]
    return write(folder / name, samples, codec, 24_000)


# --------------------------------------------------------------------------- what is said


def test_speech_is_written_down_with_its_times(english, control, far_apart, tmp_path) -> None:
    path = clip(tmp_path, far_apart)

    events = list(english.run(request_for(path), control))

    result = result_of(events)
    assert isinstance(result, TranscriptionResult)
    first, second = result.segments
    assert first.text == "The museum opens at 9 and closes at 6."
    assert second.text == SECOND
    assert first.start_s < 1.0
    assert second.start_s == pytest.approx(far_apart.size / 24_000 - 4.2, abs=0.8)
    assert result.language == "en"
    assert result.duration_s == pytest.approx(far_apart.size / 24_000, abs=0.1)
    assert result.usage.amount == result.duration_s
    assert first.words == ()


def test_text_is_streamed_and_seconds_are_counted(english, control, far_apart, tmp_path) -> None:
    events = list(english.run(request_for(clip(tmp_path, far_apart)), control))

    total = f"{far_apart.size / 24_000:.0f} s"
    assert streamed(events) == result_of(events).text
    assert stages(events)[0] == f"0 s of {total}"
    assert stages(events)[-1] == f"{total} of {total}"
    done = [int(stage.split()[0]) for stage in stages(events)]
    assert done == sorted(done)


def test_the_first_text_comes_before_the_rest_is_heard(
    english, control, far_apart, tmp_path
) -> None:
    early = []
    for event in english.run(request_for(clip(tmp_path, far_apart)), control):
        if isinstance(event, TextDelta):
            break
        early.append(event)

    assert stages(early)[-1].startswith("0 s")


def test_words_have_times_when_they_are_asked_for(english, control, far_apart, tmp_path) -> None:
    path = clip(tmp_path, far_apart)

    result = result_of(english.run(request_for(path, word_timestamps=True), control))

    for segment in result.segments:
        assert " ".join(word.text for word in segment.words) == segment.text
        times = [time for word in segment.words for time in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert (segment.start_s, segment.end_s) == (times[0], times[-1])


@pytest.mark.parametrize("sound", [silence(12.0), 0.003 * tone(12.0), 0.3 * tone(12.0, hertz=90)])
def test_where_nobody_speaks_nothing_is_made_up(english, control, sound, tmp_path) -> None:
    path = write(tmp_path / "quiet.wav", sound)

    result = result_of(english.run(request_for(path), control))

    assert result.segments == ()
    assert result.duration_s == pytest.approx(12.0)


def test_the_sound_of_a_video_is_transcribed(english, control, speak, tmp_path) -> None:
    path = write(tmp_path / "clip.mp4", speak(FIRST), "aac", 24_000, video=True)

    assert "museum opens" in result_of(english.run(request_for(path), control)).text


def test_a_cancelled_job_ends_between_segments(english, control, far_apart, tmp_path) -> None:
    events = []
    for event in english.run(request_for(clip(tmp_path, far_apart)), control):
        events.append(event)
        control.cancelled = control.cancelled or isinstance(event, TextDelta)

    assert streamed(events) == "The museum opens at 9 and closes at 6."
    assert not any(isinstance(event, Finished) for event in events)


def test_a_file_that_ends_early_is_transcribed_as_far_as_it_goes(
    english, control, far_apart, tmp_path
) -> None:
    path = clip(tmp_path, far_apart, "clip.flac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    events = list(english.run(request_for(path), control))

    assert "museum opens" in result_of(events).text
    (notice,) = notices(events)
    assert "damaged or missing" in notice
    assert f"of {far_apart.size / 24_000:.0f} s could be read" in notice


# --------------------------------------------------------------------------- languages


@pytest.mark.parametrize("language", ["en", "en-GB", "EN"])
def test_an_english_model_takes_english_by_any_name(english, control, language, tmp_path) -> None:
    path = write(tmp_path / "quiet.wav", silence(1.0))

    assert result_of(english.run(request_for(path, language=language), control)).language == "en"


@pytest.mark.parametrize(
    ("options", "word"),
    [({"language": "de"}, "English alone"), ({"translate": True}, "can't translate")],
)
def test_an_english_model_refuses_what_it_cannot_do(
    english, control, options, word, tmp_path
) -> None:
    path = write(tmp_path / "quiet.wav", silence(1.0))

    with pytest.raises(UnsupportedOption, match=word):
        list(english.run(request_for(path, **options), control))


def test_a_multilingual_model_finds_the_language_out(
    multilingual, control, far_apart, tmp_path
) -> None:
    path = clip(tmp_path, far_apart)

    result = result_of(multilingual.run(request_for(path), control))

    assert result.language in LANGUAGES
    assert result.segments


def test_without_speech_the_language_stays_open(multilingual, control, tmp_path) -> None:
    path = write(tmp_path / "quiet.wav", silence(3.0))

    assert result_of(multilingual.run(request_for(path), control)).language == UNDETERMINED


def test_a_multilingual_model_translates_from_a_given_language(
    multilingual, control, far_apart, tmp_path
) -> None:
    path = clip(tmp_path, far_apart)

    result = result_of(
        multilingual.run(request_for(path, language="ja-JP", translate=True), control)
    )

    assert result.language == "ja"


def test_a_language_that_nobody_knows_is_refused(multilingual, control, tmp_path) -> None:
    path = write(tmp_path / "quiet.wav", silence(1.0))

    with pytest.raises(UnsupportedOption, match="xx"):
        list(multilingual.run(request_for(path, language="xx"), control))


# --------------------------------------------------------------------------- bad input


def picture(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(folder / "picture.png")
    return (folder / "picture.png").rename(folder / "song.mp3")


def empty(folder: Path) -> Path:
    (folder / "empty.mp3").touch()
    return folder / "empty.mp3"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (picture, InvalidMedia),
        (empty, EmptyInput),
        (lambda folder: write(folder / "none.wav", silence(0)), EmptyInput),
        (lambda folder: write_cenc(folder / "a.mp4", tone(1.0)), EncryptedMedia),
    ],
)
def test_a_bad_file_fails_alone(english, control, speak, make, error, tmp_path) -> None:
    with pytest.raises(error):
        list(english.run(request_for(make(tmp_path)), control))

    good = clip(tmp_path, speak(FIRST), "good.ogg")
    assert "museum" in result_of(english.run(request_for(good), control)).text


def limited(english: WhisperHandler, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = english._spec.model_copy(update={"max_input_s": seconds})
    monkeypatch.setattr(english, "_spec", spec)


def test_a_recording_that_is_too_long_is_refused_before_it_is_heard(
    english, control, monkeypatch, tmp_path
) -> None:
    limited(english, 60.0, monkeypatch)
    path = write(tmp_path / "long.wav", silence(200.0))

    with pytest.raises(InputTooLong, match=r"lasts 3 min; .* takes at most 60 s"):
        next(english.run(request_for(path), control))


def test_a_head_that_lies_about_the_length_does_not_help(
    english, control, monkeypatch, tmp_path
) -> None:
    limited(english, 60.0, monkeypatch)
    path = write(tmp_path / "long.wav", silence(200.0))
    honest = listening.probe_audio(path)
    monkeypatch.setattr(
        listening,
        "probe_audio",
        lambda _: listening.AudioInfo(
            10.0, honest.measured, honest.codec, honest.sampling_rate_hz, 1, has_video=False
        ),
    )

    with pytest.raises(InputTooLong):
        list(english.run(request_for(path), control))


# --------------------------------------------------------------------------- loading


@pytest.mark.parametrize("missing", ["model.bin", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_named_so(packaged, missing: str, tmp_path) -> None:
    spec, location = packaged("whisper-tiny-en")
    for file in Path(location).iterdir():
        if file.name != missing and file.is_file():
            (tmp_path / file.name).symlink_to(file)

    with pytest.raises(ModelLoadFailed, match=f"no {missing}"):
        whisper.load(spec, str(tmp_path), "cpu")


def test_damaged_weights_are_refused(packaged, tmp_path) -> None:
    spec, location = packaged("whisper-tiny-en")
    for file in Path(location).iterdir():
        if file.is_file() and file.name != "model.bin":
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "model.bin").write_bytes(b"no weights")

    with pytest.raises(ModelLoadFailed) as caught:
        whisper.load(spec, str(tmp_path), "cpu")
    assert str(tmp_path) not in caught.value.user_message


def test_a_model_with_more_mel_bands_is_fed_them(control, far_apart, tmp_path) -> None:
    location = write_whisper(tmp_path / "large", mel_bands=128)
    handler = whisper.load(spec_of("faster-whisper", "transcription"), str(location), "cpu").handler

    assert result_of(handler.run(request_for(clip(tmp_path, far_apart)), control)).duration_s > 40
