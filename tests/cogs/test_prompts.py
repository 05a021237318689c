from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.services.prompts import MOST_CHARS, words_of
from models.catalog import Catalog
from models.contracts import ImageRequest, Modality, VideoRequest, VisionRequest, make_request
from models.contracts.base import MediaInput
from tests.cogs.people import OGG
from tests.conftest import World
from tests.fakes import fake_catalog, fake_model

TOLD = "moderators of this server can read what was asked"


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("writer"),
        fake_model("voice", Modality.SPEECH),
        fake_model("ears", Modality.TRANSCRIPTION),
    )


async def keep(world: World, value: str = "on") -> None:
    await world.moderator.slash(
        world.channel, "config set", key="privacy.keep_prompts", value=value
    )


async def read(world: World, person: Any = None, **options: Any) -> Any:
    result = await (person or world.moderator).slash(world.channel, "prompts", **options)
    assert result.response.ephemeral
    return result.response


async def kept(world: World) -> list[str]:
    found = await world.services.prompts.of_guild(world.guild.id, limit=100)
    return [prompt.text for prompt in found]


async def test_nothing_is_kept_unless_the_server_wants_it(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt="my secret")
    assert await kept(world) == []
    assert TOLD not in world.messages()[-1].content
    assert "Prompts are not kept here" in (await read(world)).content


async def test_moderators_read_what_was_asked_and_members_are_told(world: World) -> None:
    await keep(world)
    await world.member.slash(world.channel, "ask", prompt="who was *Ada*?")
    await world.stranger.slash(world.channel, "speak", text="good morning")
    assert all(TOLD in message.content for message in world.messages() if message.content)
    answer = await read(world)
    [embed] = answer.embeds
    newest, oldest = embed.description.splitlines()
    assert "good morning" in newest
    assert f"<@{world.member.id}> in <#{world.channel.id}> (text): who was \\*Ada\\*?" in oldest
    [file] = answer.attachments
    assert b"who was *Ada*?" in await file.read()
    [embed] = (await read(world, member=world.stranger)).embeds
    assert "good morning" in embed.description
    assert "Ada" not in embed.description


async def test_a_private_answer_says_so_too(world: World) -> None:
    await keep(world)
    result = await world.member.slash(world.channel, "ask", prompt="hush", private=True)
    assert TOLD in result.response.content
    assert await kept(world) == ["hush"]


async def test_what_failed_was_asked_as_well(world: World) -> None:
    await keep(world)
    await world.member.slash(world.channel, "ask", prompt="!refuse not today")
    assert await kept(world) == ["!refuse not today"]


async def test_files_have_no_words(world: World) -> None:
    await keep(world)
    await world.member.slash(world.channel, "transcribe", file=("talk.ogg", OGG))
    assert await kept(world) == []
    assert "Nothing was asked" in (await read(world)).content


async def test_what_is_asked_after_it_was_switched_off_is_not_kept(world: World) -> None:
    await keep(world)
    await world.member.slash(world.channel, "ask", prompt="before")
    await keep(world, "off")
    await world.member.slash(world.channel, "ask", prompt="after")
    assert await kept(world) == ["before"]


async def test_members_may_not_read_them(world: World) -> None:
    """Not even where a server lets everybody see the command."""
    await keep(world)
    await world.member.slash(world.channel, "ask", prompt="mine")
    [command] = [c for c in await world.bot.tree.fetch_commands() if c.name == "prompts"]
    world.guild.set_command_permissions(command, {world.stranger: True})
    result = await world.stranger.slash(world.channel, "prompts")
    assert "mine" not in result.response.content
    assert not result.response.embeds
    assert not result.response.attachments
    assert [type(error).__name__ for error in world.env.errors] == ["MissingPermissions"]


async def test_other_servers_and_direct_messages_stay_apart(world: World) -> None:
    await keep(world)
    await world.user.slash("ask", prompt="in private")
    other = world.env.create_guild("Elsewhere")
    assert await kept(world) == []
    assert await world.services.prompts.of_guild(other.id, limit=5) == []
    assert await world.services.prompts.of_guild(0, limit=5) == []


async def test_a_member_sees_exports_and_deletes_them(world: World) -> None:
    await keep(world)
    await world.member.slash(world.channel, "ask", prompt="mine")
    await world.stranger.slash(world.channel, "ask", prompt="theirs")
    shown = (await world.member.slash(world.channel, "privacy show")).response.content
    assert "1 prompts that moderators can read, for 30 days. In this server they can" in shown
    exported = json.loads(await world.services.privacy.export(world.member.id))
    assert [prompt["text"] for prompt in exported["prompts"]] == ["mine"]
    deleted = await world.services.privacy.delete(world.member.id)
    assert deleted.prompts == 1
    assert await kept(world) == ["theirs"]


async def test_they_go_with_the_server(world: World) -> None:
    await keep(world)
    await world.member.slash(world.channel, "ask", prompt="mine")
    await world.services.prompts.delete_guild(world.guild.id)
    assert await kept(world) == []


async def test_a_long_text_is_clipped(world: World) -> None:
    await keep(world)
    await world.member.slash(world.channel, "speak", text="a b " * 1400)
    [text] = await kept(world)
    assert len(text) == MOST_CHARS
    assert text.endswith("…")


def test_the_words_of_each_kind(tmp_path: Path) -> None:
    picture = MediaInput(
        path="x", content_type="image/png", size_bytes=1, sha256="0" * 64, filename="x.png"
    )
    drawn = make_request(ImageRequest, prompt="a fox", negative_prompt="text")
    assert words_of(drawn) == "a fox\nNot: text"
    assert words_of(make_request(VideoRequest, prompt="a fox runs")) == "a fox runs"
    asked = make_request(VisionRequest, images=(picture,), task="question", question="Which?")
    assert words_of(asked) == "Which?"
