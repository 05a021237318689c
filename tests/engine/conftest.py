"""An engine with inline workers, as most of its tests want it."""

from __future__ import annotations

import asyncio

import pytest

from models.contracts import TextDelta
from tests.fakes import MemoryJournal, fake_engine
from tests.scripted import Stage


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


@pytest.fixture
def journal():
    return MemoryJournal()


@pytest.fixture
async def started(stage, journal, tmp_path):
    """Return a function that starts an engine; all are closed at the end."""
    engines = []

    async def start(**options):
        options.setdefault("journal", journal)
        engine = fake_engine(stage.start_worker, tmp_path, **options)
        engines.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in engines:
        await engine.close()


async def until(condition, limit_s: float = 3.0) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


def text_in(sights) -> str:
    return "".join(sight.text for sight in sights if isinstance(sight, TextDelta))
