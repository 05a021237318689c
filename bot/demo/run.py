"""``python -m bot demo``: the tour, then a page to go on from, or a record of the tour.

This module owns what the terminal shows and the exit code.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.app import Substitutes, open_app
from bot.demo.page import SidePage
from bot.demo.preview import LivePreview
from bot.demo.record import write_down
from bot.demo.tour import State, Step, Tour
from bot.demo.world import World, download, open_world
from bot.logs import set_up
from bot.settings import CONFIG_FOLDER, LogSettings, Settings
from models.catalog import Catalog
from models.weights import WeightStore

_TITLE = "Sextant in a simulated Discord"
_MARKS = {State.DONE: "✓", State.LEFT_OUT: "–", State.FAILED: "✗"}


def main(settings: Settings, *, once: bool, port: int, output: Path) -> int:
    """Play the tour; then stay with a page, or write the tour down and return.

    Args:
        settings: The owner's. The demo uses their weights, but a database and spool of its own.
        once: Write to ``output`` and return instead of staying.
        port: Of the preview; the page beside it takes the next one.
        output: Folder of the record.
    """
    if problem := _look_at_models(settings):
        print(problem)
        return 1
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    set_up(LogSettings(level="WARNING"))
    with tempfile.TemporaryDirectory(prefix="sextant-demo-") as scratch:
        own = {"data_dir": Path(scratch), "weights_dir": settings.models_dir, "database_url": ""}
        settings = settings.model_copy(update=own)
        return asyncio.run(
            _interruptible(_once(settings, output) if once else _stay(settings, port))
        )


async def _interruptible(demo: Coroutine[Any, Any, int]) -> int:
    """Let a signal end the demo as tidily as it would end by itself."""
    task = asyncio.create_task(demo)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return 130


def _look_at_models(settings: Settings) -> str:
    """Return what is missing, or "" after telling of what takes long the first time."""
    catalog, store = Catalog.read(CONFIG_FOLDER), WeightStore(settings.models_dir)
    defaults = catalog.of_profile(settings.profile)
    missing = [spec.id for spec in defaults if not store.is_installed(spec)]
    if missing:
        return f"Weights of {', '.join(missing)} are missing. Fetch them: python -m bot models pull"
    print(f"{_TITLE}: a tour with the models of the profile `{settings.profile}`.", flush=True)
    if not any(store.cache_dir(spec).exists() for spec in defaults):
        print(
            "The first answer takes about a minute, since weights are converted once.", flush=True
        )
    return ""


async def _once(settings: Settings, output: Path) -> int:
    async with _played(settings) as (world, steps):
        count = await asyncio.to_thread(write_down, world.view, _TITLE, output)
        print(f"\n{_table(steps)}\n\n{output}/transcript.md and {count} files of the bot's")
        return 1 if any(step.state is State.FAILED for step in steps) else 0


async def _stay(settings: Settings, port: int) -> int:
    async with _played(settings) as (world, _):
        preview = LivePreview(world, _free(port))
        async with preview, SidePage(world, preview, _free(port + 1 if port else 0)) as page:
            print(
                "\nOpen these in a browser on this machine:\n"
                f"  {preview.url}\n      type commands, press buttons, watch edits arrive\n"
                f"  {page.url}\n      drop files into the channel, right-click messages\n"
                "\nCtrl-C ends the demo.",
                flush=True,
            )
            try:
                await preview.wait_closed()
            except asyncio.CancelledError:  # a signal, which is the usual end
                print("\nThe demo has ended; nothing of it is kept.")
    return 0


@asynccontextmanager
async def _played(settings: Settings) -> AsyncIterator[tuple[World, list[Step]]]:
    """Open the bot in its simulated Discord and play the tour."""
    async with (
        open_app(settings, Substitutes(download=download)) as app,
        open_world(app.bot) as world,
    ):
        yield world, await Tour(world, app.services, _tell).play()


def _tell(step: Step) -> None:
    took = "" if step.state is State.LEFT_OUT else f"{step.seconds:.1f} s  "
    print(f"  {_MARKS[step.state]} {step.command}  {took}{_told(step)}", flush=True)


def _told(step: Step) -> str:
    """Return what came of a step, and that it was left out or failed if so."""
    loud = {State.DONE: "", State.LEFT_OUT: "left out: ", State.FAILED: "FAILED: "}
    return f"{loud[step.state]}{step.outcome}"


def _table(steps: Sequence[Step]) -> str:
    rows = [("command", "model", "seconds", "outcome")]
    for step in steps:
        seconds = "-" if step.state is State.LEFT_OUT else f"{step.seconds:.1f}"
        rows.append((step.command, step.model, seconds, _told(step)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{command:<{widths[0]}}  {model:<{widths[1]}}  {seconds:>{widths[2]}}  {outcome}"
        for command, model, seconds, outcome in rows
    )


def _free(port: int) -> int:
    """Return the port if nobody has it, else 0 for any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
