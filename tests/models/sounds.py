"""Sound files made on the spot, sound and unsound."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

RATE_HZ = 16_000


def tone(seconds: float, rate_hz: int = RATE_HZ, hertz: float = 440.0) -> Samples:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def silence(seconds: float, rate_hz: int = RATE_HZ) -> Samples:
    return np.zeros(round(seconds * rate_hz), np.float32)


def write(
    path: Path,
    samples: Samples,
    codec: str = "pcm_s16le",
    rate_hz: int = RATE_HZ,
    *,
    video: bool = False,
    container: str | None = None,
    **options: str,
) -> Path:
    """Encode mono samples; the container is told by the name unless it is given."""
    with av.open(str(path), "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=rate_hz, layout="mono")
        if codec == "wmav2":
            stream.bit_rate = 64_000
        pictures = _pictures(file, samples.size / rate_hz) if video else []
        file.start_encoding()
        for packet in pictures:
            file.mux(packet)
        if samples.size:
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", "mono")
            frame.sample_rate = rate_hz
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def _pictures(file: Any, seconds: float) -> list[Any]:
    stream = file.add_stream("mpeg4", rate=10)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuv420p"
    grey = np.full((32, 32, 3), 128, np.uint8)
    frames = [av.VideoFrame.from_ndarray(grey, "rgb24") for _ in range(round(seconds * 10))]
    return [packet for frame in [*frames, None] for packet in stream.encode(frame)]


def write_cenc(path: Path, samples: Samples) -> Path:
    """Write an MP4 that is encrypted as streaming services do it."""
    return write(
        path,
        samples,
        "aac",
        encryption_scheme="cenc-aes-ctr",
        encryption_key="76a6c65c5ea762046bd749a2e632ccbb",
        encryption_kid="a7e61c373e219033c21091fa607bf3b8",
    )


def write_fairplay(path: Path, samples: Samples) -> Path:
    """Write an M4P whose track is tagged as Apple tags protected ones."""
    data = write(path, samples, "aac", container="mp4").read_bytes()
    entry = data.index(b"mp4a", data.index(b"stsd"))
    path.write_bytes(data[:entry] + b"drms" + data[entry + 4 :])
    return path


def write_protected_wma(path: Path, samples: Samples) -> Path:
    """Write a WMA with a content encryption object in its header."""
    data = write(path, samples, "wmav2", container="asf", rate_hz=44_100).read_bytes()
    size, objects = struct.unpack("<QI", data[16:28])
    fields = b"".join(struct.pack("<I", len(f)) + f for f in (b"abcd", b"DRM\0", b"k\0", b"u\0"))
    guid = uuid.UUID("2211B3FB-BD23-11D2-B4B7-00A0C955FC6E").bytes_le
    added = guid + struct.pack("<Q", 24 + len(fields)) + fields
    header = struct.pack("<QI", size + len(added), objects + 1)
    path.write_bytes(data[:16] + header + data[28:30] + added + data[30:])
    return path
