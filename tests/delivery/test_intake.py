"""How requests get in: what is refused, in which order things happen, what arrives twice."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
import pytest
from sqlalchemy import select

from bot.db.jobs import JobRepository
from bot.db.session import Database
from bot.db.tables import JobTable
from bot.engine.journal import JournalUnavailable
from models.contracts import ChatMessage, Modality, Request, TextRequest
from models.errors import InvalidMedia
from tests.conftest import World

SLOW = "!delay 1\n!words 30"


def callbacks(world: World) -> int:
    """Return how many interactions were answered."""
    return sum(entry.path.endswith("/callback") for entry in world.env.http_requests)


async def configure(world: World, key: str, value: str) -> None:
    await world.services.server_settings.set(
        key, value, guild_id=world.guild.id, user_id=world.moderator.id
    )


async def job_states(world: World) -> list[str]:
    database = world.services.jobs._database
    async with database.reading() as session:
        return list(await session.scalars(select(JobTable.state).order_by(JobTable.id)))


# --------------------------------------------------------------------------- commands


async def test_discord_has_its_acknowledgement_before_the_disk_is_touched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged: list[int] = []
    session, reading = Database.session, Database.reading

    def counted(open_session: Any) -> Any:
        def opened(self: Database) -> Any:
            acknowledged.append(callbacks(world))
            return open_session(self)

        return opened

    monkeypatch.setattr(Database, "session", counted(session))
    monkeypatch.setattr(Database, "reading", counted(reading))
    await world.member.slash(world.channel, "ask", prompt="blue")
    assert acknowledged
    assert min(acknowledged) == 1


async def test_the_limit_of_jobs_at_once_is_told_privately(world: World) -> None:
    await configure(world, "limits.jobs_at_once", "1")
    await world.member.slash(world.channel, "ask", prompt=SLOW)
    refused = await world.member.slash(world.channel, "ask", prompt="blue")
    assert "a job under way" in refused.response.content
    assert refused.response.flags.ephemeral
    other = await world.stranger.slash(world.channel, "ask", prompt="blue")
    assert other.deferred
    assert await job_states(world) == ["running", "queued"]


async def test_requests_on_their_way_in_count_for_the_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands at the same moment: neither is a job yet when the second is checked."""
    await configure(world, "limits.jobs_at_once", "1")
    gate = asyncio.Event()
    read_text = world.services.attachments.read_text

    async def slow(attachment: discord.Attachment) -> str:
        await gate.wait()
        return await read_text(attachment)

    monkeypatch.setattr(type(world.services.attachments), "read_text", lambda _, a: slow(a))
    await world.member.slash(world.channel, "ask", prompt="blue", file=("a.txt", b"sky"))
    refused = await world.member.slash(world.channel, "ask", prompt="blue")
    assert "a job under way" in refused.response.content
    gate.set()
    await world.env.settle()
    assert await job_states(world) == ["done"]


async def test_what_is_switched_off_is_told_privately(world: World) -> None:
    await configure(world, "speech.enabled", "off")
    refused = await world.member.slash(world.channel, "speak", text="hello")
    assert refused.response.content == "Speaking is switched off here by the moderators."
    assert refused.response.flags.ephemeral
    assert await job_states(world) == []


async def test_a_failure_after_the_acknowledgement_fills_the_deferred_reply(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt="blue", file=("empty.txt", b""))
    [answer] = world.messages()
    assert answer.content == "`empty.txt` is empty."
    assert await job_states(world) == ["failed"]


async def test_an_interaction_that_expired_submits_nothing(world: World) -> None:
    world.env.inject_error("POST", "/interactions/*/*/callback", status=404, code=10062)
    await world.member.slash(world.channel, "ask", prompt="blue")
    assert world.messages() == []
    assert await job_states(world) == ["failed"]
    assert len(world.env.errors) == 1


async def test_an_interaction_that_arrives_twice_is_one_job(world: World) -> None:
    payloads: list[Any] = []
    world.env.backend.subscribers.append(
        lambda event, payload: payloads.append(payload) if event == "INTERACTION_CREATE" else None
    )
    await world.member.slash(world.channel, "ask", prompt="blue")
    world.env._gateway_feed("INTERACTION_CREATE", payloads[0])
    await world.env.settle()
    assert await job_states(world) == ["done"]
    [answer] = world.messages()
    assert "blue" in answer.content


# --------------------------------------------------------------------------- files

OGG = ("a.ogg", b"OggS\0\x02" + bytes(3000))


def spooled(world: World) -> list[str]:
    folder = world.services.spool.folder
    return [file.name for file in folder.iterdir()] if folder.is_dir() else []


async def test_a_file_stays_as_long_as_its_job(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt=SLOW)
    await world.member.slash(world.channel, "transcribe", file=OGG)
    assert len(spooled(world)) == 1
    await world.env.advance_time(40)
    assert await job_states(world) == ["done", "done"]
    assert spooled(world) == []


async def test_the_file_of_a_refused_job_goes_at_once(world: World) -> None:
    await world.services.engine.drain()
    await world.member.slash(world.channel, "transcribe", file=OGG)
    assert "about to restart" in world.messages()[0].content
    assert spooled(world) == []


# --------------------------------------------------------------------------- messages


