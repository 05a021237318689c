"""Bad input and faults, from a command to what the member reads.

In each case the member reads one sentence, the usage log has a row, nothing stands there twice, and
the next job runs.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bot.engine.port import Vitals
from bot.settings import MediaSettings, Settings
from models.contracts import Control, HandlerEvent, Modality, Request
from models.transcription.whisper import WhisperHandler
from tests.conftest import Run, World
from tests.db.locking import locked
from tests.models import sounds
from tests.scripted import FakeHandler

OGG = ("talk.ogg", b"OggS\0\x02" + bytes(3000))


def said(world: World) -> list[discord.Message]:
    """Return what the bot said in the channel, to whoever sees it, oldest first."""
    return [message for message in world.messages() if message.author.bot]


async def rows(world: World) -> list[tuple[str, str | None]]:
    """Return the member's rows of the usage log."""
    log = await world.services.jobs.of_member(world.member.id)
    return [(row.state, row.error_kind) for row in log]


async def settled(world: World) -> None:
    """Check that nothing is left to do, and that the next job runs and is delivered once."""
    assert world.services.engine.jobs() == []
    assert not await world.services.outbox.due(1e12)
    before = len(said(world))
    await world.stranger.slash(world.channel, "ask", prompt="still at work")
    await world.env.advance_time(5)
    assert ["still at work" in message.content for message in said(world)[before:]] == [True]


async def told_once(world: World, part: str, row: tuple[str, str]) -> None:
    """Check that the one message of the bot is a sentence with ``part`` in it."""
    [message] = said(world)
    assert part in message.content
    assert "Traceback" not in message.content
    assert await rows(world) == [row]
    await settled(world)


# --------------------------------------------------------------------------- recordings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"media": MediaSettings(max_audio_minutes=1)})


@pytest.fixture
def real_ear(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read recordings as the real backend does; it gets no further than to its model."""
    deaf: Any = SimpleNamespace(
        model=SimpleNamespace(is_multilingual=False, device="cpu"), supported_languages=["en"]
    )
    ear = WhisperHandler(run.app.services.catalog.get("fake-transcription"), deaf)
    fake = FakeHandler.run

    def run(self: FakeHandler, request: Request, control: Control) -> Iterator[HandlerEvent]:
        is_recording = request.modality is Modality.TRANSCRIPTION
        return ear.run(request, control) if is_recording else fake(self, request, control)

    monkeypatch.setattr(FakeHandler, "run", run)


def cut(path: Path, size: int) -> Path:
    path.write_bytes(path.read_bytes()[:size])
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


BAD = [
    pytest.param(lambda f: written(f / "a.ogg", b""), "is empty", "empty_input", id="empty"),
    pytest.param(
        lambda f: cut(sounds.write(f / "a.ogg", sounds.tone(3, 48_000), "libopus", 48_000), 60),
        "damaged or incomplete",
        "invalid_media",
        id="truncated",
    ),
    pytest.param(
        lambda f: written(f / "a.mp3", b"This is no song. " * 300),
        "not sound or video",
        "invalid_media",
        id="mislabelled",
    ),
    pytest.param(
        lambda f: written(f / "a.mp3", b"\x89PNG\r\n\x1a\n" + bytes(500)),
        "a picture (PNG)",
        "invalid_media",
        id="picture named mp3",
    ),
    pytest.param(
        lambda f: sounds.write_cenc(f / "a.mp4", sounds.tone(2)),
        "encrypted",
        "encrypted_media",
        id="encrypted",
    ),
    pytest.param(
        lambda f: sounds.write(f / "a.wav", sounds.silence(0)),
        "0 seconds",
        "empty_input",
        id="0 seconds",
    ),
    pytest.param(
        lambda f: sounds.write(f / "a.wav", sounds.tone(61)),
        "lasts 61 s; Fake Transcription takes at most 60 s",
        "input_too_long",
        id="over-long",
    ),
]


@pytest.mark.usefixtures("real_ear")
@pytest.mark.parametrize(("make", "part", "kind"), BAD)
async def test_a_bad_recording(
    world: World, tmp_path: Path, make: Callable[[Path], Path], part: str, kind: str
) -> None:
    path = make(tmp_path)
    await world.member.slash(world.channel, "transcribe", file=(path.name, path.read_bytes()))
    await world.env.advance_time(2)
    await told_once(world, part, ("failed", kind))
    spool = world.services.spool.folder
    assert not spool.is_dir() or list(spool.iterdir()) == []


# --------------------------------------------------------------------------- workers


async def test_a_worker_that_dies_in_mid_job(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt="half a\n!crash\nsentence")
    await world.env.advance_time(5)
    await told_once(world, "crashed twice", ("failed", "worker_crashed"))
    assert "half a" in said(world)[0].content


async def test_a_worker_that_grows_beyond_its_limit(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt="!delay 1\nhalf a sentence of many words")
    await world.env.advance_time(3)
    world.run.stage.ports[-1].vitals = lambda: Vitals(1 << 40)  # type: ignore[method-assign]
    await world.env.advance_time(3)
    await told_once(world, "ran out of memory", ("failed", "out_of_memory"))
    assert "half a" in said(world)[0].content


async def test_a_handler_that_hangs(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt="half a\n!hang")
    limits = world.services.settings.engine
    await world.env.advance_time(limits.event_gap_deadline_s + limits.cancel_grace_s + 5)
    await told_once(world, "took longer than it may", ("expired", "deadline_exceeded"))


# --------------------------------------------------------------------------- disks


@pytest.mark.parametrize(
    ("command", "options"), [("transcribe", {"file": OGG}), ("speak", {"text": "hello"})]
)
async def test_a_full_disk_under_the_spool(
    world: World, monkeypatch: pytest.MonkeyPatch, command: str, options: dict[str, Any]
) -> None:
    def full(file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bot.engine.spool._flush", full)
    await world.member.slash(world.channel, command, **options)
    await world.env.advance_time(2)
    await told_once(world, "disk is full", ("failed", "disk_full"))


async def test_a_locked_database_delays_a_job(world: World) -> None:
    with locked(database_of(world)):
        asking = asyncio.create_task(
            world.member.slash(world.channel, "ask", prompt="after the backup")
        )
        await asyncio.sleep(0.5)
        assert await rows(world) == []
        assert not asking.done()
    await asking
    await world.env.advance_time(2)
    await told_once(world, "after the backup", ("done", None))


class TestLockedForTooLong:
    """The database is locked for longer than a writer waits."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bot.db.session.BUSY_TIMEOUT_MS", 200)

    async def test_a_job_that_cannot_be_written_down(self, world: World) -> None:
        with locked(database_of(world)):
            await world.member.slash(world.channel, "speak", text="hello")
        [message] = said(world)
        assert message.content.startswith("My database is busy, so nothing was begun.")
        assert await rows(world) == []  # there was nothing to write one into
        assert len(world.env.errors) == 1
        await settled(world)

    async def test_an_outcome_that_cannot_be_written_down(self, world: World) -> None:
        await world.member.slash(world.channel, "ask", prompt="!sleep 5\nall is well")
        with locked(database_of(world)):
            await world.env.advance_time(6)
            assert "all is well" not in said(world)[0].content
        await world.env.advance_time(60)
        await told_once(world, "all is well", ("done", None))


