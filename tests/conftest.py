"""The whole bot in a simulated Discord, with fake models that do what they are told.

``world`` is a server with people in it; ``tests.scripted`` tells how a prompt directs the fake.
Time stands still until ``world.env.advance_time``.
"""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import discord
import psutil
import pytest
from discord.webhook.async_ import async_context

from bot.app import App, Substitutes, open_app
from bot.client import Sextant
from bot.internet import PublicInternet
from bot.services.container import Services
from bot.settings import EngineSettings, Settings
from models.catalog import Catalog
from models.contracts import Modality
from tests.fakes import FakeWeights, fake_catalog, fake_model
from tests.postgres import Server, programs, server
from tests.scripted import Stage
from tests.simulation import StillEnv, waits_between_tasks_are_rest


class Run:
    """One installation of the bot: opened, closed and opened again on the same data."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        internet: Callable[[], PublicInternet] = PublicInternet,
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self.internet = internet
        self.stage = Stage(settings.spool_dir)
        self.env: StillEnv | None = None
        self._stack = AsyncExitStack()
        self.app: App

    async def open(self) -> Sextant:
        substitutes = Substitutes(
            start_worker=self.stage.start_worker,
            download=whole,
            internet=self.internet,
            catalog=self.catalog,
            weights=FakeWeights(),
            clock=self._now,
        )
        self.app = await self._stack.enter_async_context(open_app(self.settings, substitutes))
        return self.app.bot

    async def close(self) -> None:
        await self._stack.aclose()

    def _now(self) -> float:
        return time.time() + (self.env.elapsed_s if self.env else 0.0)


class World:
    """A server with the bot in it, and people whom it serves.

    Attributes:
        member: May use the bot in ``channel``; ``user`` is the same person outside the server.
        stranger: May as well.
        moderator: May also manage the server and its messages.
    """

    def __init__(self, env: StillEnv, run: Run) -> None:
        self.env = env
        self.run = run
        self.guild: Any = env.create_guild("Observatory")
        self.channel: Any = self.guild.create_text_channel("general")
        permissions = discord.Permissions(manage_guild=True, manage_messages=True)
        moderators = self.guild.create_role("Moderators", permissions=permissions)
        self.user: Any = env.create_user("ada")
        self.member: Any = self.guild.add_member(self.user)
        self.stranger: Any = self.guild.add_member(env.create_user("grace"))
        self.moderator: Any = self.guild.add_member(env.create_user("joan"), roles=[moderators])

    @property
    def services(self) -> Services:
        return self.run.app.services

    @property
    def bot(self) -> Sextant:
        return self.run.app.bot

    def messages(self, viewer: Any = None) -> list[discord.Message]:
        """Return what somebody sees in the channel, oldest first."""
        return list(self.channel.history(viewer=viewer or self.member))

    def direct(self) -> list[discord.Message]:
        """Return what the bot and the member wrote to each other alone."""
        return list(self.user.dm_channel.history())

    async def restart(self) -> None:
        """Close the bot and start another one on the same data."""
        await self.run.close()
        await self.env.restart_bot(await self.run.open())


async def whole(attachment: discord.Attachment) -> AsyncGenerator[bytes, None]:
    """Yield an attachment of the simulated Discord, which no server holds."""
    yield await attachment.read()


@pytest.fixture(scope="module", autouse=True)
def connections() -> Iterator[None]:
    """Name the file of tests that leaves a connection open.

    Dropped, it would fail whatever test runs when the garbage is collected.
    """
    yield
    process = psutil.Process()
    if process.net_connections("tcp"):
        gc.collect()  # now an open one warns, here; a pool of urllib3's closes its own
    left = process.net_connections("tcp")
    assert not left, f"somebody was not closed: {left}"


@pytest.fixture(autouse=True)
def calls_to_discord() -> Iterator[None]:
    """Let no simulated Discord outlive its test.

    What a fixture sets in its context, pytest-asyncio takes back only if the fixture ended well:
    one whose end failed would answer the calls of every test after it.
    """
    before = async_context.get()
    yield
    async_context.set(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server, where its programs are installed."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed here")
    with server(folder) as running:
        yield running


@pytest.fixture
def catalog() -> Catalog:
    """The models of ``world``: one fake of each modality, able to do everything."""
    able = {"seed", "speed", "language", "translate", "word_timestamps"}
    return fake_catalog(*(fake_model(f"fake-{m}", m, capabilities=able) for m in Modality))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The owner's settings of ``world``, whatever the machine's environment says."""
    monkeypatch.chdir(tmp_path)
    engine = EngineSettings(device="cpu", memory_mb=1000, drain_s=0.01, warm=())
    return Settings(data_dir=tmp_path / "data", engine=engine)


@pytest.fixture
def still() -> Iterator[None]:
    """Let time stand still for the bot."""
    with waits_between_tasks_are_rest():
        yield


@pytest.fixture
async def run(settings: Settings, catalog: Catalog) -> AsyncIterator[Run]:
    """The bot, opened and not yet connected."""
    run = Run(settings, catalog)
    await run.open()
    yield run
    await run.close()


@pytest.fixture
async def env(run: Run, still: None) -> AsyncIterator[StillEnv]:
    """The simulated Discord, with the bot connected. Its errors fail the test."""
    env = run.env = StillEnv(run.app.bot)
    await env.start()
    yield env
    try:
        await run.close()
    finally:
        await env.shutdown()
    env.raise_unseen_errors()


@pytest.fixture
def world(env: StillEnv, run: Run) -> World:
    return World(env, run)
