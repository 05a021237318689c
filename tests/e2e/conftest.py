"""Fixtures of the tests over the wire."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.harness import Bot, Wire


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    double = await Wire.start()
    yield double
    await double.stop()


@pytest.fixture
async def bot(wire: Wire, tmp_path: Path) -> AsyncIterator[Bot]:
    process = Bot(wire, tmp_path)
    yield process
    await process.kill()
