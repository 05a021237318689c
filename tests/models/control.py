"""A control for handlers that run without an engine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from models.catalog import ModelSpec
from models.contracts import (
    Finished,
    HandlerEvent,
    MediaInput,
    Notice,
    Progress,
    Result,
    SpeechResult,
    TextDelta,
)
from models.media import decode_audio
from tests.models.sounds import Samples


class ScratchControl:
    """Keeps outputs in a folder; opens inputs from it. ``charges`` are all that were told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cancelled = False
        self.charges: list[int | None] = []

    def charge(self, micro_usd: int | None) -> None:
        self.charges.append(micro_usd)

    def open(self, media: MediaInput) -> Path:
        return self.folder / media.path

    def store(self, data: bytes, filename: str, content_type: str) -> MediaInput:
        name = f"{len(list(self.folder.iterdir()))}-{filename}"
        (self.folder / name).write_bytes(data)
        return media_of(self.folder / name, content_type)


def media_of(path: Path, content_type: str = "audio/ogg") -> MediaInput:
    """Return the reference to a file, relative to its folder."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return MediaInput(path.name, path.name, content_type, len(data), digest)


def result_of(events: Iterable[HandlerEvent]) -> Result:
    """Run a job to its end; the last event must be its result."""
    last = list(events)[-1]
    assert isinstance(last, Finished)
    return last.result


def heard(control: ScratchControl, result: Result) -> Samples:
    """Return the samples of a recording."""
    assert isinstance(result, SpeechResult)
    return np.concatenate(list(decode_audio(control.open(result.media))))


def streamed(events: Iterable[HandlerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def notices(events: Iterable[HandlerEvent]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice)]


def stages(events: Iterable[HandlerEvent]) -> list[str]:
    return [event.stage for event in events if isinstance(event, Progress)]


def spec_of(backend: str, modality: str, **fields: object) -> ModelSpec:
    """Return a row of the catalogue for a checkpoint of a test."""
    return ModelSpec.model_validate(
        {
            "id": f"test-{backend}",
            "name": "Tiny",
            "modality": modality,
            "backend": backend,
            "source": {"kind": "path", "path": "unused"},
            "licence": "MIT",
            "commercial_use": True,
            "memory_mb": 1,
            "load_s": 1,
            "download_mb": 1,
            **fields,
        }
    )
