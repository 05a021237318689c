from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.ext import commands
from sqlalchemy import select

from bot.db.outbox import OutboxRepository, outbox_rows
from bot.db.session import Database
from bot.db.tables import JobTable, OutboxTable
from bot.delivery.live import LiveViews
from bot.delivery.outbox import Outbox
from bot.delivery.parts import Part, dump_part
from bot.delivery.sender import Sender
from bot.delivery.throttle import EditThrottle
from bot.engine.feed import Feed, Sight
from bot.engine.job import Anchor, Job, new_job_id
from bot.engine.spool import Spool
from tests.delivery.jobs import job
from tests.simulation import StillEnv, waits_between_tasks_are_rest


class Stand(commands.AutoShardedBot):
    """A bot that acknowledges ``/work`` and delivers what is put into its outbox."""

    def __init__(self, repository: OutboxRepository, spool: Spool) -> None:
        super().__init__("!", intents=discord.Intents.default())
        self.repository = repository
        self.spool = spool
        self.env: Any = None
        self.anchors: list[Anchor] = []
        self.feeds: dict[str, Feed] = {}
        self.job: Job | None = None

    def now(self) -> float:
        return float(self.env.now().timestamp())

    async def setup_hook(self) -> None:
        @app_commands.command(description="Work")
        async def work(
            interaction: discord.Interaction[Any], private: bool = False, age_s: int = -1
        ) -> None:
            await interaction.response.defer(ephemeral=private, thinking=True)
            message = await interaction.original_response()
            self.anchors.append(
                Anchor(
                    message.channel.id,
                    message.id,
                    application_id=interaction.application_id,
                    token=interaction.token,
                    token_expires_at=self.now() + 840.0,
                    ephemeral=private,
                )
            )
            if age_s >= 0:
                self.job = job(anchor=self.anchors[-1])
                self.job.id = new_job_id()
                self.job.created_at = self.now() - age_s
                self.feeds[self.job.id] = Feed()
                self.live.follow(self.job)

        self.tree.add_command(work)
        await self.tree.sync()
        self.throttle = EditThrottle()
        self.sender = Sender(self, self.spool.folder)
        self.outbox = Outbox(
            self.repository, self.sender, self.throttle, self.spool, clock=self.now
        )
        self.live = LiveViews(self, self.sender, self.throttle, clock=self.now)
        self.outbox.start()

    def watch(self, job_id: str) -> AsyncIterator[Sight]:
        return self.feeds[job_id].watch()

    async def close(self) -> None:
        await self.live.close()
        await self.outbox.close()
        await self.throttle.close()
        await super().close()


class Stage:
    """A channel with a member, and a bot that delivers."""

    def __init__(self, env: Any, bot: Stand, database: Database) -> None:
        self.env = env
        self.bot = bot
        self.database = database
        self.guild = env.create_guild()
        self.channel = self.guild.create_text_channel("general")
        self.user = env.create_user("ada")
        self.member = self.guild.add_member(self.user)

    async def ask(self, *, private: bool = False) -> Anchor:
        await self.member.slash(self.channel, "work", private=private)
        return self.bot.anchors[-1]

    async def follow(self, *, private: bool = False, age_s: int = 0) -> Job:
        """Let the bot follow a job that is so old."""
        await self.member.slash(self.channel, "work", private=private, age_s=age_s)
        assert self.bot.job is not None
        return self.bot.job

    async def show(self, *sights: Sight, after_s: float = 0.0) -> None:
        """Let the followed job go on, and then some time pass."""
        assert self.bot.job is not None
        for sight in sights:
            self.bot.feeds[self.bot.job.id].publish(sight)
        await self.env.settle()
        if after_s:
            await self.env.advance_time(after_s)

    async def put(self, anchor: Anchor, *parts: Part, age_s: float = 0.0) -> str:
        """Write the parts of an ended job down, as the transaction that ends it does."""
        made = job(anchor=anchor)
        made.id = new_job_id()
        requester = replace(made.submission.requester, user_id=self.member.id)
        made.submission = replace(made.submission, requester=requester)
        made.finished_at = self.bot.now() - age_s
        async with self.database.session() as session:
            session.add(_row(made))
            await session.flush()
            session.add_all(outbox_rows(made, [dump_part(part) for part in parts]))
        return made.id

    async def deliver(self, anchor: Anchor, *parts: Part, age_s: float = 0.0) -> str:
        job_id = await self.put(anchor, *parts, age_s=age_s)
        self.bot.outbox.wake()
        await self.env.settle()
        return job_id

    def messages(self) -> list[discord.Message]:
        return list(self.channel.history(viewer=self.member))

    def direct(self) -> list[discord.Message]:
        """Return what the bot wrote to the member alone."""
        return list(self.user.dm_channel.history())

    def mention_policy(self, message: discord.Message) -> Any:
        return self.env.backend.get_message(message.channel.id, message.id).allowed_mentions

    async def restart(self) -> None:
        """End the bot and start another one on the same database."""
        bot = Stand(self.bot.repository, self.bot.spool)
        bot.env = self.env
        await self.env.restart_bot(bot)
        self.bot = bot
        await self.env.settle()

    async def rows(self, job_id: str) -> list[OutboxTable]:
        query = (
            select(OutboxTable).where(OutboxTable.job_id == job_id).order_by(OutboxTable.position)
        )
        async with self.database.reading() as session:
            return list(await session.scalars(query))

    async def states(self, job_id: str) -> list[str]:
        return [row.state for row in await self.rows(job_id)]

    def calls(self, method: str, pattern: str) -> int:
        """Return how many calls the bot made to paths that match a pattern."""
        return sum(
            entry.method == method and fnmatch(entry.path, pattern)
            for entry in self.env.http_requests
        )


def _row(of: Job) -> JobTable:
    submission = of.submission
    return JobTable(
        id=of.id,
        source_key=of.id,
        user_id=submission.requester.user_id,
        guild_id=submission.requester.guild_id,
        channel_id=submission.requester.channel_id,
        modality=of.modality,
        model_id=submission.model_id,
        state="done",
        created_at=of.created_at,
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}")
    await database.open()
    yield database
    await database.close()


@asynccontextmanager
async def staged(database: Database, spool: Spool) -> AsyncIterator[Stage]:
    bot = Stand(OutboxRepository(database), spool)
    with waits_between_tasks_are_rest():
        env = StillEnv(bot)
        bot.env = env
        await env.start()
        try:
            yield Stage(env, bot, database)
        finally:
            await env.shutdown()


@pytest.fixture
async def stage(database: Database, spool: Spool) -> AsyncIterator[Stage]:
    async with staged(database, spool) as made:
        yield made
