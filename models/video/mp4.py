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
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.errors import InputTooLong, InvalidMedia, OutOfMemory

if TYPE_CHECKING:
    import av
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Frame = NDArray[np.uint8]

MP4: Final = "video/mp4"

_CRF = "18"
"""No difference from the frames can be seen; a lower number costs much for nothing."""

_PRESET = "fast"
_CONTAINER = {"movflags": "faststart+use_metadata_tags"}
_SCALES = (1.0, 0.75, 0.5, 0.35)
_SMALLEST_SIDE_PX = 32
_LEAST_BITS_PER_PIXEL = 0.015
"""Below this a smaller picture looks better than a coarser one."""

_LEAST_BITS = 2_000
_MARGINS = (0.92, 0.8, 0.6)
_SOUND_SHARE = 0.5
_OWN_KEYS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
_MAX_FRAMES = 24_000

_DAMAGED = "This clip is damaged or incomplete."
_NO_PICTURES = "This file has no moving pictures."


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
    return _written(pictures, rate, metadata, _Rate())


def adopt(data: bytes, metadata: Mapping[str, str]) -> Clip:
    """Bring somebody else's file into the form that is sent, with what it should say about itself.

    H.264 of a steady rate is packed anew as it is; anything else is compressed again.

    Raises:
        InvalidMedia: It is no video, or is damaged.
    """
    with _opened(data) as source:
        stream = source.streams.video[0]
        context = stream.codec_context
        even = context.width % 2 == 0 and context.height % 2 == 0
        plain = context.name == "h264" and context.pix_fmt == "yuv420p" and even
        times = _times(source, stream) if plain else []
    if plain and _steady(times):
        return _repacked(data, metadata)
    return _again(data, metadata, _Rate())


def fit(clip: bytes, max_bytes: int) -> bytes:
    """Return a clip of at most ``max_bytes``: coarser where it must be, then smaller.

    Raises:
        InputTooLong: Not even a tiny one fits.
        InvalidMedia: It is no video, or is damaged.
    """
    if len(clip) <= max_bytes:
        return clip
    with _opened(clip) as source:
        metadata = {k: v for k, v in source.metadata.items() if k not in _OWN_KEYS}
        context = source.streams.video[0].codec_context
        size = (context.width, context.height)
        fps = float(source.streams.video[0].average_rate or 1)
        sound_bytes = _sound_bytes(source)
        duration_s = max(0.1, (source.duration or 0) / 1_000_000)
    budget = max_bytes - min(sound_bytes, int(max_bytes * _SOUND_SHARE)) - 2_000
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
            made = _again(clip, metadata, _Rate(bits, scale)).data
            if len(made) <= max_bytes:
                return made
    raise InputTooLong("This clip does not fit into the upload limit.")


def stills(clip: bytes, count: int) -> list[Image.Image]:
    """Return up to ``count`` frames from all over a clip, the first and the last among them.

    Raises:
        InvalidMedia: It is no video, or is damaged.
    """
    with _opened(clip) as source:
        total = source.streams.video[0].frames or _counted(source)
    wanted = evenly(total, count)
    with _opened(clip) as source:
        frames = enumerate(_decoded(source))
        return [frame.to_image() for number, frame in frames if number in wanted]


def evenly(total: int, count: int) -> set[int]:
    """Return up to ``count`` numbers below ``total``, the first and the last among them."""
    if total <= count or count < 2:
        return set(range(min(total, count)))
    return {round(step * (total - 1) / (count - 1)) for step in range(count)}


# --------------------------------------------------------------------------- writing


