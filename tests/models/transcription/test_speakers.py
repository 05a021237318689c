"""Voices told apart, by the real encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.catalog import Catalog, ModelSpec
from models.contracts import Finished, Progress, Segment, TranscriptionRequest, TranscriptionResult
from models.errors import ModelLoadFailed, UnsupportedOption
from models.transcription import whisper
from models.transcription.speakers import SpeakerEncoder, groups_of, named, stretches
from models.transcription.whisper import WhisperHandler
from models.weights import WeightStore
from tests.models.control import ScratchControl, media_of, result_of
from tests.models.sounds import Samples, silence, tone, write

ROOT = Path(__file__).resolve().parents[3]

TALK = [
    ("heart", "The museum opens at nine in the morning and closes at six on weekdays."),
    ("giant", "Please remember to water the plants before you leave for the weekend."),
    ("heart", "Our train was twenty minutes late because of the heavy snow."),
    ("giant", "She bought three apples, two lemons and a loaf of bread at the market."),
    ("giant", "A gentle breeze carried the smell of the sea through the open window."),
    ("heart", "Could you tell me where the nearest post office is?"),
]


@pytest.fixture(scope="session")
def checkpoint() -> str:
    tool = Catalog.read(ROOT / "config").tools["speakers"]
    store = WeightStore(ROOT / "data" / "models")
    store.pull(tool, print)
    assert store.verify(tool) == []
    return store.locate(tool)


@pytest.fixture(scope="module")
def encoder(checkpoint: str) -> SpeakerEncoder:
    return SpeakerEncoder.load(checkpoint)


@pytest.fixture(scope="module")
def talk(speak: Callable[[str], Samples]) -> list[Samples]:
    """Return what two voices say in turn, at 16 kHz: the other one has a throat half as long."""
    return [at(speak(text), 1.5 if who == "heart" else 1.5 * 0.78) for who, text in TALK]


def at(samples: Samples, step: float) -> Samples:
    places = np.arange(0, samples.size, step)
    return np.interp(places, np.arange(samples.size), samples).astype(np.float32)


def ear(packaged, **options: str) -> WhisperHandler:
    spec, location = packaged("whisper-tiny-en")
    spec = spec.model_copy(update={"options": {**spec.options, **options}})
    assert isinstance(spec, ModelSpec)
    return whisper.load(spec, location, "cpu").handler


def test_a_voice_stays_like_itself_whatever_it_says(encoder, talk) -> None:
    voices = np.stack([encoder.voice(sound) for sound in talk])

    assert voices.shape == (6, 256)
    assert np.linalg.norm(voices, axis=1) == pytest.approx(1.0, abs=1e-5)
    likeness = voices @ voices.T
    same = np.array([[a == b for b, _ in TALK] for a, _ in TALK])
    assert likeness[same].min() > likeness[~same].max()


def test_two_voices_are_told_apart_in_a_transcript(
    packaged, checkpoint: str, talk, control: ScratchControl, tmp_path: Path
) -> None:
    pieces = [piece for sound in talk for piece in (sound, silence(0.6))]
    path = write(tmp_path / "talk.ogg", np.concatenate(pieces), "libopus")
    handler = ear(packaged, speakers_dir=checkpoint)

    events = list(handler.run(TranscriptionRequest(media_of(path), speakers=True), control))

    result = result_of(events)
    assert isinstance(result, TranscriptionResult)
    assert [segment.speaker for segment in result.segments] == [
        "Speaker 1" if who == "heart" else "Speaker 2" for who, _ in TALK
    ]
    shares = [e.fraction for e in events if isinstance(e, Progress) and "speakers" in e.stage]
    assert shares == pytest.approx([number / 6 for number in range(6)])


def test_one_voice_is_one_speaker(encoder, talk) -> None:
    own = [sound for sound, (who, _) in zip(talk, TALK, strict=True) if who == "giant"]
    segments = [Segment(n * 4.0, n * 4.0 + 3.0, "x") for n in range(len(own))]

    found = named(segments, [encoder.voice(sound) for sound in own])

    assert {segment.speaker for segment in found} == {"Speaker 1"}


@pytest.mark.parametrize("sound", [silence(2.0), tone(0.01), np.zeros(1, np.float32)])
def test_sounds_without_a_voice_do_no_harm(encoder, sound: Samples) -> None:
    assert np.isfinite(encoder.voice(sound)).all()


def test_without_the_encoder_it_is_refused_before_anything_is_heard(
    packaged, control: ScratchControl, tmp_path: Path
) -> None:
    path = write(tmp_path / "quiet.wav", silence(1.0))

    with pytest.raises(UnsupportedOption, match="can't be told apart here"):
        next(ear(packaged).run(TranscriptionRequest(media_of(path), speakers=True), control))


def test_a_cancel_ends_it_between_segments(
    packaged, checkpoint: str, talk, control: ScratchControl, tmp_path: Path
) -> None:
    path = write(tmp_path / "talk.wav", np.concatenate([talk[0], silence(0.6), talk[1]]))
    handler = ear(packaged, speakers_dir=checkpoint)
    events = []
    for event in handler.run(TranscriptionRequest(media_of(path), speakers=True), control):
        events.append(event)
        control.cancelled = isinstance(event, Progress) and "speakers" in event.stage

    assert control.cancelled
    assert not any(isinstance(event, Finished) for event in events)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "voices.pt").write_bytes(b"no weights")

    with pytest.raises(ModelLoadFailed):
        SpeakerEncoder.load(str(tmp_path / "voices.pt"))


# --------------------------------------------------------------------------- pure parts


def test_short_stretches_join_the_nearest_group() -> None:
    one, other = np.eye(2, 256, dtype=np.float32)
    voices = [one, other, (0.7 * one + 0.3 * other), (0.3 * one + 0.7 * other)]

    assert groups_of(voices, [3.0, 3.0, 0.4, 0.4]) == groups_of(voices, [3.0, 3.0, 0.4, 0.4])
    first, second, third, fourth = groups_of(voices, [3.0, 3.0, 0.4, 0.4])
    assert (third, fourth) == (first, second)
    assert first != second


def test_short_stretches_alone_are_one_speaker() -> None:
    one, other = np.eye(2, 256, dtype=np.float32)

    assert len(set(groups_of([one, other], [0.5, 0.4]))) == 1
    assert groups_of([], []) == []


def test_each_segment_gets_its_own_sound() -> None:
    recording = np.arange(16_000 * 10, dtype=np.float32)
    blocks = iter(np.split(recording, 10))
    segments = [Segment(0.5, 1.5, "a"), Segment(1.4, 4.0, "b"), Segment(9.0, 12.0, "c")]

    found = list(stretches(segments, blocks))

    spans = [(sound[0] / 16_000, (sound[-1] + 1) / 16_000) for sound in found]
    assert np.allclose(spans, [(0.5, 1.5), (1.4, 4.0), (9.0, 10.0)])
