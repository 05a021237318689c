"""Clips from files that may be anything: opened, decoded, brought to a steady rate.

This module owns reading. It must not let FFmpeg open anything that a file names.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from models.errors import InputTooLong, InvalidMedia, OutOfMemory

if TYPE_CHECKING:
    import av
    from PIL import Image

_DAMAGED: Final = "This clip is damaged or incomplete. Please try again."

_NO_PICTURES = "This file has no moving pictures."
_MAX_FRAMES = 24_000


@contextmanager
def opened(data: bytes) -> Iterator[av.container.InputContainer]:
    """Open a file in memory; FFmpeg opens nothing else.

    What FFmpeg finds wrong while it is open is told as damage, also when it comes from writing.

    Raises:
        InvalidMedia: It is no video, or is damaged.
    """
    import av
    from av.error import FFmpegError

    options = {"format_whitelist": "mov,mp4,matroska,webm", "protocol_whitelist": ""}
    try:
        with av.open(io.BytesIO(data), options=options, metadata_errors="replace") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                raise InvalidMedia(_NO_PICTURES)
            if stream.codec_context is None or not stream.time_base:
                raise InvalidMedia(_DAMAGED)
            yield container
    except MemoryError as error:
        raise OutOfMemory from error
    except (FFmpegError, ValueError) as error:
        raise InvalidMedia(_DAMAGED) from error


def decoded(source: av.container.InputContainer) -> Iterator[av.VideoFrame]:
    """Yield the frames.

    Raises:
        InputTooLong: There are more than anybody could want.
    """
    source.streams.video[0].thread_type = "AUTO"
    for number, frame in enumerate(source.decode(video=0)):
        if number >= _MAX_FRAMES:
            raise InputTooLong(f"This clip is too long: {_MAX_FRAMES:,} frames are the most.")
        yield frame


def filtered(
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


def is_steady(source: av.container.InputContainer) -> bool:
    """Whether frames follow each other at a constant rate, but for rounding."""
    packets = source.demux(source.streams.video[0])
    times = sorted(packet.pts for packet in packets if packet.pts is not None)
    gaps = [after - before for before, after in pairwise(times)]
    return bool(times) and (not gaps or max(gaps) - min(gaps) <= max(1, min(gaps) // 20))


def counted(source: av.container.InputContainer) -> int:
    """Return how many frames there are."""
    return sum(packet.size > 0 for packet in source.demux(source.streams.video[0]))


def sound_size(source: av.container.InputContainer) -> int:
    """Return the size of the sound in bytes."""
    sound = next(iter(source.streams.audio), None)
    return 0 if sound is None else sum(packet.size for packet in source.demux(sound))


def stills(clip: bytes, count: int) -> list[Image.Image]:
    """Return up to ``count`` frames from all over a clip, the first and the last among them.

    Raises:
        InvalidMedia: It is no video, or is damaged.
    """
    with opened(clip) as source:
        total = source.streams.video[0].frames or counted(source)
    wanted = evenly(total, count)
    with opened(clip) as source:
        frames = enumerate(decoded(source))
        return [frame.to_image() for number, frame in frames if number in wanted]


def evenly(total: int, count: int) -> set[int]:
    """Return up to ``count`` numbers below ``total``, the first and the last among them."""
    if total <= count or count < 2:
        return set(range(min(total, count)))
    return {round(step * (total - 1) / (count - 1)) for step in range(count)}
