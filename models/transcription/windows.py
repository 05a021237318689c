"""A long recording as windows that are cut where it is quiet.

This module owns where a stream of sound is cut. It must not hold more than one window and the
block that follows it, and knows nothing of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.media import SAMPLING_RATE_HZ

if TYPE_CHECKING:
    from models.media import Samples

LONGEST_S = 300.0

_SEARCHED_SHARE = 0.4
_FRAME_S = 0.02
_QUIET_S = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A stretch of a recording.

    Attributes:
        start_s: Where it begins in the recording, in seconds.
        samples: Mono float32 at 16 kHz.
        last: Whether the recording ends with it.
    """

    start_s: float
    samples: Samples
    last: bool = False

    @property
    def duration_s(self) -> float:
        return float(self.samples.size / SAMPLING_RATE_HZ)

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


class WindowReader:
    """Cuts blocks of sound into windows, each as long as the caller wants just then.

    Args:
        blocks: Mono float32 at 16 kHz, in order, as ``models.media.decode_audio`` yields them.
    """

    def __init__(self, blocks: Iterator[Samples]) -> None:
        self._blocks = blocks
        self._waiting: list[Samples] = []
        self._count = 0
        self._read = 0

    def next(self, longest_s: float) -> Window | None:
        """Return the next window, or None at the end.

        It lasts at most ``longest_s`` (and ``LONGEST_S``), and ends at the quietest place of its
        last part, so that words stay whole.
        """
        import numpy as np

        limit = round(min(longest_s, LONGEST_S) * SAMPLING_RATE_HZ)
        while self._count <= limit and (block := next(self._blocks, None)) is not None:
            self._waiting.append(block)
            self._count += block.size
        if not self._count:
            return None
        samples = np.concatenate(self._waiting)
        last = samples.size <= limit
        end = samples.size if last else quietest_place(samples[:limit])
        window = Window(self._read / SAMPLING_RATE_HZ, samples[:end], last)
        self._waiting = [samples[end:].copy()] if end < samples.size else []
        self._count = samples.size - end
        self._read += end
        return window


def quietest_place(samples: Samples) -> int:
    """Return the index in the middle of the quietest fifth of a second of the last part."""
    import numpy as np

    frame = round(_FRAME_S * SAMPLING_RATE_HZ)
    first = int(samples.size * (1 - _SEARCHED_SHARE))
    searched = samples[first:]
    frames = searched[: searched.size // frame * frame].reshape(-1, frame)
    width = round(_QUIET_S / _FRAME_S)
    if len(frames) < width:
        return int(samples.size)
    energy = np.einsum("ij,ij->i", frames, frames, dtype=np.float64)
    loudness = np.convolve(energy, np.ones(width), mode="valid")
    latest_quietest = len(loudness) - 1 - int(np.argmin(loudness[::-1]))
    return first + (latest_quietest + width // 2) * frame