class Listener:
    """A cog's part of a submission by message."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.jobs: list[Any] = []
        world.bot.add_listener(self.on_message)

    async def on_message(self, message: discord.Message) -> None:
        if not message.content.startswith("listen:"):
            return
        services = self.world.services
        model = services.admission.model_for(Modality.TEXT, message.guild.id, message.channel.id)

        async def build() -> Request:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            content = message.content.removeprefix("listen:")
            return TextRequest(messages=(ChatMessage("user", content),))

        self.jobs.append(
            await services.intake.from_message(
                message, build, model=model, purpose="chat", presentation={}
            )
        )


@pytest.fixture
def listener(world: World) -> Listener:
    return Listener(world)


async def test_a_message_is_answered_by_a_reply(world: World, listener: Listener) -> None:
    asked = await world.member.send(world.channel, "listen:blue")
    _, answer = world.messages()
    assert "blue" in answer.content
    assert answer.reference.message_id == asked.id
    assert answer.mentions == []
    [job] = listener.jobs
    assert job.submission.anchor.message_id == answer.id


async def test_a_message_that_arrives_twice_is_answered_once(
    world: World, listener: Listener
) -> None:
    payloads: list[Any] = []
    world.env.backend.subscribers.append(
        lambda event, payload: payloads.append(payload) if event == "MESSAGE_CREATE" else None
    )
    await world.member.send(world.channel, "listen:blue")
    world.env._gateway_feed("MESSAGE_CREATE", payloads[0])
    await world.env.settle()
    assert len(world.messages()) == 2
    await world.restart()
    again = Listener(world)
    world.env._gateway_feed("MESSAGE_CREATE", payloads[0])
    await world.env.settle()
    assert again.jobs == [None]
    assert len(world.messages()) == 2


async def test_a_refusal_is_told_below_the_message(world: World, listener: Listener) -> None:
    await configure(world, "limits.jobs_at_once", "1")
    await world.member.send(world.channel, f"listen:{SLOW}")
    await world.member.send(world.channel, "listen:blue")
    assert "a job under way" in world.messages()[-1].content
    assert len(await job_states(world)) == 1


async def test_a_failure_while_building_becomes_the_answer(
    world: World, listener: Listener
) -> None:
    listener.error = InvalidMedia("That is a picture.")
    await world.member.send(world.channel, "listen:blue")
    _, answer = world.messages()
    assert answer.content == "That is a picture."
    assert await job_states(world) == ["failed"]


async def test_a_refused_message_that_arrives_twice_is_told_once(
    world: World, listener: Listener
) -> None:
    payloads: list[Any] = []
    world.env.backend.subscribers.append(
        lambda event, payload: payloads.append(payload) if event == "MESSAGE_CREATE" else None
    )
    listener.error = InvalidMedia("That is a picture.")
    await world.member.send(world.channel, "listen:blue")
    world.env._gateway_feed("MESSAGE_CREATE", payloads[0])
    await world.env.settle()
    assert len(world.messages()) == 2
    assert await job_states(world) == ["failed"]


async def test_a_refusal_that_cannot_be_written_down_is_told_all_the_same(
    world: World, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object) -> None:
        raise JournalUnavailable("database is locked")

    monkeypatch.setattr(JobRepository, "refused", busy)
    listener.error = InvalidMedia("That is a picture.")
    await world.member.send(world.channel, "listen:blue")
    assert world.messages()[-1].content == "That is a picture."


async def test_a_bug_while_building_is_told_with_its_number(
    world: World, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    listener.error = KeyError("secret detail")
    await world.member.send(world.channel, "listen:blue")
    _, answer = world.messages()
    [record] = [r for r in caplog.records if r.levelname == "ERROR"]
    assert record.exc_info
    assert record.getMessage().split("error ")[1].rstrip(")") in answer.content
    assert "secret" not in answer.content
    assert await job_states(world) == ["failed"]


async def test_where_the_bot_may_not_write_the_author_is_told_directly(
    world: World, listener: Listener
) -> None:
    world.env.inject_error(
        "POST",
        "/channels/*/messages",
        status=403,
        code=50013,
        message="Missing Permissions",
        times=2,
    )
    await world.member.send(world.channel, "listen:blue")
    assert len(world.messages()) == 1
    [told] = world.direct()
    assert "I lack a permission" in told.content
    assert await job_states(world) == ["failed"]


async def test_a_journal_out_of_reach_is_told_below_the_message(
    world: World, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(self: JobRepository, key: str) -> bool:
        raise JournalUnavailable("database is locked")

    monkeypatch.setattr(JobRepository, "knows", busy)
    await world.member.send(world.channel, "listen:blue")
    assert "My database is busy" in world.messages()[-1].content


async def test_a_deleted_message_stops_its_job(world: World, listener: Listener) -> None:
    asked = await world.member.send(world.channel, f"listen:{SLOW}")
    await world.env.advance_time(3)
    await world.member.delete(asked)
    await world.env.advance_time(3)
    assert await job_states(world) == ["cancelled"]


async def test_a_message_deleted_on_its_way_in_becomes_no_job(
    world: World, listener: Listener
) -> None:
    listener.gate.clear()
    asked = await world.member.send(world.channel, "listen:blue")
    await world.member.delete(asked)
    listener.gate.set()
    await world.env.settle()
    assert world.messages() == []
    assert await job_states(world) == []
