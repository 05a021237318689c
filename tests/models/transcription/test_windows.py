"""Windows: never longer than asked, cut where it is quiet, nothing lost, little held."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from models.media import SAMPLING_RATE_HZ
from models.transcription.windows import LONGEST_S, Window, WindowReader
from tests.models.sounds import silence, tone

RNG = np.random.default_rng(7)


def noise(seconds: float) -> np.ndarray:
    return RNG.normal(0, 0.2, round(seconds * SAMPLING_RATE_HZ)).astype(np.float32)


def blocks(samples: np.ndarray, size: int = SAMPLING_RATE_HZ) -> Iterator[np.ndarray]:
    for start in range(0, samples.size, size):
        yield samples[start : start + size]


def windows(samples: np.ndarray, longest_s: float) -> list[Window]:
    reader = WindowReader(blocks(samples))
    found = []
    while (window := reader.next(longest_s)) is not None:
        found.append(window)
    return found


@pytest.mark.parametrize("seconds", [0.5, 10.0, 10.1, 61.7])
def test_no_sample_is_lost_or_doubled(seconds: float) -> None:
    samples = noise(seconds)

    found = windows(samples, 10.0)

    assert np.array_equal(np.concatenate([w.samples for w in found]), samples)
    assert [w.start_s for w in found[1:]] == pytest.approx([w.end_s for w in found[:-1]])
    assert all(window.duration_s <= 10.0 for window in found)


def test_windows_end_in_the_pause() -> None:
    samples = np.concatenate([tone(8.0), silence(0.4), tone(8.0), silence(0.4), tone(3.0)])

    first, second, _ = windows(samples, 10.0)

    assert 8.0 < first.end_s < 8.4
    assert 16.4 < second.end_s < 16.8


def test_the_last_of_several_pauses_is_taken() -> None:
    samples = np.concatenate([tone(6.5), silence(0.4), tone(1.5), silence(0.4), tone(5.0)])

    assert 8.4 < windows(samples, 10.0)[0].end_s < 8.8


def test_each_window_may_have_another_length() -> None:
    reader = WindowReader(blocks(noise(30.0)))

    first, second = reader.next(5.0), reader.next(20.0)

    assert first is not None
    assert second is not None
    assert first.duration_s <= 5.0 < second.duration_s <= 20.0


def test_a_window_never_exceeds_five_minutes() -> None:
    window = WindowReader(blocks(np.zeros(400 * SAMPLING_RATE_HZ, np.float32))).next(10_000.0)

    assert window is not None
    assert window.duration_s <= LONGEST_S == 300.0


def test_memory_does_not_grow_with_the_recording() -> None:
    def endless(seconds: int) -> Iterator[np.ndarray]:
        for _ in range(seconds):
            yield np.zeros(SAMPLING_RATE_HZ, np.float32)

    def peak(seconds: int) -> int:
        tracemalloc.start()
        reader = WindowReader(endless(seconds))
        while reader.next(60.0) is not None:
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(3600) < peak(300) + 1_000_000
