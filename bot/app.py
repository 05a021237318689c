"""The composition root: opens what the bot is made of, in order, and closes it in reverse.

This module owns which piece gets which. The database comes first, because it refuses a second
instance; then the engine, the bot, delivery and the services. The work itself begins when the bot
has logged in.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bot.attachments import AttachmentService, Download, download
from bot.client import Sextant
from bot.db.allowances import AllowanceRepository, CountEnd, count_start
from bot.db.instance import InstanceRepository
from bot.db.jobs import JobRepository
from bot.db.journal import JobJournal
from bot.db.memory import TurnRepository
from bot.db.next_steps import NextStepRepository
from bot.db.outbox import OutboxRepository
from bot.db.prompts import PromptRepository
from bot.db.recipes import RecipeRepository
from bot.db.session import Database
from bot.db.settings import SettingRepository
from bot.db.spending import SpendingRepository, add_spending
from bot.delivery.intake import Intake
from bot.delivery.live import LiveViews
from bot.delivery.outbox import Outbox
from bot.delivery.present import present, present_unreadable
from bot.delivery.sender import Sender
from bot.delivery.throttle import EditThrottle
from bot.engine.cluster import chosen_workers
from bot.engine.engine import Engine
from bot.engine.inline import SomeWorkers
from bot.engine.job import Job, Outcome
from bot.engine.meter import SILENT, Meter
from bot.engine.port import WorkerPort, Workers
from bot.engine.spool import Spool
from bot.internet import PublicInternet
from bot.links import LinkService
from bot.services.admission import Admission
from bot.services.allowances import Allowances
from bot.services.budget import Budget
from bot.services.container import Services
from bot.services.dropped import Dropped
from bot.services.house_rules import HouseRules
from bot.services.kept_pictures import KeptPictures
from bot.services.memory import Memory, remember_answer
from bot.services.next_steps import NextSteps
from bot.services.privacy import Privacy
from bot.services.prompts import keep_prompt
from bot.services.recipes import RecipeService
from bot.services.retention import Retention
from bot.services.role_limits import RoleLimits
from bot.services.server_settings import ServerSettings
from bot.services.setting_registry import PAUSED, settings_under
from bot.services.styles import Styles, default_styles
from bot.settings import CONFIG_FOLDER, Settings
from models.catalog import Catalog, ModelSpec
from models.errors import UnsafePicture
from models.weights import WeightStore

if TYPE_CHECKING:
    from bot.web.metrics import PrometheusMeter

_DELIVERY_S = 10.0
_LOOK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Substitutes:
    """What a simulated Discord and tests put in place of the real thing.

    Attributes:
        bot: Makes the bot.
        start_worker: Makes the port of a lane by its name.
        download: Yields the bytes of an attachment.
        internet: Where links of members lead.
        catalog: The models, instead of those in ``config``.
        weights: Where their weights are.
        clock: Unix time in seconds, for delivery.
    """

    bot: Callable[[], Sextant] = Sextant
    start_worker: Callable[[str], WorkerPort] | None = None
    download: Download = download
    internet: Callable[[], PublicInternet] = PublicInternet
    catalog: Catalog | None = None
    weights: WeightStore | None = None
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class _Ground:
    """What everything else stands on."""

    settings: Settings
    instead: Substitutes
    catalog: Catalog
    weights: WeightStore
    database: Database
    spool: Spool
    internet: PublicInternet
    next_steps: NextSteps
    metrics: PrometheusMeter | None

    @property
    def meter(self) -> Meter:
        """What the engine and delivery tell of themselves."""
        return self.metrics or SILENT


@dataclass(frozen=True, slots=True)
class App:
    """An open bot. ``bot.start(token)`` connects it."""

    bot: Sextant
    services: Services
    outbox: Outbox
    live: LiveViews

    async def drain(self) -> None:
        """Come to an end while Discord can still be told.

        Running jobs may finish and be delivered; who waits reads that the place is kept.
        """
        await self.services.next_steps.close()
        await asyncio.gather(self.services.engine.drain(), self.live.announce_restart())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DELIVERY_S):
                while await self.services.outbox.due(time.time()):  # noqa: ASYNC110 - rows have no event
                    await asyncio.sleep(_LOOK_AGAIN_S)
        await self.outbox.close()
        await self.live.close()


@asynccontextmanager
async def open_app(
    settings: Settings, substitutes: Substitutes | None = None
) -> AsyncIterator[App]:
    """Open everything; close it in reverse when the block ends.

    Raises:
        InstanceRunning: Another bot runs on this database.
        DatabaseUnavailable: The database cannot be opened.
        CatalogError: The catalogue cannot be read, or has no such profile.
    """
    ground = _lay_ground(settings, substitutes or Substitutes())
    clock = ground.instead.clock
    async with AsyncExitStack() as stack:
        await ground.database.open()
        stack.push_async_callback(ground.database.close)
        stack.callback(ground.internet.close)
        engine = _engine(ground)
        stack.push_async_callback(engine.close)
        bot = ground.instead.bot()
        stack.push_async_callback(bot.close)
        sender, throttle = Sender(bot, ground.spool.folder), EditThrottle()
        stack.push_async_callback(throttle.close)
        rows = OutboxRepository(ground.database)
        outbox = Outbox(rows, sender, throttle, ground.spool, clock=clock, meter=ground.meter)
        stack.push_async_callback(outbox.close)
        live = LiveViews(engine, sender, throttle, clock)
        stack.push_async_callback(live.close)
        stack.push_async_callback(ground.next_steps.close)
        services = _services(ground, engine, live)
        await services.server_settings.load()
        await services.styles.load()
        await services.budget.load()
        await services.role_limits.load()
        await services.allowances.load()
        app = App(bot, services, outbox, live)
        bot.attach(services, partial(_begin, app, stack))
        if ground.metrics is not None:
            await _open_page(ground, ground.metrics, app, stack)
        yield app


def _lay_ground(settings: Settings, instead: Substitutes) -> _Ground:
    catalog = instead.catalog or Catalog.read(CONFIG_FOLDER)
    catalog = catalog.limited(max_input_s=60 * settings.media.max_audio_minutes)
    catalog.profile(settings.profile)  # before anything is opened: raises when it is unknown
    database = Database(settings.database)
    return _Ground(
        settings=settings,
        instead=instead,
        catalog=catalog,
        weights=instead.weights or WeightStore(settings.models_dir),
        database=database,
        spool=Spool(settings.spool_dir),
        internet=instead.internet(),
        next_steps=NextSteps(NextStepRepository(database)),
        metrics=_metrics(settings),
    )


def _metrics(settings: Settings) -> PrometheusMeter | None:
    """Return what measures; without a page nobody pays for the library."""
    if not settings.web.port:
        return None
    from bot.web.metrics import PrometheusMeter

    return PrometheusMeter()


async def _open_page(
    ground: _Ground, metrics: PrometheusMeter, app: App, stack: AsyncExitStack
) -> None:
    from bot.web.health import Watched
    from bot.web.page import Page

    bot, engine = app.bot, app.services.engine
    watched = Watched(
        gateway=bot.gateway_trouble,
        latency_s=lambda: bot.latency,
        takes_jobs=lambda: engine.takes_jobs,
        jobs=engine.counts,
        database=ground.database.ping,
        backlog=app.services.outbox.backlog,
        clock=ground.instead.clock,
    )
    page = Page(ground.settings.web, watched, metrics)
    stack.push_async_callback(page.close)
    await page.open()


def _engine(ground: _Ground) -> Engine:
    return Engine(
        ground.settings.engine,
        catalog=ground.catalog,
        weights=ground.weights,
        journal=JobJournal(
            ground.database,
            at_start=[count_start],
            at_end=[
                remember_answer,
                keep_prompt,
                ground.next_steps.write,
                add_spending,
                CountEnd(ground.catalog),
            ],
            unreadable=present_unreadable(),
        ),
        spool=ground.spool,
        present=present,
        workers=_workers(ground),
        meter=ground.meter,
    )


def _workers(ground: _Ground) -> Workers:
    settings, start_worker = ground.settings, ground.instead.start_worker
    if start_worker is not None:
        return SomeWorkers(settings.engine, start_worker)
    return chosen_workers(settings, ground.spool.folder)


def _services(ground: _Ground, engine: Engine, live: LiveViews) -> Services:
    settings, catalog, database = ground.settings, ground.catalog, ground.database
    registry = settings_under(settings.hosted, settings.limits)
    server_settings = ServerSettings(SettingRepository(database), catalog, registry)
    jobs, outbox = JobRepository(database), OutboxRepository(database)
    memory = Memory(TurnRepository(database), outbox.siblings)
    recipes, prompts = _recipes(ground), PromptRepository(database)
    allowances = _allowances(ground, engine, server_settings)
    admission = Admission(
        catalog=catalog,
        profile=catalog.profile(settings.profile),
        weights=ground.weights,
        allowances=allowances,
        server_settings=server_settings,
    )
    budget = _budget(ground, engine, server_settings)
    intake = Intake(
        admission=admission,
        budget=budget,
        engine=engine,
        spool=ground.spool,
        recipes=recipes,
        live=live,
        jobs=jobs,
        house_rules=HouseRules(admission),
    )
    instance = InstanceRepository(database)
    return Services(
        settings=settings,
        catalog=catalog,
        weights=ground.weights,
        engine=engine,
        spool=ground.spool,
        server_settings=server_settings,
        memory=memory,
        privacy=Privacy(
            engine=engine,
            memory=memory,
            recipes=recipes,
            jobs=jobs,
            outbox=outbox,
            prompts=prompts,
            allowances=allowances.repository,
        ),
        prompts=prompts,
        recipes=recipes,
        styles=Styles(SettingRepository(database), default_styles(CONFIG_FOLDER / "styles.toml")),
        attachments=AttachmentService(settings.media, ground.spool, ground.instead.download),
        links=LinkService(settings.links, settings.media, ground.spool, ground.internet),
        admission=admission,
        allowances=allowances,
        role_limits=allowances.role_limits,
        budget=budget,
        intake=intake,
        jobs=jobs,
        outbox=outbox,
        instance=instance,
        dropped=Dropped(instance, admission),
        next_steps=ground.next_steps,
    )


def _allowances(ground: _Ground, engine: Engine, server_settings: ServerSettings) -> Allowances:
    return Allowances(
        repository=AllowanceRepository(ground.database),
        engine=engine,
        server_settings=server_settings,
        role_limits=RoleLimits(SettingRepository(ground.database)),
        catalog=ground.catalog,
        clock=ground.instead.clock,
    )


def _budget(ground: _Ground, engine: Engine, server_settings: ServerSettings) -> Budget:
    return Budget(
        settings=ground.settings.hosted,
        spending=SpendingRepository(ground.database),
        engine=engine,
        server_settings=server_settings,
        catalog=ground.catalog,
        weights=ground.weights,
        clock=ground.instead.clock,
    )


def _recipes(ground: _Ground) -> RecipeService:
    settings, days = ground.settings, ground.settings.privacy.recipe_days
    most_mb = settings.privacy.kept_pictures_mb
    pictures = KeptPictures(settings.kept_dir, ground.spool, days=days, mb_per_member=most_mb)
    return RecipeService(RecipeRepository(ground.database), pictures, days=days)


async def _begin(app: App, stack: AsyncExitStack) -> None:
    """Start the work: what the last run has left comes first."""
    services = app.services

    async def ended(job: Job, outcome: Outcome) -> None:
        app.outbox.wake()
        await services.intake.discard_files(job.submission)
        if isinstance(outcome.error, UnsafePicture):
            await services.recipes.drop_files(job.submission.presentation)

    services.engine.observe(services.budget.ended)
    services.engine.observe(services.allowances.ended)
    services.engine.observe(ended)
    services.engine.observe(services.next_steps.ended)
    services.server_settings.watch(
        PAUSED, lambda guild_id, paused: services.engine.pause(guild_id, paused=bool(paused))
    )
    await services.next_steps.start(app.bot.wait_until_ready)
    await services.engine.start()
    services.engine.warm(_warm_models(services))
    services.budget.resume()
    services.allowances.resume()
    services.intake.resume()
    app.outbox.start()
    retention = Retention(
        services.settings.privacy,
        memory=services.memory,
        recipes=services.recipes,
        jobs=services.jobs,
        outbox=services.outbox,
        prompts=services.prompts,
        allowances=services.allowances,
    )
    sweeping = asyncio.create_task(retention.run(), name="retention")
    stack.push_async_callback(_end, sweeping)


def _warm_models(services: Services) -> list[ModelSpec]:
    """Return what is loaded before anybody asks for it."""
    settings, places = services.settings, services.weights
    defaults = services.catalog.of_profile(settings.profile)
    wanted = [spec for spec in defaults if spec.modality in settings.engine.warm]
    return [spec for spec in wanted if places.is_installed(spec)]


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
