from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.app import App, Substitutes, open_app
from bot.demo.world import World, download, open_world
from bot.settings import CONFIG_FOLDER, Settings
from models.catalog import Catalog
from models.weights import WeightStore
from tests.demo.plain_bot import PlainBot


@pytest.fixture
async def plain_world() -> AsyncIterator[World]:
    """A simulated Discord in real time, with a bot of a few lines."""
    async with open_world(PlainBot()) as world:
        yield world


@pytest.fixture
def embedded(tmp_path: Path) -> Settings:
    """Settings of a fresh bot with the embedded models."""
    settings = Settings(data_dir=tmp_path / "data", weights_dir=Path("data/models"))
    catalog, store = Catalog.read(CONFIG_FOLDER), WeightStore(settings.models_dir)
    for model_id in catalog.profile("embedded").defaults.values():
        assert store.is_installed(catalog.get(model_id)), "run `make models` first"
    return settings


@pytest.fixture
async def live(embedded: Settings) -> AsyncIterator[tuple[App, World]]:
    """The real bot with real worker processes, in a simulated Discord in real time."""
    async with (
        open_app(embedded, Substitutes(download=download)) as app,
        open_world(app.bot) as world,
    ):
        yield app, world
