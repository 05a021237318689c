"""Clips as MP4 files that Discord plays inline: H.264, yuv420p, even sides, the index first.

This module owns writing them, and bringing files of other makers into that form. It must not know
who made the frames. Sound that a file has is kept as it is.

Source: https://trac.ffmpeg.org/wiki/Encode/H.264
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.errors import InputTooLong
from models.video.reading import decoded, filtered, is_steady, opened, sound_size

if TYPE_CHECKING:
    import av
    import numpy as np
    from numpy.typing import NDArray

    Frame = NDArray[np.uint8]

MP4: Final = "video/mp4"

_CRF = "18"
"""No difference from the frames can be seen; a lower number costs much for nothing."""

_CODEC = {"preset": "fast", "mbtree": "0"}
"""With x264's macroblock tree about one file in a hundred differs from the others."""

_CONTAINER = {"movflags": "faststart+use_metadata_tags"}
_SCALES = (1.0, 0.75, 0.5, 0.35)
_SMALLEST_SIDE_PX = 32
_LEAST_BITS_PER_PIXEL = 0.015
"""Below this a smaller picture looks better than a coarser one."""

_LEAST_BITS = 2_000
_MARGINS = (0.92, 0.8, 0.6)
_SOUND_SHARE = 0.5
_OVERHEAD_BYTES = 2_000
_OWN_KEYS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})


@dataclass(frozen=True, slots=True)
class Clip:
    """An MP4 file in memory, with its shape."""

    data: bytes
    width_px: int
    height_px: int
    frames: int
    fps: float


@dataclass(frozen=True, slots=True)
class _Rate:
    """How a clip is compressed: by quality, or to a number of bits a second."""

    bits_per_second: int | None = None
    scale: float = 1.0
    sound: bool = True


@dataclass(frozen=True, slots=True)
class _Colours:
    """What the numbers of a frame mean, as H.264 has it; without it a player guesses by the size.

    As it stands: sRGB that swscale brought into YUV by the matrix of BT.601.
    """

    colorspace: int = 6
    color_primaries: int = 1
    color_trc: int = 1
    color_range: int = 1

    @classmethod
    def of(cls, context: Any) -> _Colours:
        return cls(*(int(getattr(context, field.name)) for field in fields(cls)))

    def tell(self, context: Any) -> None:
        for field in fields(self):
            setattr(context, field.name, getattr(self, field.name))


def encode(frames: Iterable[Frame], fps: float, metadata: Mapping[str, str]) -> Clip:
    """Write frames at a constant rate.

    Args:
        frames: Height x width x 3, uint8 RGB, all of one size. An odd side loses its last line.
        fps: Frames a second.
        metadata: What the file should say about itself.

    Raises:
        ValueError: There is no frame.
    """
    import av

    rate = _fraction(fps)
    pictures = (av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in _even(frames))
    return _written(pictures, rate, metadata, _Rate(), _Colours())


def adopt(data: bytes, metadata: Mapping[str, str]) -> Clip:
    """Bring somebody else's file into the form that is sent, with what it should say about itself.

    H.264 of a steady rate is packed anew as it is; anything else is compressed again.

    Raises:
        InvalidMedia: It is no video, or is damaged.
    """
    with opened(data) as source:
        stream = source.streams.video[0]
        context = stream.codec_context
        even = context.width % 2 == 0 and context.height % 2 == 0
        plain = context.name == "h264" and context.pix_fmt == "yuv420p" and even
        fit_to_send = plain and is_steady(source)
    if fit_to_send:
        return _repacked(data, metadata)
    return _again(data, metadata, _Rate())


def fit(clip: bytes, max_bytes: int) -> bytes:
    """Return a clip of at most ``max_bytes``: coarser where it must be, then smaller.

    Sound is left out where that alone would take half of the room.

    Raises:
        InputTooLong: Not even a tiny one fits.
        InvalidMedia: It is no video, or is damaged.
    """
    if len(clip) <= max_bytes:
        return clip
    with opened(clip) as source:
        metadata = {k: v for k, v in source.metadata.items() if k not in _OWN_KEYS}
        context = source.streams.video[0].codec_context
        size = (context.width, context.height)
        fps = float(source.streams.video[0].average_rate or 1)
        sound_bytes = sound_size(source)
        duration_s = max(0.1, (source.duration or 0) / 1_000_000)
    sound = sound_bytes < max_bytes * _SOUND_SHARE
    budget = max_bytes - sound_bytes * sound - _OVERHEAD_BYTES
    bits_per_second = 8 * budget / duration_s
    for scale in _SCALES:
        width, height = (side * scale for side in size)
        if min(width, height) < _SMALLEST_SIDE_PX:
            break
        coarse = bits_per_second / (width * height * fps) < _LEAST_BITS_PER_PIXEL
        if coarse and scale != _SCALES[-1]:
            continue
        for margin in _MARGINS:
            bits = int(bits_per_second * margin)
            if bits < _LEAST_BITS:
                break
            made = _again(clip, metadata, _Rate(bits, scale, sound)).data
            if len(made) <= max_bytes:
                return made
    raise InputTooLong("This clip does not fit into the upload limit.")


