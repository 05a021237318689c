"""The composition root: what opens, what is refused, what is left when it closes."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from bot.app import Substitutes, open_app
from bot.db.session import InstanceRunning
from bot.settings import Settings
from models.catalog import Catalog, CatalogError
from tests.conftest import Run, World

HEAVY = {"torch", "transformers", "TTS", "faster_whisper", "onnxruntime", "av", "PIL", "numpy"}
HEAVY |= {"prometheus_client", "aiohttp.web"}  # only with a page


def test_the_bot_imports_nothing_heavy_and_does_nothing_at_import() -> None:
    code = f"import bot.app, sys; print({HEAVY!r} & set(sys.modules), sys.gettrace())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("set() None\n", "")


async def test_a_second_bot_on_one_database_is_refused(run: Run) -> None:
    with pytest.raises(InstanceRunning, match="already runs"):
        async with open_app(run.settings, Substitutes(catalog=run.catalog)):
            pass


async def test_after_closing_it_opens_again(run: Run) -> None:
    await run.close()
    await run.open()
    assert run.app.services.engine.jobs() == []


async def test_an_unknown_profile_is_refused_before_anything_is_opened(
    settings: Settings, catalog: Catalog
) -> None:
    wrong = settings.model_copy(update={"profile": "mainframe"})
    with pytest.raises(CatalogError, match="mainframe"):
        async with open_app(wrong, Substitutes(catalog=catalog)):
            pass
    assert not settings.data_dir.exists()


async def test_closing_leaves_no_task_behind(settings: Settings, catalog: Catalog) -> None:
    before = asyncio.all_tasks()
    run = Run(settings, catalog)
    await run.open()
    await run.close()
    assert asyncio.all_tasks() == before


async def test_a_drain_tells_those_who_wait_and_their_jobs_go_on_after_the_restart(
    world: World,
) -> None:
    await world.member.slash(world.channel, "ask", prompt="!delay 1\n!words 30")
    await world.stranger.slash(world.channel, "ask", prompt="blue")
    await world.env.advance_time(3)
    running, waiting = world.messages()
    assert "Place 1" in waiting.content
    draining = asyncio.create_task(world.run.app.drain())
    await world.env.settle()
    await world.env.advance_time(2)
    await draining
    assert "restart" in world.messages()[1].content
    await world.restart()
    await world.env.advance_time(40)
    running, waiting = world.messages()
    assert "word29" in running.content
    assert "blue" in waiting.content
