"""Who said what: segments of a transcript told apart by the voices in them.

This module owns the encoder of voices, which is small enough for any machine, and putting like
voices together. It works on the segments of any model, so a segment has one speaker: the one who is
heard in most of it. It knows nobody's name and keeps no voice.

Source: https://github.com/resemble-ai/Resemblyzer (GE2E, https://arxiv.org/abs/1710.10467)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.contracts import Segment
from models.errors import BackendError, ModelLoadFailed
from models.media import SAMPLING_RATE_HZ
from models.torch_errors import translated

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.media import Samples

    Voices = NDArray[np.float32]

_MELS: Final = 40
_SIZE: Final = 256
_LAYERS: Final = 3
_FFT: Final = 400
_HOP: Final = 160
_PARTIAL_FRAMES: Final = 160
_PARTIAL_STEP: Final = 77
_COVERED: Final = 0.75
_LOUDNESS: Final = 10 ** (-30 / 20)

_SURE_S: Final = 1.2
"""A voice can be told from this much of it."""

_LONGEST_S: Final = 30.0
"""No more of a segment is listened to."""

_LIKE: Final = 0.24
"""Cosine distance up to which two groups of segments are one speaker."""


class SpeakerEncoder:
    """Turns a stretch of speech into a direction that is nearly the same for the same voice."""

    def __init__(self, lstm: Any, linear: Any, filters: Any) -> None:
        self._lstm = lstm
        self._linear = linear
        self._filters = filters

    @classmethod
    def load(cls, file: str) -> SpeakerEncoder:
        """Load the encoder, which is small and stays on the processor.

        Args:
            file: Its checkpoint.

        Raises:
            ModelLoadFailed: The checkpoint is damaged.
        """
        import torch
        from transformers.audio_utils import mel_filter_bank

        with translated(ModelLoadFailed):
            state = _checkpoint(Path(file))["model_state"]
            lstm = torch.nn.LSTM(_MELS, _SIZE, _LAYERS, batch_first=True)
            linear = torch.nn.Linear(_SIZE, _SIZE)
            for name, part in (("lstm.", lstm), ("linear.", linear)):
                part.load_state_dict(
                    {k.removeprefix(name): v for k, v in state.items() if k.startswith(name)}
                )
                part.requires_grad_(requires_grad=False)
            filters = mel_filter_bank(
                _FFT // 2 + 1,
                _MELS,
                0.0,
                SAMPLING_RATE_HZ / 2,
                SAMPLING_RATE_HZ,
                "slaney",
                "slaney",
            )
        return cls(lstm, linear, torch.tensor(filters, dtype=torch.float32))

    def voice(self, samples: Samples) -> Voices:
        """Return the voice of a stretch of speech: 256 float32 values of length 1."""
        import numpy as np
        import torch

        with translated(BackendError), torch.inference_mode():
            mels = self._mels(torch.from_numpy(_audible(samples)))
            _, (hidden, _) = self._lstm(_partials(mels))
            partials = torch.nn.functional.normalize(torch.relu(self._linear(hidden[-1])), dim=1)
            voice = partials.mean(0)
            return np.asarray((voice / voice.norm().clamp(min=1e-6)).numpy(), np.float32)

    def _mels(self, samples: Any) -> Any:
        """Return the spectrogram, frames × bands; not a logarithmic one."""
        import torch

        window = torch.hann_window(_FFT)
        spectrum = torch.stft(
            samples, _FFT, _HOP, window=window, pad_mode="constant", return_complex=True
        )
        return spectrum.abs().square().T @ self._filters


def _checkpoint(file: Path) -> Any:
    """Read a pickle that is pinned by its checksum, and of it nothing but tensors."""
    import pickle

    import torch

    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelLoadFailed from error


def _audible(samples: Samples) -> Samples:
    import numpy as np

    loudness = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return samples * np.float32(max(1.0, _LOUDNESS / max(loudness, 1e-6)))


def _partials(mels: Any) -> Any:
    """Return overlapping stretches of 1.6 s; the last is filled up or left out."""
    import torch

    frames = len(mels)
    last = max(0, frames - round(_PARTIAL_FRAMES * _COVERED))
    starts = range(0, last + 1, _PARTIAL_STEP)
    missing = max(0, starts[-1] + _PARTIAL_FRAMES - frames)
    padded = torch.nn.functional.pad(mels, (0, 0, 0, missing))
    return torch.stack([padded[start : start + _PARTIAL_FRAMES] for start in starts])


def named(segments: Sequence[Segment], voices: Sequence[Voices]) -> list[Segment]:
    """Return the segments, each with the speaker that its voice belongs to.

    Speakers are called ``Speaker 1``, ``Speaker 2``, … in the order in which they first speak.
    """
    groups = groups_of(voices, [segment.end_s - segment.start_s for segment in segments])
    order = list(dict.fromkeys(groups))
    return [
        replace(segment, speaker=f"Speaker {order.index(group) + 1}")
        for segment, group in zip(segments, groups, strict=True)
    ]


def groups_of(voices: Sequence[Voices], lengths_s: Sequence[float]) -> list[int]:
    """Return the group of each voice; those of one group are like each other.

    Short stretches do not make groups: each goes to the group that it is nearest to.
    """
    import numpy as np
    from scipy.cluster.hierarchy import fcluster, linkage

    if not voices:
        return []
    all_ = np.stack(voices)
    sure = np.flatnonzero(np.asarray(lengths_s) >= _SURE_S)
    if not sure.size:
        sure = np.asarray([int(np.argmax(lengths_s))])
    known = np.ones(1, int)
    if sure.size > 1:
        tree = linkage(all_[sure].astype(np.float64), "average", "cosine")
        known = fcluster(tree, _LIKE, "distance")
    names = np.unique(known)
    centres = np.stack([all_[sure[known == name]].mean(0) for name in names])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True).clip(1e-6)
    groups = names[np.argmax(all_ @ centres.T, axis=1)]
    groups[sure] = known
    return [int(group) for group in groups]


def stretches(segments: Iterable[Segment], blocks: Iterator[Samples]) -> Iterator[Samples]:
    """Yield the sound of each segment, with no more of the recording in memory than that.

    Args:
        segments: In order of time.
        blocks: The recording, mono float32 at 16 kHz.
    """
    import numpy as np

    held = np.zeros(0, np.float32)
    first = 0  # where ``held`` begins in the recording
    for segment in segments:
        start = round(segment.start_s * SAMPLING_RATE_HZ)
        end = round(min(segment.end_s, segment.start_s + _LONGEST_S) * SAMPLING_RATE_HZ)
        while first + held.size < end and (block := next(blocks, None)) is not None:
            kept = max(0, min(start - first, held.size))
            held, first = np.concatenate([held[kept:], block]), first + kept
        sound = held[max(0, start - first) : max(0, end - first)]
        yield sound if sound.size else np.zeros(1, np.float32)
