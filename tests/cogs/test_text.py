from typing import Any

import pytest

from models.catalog import Catalog
from tests.conftest import World
from tests.fakes import fake_catalog, fake_model


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("writer", capabilities=["seed"], context_tokens=4096),
        fake_model("plain", context_tokens=256),
    )


async def _requests(world: World) -> list[Any]:
    """Return the requests that buttons carry, oldest first."""
    rows = await world.services.recipes.of_member(world.member.id)
    return [(await world.services.recipes.load(row.id)).request for row in rows]


async def test_a_question_is_answered_where_it_was_asked(world: World) -> None:
    response = await world.member.slash(world.channel, "ask", prompt="The answer is 42.")
    assert "The answer is 42." in world.messages()[-1].content
    assert not response.response.ephemeral
    assert "Check facts" in world.messages()[-1].content


async def test_options_reach_the_model(world: World) -> None:
    await world.member.slash(
        world.channel,
        "ask",
        prompt="hello",
        system_prompt="Be a pirate.",
        temperature=1.5,
        max_tokens=77,
        seed=2**32 - 1,
        model="writer",
    )
    [request] = await _requests(world)
    assert [(m.role, m.content) for m in request.messages] == [
        ("system", "Be a pirate."),
        ("user", "hello"),
    ]
    assert (request.temperature, request.max_new_tokens) == (1.5, 77)
    assert request.seed == 2**32 - 1


async def test_what_is_set_here_counts_where_nothing_is_chosen(world: World) -> None:
    settings = world.services.server_settings
    place = {"guild_id": world.guild.id, "user_id": 1}
    await settings.set("text.temperature", "0.1", **place)
    await settings.set("text.system_prompt", "Be brief.", channel_id=world.channel.id, **place)
    await settings.set("text.fact_notice", "off", **place)
    await world.member.slash(world.channel, "ask", prompt="hello")
    [request] = await _requests(world)
    assert request.temperature == 0.1
    assert request.messages[0].content == "Be brief."
    assert "Check facts" not in world.messages()[-1].content


async def test_the_model_that_is_set_here_answers_unless_another_is_chosen(world: World) -> None:
    for channel_id, model in ((0, "writer"), (world.channel.id, "plain")):
        await world.services.server_settings.set(
            "text.model", model, guild_id=world.guild.id, channel_id=channel_id, user_id=1
        )
    await world.member.slash(world.channel, "ask", prompt="one")
    await world.member.slash(world.channel, "ask", prompt="two", model="writer")
    elsewhere = world.guild.create_text_channel("elsewhere")
    await world.member.slash(elsewhere, "ask", prompt="three")
    log = await world.services.jobs.of_member(world.member.id)
    assert [row.model_id for row in log] == ["plain", "writer", "writer"]


async def test_a_private_answer_is_seen_by_nobody_else(world: World) -> None:
    response = await world.member.slash(world.channel, "ask", prompt="secret", private=True)
    assert response.response.ephemeral
    assert "secret" in response.response.content
    assert all("secret" not in message.content for message in world.messages(world.stranger))


async def test_ten_thousand_characters_come_as_a_text_file(world: World) -> None:
    text = ("word " * 2000)[:10_000]
    await world.member.slash(
        world.channel, "ask", prompt="Count these:", file=("long.txt", text.encode())
    )
    [request] = await _requests(world)
    assert request.messages[-1].content == f"Count these:\n\n{text.strip()}"


async def test_what_cannot_fit_is_refused_with_a_sentence_and_nothing_is_lost(
    world: World,
) -> None:
    await world.member.slash(world.channel, "ask", prompt="x" * 6000, model="plain")
    refusal = world.messages()[-1].content
    assert "6,000 characters" in refusal
    assert "Plain reads about 1,024" in refusal
    assert world.services.engine.jobs() == []
    await world.member.slash(world.channel, "ask", prompt="still here")
    assert "still here" in world.messages()[-1].content


@pytest.mark.parametrize(
    "text",
    [
        "👩‍🚀 🏳️‍🌈 family: 👨‍👩‍👧‍👦",
        "שלום עולם \u202eabc\u202c العربية",
        "zero\u200bwidth\u200djoined\ufeff",
    ],
    ids=["emoji", "right-to-left", "zero-width"],
)
async def test_any_script_goes_through_unchanged(world: World, text: str) -> None:
    await world.member.slash(world.channel, "ask", prompt=text)
    [request] = await _requests(world)
    assert request.messages[-1].content == text.strip()
    assert text.split()[0] in world.messages()[-1].content


async def test_an_invisible_prompt_is_refused(world: World) -> None:
    response = await world.member.slash(world.channel, "ask", prompt="\u200b \u2060")
    assert response.response.ephemeral
    assert "empty" in response.response.content


async def test_generated_mentions_ping_nobody(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt=f"@everyone <@{world.stranger.id}> hi")
    message = world.messages()[-1]
    assert "@everyone" in message.content
    assert not message.mention_everyone
    assert not world.env.backend.get_message(message.channel.id, message.id).ping_user_ids


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"model": "nobody"}, "no model called `nobody`"),
        ({"model": "plain", "seed": 1}, "leave the seed out"),
    ],
)
async def test_a_wrong_choice_is_refused_privately(
    world: World, options: dict[str, Any], part: str
) -> None:
    response = await world.member.slash(world.channel, "ask", prompt="hello", **options)
    assert response.response.ephemeral
    assert part in response.response.content


async def test_a_picture_instead_of_a_text_is_refused(world: World) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(64)
    await world.member.slash(world.channel, "ask", prompt="read", file=("notes.txt", picture))
    assert "a picture (PNG), not text" in world.messages()[-1].content


async def test_models_complete_while_typing(world: World) -> None:
    found = await world.member.autocomplete(world.channel, "ask", "model", "wri", prompt="x")
    assert found == [{"name": "Writer", "value": "writer"}]


async def test_a_switched_off_modality_is_refused(world: World) -> None:
    await world.services.server_settings.set(
        "text.enabled", "off", guild_id=world.guild.id, channel_id=world.channel.id, user_id=1
    )
    response = await world.member.slash(world.channel, "ask", prompt="hello")
    assert response.response.ephemeral
    assert "switched off" in response.response.content
