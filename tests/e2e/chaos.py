"""What goes on while a bot is killed again and again: members, kills, and what is counted.

This module owns what members ask for, what may be killed, and how the end is compared with what
was owed. It must not know how often anything is killed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.harness import AMIR, BEATE, OLGA, Bot, Wire
from tests.e2e.looking import BOT, Json, answer_of, labels, of_bot, voices, whole_answer
from tests.e2e.outside import Outside, PostgresOutside

LONG = 4500
UNLIMITED = {"messages": (1000, 1.0), "webhooks": (1000, 1.0), "callback": (1000, 1.0)}

POSTS, EDITS = "/channels/.*/messages$", "/webhooks/|/messages/"
TROUBLE: list[Json] = [
    {"method": "GET", "path": "/nothing", "status": 500},
    {"method": "POST", "path": POSTS, "status": 500, "when": "after"},
    {"method": "POST", "path": POSTS, "status": 500, "when": "drop"},
    {"method": "POST", "path": POSTS, "status": 503},
    {"method": "POST", "path": POSTS, "status": 429, "times": 2},
    {"method": "PATCH", "path": EDITS, "status": 503, "times": 2},
    {"method": "PATCH", "path": EDITS, "status": 500, "when": "drop"},
]
"""What Discord does to a run of the bot beside its being killed."""

_SQLITE_NOTES = (
    "CREATE TABLE ends (job_id TEXT)",
    "CREATE TRIGGER ended AFTER UPDATE OF state ON jobs"
    " WHEN NEW.state NOT IN ('queued', 'running')"
    " BEGIN INSERT INTO ends VALUES (NEW.id); END",
)
_POSTGRES_NOTES = (
    "CREATE TABLE ends (job_id TEXT)",
    "CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN INSERT INTO ends VALUES (NEW.id); RETURN NEW; END $$",
    "CREATE TRIGGER ended AFTER UPDATE OF state ON jobs FOR EACH ROW"
    " WHEN (NEW.state NOT IN ('queued', 'running')) EXECUTE FUNCTION note_end()",
)


def note_ends(database: Outside) -> None:
    """Have the database itself note each time a job comes to an end."""
    database.execute(*(_POSTGRES_NOTES if isinstance(database, PostgresOutside) else _SQLITE_NOTES))


async def settle_in(wire: Wire, bot: Bot) -> None:
    """Start a bot, lift the limits of the double and of the server, and note what ends."""
    await wire.set(limits=UNLIMITED)
    await bot.start()
    note_ends(bot.database)
    await wire.command("config set", key="limits.jobs_at_once", value="50")
    await wire.until(lambda _: bot.rows("select key from settings"), bot=bot)


def unfinished(bot: Bot) -> Any:
    """Rows of jobs that have yet to end, and of parts that have yet to arrive."""
    return bot.rows(
        "select id, state from jobs where state in ('queued', 'running') "
        "union select job_id, state from outbox where state = 'pending'"
    )


def undelivered(bot: Bot) -> Any:
    """Parts of jobs that have ended, and have yet to arrive."""
    return bot.rows("select id from outbox where state = 'pending'")


def spooled(bot: Bot) -> list[Path]:
    """The files that are under way."""
    folder = bot.folder / "data" / "spool"
    return list(folder.iterdir()) if folder.exists() else []


# --------------------------------------------------------------------------- members


@dataclass(frozen=True)
class Owed:
    """What somebody asked for: a text of a length, or a voice where that is -1."""

    tag: str
    length: int
    interaction: Json | None
    """None for a message, which is answered by a reply."""


@dataclass
class Members:
    """People who ask for things, change their minds, and what each of them is owed."""

    wire: Wire
    random: random.Random
    owed: dict[str, Owed] = field(default_factory=dict)
    """By source id."""

    async def ask_for_something(self) -> None:
        tag = f"#k{len(self.owed)}."
        pace = f"ticks={self.random.randint(1, 4)} tick_s=0.05"
        user = self.random.choice((OLGA, AMIR, BEATE))
        length, options = 0, {}
        match self.random.randrange(8):
            case 0:
                options = {"prompt": f"{tag} {pace}"}
            case 1:
                options, length = {"prompt": f"{tag} {pace} chars={LONG}"}, LONG
            case 2:
                options = {"prompt": f"{tag} {pace}", "private": True}
            case 3:
                made = await self.wire.command("speak", user=user, text=tag)
                self.owed[str(made["id"])] = Owed(tag, -1, made)
                return
            case 4:
                options = {"prompt": f"{tag} {self.random.choice(('crash', 'fail'))}"}
            case _:
                made = await self.wire.say(f"<@{BOT}> {tag} {pace}", user=user)
                self.owed[str(made["id"])] = Owed(tag, 0, None)
                return
        made = await self.wire.command("ask", user=user, **options)
        self.owed[str(made["id"])] = Owed(tag, length, made)

    async def change_their_minds(self) -> None:
        """Stop something, by the button or by a command, if there is anything."""
        stoppable = [m for m in of_bot(await self.wire.state()) if "Stop" in labels(m)]
        if stoppable and self.random.random() < 0.5:
            await self.wire.press(self.random.choice(stoppable), "Stop")  # OLGA may stop any
        else:
            await self.wire.command("cancel", user=self.random.choice((OLGA, AMIR, BEATE)))


# --------------------------------------------------------------------------- kills


def jobs_of(bot: Bot) -> int:
    """How many requests became jobs: one that was refused leaves a row too, without a size."""
    [(number,)] = bot.rows("select count(*) from jobs where work is not null")
    return int(number)


async def a_moment(rng: random.Random, wire: Wire, bot: Bot, jobs_before: int) -> str:
    """Wait for the moment of a kill: any, or one at which a loss would hurt most.

    All but ``any`` come after one more request was written down.
    """
    kind = rng.choice(("any", "written down", "written down", "result committed", "part posted"))
    if kind == "any":
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        return kind
    end = time.monotonic() + 30
    while jobs_of(bot) == jobs_before:
        if time.monotonic() > end:  # Discord's trouble can keep a message from becoming a job
            return "any"
        await asyncio.sleep(0.005)
    posted = len(of_bot(await wire.state()))
    end = time.monotonic() + (20.0 if kind == "result committed" else rng.uniform(0.0, 1.0))
    while time.monotonic() < end:
        if kind == "result committed" and undelivered(bot):
            break
        if kind == "part posted" and len(of_bot(await wire.state())) > posted + 1:
            break
        await asyncio.sleep(0.005)
    return kind


@dataclass
class Killer:
    """Kills the bot, a worker, or both, and sees to it that no worker outlives its bot."""

    bot: Bot
    random: random.Random
    victims: Counter[str] = field(default_factory=Counter)
    _orphans: list[psutil.Process] = field(default_factory=list)

    async def strike(self) -> None:
        workers = self.bot.workers()
        victim = self.random.choice(("bot", "bot", "worker", "both"))
        if not workers:
            victim = "bot"
        self.victims[victim] += 1
        if victim != "bot":
            _kill(self.random.choice(workers))
        if victim != "worker":
            await self.kill_bot()

    async def kill_bot(self) -> None:
        self._orphans += self.bot.workers()
        await self.bot.kill()

    async def outlived(self) -> list[psutil.Process]:
        """Return the workers that are still there a while after their bot was killed."""
        end = time.monotonic() + 30
        while (left := [one for one in self._orphans if _lives(one)]) and time.monotonic() < end:
            await asyncio.sleep(0.05)
        return left


def _kill(process: psutil.Process) -> None:
    if _lives(process):
        process.kill()


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


# --------------------------------------------------------------------------- what is counted


@dataclass
class Count:
    """Compares what stands in the channels and in the database with what is owed."""

    bot: Bot
    members: Members
    state: Json
    spoken: Counter[str] = field(default_factory=Counter)
    """How often each voice message stands there, by tag."""

    def check(self) -> Counter[str]:
        """Return how many jobs ended in which way. Jobs that were refused are none."""
        rows = self.bot.rows("select source_key, state, id from jobs where work is not null")
        ends = [job_id for (job_id,) in self.bot.rows("select job_id from ends")]
        jobs = {key.partition(":")[0]: (state, job_id) for key, state, job_id in rows}
        assert sorted(ends) == sorted(job_id for _, job_id in jobs.values()), "once each"
        self._check_limits()
        assert not self.state["problems"]
        for source_id, owed in self.members.owed.items():
            state = jobs.get(source_id, ("refused", ""))[0]
            self._check_answer(source_id, owed, state)
        return Counter(state for state, _ in jobs.values())

    def _check_limits(self) -> None:
        """What failed, or was stopped before it ran, is given back."""
        [(jobs,)] = self.bot.rows(
            "select count(*) from jobs"
            " where state = 'done' or (state = 'cancelled' and device_s > 0)"
        )
        used = self.bot.rows("select kind, sum(jobs) from allowances group by kind")
        assert {kind: int(number) for kind, number in used} == dict.fromkeys(
            ("member", "channel", "server"), jobs
        )

    def _check_answer(self, source_id: str, owed: Owed, state: str) -> None:
        text = "\n".join(m["content"] for m in of_bot(self.state))
        if owed.length < 0:
            assert self.spoken[owed.tag] == (state == "done"), owed
        else:
            assert whole_answer(owed.tag, owed.length)(self.state) == (state == "done"), owed
            assert state == "done" or not answer_of(text, owed.tag), owed
        said = list(self._answers(source_id, owed))
        if state == "cancelled":
            assert sum("⏹️ Stopped." in content for content in said) == 1, (owed, said)
        elif state == "failed":
            assert sum("⚠️" in content for content in said) == 1, (owed, said)
        else:
            assert state in ("done", "refused"), (owed, state)

    def _answers(self, source_id: str, owed: Owed) -> Iterator[str]:
        """The messages that answer somebody directly."""
        anchors = {
            str(made["message"])
            for made in self.state["interactions"]
            if str(made["id"]) == source_id
        }
        for message in of_bot(self.state):
            replied_to = message.get("message_reference", {}).get("message_id")
            if message["id"] in anchors or (owed.interaction is None and replied_to == source_id):
                yield message["content"]

    async def listen(self) -> None:
        """Fetch what was spoken, by tag."""
        for message in voices(self.state):
            sound = await self.members.wire.download(message["attachments"][0]["url"])
            self.spoken[sound.removeprefix(b"OggS").split(b".")[0].decode() + "."] += 1
