"""Transcription: its speed and its memory, beside plain faster-whisper with the same model.

Speed is seconds of sound in a second of work, of a few minutes, in turns; the best round of each
counts. Memory, the first text and the speed of an hour are those of a fresh worker process behind
an engine, as is how soon short recordings begin while an hour is written down.
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
from models.contracts import Progress, TextDelta, TranscriptionRequest

MINUTES, LONG_MINUTES, SHORT_MINUTES = 2.0, 60.0, 5.0
ROUNDS = 3
VISITS, VISIT_EVERY_S, VISIT_MINUTES = 9, 20.0, 1 / 6
PEER = Path(__file__).parent / "peers" / "whisper.py"
PEER_NAME = "faster-whisper, batched"


@dataclass(frozen=True, slots=True)
class Course:
    """How the transcription of one file went.

    Attributes:
        first_text_s: From a cold start to its first text.
        peak_mb: The most memory that was taken; the peer's until its first text.
        work_s: From its first to its last sign of life, the model loaded.
    """

    first_text_s: float
    peak_mb: float
    work_s: float


def run() -> list[Measurement]:
    """Measure speed, then an hour of speech."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            *_speed(Path(folder) / "speed"),
            *asyncio.run(_hour(Path(folder))),
            asyncio.run(_short_start(Path(folder) / "visits")),
        ]


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
        Measurement(
            "transcription.hour_speed",
            LONG_MINUTES * 60 / long.work_s,
            "x real time",
            "higher",
            0.95,
            "ratio",
            peer=PEER_NAME,
            peer_value=LONG_MINUTES * 60 / plain_long.work_s,
        ),
    ]


async def _course(folder: Path, file: Path) -> Course:
    """Transcribe a file in a worker of its own; loading the model counts."""
    first_text_s = work_began = 0.0
    folder.mkdir()
    async with production.rig(folder) as rig:
        request = TranscriptionRequest(rig.store(file), language="en")
        began = time.perf_counter()
        job = await rig.submit(production.TRANSCRIPTION, request)
        async for at, sight in rig.follow(job):
            if production.is_work(sight):
                work_began = work_began or at
            if isinstance(sight, TextDelta):
                first_text_s = first_text_s or at - began
            if isinstance(sight, Ended):
                assert sight.outcome.state is JobState.DONE
                return Course(first_text_s, rig.peak_mb(), at - work_began)
    raise AssertionError("the job did not end")


def _plain(file: Path) -> Course:
    """Have plain faster-whisper write down a file, in a process of its own."""
    model = production.location(production.TRANSCRIPTION)
    command = [sys.executable, str(PEER), model, str(file), str(production.THREADS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Course(**json.loads(done.stdout))


# --------------------------------------------------------------------------- short ones meanwhile


async def _short_start(folder: Path) -> Measurement:
    """Submit short recordings while an hour is written down; the slowest start counts."""
    folder.mkdir()
    long_file, short_file = folder / "long.wav", folder / "short.wav"
    long_file.write_bytes(speech.wav(LONG_MINUTES))
    short_file.write_bytes(speech.wav(VISIT_MINUTES))
    async with production.rig(folder) as rig:
        hour = TranscriptionRequest(rig.store(long_file), language="en")
        long = await rig.submit(production.TRANSCRIPTION, hour)
        async for _, sight in rig.follow(long):
            if isinstance(sight, TextDelta):
                break
        starts = [await _visit(rig, short_file) for _ in range(VISITS)]
        assert long.state is JobState.RUNNING
        await rig.engine.cancel(long.id)
    return Measurement("transcription.short_start", max(starts), "s", "lower", 5.0)


async def _visit(rig: production.Rig, file: Path) -> float:
    """Have a short recording written down; return the seconds until it was begun."""
    begins = time.perf_counter()
    request = TranscriptionRequest(rig.store(file), language="en")
    began_s = 0.0
    async for at, sight in rig.follow(await rig.submit(production.TRANSCRIPTION, request)):
        if isinstance(sight, Progress):
            began_s = began_s or at - begins
        if isinstance(sight, Ended):
            assert sight.outcome.state is JobState.DONE
    await asyncio.sleep(max(0.0, begins + VISIT_EVERY_S - time.perf_counter()))
    return began_s