def database_of(world: World) -> Path:
    return world.run.settings.data_dir / "sextant.db"


# --------------------------------------------------------------------------- Discord


async def ask(world: World, words: str) -> None:
    await world.member.slash(world.channel, "ask", prompt=words)


async def speak(world: World, words: str) -> None:
    await world.member.slash(world.channel, "speak", text=words)


async def mention(world: World, words: str) -> None:
    assert world.bot.user is not None
    await world.member.send(world.channel, f"<@{world.bot.user.id}> {words}")


SENTENCES = {
    429: "Discord has trouble right now. Please try again in a moment.",
    500: "Discord has trouble right now. Please try again in a moment.",
    403: "I may not do that here: I lack a permission in this channel. Tell a moderator.",
    404: "That is gone: the message or channel does not exist any more.",
}


@pytest.mark.parametrize("status", SENTENCES)
@pytest.mark.parametrize(
    ("flow", "first"),
    [
        (ask, "/interactions/*/*/callback"),
        (speak, "/interactions/*/*/callback"),
        (mention, "/channels/*/messages"),
    ],
)
async def test_discord_refuses_a_call(
    world: World, flow: Callable[[World, str], Awaitable[None]], first: str, status: int
) -> None:
    """Each call that a flow makes is refused once: the first one, and those that deliver."""
    await flow(world, "try 0.")
    for number, (method, path) in enumerate(sorted(calls_of(world)), start=1):
        world.env.inject_error(method, path, status=status, message="no")
        await flow(world, f"try {number}.")
        await world.env.advance_time(400)
        assert world.env.backend.faults == []
        row = (await rows(world))[-1]
        told = [message.content for message in (*said(world), *world.direct())]
        standing = sum(f"try {number}." in content for content in told)
        if path == first:
            assert row == ("failed", "error")
            assert (told.count(SENTENCES[status]), standing) == (1, 0)
        else:
            assert row == ("done", None)
            # A message that is gone is not written once more.
            assert standing <= 1 if status == 404 else standing == 1
    assert len(world.env.errors) <= 1  # the acknowledgement that was refused
    await settled(world)


def calls_of(world: World) -> set[tuple[str, str]]:
    """Return the calls that the bot made to answer, with patterns in place of ids and tokens."""
    calls = set()
    for call in world.env.http_requests:
        path = re.sub(r"/(interactions|webhooks)/\d+/[^/]+", r"/\1/*/*", call.path)
        path = re.sub(r"\d{10,}", "*", path)
        if path.startswith(("/interactions", "/webhooks", "/channels")):
            calls.add((call.method, path))
    return calls


async def test_a_channel_where_the_bot_may_not_write(world: World) -> None:
    closed = world.guild.create_text_channel(
        "closed", overwrites={world.guild.me: discord.PermissionOverwrite(send_messages=False)}
    )
    await world.member.slash(closed, "ask", prompt="!words 400")
    await world.env.advance_time(5)
    [answer] = closed.history()
    [rest] = answer.attachments
    words = f"{answer.content} {(await rest.read()).decode()}".split()
    assert [word for word in words if word.startswith("word")] == [f"word{n}" for n in range(400)]
    assert await rows(world) == [("done", None)]
    await settled(world)
