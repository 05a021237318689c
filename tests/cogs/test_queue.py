from typing import Any

import pytest

from models.catalog import Catalog
from tests.conftest import World
from tests.fakes import fake_catalog, fake_model


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(fake_model("writer"))


async def ask(world: World, person: Any, prompt: str = "!sleep 60") -> None:
    await person.slash(world.channel, "ask", prompt=prompt)


async def say(world: World, person: Any, command: str, **options: Any) -> str:
    result = await person.slash(world.channel, command, **options)
    assert result.response.ephemeral
    return str(result.response.content)


async def offered(world: World, person: Any, typed: str = "") -> list[dict[str, Any]]:
    return list(await person.autocomplete(world.channel, "cancel", "job", typed))


async def test_an_empty_queue_is_said(world: World) -> None:
    said = await say(world, world.member, "queue")
    assert "Nothing of yours is under way." in said
    assert "0 running and 0 waiting" in said


async def test_the_queue_shows_own_jobs_and_everybodys_number(world: World) -> None:
    await ask(world, world.stranger)
    await ask(world, world.member)
    await world.env.advance_time(3)
    said = await say(world, world.member, "queue")
    assert "**text with Writer** · place 1 in line" in said
    assert said.count("\n- ") + said.startswith("- ") == 1
    assert "1 running and 1 waiting" in said
    running = await say(world, world.stranger, "queue")
    assert "running for" in running


async def test_the_queue_keeps_within_one_message(world: World) -> None:
    await world.services.server_settings.set(
        "limits.jobs_at_once", "50", guild_id=world.guild.id, user_id=1
    )
    for _ in range(25):
        await ask(world, world.member)
    said = await say(world, world.member, "queue")
    assert len(said) <= 2000
    assert "and 5 more" in said


async def test_the_only_job_is_cancelled_without_naming_it(world: World) -> None:
    await ask(world, world.member, "!delay 1\na b c d e f g h")
    await world.env.advance_time(2)
    assert "Stopped: text with Writer" in await say(world, world.member, "cancel")
    await world.env.advance_time(2)
    assert world.services.engine.jobs() == []
    [row] = await world.services.jobs.of_member(world.member.id)
    assert row.state == "cancelled"


async def test_of_several_jobs_one_must_be_picked(world: World) -> None:
    await ask(world, world.member)
    await ask(world, world.member)
    assert "You have 2 jobs" in await say(world, world.member, "cancel")
    waiting = (await offered(world, world.member, "place"))[0]
    assert "Stopped" in await say(world, world.member, "cancel", job=waiting["value"])
    assert len(world.services.engine.jobs()) == 1


async def test_members_are_offered_their_own_jobs_and_moderators_all(world: World) -> None:
    await ask(world, world.member)
    await ask(world, world.stranger)
    own = await offered(world, world.member)
    assert [choice["value"] for choice in own] == [
        job.id for job in world.services.engine.jobs(user_id=world.member.id)
    ]
    every = await offered(world, world.moderator)
    assert len(every) == 2
    assert all(choice["name"].startswith("a member's text with Writer") for choice in every)


async def test_a_moderator_stops_the_job_of_another(world: World) -> None:
    await ask(world, world.stranger)
    await ask(world, world.member)
    [job] = world.services.engine.jobs(user_id=world.member.id)
    assert "Stopped" in await say(world, world.moderator, "cancel", job=job.id)
    assert world.services.engine.jobs(user_id=world.member.id) == []


async def test_a_member_cannot_stop_the_job_of_another(world: World) -> None:
    await ask(world, world.member)
    [job] = world.services.engine.jobs(user_id=world.member.id)
    said = await say(world, world.stranger, "cancel", job=job.id)
    assert "no such job under way that you may stop" in said
    assert world.services.engine.jobs(user_id=world.member.id) == [job]


async def test_a_moderator_does_not_see_the_jobs_of_another_server(world: World) -> None:
    elsewhere = world.env.create_guild("Elsewhere")
    channel = elsewhere.create_text_channel("general")
    visitor = elsewhere.add_member(world.env.create_user("vera"))
    await visitor.slash(channel, "ask", prompt="!sleep 60")
    assert await offered(world, world.moderator) == []


async def test_nothing_to_cancel_is_said(world: World) -> None:
    assert "Nothing of yours is under way." in await say(world, world.member, "cancel")
    assert "no such job" in await say(world, world.member, "cancel", job="0" * 16)


async def test_one_job_too_many_is_refused_and_the_next_one_runs(world: World) -> None:
    await world.services.server_settings.set(
        "limits.jobs_at_once", "1", guild_id=world.guild.id, user_id=1
    )
    await ask(world, world.member, "!sleep 5")
    result = await world.member.slash(world.channel, "ask", prompt="second")
    assert result.response.ephemeral
    assert "already have a job under way" in result.response.content
    await world.env.advance_time(6)
    await ask(world, world.member, "third")
    assert "third" in world.messages()[-1].content
