"""Transcription: its speed and its memory, beside plain faster-whisper with the same model.

Speed is seconds of sound in a second of work, of a few minutes, in turns; the best round of each
counts. Memory and the first text are those of a fresh worker process behind an engine.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import production, speech
from benchmarks.report import Measurement
from bot.engine.job import Ended, JobState
from bot.engine.spool import Spool
from models.contracts import TextDelta, TranscriptionRequest

MINUTES, LONG_MINUTES, SHORT_MINUTES = 2.0, 60.0, 5.0
ROUNDS = 3
PEER = Path(__file__).parent / "peers" / "whisper.py"
PEER_NAME = "faster-whisper, batched"


@dataclass(frozen=True, slots=True)
class Course:
    """How the transcription of one file went, from a cold start."""

    first_text_s: float
    peak_mb: float


def run() -> list[Measurement]:
    """Measure speed, then an hour of speech."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_speed(Path(folder) / "speed"), *asyncio.run(_hour(Path(folder)))]


# --------------------------------------------------------------------------- speed


def _speed(folder: Path) -> list[Measurement]:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    spool = Spool(folder)
    media = spool.store(speech.wav(MINUTES), "talk.wav", "audio/wav")
    model = production.Model(production.TRANSCRIPTION, spool)
    plain = BatchedInferencePipeline(
        WhisperModel(
            production.location(production.TRANSCRIPTION),
            compute_type="int8",
            cpu_threads=production.THREADS,
        )
    )

    def ours(*, words: bool) -> None:
        model.finish(TranscriptionRequest(media, language="en", word_timestamps=words))

    def peer(*, words: bool) -> None:
        segments, _ = plain.transcribe(
            str(spool.path(media)), language="en", word_timestamps=words, batch_size=8
        )
        assert list(segments)

    measurements = [
        _compared(name, partial(ours, words=words), partial(peer, words=words))
        for name, words in (("transcription.speed", False), ("transcription.speed_words", True))
    ]
    model.close()
    return measurements


def _compared(name: str, ours: Callable[[], None], peer: Callable[[], None]) -> Measurement:
    ours_s, peer_s = [], []
    for _ in range(ROUNDS):
        ours_s.append(_seconds(ours))
        peer_s.append(_seconds(peer))
    return Measurement(
        name,
        MINUTES * 60 / min(ours_s),
        "x real time",
        "higher",
        peer=PEER_NAME,
        peer_value=MINUTES * 60 / min(peer_s),
    )


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# --------------------------------------------------------------------------- an hour


async def _hour(folder: Path) -> list[Measurement]:
    """Transcribe five minutes and an hour."""
    long_file, short_file = folder / "long.wav", folder / "short.wav"
    long_file.write_bytes(speech.wav(LONG_MINUTES))
    short_file.write_bytes(speech.wav(SHORT_MINUTES))
    short = await _course(folder / "short", short_file)
    long = await _course(folder / "long", long_file)
    plain_short, plain_long = _plain(short_file), _plain(long_file)
    return [
        Measurement(
            "transcription.hour_extra_memory",
            long.peak_mb - short.peak_mb,
            "MB",
            "lower",
            200.0,
            peer=f"{PEER_NAME}, until its first text",
            peer_value=plain_long.peak_mb - plain_short.peak_mb,
        ),
        Measurement(
            "transcription.hour_first_text",
            long.first_text_s,
            "s",
            "lower",
            5.0,
            peer=PEER_NAME,
            peer_value=plain_long.first_text_s,
        ),
        Measurement("transcription.hour_peak_memory", long.peak_mb, "MB", "lower"),
    ]


async def _course(folder: Path, file: Path) -> Course:
    """Transcribe a file in a worker of its own; loading the model counts."""
    first_text_s = 0.0
    folder.mkdir()
    async with production.rig(folder) as rig:
        request = TranscriptionRequest(rig.store(file), language="en")
        began = time.perf_counter()
        job = await rig.submit(production.TRANSCRIPTION, request)
        async for at, sight in rig.follow(job):
            if isinstance(sight, TextDelta):
                first_text_s = first_text_s or at - began
            if isinstance(sight, Ended):
                assert sight.outcome.state is JobState.DONE
        return Course(first_text_s, rig.peak_mb())


def _plain(file: Path) -> Course:
    """Have plain faster-whisper read a file up to its first text, in a process of its own."""
    model = production.location(production.TRANSCRIPTION)
    command = [sys.executable, str(PEER), model, str(file), str(production.THREADS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Course(**json.loads(done.stdout))
