"""An engine with inline workers, as most of its tests want it.

All that they do is done on the event loop, so that time is virtual; tests that start processes are
marked ``slow`` and have the real one.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from models.contracts import TextDelta
from tests.fakes import MemoryJournal, fake_engine
from tests.scripted import Stage
from tests.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories(item):
    if item.get_closest_marker("slow"):
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualLoop}


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


@pytest.fixture
def journal():
    return MemoryJournal()


@pytest.fixture
async def started(stage, journal, tmp_path, monkeypatch):
    """Return a function that starts an engine; all are closed at the end."""
    engines = []
    if isinstance(loop := asyncio.get_running_loop(), VirtualLoop):
        monkeypatch.setattr(time, "time", loop.wall_time)

    async def start(**options):
        options.setdefault("journal", journal)
        engine = fake_engine(stage.start_worker, tmp_path, **options)
        engines.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in engines:
        await engine.close()


async def until(condition, limit_s: float = 60.0) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


def text_in(sights) -> str:
    return "".join(sight.text for sight in sights if isinstance(sight, TextDelta))