# --------------------------------------------------------------------------- writing


def _written(
    frames: Iterator[av.VideoFrame],
    fps: Fraction,
    metadata: Mapping[str, str],
    rate: _Rate,
    colours: _Colours,
    sound: av.AudioStream | None = None,
) -> Clip:
    """Compress frames, and copy sound beside them."""
    first = next(frames, None)
    if first is None:
        raise ValueError("a clip needs a frame")
    count = 0
    with _new_file(metadata) as (target, file):
        stream: Any = target.add_stream("libx264", rate=fps)
        stream.width, stream.height = first.width, first.height
        stream.pix_fmt = "yuv420p"
        colours.tell(stream.codec_context)
        stream.options = dict(_CODEC)
        if rate.bits_per_second is None:
            stream.options |= {"crf": _CRF}
        else:  # the peak is held down too, so that the size comes out as reckoned
            stream.bit_rate = rate.bits_per_second
            most = str(rate.bits_per_second)
            stream.options |= {"maxrate": most, "bufsize": most}
        copied = None if sound is None else target.add_stream_from_template(sound)
        for frame in chain([first], frames):
            frame.pts, frame.time_base = count, 1 / fps
            target.mux(stream.encode(frame))
            count += 1
        target.mux(stream.encode())
        if sound is not None:
            _copy(sound, copied, target)
    return Clip(file.getvalue(), first.width, first.height, count, float(fps))


def _again(data: bytes, metadata: Mapping[str, str], rate: _Rate) -> Clip:
    """Decode a file and compress it anew, at a steady rate and with even sides."""
    with opened(data) as source, opened(data) as other:
        stream = source.streams.video[0]
        fps = _fraction(float(stream.average_rate or 24))
        sound = next(iter(other.streams.audio), None) if rate.sound else None
        colours = _Colours.of(stream.codec_context)
        frames = filtered(decoded(source), stream, fps, rate.scale)
        return _written(frames, fps, metadata, rate, colours, sound)


def _repacked(data: bytes, metadata: Mapping[str, str]) -> Clip:
    """Copy what is in a file into a new one, with the index first."""
    count = 0
    with opened(data) as source, _new_file(metadata) as (target, file):
        stream = source.streams.video[0]
        sources: list[Any] = [stream, *source.streams.audio[:1]]
        copies = {s.index: target.add_stream_from_template(s) for s in sources}
        for packet in source.demux(sources):
            if packet.dts is None:
                continue
            count += packet.stream is stream
            packet.stream = copies[packet.stream.index]
            target.mux(packet)
        fps = float(stream.average_rate or 24)
        size = (stream.codec_context.width, stream.codec_context.height)
    return Clip(file.getvalue(), *size, count, fps)


@contextmanager
def _new_file(
    metadata: Mapping[str, str],
) -> Iterator[tuple[av.container.OutputContainer, io.BytesIO]]:
    """Open an MP4 for writing; what was written is in the buffer when this ends.

    FFmpeg needs a real file to move the index to its head.
    """
    import av

    made = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="sextant-") as folder:
        path = Path(folder) / "clip.mp4"
        with av.open(str(path), "w", format="mp4", options=_CONTAINER) as target:
            target.metadata.update(metadata)
            yield target, made
        made.write(path.read_bytes())


def _copy(sound: av.AudioStream, copied: Any, target: av.container.OutputContainer) -> None:
    for packet in sound.container.demux(sound):
        if packet.dts is not None:
            packet.stream = copied
            target.mux(packet)


def _even(frames: Iterable[Frame]) -> Iterator[Frame]:
    import numpy as np

    for frame in frames:
        height, width = (max(2, side // 2 * 2) for side in frame.shape[:2])
        yield np.ascontiguousarray(frame[:height, :width])


def _fraction(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1001)