def _written(
    frames: Iterator[av.VideoFrame],
    fps: Fraction,
    metadata: Mapping[str, str],
    rate: _Rate,
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
        stream.options = {"preset": _PRESET}
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
    from av.error import FFmpegError

    with _opened(data) as source, _opened(data) as other:
        stream = source.streams.video[0]
        fps = _fraction(float(stream.average_rate or 24))
        sound = next(iter(other.streams.audio), None)
        frames = _filtered(_decoded(source), stream, fps, rate.scale)
        try:
            return _written(frames, fps, metadata, rate, sound)
        except (FFmpegError, ValueError) as error:
            raise InvalidMedia(_DAMAGED) from error
        except MemoryError as error:
            raise OutOfMemory from error


def _repacked(data: bytes, metadata: Mapping[str, str]) -> Clip:
    """Copy what is in a file into a new one, with the index first."""
    from av.error import FFmpegError

    count = 0
    try:
        with _opened(data) as source, _new_file(metadata) as (target, file):
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
    except (FFmpegError, ValueError) as error:
        raise InvalidMedia(_DAMAGED) from error
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


# --------------------------------------------------------------------------- reading


def _opened(data: bytes) -> av.container.InputContainer:
    import av
    from av.error import FFmpegError

    options = {"format_whitelist": "mov,mp4,matroska,webm", "protocol_whitelist": ""}
    try:
        container = av.open(io.BytesIO(data), options=options, metadata_errors="replace")
    except (FFmpegError, ValueError) as error:
        raise InvalidMedia(_DAMAGED) from error
    if not container.streams.video:
        container.close()
        raise InvalidMedia(_NO_PICTURES)
    return container


def _decoded(source: av.container.InputContainer) -> Iterator[av.VideoFrame]:
    from av.error import FFmpegError

    source.streams.video[0].thread_type = "AUTO"
    try:
        for number, frame in enumerate(source.decode(video=0)):
            if number >= _MAX_FRAMES:
                raise InputTooLong("This clip is too long.")
            yield frame
    except FFmpegError as error:
        raise InvalidMedia(_DAMAGED) from error


def _filtered(
    frames: Iterator[av.VideoFrame], stream: Any, fps: Fraction, scale: float
) -> Iterator[av.VideoFrame]:
    """Yield frames at a steady rate, of even sides, as yuv420p."""
    from av.error import BlockingIOError as NeedsMore
    from av.error import EOFError as EndOfFile
    from av.filter import Graph

    graph = Graph()
    size = f"trunc(iw*{scale}/2)*2:trunc(ih*{scale}/2)*2"
    if scale == 1.0:  # an odd side loses a line, and nothing is blurred
        size = ""
    steps = [
        graph.add_buffer(template=stream, time_base=stream.time_base),
        graph.add("fps", f"{fps.numerator}/{fps.denominator}"),
        graph.add("scale", size) if size else graph.add("crop", "trunc(iw/2)*2:trunc(ih/2)*2:0:0"),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    ]
    for one, other in pairwise(steps):
        one.link_to(other)
    graph.configure()

    def out() -> Iterator[av.VideoFrame]:
        while True:
            try:
                yield graph.vpull()
            except (NeedsMore, EndOfFile):
                return

    for frame in frames:
        graph.vpush(frame)
        yield from out()
    graph.vpush(None)
    yield from out()


def _times(source: av.container.InputContainer, stream: Any) -> list[int]:
    """Return when the frames are shown, in order."""
    return sorted(packet.pts for packet in source.demux(stream) if packet.pts is not None)


def _steady(times: list[int]) -> bool:
    """Whether frames follow each other at a constant rate, but for rounding."""
    gaps = [after - before for before, after in pairwise(times)]
    return bool(times) and (not gaps or max(gaps) - min(gaps) <= max(1, min(gaps) // 20))


def _counted(source: av.container.InputContainer) -> int:
    return sum(packet.size > 0 for packet in source.demux(source.streams.video[0]))


def _sound_bytes(source: av.container.InputContainer) -> int:
    sound = next(iter(source.streams.audio), None)
    return 0 if sound is None else sum(packet.size for packet in source.demux(sound))


def _even(frames: Iterable[Frame]) -> Iterator[Frame]:
    import numpy as np

    for frame in frames:
        height, width = (max(2, side // 2 * 2) for side in frame.shape[:2])
        yield np.ascontiguousarray(frame[:height, :width])


def _fraction(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1001)
