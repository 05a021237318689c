"""What hosted models cost a server, and what happens when it may not spend more."""

from __future__ import annotations

from typing import Any

import pytest

from bot.settings import HostedSettings, Settings
from models.catalog import Catalog, EndpointSource
from models.contracts import Modality
from tests.cogs.people import OGG
from tests.conftest import World
from tests.fakes import fake_catalog, fake_model

SERVER = EndpointSource(url="https://example.org/v1", model="m")


@pytest.fixture
def catalog() -> Catalog:
    """A model that charges a thousandth of a dollar for a token, and others."""
    return fake_catalog(
        fake_model("paid", source=SERVER, prices={"output": 1000}),
        fake_model("local"),
        fake_model("unpriced", source=SERVER),
        fake_model("voice", Modality.SPEECH),
        fake_model("ears", Modality.TRANSCRIPTION, source=SERVER, prices={"minute": 6}),
    )


@pytest.fixture
def settings(settings: Settings) -> Settings:
    hosted = HostedSettings(usd_per_server_month=1, usd_per_month=5)
    return settings.model_copy(update={"hosted": hosted})


async def ask(world: World, prompt: str, person: Any = None, **options: Any) -> Any:
    result = await (person or world.member).slash(world.channel, "ask", prompt=prompt, **options)
    return result.response


async def usage(world: World, person: Any) -> dict[str, str]:
    result = await person.slash(world.channel, "usage")
    [embed] = result.response.embeds
    return {
        field.name.rpartition(", ")[2]: field.value
        for field in embed.fields
        if field.name.startswith("Hosted models in ")
    }


async def test_a_server_that_spent_its_money_reads_what_to_do(world: World) -> None:
    assert "\nhello" in (await ask(world, "!charge 800000\nhello")).content
    refused = await ask(world, "again", world.stranger)
    assert refused.ephemeral
    assert refused.content.startswith(
        "This server has used $0.80 of the $1.00 that hosted models may cost here in a month, "
        "and this could cost $0.51: there is room again on 1 "
    )
    assert refused.content.endswith("Models of this machine cost nothing: pick `local`.")
    assert "\nagain" in (await ask(world, "again", model="local")).content


async def test_moderators_see_the_servers_money_and_members_their_own(world: World) -> None:
    await ask(world, "!charge 300000\nhello")
    await ask(world, "!charge 100000\nhello", world.stranger)
    await ask(world, "!charge ?\nhello", model="unpriced")
    assert await usage(world, world.member) == {
        "yours": "**$0.30** · and 1 job whose price is unknown"
    }
    assert await usage(world, world.stranger) == {"yours": "**$0.10**"}
    shown = await usage(world, world.moderator)
    assert list(shown) == ["this server"]
    first, last = shown["this server"].splitlines()
    assert first == "**$0.40** of $1.00 · and 1 job whose price is unknown"
    assert last.startswith("It begins at nought again on 1 ")


async def test_without_a_cent_spent_members_read_nothing_of_money(world: World) -> None:
    await ask(world, "hello", model="local")
    assert await usage(world, world.member) == {}


async def test_what_runs_is_held_back_and_given_back(world: World) -> None:
    await ask(world, "!charge 10000\n!sleep 5\nhello")
    refused = await ask(world, "me too", world.stranger)
    assert "$0.51 is held back for jobs under way" in refused.content
    assert "there is room again when those have ended" in refused.content
    assert "$0.51 is held back" in (await usage(world, world.moderator))["this server"]
    await world.env.advance_time(6)
    assert (await usage(world, world.moderator))["this server"].startswith("**$0.01** of $1.00\n")
    assert "\nme too" in (await ask(world, "me too", world.stranger)).content


async def test_a_job_that_is_stopped_half_way_costs_what_it_did(world: World) -> None:
    await ask(world, "!charge 70000\none\n!charge 90000\n!delay 1\n!words 50")
    await world.env.advance_time(3)
    [message] = [message for message in world.messages() if message.components]
    await world.member.click(message, label="Stop")
    await world.env.advance_time(3)
    assert await usage(world, world.member) == {"yours": "**$0.09**"}


async def test_a_job_that_crashes_and_runs_again_costs_both(world: World) -> None:
    await ask(world, "!charge 70000\none\n!crash")
    assert await usage(world, world.member) == {"yours": "**$0.14**"}


async def test_a_restart_keeps_what_was_spent(world: World) -> None:
    await ask(world, "!charge 800000\nhello")
    await world.restart()
    assert (await ask(world, "again")).content.startswith("This server has used $0.80")


async def test_a_member_who_deletes_everything_frees_no_budget(world: World) -> None:
    await ask(world, "!charge 800000\nhello")
    assert await world.services.jobs.delete_member(world.member.id) == 1
    await world.restart()
    assert (await ask(world, "again")).content.startswith("This server has used $0.80")


async def test_a_file_that_costs_too_much_is_refused_once_it_is_here_and_not_kept(
    world: World,
) -> None:
    """How long it is, is not known before it is fetched."""
    size = {"small": 1000, "large": 9000}
    for name, size_bytes in size.items():
        file = (f"{name}.ogg", OGG[:500].ljust(size_bytes, b"\0"))
        result = await world.member.slash(world.channel, "transcribe", file=file)
        refused = "could cost more than the $1.00 that hosted" in result.response.content
        assert refused == (name == "large")
    assert list(world.services.spool.folder.iterdir()) == []
    assert world.services.budget.standing(world.guild.id).held == 0


async def test_where_nothing_is_left_no_file_is_fetched(world: World) -> None:
    await ask(world, "!charge 1000000\nhello")
    result = await world.member.slash(world.channel, "transcribe", file=("talk.ogg", OGG))
    assert result.response.ephemeral
    assert "No model of this machine does the same." in result.response.content


async def test_a_message_is_answered_with_the_reason(world: World) -> None:
    await ask(world, "!charge 800000\nhello")
    await world.member.send(world.channel, f"<@{world.bot.user.id}> and now?")
    assert "This server has used $0.80 of the $1.00" in world.messages()[-1].content


async def test_moderators_lower_the_cap(world: World) -> None:
    async def config(value: str) -> str:
        result = await world.moderator.slash(
            world.channel, "config set", key="limits.usd_month", value=value
        )
        return str(result.response.content)

    assert "**0.5** (server)" in await config("0.5")
    assert "could cost more than the $0.50" in (await ask(world, "hello")).content
    assert "is a number from 0 to 1" in await config("2")
    [offered] = await world.moderator.autocomplete(
        world.channel, "config set", "value", "", key="limits.usd_month"
    )
    assert offered["value"] == "1.0"


async def test_models_say_whether_they_cost_money(world: World) -> None:
    result = await world.member.slash(world.channel, "models", kind="text")
    [embed] = result.response.embeds
    shown = "\n".join(field.value for field in embed.fields)
    assert "computed on another server, for money" in shown
    assert "computed on another server, at an unknown price" in shown
