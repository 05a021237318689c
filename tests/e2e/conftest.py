"""Fixtures of the tests over the wire."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.harness import Bot, Wire


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    double = await Wire.start()
    # How soon commands are acknowledged is measured by `benchmarks/ack.py`, on a quiet machine.
    await double.set(ack_deadline_s=60.0)
    yield double
    await double.stop()


@pytest.fixture
def bot(wire: Wire, tmp_path: Path) -> Bot:
    return Bot(wire, tmp_path)
