"""The real bot, with the real models, in a process of its own against a double of Discord."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import production, stalls
from bot.settings import CONFIG_FOLDER
from tests.e2e.harness import Bot, Wire

HERE = Path(__file__).parent
WATCHED, THREADED = HERE / "watched_bot.py", HERE / "peers" / "threaded_bot.py"
BARE = HERE / "peers" / "bare_bot.py"


class RealBot(Bot):
    """A bot that uses the installed models.

    Args:
        program: What is started; None for ``python -m bot`` as it is.
    """

    def __init__(self, wire: Wire, folder: Path, program: Path | None, **environment: str) -> None:
        self.stalls = folder / "stalls.log"
        here = {
            stalls.FILE_VARIABLE: str(self.stalls),
            "SEXTANT_WEIGHTS_DIR": str(production.weights().folder),
        }
        super().__init__(wire, folder, **here, **environment)
        self.program = program or self.program
        (folder / "config").symlink_to(CONFIG_FOLDER)


@asynccontextmanager
async def wired(program: Path | None = None, **environment: str) -> AsyncIterator[RealBot]:
    """Start the double, and make a bot that is not started yet."""
    with tempfile.TemporaryDirectory() as folder:
        wire = await Wire.start()
        bot = RealBot(wire, Path(folder), program, **environment)
        try:
            yield bot
        finally:
            await bot.kill()
            await wire.stop()
