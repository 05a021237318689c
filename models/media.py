"""Sound that members send: what a file is, and its samples, a second at a time.

This module owns reading sound and video files with PyAV, and telling in one sentence what is wrong
with one. It must not hold a whole file in memory, nor let FFmpeg open anything that a file names:
playlists and the like are not among the formats that are read.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import EmptyInput, EncryptedMedia, InvalidMedia

if TYPE_CHECKING:
    import av
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

SAMPLING_RATE_HZ = 16_000
"""What speech recognition listens at."""

_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,webm,mov,mp4,mp3,"
    "mpc,mpc8,mpeg,mpegts,ogg,oma,tak,tta,w64,wav,wv"
)
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
_MEASURED = frozenset({"asf", "avi", "caf", "flac", "matroska", "mov", "ogg", "wav"})
_ENCRYPTED_TAGS = frozenset({"enca", "encv", "drms", "drmi", "aavd"})
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
_SOUNDS = (b"OggS", b"RIFF", b"ID3", b"fLaC", b"\x1aE\xdf\xa3", b"FORM", b"#!AMR", b"caff")
_BLOCK_SAMPLES = SAMPLING_RATE_HZ

_NOT_SOUND = (
    "This is not a sound or video file that can be read. MP3, M4A, Ogg, FLAC, WAV and MP4 can."
)
_DAMAGED = (
    "This file is damaged or incomplete: no sound could be read from it. Please send it again."
)
_PICTURE = "This is a picture, so there is nothing to listen to."
_NO_TRACK = "This file has no sound track, so there is nothing to listen to."
_EMPTY = "This file is empty (0 bytes). Please send it again."
_NO_LENGTH = "This recording is 0 seconds long."
_PROTECTED = (
    "This file is encrypted or copy-protected, so its sound can't be read. "
    "Please send it unprotected."
)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the head of a file says about its sound.

    Attributes:
        duration_s: Length in seconds.
        measured: Whether the length was counted, instead of estimated from the bit rate.
        codec: FFmpeg's name of the codec, such as ``opus``.
        sampling_rate_hz: Samples a second in the file.
        channels: 1 for mono, 2 for stereo.
        has_video: Whether there are moving pictures too; a cover does not count.
    """

    duration_s: float
    measured: bool
    codec: str
    sampling_rate_hz: int
    channels: int
    has_video: bool


def probe_audio(path: Path) -> AudioInfo:
    """Look at a file without decoding it.

    Raises:
        EmptyInput: It has no bytes, or its sound lasts 0 seconds.
        EncryptedMedia: It is protected.
        InvalidMedia: It is not sound, has no sound track, or is damaged.
    """
    with _opened(path) as container:
        stream = _sound_of(container)
        first = next(container.demux(stream))
        if not first.size:
            raise EmptyInput(_NO_LENGTH)
        _refuse_encrypted(first)
        duration_s, measured = _duration_of(container, stream)
        if duration_s <= 0:
            raise EmptyInput(_NO_LENGTH)
        return AudioInfo(
            duration_s=duration_s,
            measured=measured,
            codec=stream.codec_context.name,
            sampling_rate_hz=stream.codec_context.sample_rate,
            channels=stream.codec_context.channels,
            has_video=any(not _is_cover(video) for video in container.streams.video),
        )


def decode_audio(path: Path) -> Generator[Samples, None, None]:
    """Yield the sound as mono float32 at 16 kHz, between -1 and 1, in blocks of about a second.

    Damaged stretches are skipped. Memory does not depend on the length of the file.

    Raises:
        EmptyInput: It has no bytes, or no sample.
        EncryptedMedia: It is protected.
        InvalidMedia: It is not sound, has no sound track, or nothing of it can be decoded.
    """
    import numpy as np

    with _opened(path) as container:
        waiting: list[Samples] = []
        count = 0
        found = False
        for piece in _resampled(container, _sound_of(container)):
            waiting.append(piece)
            count += piece.size
            if count >= _BLOCK_SAMPLES:
                yield np.concatenate(waiting)
                waiting, count, found = [], 0, True
        if count:
            yield np.concatenate(waiting)
        elif not found:
            raise EmptyInput(_NO_LENGTH)


