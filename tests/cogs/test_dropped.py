"""What is dropped while the bot is away: recordings and pictures alike."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import discord
import pytest

from models.catalog import Catalog
from models.contracts import Modality
from tests.cogs.people import OGG
from tests.conftest import World
from tests.fake_pictures import picture
from tests.fakes import fake_catalog, fake_model


@dataclass(frozen=True)
class Kind:
    """A kind of file, and what an answer to each of several files says."""

    modality: Modality
    files: tuple[tuple[str, bytes], ...]
    said: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.modality}.automatic"


RECORDINGS = Kind(
    Modality.TRANSCRIPTION,
    tuple((f"{name}.ogg", OGG) for name in ("one", "two", "three", "four")),
    ("one.ogg", "two.ogg", "three.ogg", "four.ogg"),
)
PICTURES = Kind(
    Modality.VISION,
    tuple((f"{name}.png", picture(name)) for name in ("red", "green", "blue", "grey")),
    ("A red picture", "A green picture", "A blue picture", "A grey picture"),
)


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("fake-text"),
        fake_model("ears", Modality.TRANSCRIPTION, options={"script": "some words"}),
        fake_model("eyes", Modality.VISION, capabilities={"caption", "question"}),
        fake_model("reader", Modality.VISION, capabilities={"ocr"}),
    )


@pytest.fixture(params=[RECORDINGS, PICTURES], ids=["recordings", "pictures"])
def kind(request: pytest.FixtureRequest) -> Kind:
    given: Kind = request.param
    return given


@pytest.fixture
def world(world: World) -> World:
    """Put the simulated Discord into the same year as the database's clock."""
    set_clock(world)
    return world


def set_clock(world: World, *, past_s: float = 0) -> None:
    world.env.backend.clock._epoch = datetime.now(UTC) - timedelta(seconds=past_s)


async def switch(world: World, key: str, value: str = "on", channel: Any = None) -> None:
    place = (channel or world.channel).id
    await world.services.server_settings.set(
        key, value, guild_id=world.guild.id, channel_id=place, user_id=world.moderator.id
    )


async def switched_on(world: World, *kinds: Kind, channel: Any = None) -> None:
    for kind in kinds:
        await switch(world, kind.key, channel=channel)
    await world.env.advance_time(5)


async def drop(world: World, *files: tuple[str, bytes]) -> None:
    for file in files:
        await world.member.send(world.channel, "", attachments=[file])


async def missed(world: World, *files: tuple[str, bytes], passed_s: float = 0) -> None:
    """Drop files while the bot is away, and let it come back."""
    backend, place = world.env.backend, world.channel.id
    await world.run.close()
    await world.env._detach_bot()
    for file in files:
        stored = backend.store_attachments(place, [file])
        backend.create_message(place, world.member.id, attachments=stored)
    if passed_s:
        backend.advance_clock(passed_s)
    await world.env.restart_bot(await world.run.open())


def answers(world: World) -> list[str]:
    return [message.content for message in world.messages() if message.author.bot]


def say(contents: list[str], *parts: str) -> bool:
    """Return whether there is an answer for each part, in order, and no other."""
    return len(contents) == len(parts) and all(
        part in content for part, content in zip(parts, contents, strict=True)
    )


async def test_what_was_dropped_while_the_bot_was_away_is_caught_up(
    world: World, kind: Kind
) -> None:
    await switched_on(world, kind)
    await missed(world, *kind.files[:2])
    assert say(answers(world), *kind.said[:2])


async def test_nothing_is_answered_twice(world: World, kind: Kind) -> None:
    await switched_on(world, kind)
    await drop(world, kind.files[0])
    await missed(world, kind.files[1])
    await missed(world)
    await drop(world, kind.files[2])
    await world.restart()
    assert say(answers(world), *kind.said[:3])


async def test_an_answer_deleted_since_is_not_given_again(world: World, kind: Kind) -> None:
    await switched_on(world, kind)
    await drop(world, kind.files[0])
    await world.moderator.delete(world.messages()[-1])
    await missed(world)
    assert answers(world) == []


