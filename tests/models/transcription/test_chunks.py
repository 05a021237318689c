"""Chunks: all speech, in order, full, across the borders of windows; silence is left out."""

from __future__ import annotations

import numpy as np
import pytest

from models.media import SAMPLING_RATE_HZ
from models.transcription.chunks import Chunk, SpeechChunks, joined
from models.transcription.windows import Window
from tests.models.sounds import Samples, silence

LONGEST_S = 8.0


@pytest.fixture(scope="module")
def talk(speak) -> Samples:
    """A sentence of about three seconds at 16 kHz, with quiet around it."""
    spoken = speak("The museum opens at nine and closes at six.")
    count = spoken.size * SAMPLING_RATE_HZ // 24_000
    at = np.arange(count) * 24_000 / SAMPLING_RATE_HZ
    heard = np.interp(at, np.arange(spoken.size), spoken).astype(np.float32)
    return np.concatenate([silence(0.7), heard, silence(0.7)])


def windows(*sounds: Samples) -> list[Window]:
    found, start = [], 0
    for sound in sounds:
        found.append(Window(start / SAMPLING_RATE_HZ, sound))
        start += sound.size
    return found


def packed(*sounds: Samples) -> tuple[list[Chunk], Samples]:
    chunks = SpeechChunks(LONGEST_S)
    for window in windows(*sounds):
        chunks.add(window)
    chunks.end()
    return chunks.take(100, fewer=True), np.concatenate(sounds)


def test_pieces_say_where_they_are_in_the_recording(talk) -> None:
    chunks, recording = packed(talk, silence(20.0), talk, talk)
    pieces = [piece for chunk in chunks for piece in chunk.pieces]
    assert len(pieces) >= 3
    for piece in pieces:
        assert np.array_equal(recording[piece.start : piece.end], piece.samples)
    starts = [piece.start for piece in pieces]
    assert starts == sorted(starts)


def test_chunks_are_filled_across_windows_and_never_too_long(talk) -> None:
    chunks, _ = packed(*[talk] * 6)
    lengths = [chunk.size / SAMPLING_RATE_HZ for chunk in chunks]
    assert max(lengths) <= LONGEST_S
    assert len(chunks) == 3


def test_silence_makes_no_chunk(talk) -> None:
    chunks, _ = packed(silence(30.0), silence(30.0))
    assert chunks == []


def test_a_chunk_under_way_is_kept_until_it_is_full_or_all_is_heard(talk) -> None:
    chunks = SpeechChunks(LONGEST_S)
    first, second, third = windows(talk, talk, talk)
    chunks.add(first)
    assert chunks.take(1) == chunks.take(1, fewer=True) == []
    chunks.add(second)
    chunks.add(third)
    assert chunks.take(3) == []
    [full] = chunks.take(1)
    chunks.end()
    rest = chunks.take(9, fewer=True)
    pieces = [piece for chunk in (full, *rest) for piece in chunk.pieces]
    assert sum(piece.samples.size for piece in pieces) > 2 * SAMPLING_RATE_HZ * 3


def test_joined_chunks_are_where_they_are_said_to_be(talk) -> None:
    chunks, _ = packed(*[talk] * 4)
    samples, places = joined(chunks)
    assert samples.size == sum(chunk.size for chunk in chunks)
    for chunk, place in zip(chunks, places, strict=True):
        start, end = (round(place[name] * SAMPLING_RATE_HZ) for name in ("start", "end"))
        assert np.array_equal(
            samples[start:end], np.concatenate([piece.samples for piece in chunk.pieces])
        )
