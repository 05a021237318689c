"""The speech of a recording in chunks as long as Whisper listens to at once.

This module owns what is speech, and that chunks are full: each costs the same, however little is in
it. It must not hold more than was not taken yet, and knows nothing of the model.

Source: https://github.com/snakers4/silero-vad, in faster-whisper
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.media import SAMPLING_RATE_HZ

if TYPE_CHECKING:
    from models.media import Samples
    from models.transcription.windows import Window

_SILENCE_MS = 160


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A stretch of speech. ``start`` counts samples from the start of the recording."""

    start: int
    samples: Samples

    @property
    def end(self) -> int:
        return self.start + int(self.samples.size)


@dataclass(slots=True, eq=False)
class Chunk:
    """Pieces that are listened to at once, without the silence between them."""

    pieces: list[Piece] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many samples of speech it has."""
        return sum(piece.samples.size for piece in self.pieces)


class SpeechChunks:
    """Packs the speech of windows into chunks, across the borders of the windows.

    Args:
        longest_s: Length of a full chunk, in seconds.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._full: list[Chunk] = []
        self._open = Chunk()

    def add(self, window: Window) -> None:
        """Find the speech of a window; the next window follows it without a gap."""
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        options = VadOptions(
            max_speech_duration_s=self._longest_s, min_silence_duration_ms=_SILENCE_MS
        )
        first = round(window.start_s * SAMPLING_RATE_HZ)
        for found in get_speech_timestamps(window.samples, options):
            start, end = found["start"], found["end"]
            self._pack(Piece(first + start, window.samples[start:end].copy()))

    def end(self) -> None:
        """Let the chunk that was begun be taken as it is."""
        if self._open.pieces:
            self._full.append(self._open)
            self._open = Chunk()

    def take(self, count: int, *, fewer: bool = False) -> list[Chunk]:
        """Return the next chunks; none while there are not as many, unless fewer will do."""
        if len(self._full) < count and not fewer:
            return []
        taken, self._full = self._full[:count], self._full[count:]
        return taken

    def _pack(self, piece: Piece) -> None:
        if self._open.size + piece.samples.size > self._longest_s * SAMPLING_RATE_HZ:
            self.end()
        self._open.pieces.append(piece)


def joined(chunks: Sequence[Chunk]) -> tuple[Samples, list[dict[str, float]]]:
    """Return the sound of chunks in a row, and where each begins and ends in it, in seconds."""
    import numpy as np

    places, end = [], 0
    for chunk in chunks:
        start, end = end, end + chunk.size
        places.append({"start": start / SAMPLING_RATE_HZ, "end": end / SAMPLING_RATE_HZ})
    return np.concatenate([p.samples for chunk in chunks for p in chunk.pieces]), places