# --------------------------------------------------------------------------- opening


def _opened(path: Path) -> av.container.InputContainer:
    import av

    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise EmptyInput(_EMPTY)
    if _is_picture(head):
        raise InvalidMedia(_PICTURE)
    try:
        return av.open(str(path), options=_OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        known = head.startswith(_SOUNDS) or head[4:8] == b"ftyp"
        raise InvalidMedia(_DAMAGED if known else _NOT_SOUND) from error


def _is_picture(head: bytes) -> bool:
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    heif = head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"heic", b"heix", b"mif1")
    return head.startswith(_PICTURES) or webp or heif


def _sound_of(container: av.container.InputContainer) -> av.AudioStream:
    protected = any(stream.codec_tag in _ENCRYPTED_TAGS for stream in container.streams)
    if protected or any(key.lower() == "asf_protection_type" for key in container.metadata):
        raise EncryptedMedia(_PROTECTED)
    if not container.streams.audio:
        raise InvalidMedia(_NO_TRACK)
    stream = container.streams.best("audio")
    if stream is None or not stream.codec_context.sample_rate:
        raise InvalidMedia(_DAMAGED)
    return stream


def _refuse_encrypted(packet: av.Packet) -> None:
    if packet.has_sidedata("encryption_info"):
        raise EncryptedMedia(_PROTECTED)


def _is_cover(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def _duration_of(
    container: av.container.InputContainer, stream: av.AudioStream
) -> tuple[float, bool]:
    """Return seconds, and whether they were counted: the headers of live recordings say nothing."""
    measured = not _MEASURED.isdisjoint(container.format.name.split(","))
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base), measured
    if container.duration is not None:
        # The pictures of a video may go on for longer than its sound.
        return container.duration / 1_000_000, measured and not container.streams.video
    return _counted(container, stream), True


def _counted(container: av.container.InputContainer, stream: av.AudioStream) -> float:
    first: int | None = None
    end = 0
    for packet in container.demux(stream):
        if packet.pts is not None:
            first = packet.pts if first is None else first
            end = max(end, packet.pts + (packet.duration or 0))
    if first is None or stream.time_base is None:
        return 0.0
    return float((end - first) * stream.time_base)


# --------------------------------------------------------------------------- decoding


def _resampled(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[Samples]:
    from av.audio.resampler import AudioResampler

    resampler: AudioResampler | None = None
    before: tuple[Any, ...] = ()
    for frame in _frames(container, stream):
        frame.pts = None
        shape = (frame.sample_rate, frame.layout.name, frame.format.name)
        if resampler is None or shape != before:
            if resampler is not None:
                yield from _arrays(resampler, None)
            resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLING_RATE_HZ)
            before = shape
        yield from _arrays(resampler, frame)
    if resampler is not None:
        yield from _arrays(resampler, None)


def _arrays(
    resampler: av.audio.resampler.AudioResampler, frame: av.AudioFrame | None
) -> Iterator[Samples]:
    for piece in resampler.resample(frame):
        if piece.samples:
            yield piece.to_ndarray().reshape(-1)


def _frames(
    container: av.container.InputContainer, stream: av.AudioStream
) -> Iterator[av.AudioFrame]:
    from av.error import EOFError as EndOfFile
    from av.error import FFmpegError

    decoded = damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            _refuse_encrypted(packet)
            frames = packet.decode()
        except (StopIteration, EndOfFile):
            break
        except FFmpegError:
            damaged += 1
            continue
        decoded += len(frames)
        yield from frames
    if damaged and not decoded:
        raise InvalidMedia(_DAMAGED)
