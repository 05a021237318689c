"""One member's fifty jobs, and another's first: through the whole bot."""

from typing import Any

import pytest

from bot.engine.job import JobState
from models.catalog import Catalog
from tests.conftest import World
from tests.fakes import fake_catalog, fake_model


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(fake_model("writer"))


async def let_ask_fifty(world: World) -> None:
    await world.services.server_settings.set(
        "limits.jobs_at_once", "50", guild_id=world.guild.id, user_id=1
    )


async def ask(world: World, person: Any, prompt: str) -> None:
    await person.slash(world.channel, "ask", prompt=prompt)


def of(world: World, person: Any) -> list[JobState]:
    return [job.state for job in world.services.engine.jobs(user_id=person.id)]


async def test_fifty_jobs_of_adas_delay_graces_first_by_the_one_that_runs(world: World) -> None:
    ada, grace = world.member, world.stranger
    await let_ask_fifty(world)
    for number in range(50):
        await ask(world, ada, f"!sleep 10\nada's {number}")
    await ask(world, grace, "!sleep 10\ngrace's first")
    await ask(world, grace, "!sleep 10\ngrace's second")
    said = (await grace.slash(world.channel, "queue")).response.content
    assert "place 1 in line" in said
    assert "place 3 in line" in said, "ada's second lies between"
    await world.env.advance_time(10)
    assert of(world, grace) == [JobState.RUNNING, JobState.QUEUED]
    assert of(world, ada) == [JobState.QUEUED] * 49
    await world.env.advance_time(10)
    assert any("grace's first" in message.content for message in world.messages())
    assert of(world, ada).count(JobState.RUNNING) == 1


async def test_the_wait_is_shown_where_the_answer_will_be(world: World) -> None:
    ada, grace = world.member, world.stranger
    await ask(world, ada, "!sleep 4\nmeasured")
    await world.env.advance_time(5)
    await ask(world, ada, "!sleep 60\nlong")
    await ask(world, ada, "!sleep 60\nlonger")
    await ask(world, grace, "short")
    await world.env.advance_time(3)
    contents = [message.content for message in world.messages()]
    assert any(content.startswith("⏳ Place 1 in line · about") for content in contents[2:])
    assert any(
        content.startswith("⏳ Place 2 in line · about") for content in contents[1:2] + contents
    )


async def test_who_pauses_a_server_stops_nothing_that_runs(world: World) -> None:
    engine = world.services.engine
    await ask(world, world.member, "!sleep 5\nruns")
    await ask(world, world.member, "waits")
    engine.pause(world.guild.id, paused=True)
    await world.env.advance_time(10)
    contents = [message.content for message in world.messages()]
    assert "runs" in contents[0]
    assert contents[1] == "⏸️ Place 1 in line · paused by the moderators"
    said = (await world.member.slash(world.channel, "queue")).response.content
    assert "place 1 in line, paused by the moderators" in said
    engine.pause(world.guild.id, paused=False)
    await world.env.advance_time(2)
    assert "waits" in world.messages()[1].content
