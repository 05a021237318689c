"""Recordings of the bot are what Discord's voice messages want, and say what made them."""

import gc
import io

import av
import numpy as np
import pytest

from models.recording import Recorder
from tests.models.sounds import silence, tone


def recorded(*pieces: np.ndarray, rate_hz: int = 24_000, **tags: str):
    with Recorder(rate_hz, tags) as recorder:
        for piece in pieces:
            recorder.add(piece)
        return recorder.finish()


def test_a_recording_is_mono_opus_at_48_khz() -> None:
    recording = recorded(tone(1.0, 24_000), tone(0.5, 24_000))

    with av.open(io.BytesIO(recording.data)) as file:
        stream = file.streams.audio[0]
        assert (file.format.name, stream.codec_context.name) == ("ogg", "opus")
        assert (stream.codec_context.sample_rate, stream.codec_context.channels) == (48_000, 1)
        samples = np.concatenate([f.to_ndarray().reshape(-1) for f in file.decode(audio=0)])
    assert recording.duration_s == pytest.approx(1.5)
    assert samples.size / 48_000 == pytest.approx(1.5, abs=0.03)
    assert np.argmax(np.abs(np.fft.rfft(samples[4800:52_800]))) == pytest.approx(440, abs=2)


def test_the_file_says_what_made_it() -> None:
    recording = recorded(tone(0.2, 24_000), model="hibari", seed="7", licence="Apache-2.0")

    with av.open(io.BytesIO(recording.data)) as file:
        tags = file.streams.audio[0].metadata
    assert (tags["model"], tags["seed"], tags["licence"]) == ("hibari", "7", "Apache-2.0")


def test_pauses_count_in_samples_of_the_voice() -> None:
    with Recorder(22_050, {}) as recorder:
        recorder.add(tone(0.5, 22_050))
        recorder.pause(0.25)
        recorder.add(tone(0.5, 22_050))
        recording = recorder.finish()

    assert recording.duration_s == pytest.approx(1.25, abs=0.001)


def test_the_waveform_follows_the_loudness() -> None:
    recording = recorded(silence(1.0, 24_000), tone(1.0, 24_000), 0.5 * tone(1.0, 24_000))

    wave = list(recording.waveform)

    assert len(wave) == 30
    assert max(wave[:9]) == 0
    assert min(wave[11:19]) > 250
    assert all(120 < value < 135 for value in wave[21:29])


def test_the_waveform_of_a_long_recording_has_256_points() -> None:
    assert len(recorded(tone(60.0, 24_000)).waveform) == 256


def test_silence_has_a_flat_waveform() -> None:
    assert set(recorded(silence(1.0, 24_000)).waveform) == {0}


def test_a_recording_that_was_given_up_is_collected_in_peace() -> None:
    for _ in range(3):  # PyAV kills the process where one is left open
        with Recorder(16_000, {}) as recorder:
            recorder.add(tone(0.5))
        del recorder
        gc.collect()


def test_samples_that_are_too_loud_or_no_numbers_are_tamed() -> None:
    broken = np.array([np.nan, 9.0, -9.0, np.inf] * 6000, np.float32)

    recording = recorded(broken)

    assert recording.duration_s == pytest.approx(1.0)
    assert max(recording.waveform) == 255