async def test_where_it_is_off_nothing_is_caught_up(world: World, kind: Kind) -> None:
    other = world.guild.create_text_channel("other")
    await switched_on(world, kind, channel=other)
    await missed(world, *kind.files)
    assert answers(world) == []


async def test_what_came_before_it_was_switched_on_is_left_alone(world: World, kind: Kind) -> None:
    set_clock(world, past_s=60)
    await drop(world, kind.files[0])
    set_clock(world)
    await switch(world, kind.key)
    await missed(world)
    assert answers(world) == []


async def test_what_is_switched_on_later_leaves_alone_what_came_before(world: World) -> None:
    await switch(world, RECORDINGS.key)
    set_clock(world, past_s=60)
    await drop(world, PICTURES.files[0])
    set_clock(world)
    await switched_on(world, PICTURES)
    await missed(world, PICTURES.files[1], RECORDINGS.files[0])
    assert say(answers(world), PICTURES.said[1], RECORDINGS.said[0])


async def test_a_message_with_both_kinds_gets_both_answers(world: World) -> None:
    await switched_on(world, RECORDINGS, PICTURES)
    both = [RECORDINGS.files[0], PICTURES.files[0]]
    await world.member.send(world.channel, "", attachments=both)
    assert say(sorted(answers(world), reverse=True), RECORDINGS.said[0], PICTURES.said[0])


async def test_more_than_a_day_is_not_caught_up(world: World, kind: Kind) -> None:
    await switched_on(world, kind)
    await missed(world, kind.files[0], passed_s=86_500)
    assert answers(world) == []


async def test_the_newest_fifty_messages_are_caught_up(world: World, kind: Kind) -> None:
    await switched_on(world, kind)
    backend = world.env.backend
    await world.run.close()
    await world.env._detach_bot()
    for file in (kind.files[0], kind.files[1]):
        stored = backend.store_attachments(world.channel.id, [file])
        backend.create_message(world.channel.id, world.member.id, attachments=stored)
    for _ in range(49):
        backend.create_message(world.channel.id, world.member.id, "just talk")
    await world.env.restart_bot(await world.run.open())
    assert say(answers(world), kind.said[1])


async def test_catching_up_waits_for_room_instead_of_refusing(world: World, kind: Kind) -> None:
    await world.services.server_settings.set(
        "limits.jobs_at_once", "1", guild_id=world.guild.id, user_id=1
    )
    await switched_on(world, kind)
    await missed(world, *kind.files)
    await world.env.advance_time(30)
    assert say(answers(world), *kind.said)


async def test_a_channel_that_may_not_be_read_is_left_out(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    closed = world.guild.create_text_channel("closed")
    await switched_on(world, RECORDINGS, channel=closed)
    await switched_on(world, RECORDINGS)
    world.env.inject_error("GET", f"/channels/{closed.id}/messages", status=403, times=1)
    await missed(world, RECORDINGS.files[0])
    assert say(answers(world), RECORDINGS.said[0])
    assert f"channel {closed.id} cannot be caught up" in caplog.text


async def test_what_was_still_on_its_way_in_is_looked_at_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later message that is done with sooner does not take the bot past an older one."""
    await switched_on(world, RECORDINGS)
    attachments = world.services.attachments
    fetch, arrived = attachments.fetch, asyncio.Event()

    async def slow(file: discord.Attachment, **options: Any) -> Any:
        if file.filename == "one.ogg":
            await arrived.wait()
        return await fetch(file, **options)

    monkeypatch.setattr(type(attachments), "fetch", lambda _, file, **kw: slow(file, **kw))
    await drop(world, *RECORDINGS.files[:2])
    assert "two.ogg" in answers(world)[-1]
    await world.restart()  # "one" never arrived
    monkeypatch.undo()
    await world.restart()
    texts = answers(world)
    assert sum("one.ogg" in text for text in texts) == 1
    assert sum("two.ogg" in text for text in texts) == 1
