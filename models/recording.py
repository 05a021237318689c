"""Speech that the bot makes: samples into one Ogg Opus file with its waveform.

This module owns encoding sound with PyAV and what a generated file says about itself. It must not
keep the samples: they are encoded as they come.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from models.media import Samples

ENCODED_RATE_HZ = 48_000
CONTENT_TYPE = "audio/ogg"

_BIT_RATE = 40_000
_PEAKS_A_SECOND = 100
_WAVEFORM_A_SECOND = 10
_WAVEFORM_POINTS = 256
_QUIET = 1e-3


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished recording.

    Attributes:
        data: One Ogg Opus file, 48 kHz mono.
        duration_s: Its length in seconds.
        waveform: 1 to 256 loudness values, each 0 to 255, as Discord's voice messages want them.
    """

    data: bytes
    duration_s: float
    waveform: bytes


class Recorder:
    """Encodes speech piece by piece; use it as a context manager.

    PyAV crashes the process when an unfinished container is collected, so leaving the context
    closes it on every way out.

    Args:
        sampling_rate_hz: Of the samples that come in.
        metadata: Tags of the file, such as ``model`` and ``seed``.
    """

    def __init__(self, sampling_rate_hz: int, metadata: Mapping[str, str]) -> None:
        import av

        self._rate = sampling_rate_hz
        self._samples = 0
        self._peaks = _Peaks(sampling_rate_hz)
        self._buffer = io.BytesIO()
        self._container = av.open(self._buffer, "w", format="ogg")
        self._stream = self._container.add_stream(
            "libopus", rate=ENCODED_RATE_HZ, layout="mono", bit_rate=_BIT_RATE
        )
        self._stream.metadata.update(metadata)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def duration_s(self) -> float:
        """Seconds so far."""
        return self._samples / self._rate

    def add(self, samples: Samples) -> None:
        """Append mono float32 samples between -1 and 1; louder ones are clipped."""
        import av
        import numpy as np

        if not samples.size:
            return
        clean = np.nan_to_num(np.clip(samples, -1.0, 1.0), copy=False).astype(np.float32)
        self._peaks.add(clean)
        frame = av.AudioFrame.from_ndarray(clean.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = self._rate
        frame.pts = self._samples
        frame.time_base = Fraction(1, self._rate)
        self._samples += clean.size
        self._container.mux(self._stream.encode(frame))

    def pause(self, seconds: float) -> None:
        """Append silence."""
        import numpy as np

        self.add(np.zeros(round(seconds * self._rate), np.float32))

    def finish(self) -> Recording:
        """End the file; the recorder is used up."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return Recording(self._buffer.getvalue(), self.duration_s, self._peaks.waveform())


class _Peaks:
    """The loudest sample of every hundredth of a second."""

    def __init__(self, sampling_rate_hz: int) -> None:
        self._step = max(1, sampling_rate_hz // _PEAKS_A_SECOND)
        self._values: list[float] = []

    def add(self, samples: Samples) -> None:
        import numpy as np

        starts = np.arange(0, samples.size, self._step)
        self._values += np.maximum.reduceat(np.abs(samples), starts).tolist()

    def waveform(self) -> bytes:
        import numpy as np

        if not self._values:
            return b"\x00"
        peaks = np.asarray(self._values)
        wanted = math.ceil(peaks.size * _WAVEFORM_A_SECOND / _PEAKS_A_SECOND)
        starts = np.linspace(0, peaks.size, min(wanted, _WAVEFORM_POINTS), endpoint=False)
        loudness = np.maximum.reduceat(peaks, starts.astype(int))
        loudest = loudness.max()
        if loudest < _QUIET:
            return bytes(loudness.size)
        return bytes(np.round(loudness / loudest * 255).astype(np.uint8))
