"""Commands that take a link instead of a file, with a real server at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.settings import LinkSettings, Settings
from models.catalog import Catalog
from models.contracts import ImageRequest, Modality, VideoRequest
from tests.cogs.people import OGG
from tests.conftest import Run, World
from tests.fake_pictures import picture
from tests.fakes import fake_catalog, fake_model
from tests.small_internet import SmallInternet, raw, redirect, reply, small_internet

WORDS = "one two three"
FILE = "https://files.example/a/talk.ogg"
IN_DISCORD = "https://cdn.discordapp.com/attachments/1/2/talk.ogg?ex=1&is=2&hm=3"
WITH_LINKS = ("transcribe", "describe", "imagine", "video")


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("fake-text"),
        fake_model("ears", Modality.TRANSCRIPTION, options={"script": WORDS}),
        fake_model("eyes", Modality.VISION, capabilities={"caption"}),
        fake_model("painter", Modality.IMAGE, capabilities={"reference"}),
        fake_model("plain-painter", Modality.IMAGE),
        fake_model("camera", Modality.VIDEO, capabilities={"first_frame"}),
    )


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"links": LinkSettings(sites="any")})


@pytest.fixture
async def small() -> AsyncIterator[SmallInternet]:
    async with small_internet() as made:
        made.names.addresses["cdn.discordapp.com"] = [["127.0.0.1"]]
        made.server.answers = {
            "/a/talk.ogg": reply("200 OK", OGG),
            "/attachments/1/2/talk.ogg?ex=1&is=2&hm=3": reply("200 OK", OGG),
            "/blue.png": reply("200 OK", picture("blue")),
        }
        yield made


@pytest.fixture
async def run(settings: Settings, catalog: Catalog, small: SmallInternet) -> AsyncIterator[Run]:
    run = Run(settings, catalog, lambda: small.internet)
    await run.open()
    yield run
    await run.close()


async def run_with(world: World, command: str, url: str | None, **options: Any) -> Any:
    if command in ("imagine", "video"):
        options["prompt"] = "a blue door"
    if url is not None:
        options["url"] = url
    return await world.member.slash(world.channel, command, **options)


@pytest.mark.parametrize("url", [FILE, IN_DISCORD])
async def test_a_linked_recording_is_written_down(world: World, url: str) -> None:
    await run_with(world, "transcribe", url)
    [answer] = world.messages()
    assert WORDS in answer.content
    assert "talk.ogg" in answer.content


async def test_a_linked_picture_is_described_and_shown(world: World) -> None:
    await run_with(world, "describe", "https://files.example/blue.png")
    [answer] = world.messages()
    assert "blue" in answer.content
    [shown] = answer.attachments
    assert shown.content_type == "image/png"


async def test_a_linked_picture_is_where_another_one_starts(world: World) -> None:
    await run_with(world, "imagine", "https://files.example/blue.png", strength=0.5)
    [answer] = world.messages()
    assert answer.attachments
    assert "If the reference shows a person" in answer.content
    [row] = await world.services.recipes.of_member(world.member.id)
    recipe = await world.services.recipes.load(row.id)
    assert recipe is not None
    assert isinstance(recipe.request, ImageRequest)
    assert recipe.request.reference is not None
    assert recipe.request.reference.filename == "blue.png"
    assert recipe.request.strength == 0.5


async def test_a_clip_begins_with_a_linked_picture(world: World) -> None:
    await run_with(world, "video", "https://files.example/blue.png")
    [answer] = world.messages()
    assert answer.attachments
    [row] = await world.services.recipes.of_member(world.member.id)
    recipe = await world.services.recipes.load(row.id)
    assert recipe is not None
    assert isinstance(recipe.request, VideoRequest)
    assert recipe.request.first_frame is not None


@pytest.mark.parametrize("command", WITH_LINKS)
@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://files.example/a/talk.ogg", "That is no link to a file"),
        ("https://169.254.169.254/latest/meta-data/", "That is no link to a file"),
        ("https://ada:secret@files.example/a/talk.ogg", "That is no link to a file"),
    ],
)
async def test_what_is_no_link_is_refused_at_once_and_privately(
    world: World, small: SmallInternet, command: str, url: str, part: str
) -> None:
    result = await run_with(world, command, url)
    assert result.response.ephemeral
    assert part in result.response.content
    assert small.names.asked == []


@pytest.mark.parametrize(
    ("command", "option"),
    [("transcribe", "file"), ("describe", "picture_3"), ("imagine", "reference"),
     ("video", "first_frame")],
)  # fmt: skip
async def test_it_is_a_file_or_a_link(
    world: World, small: SmallInternet, command: str, option: str
) -> None:
    result = await run_with(world, command, FILE, **{option: ("a.png", picture("red"))})
    assert result.response.ephemeral
    assert "a file or a link, not both" in result.response.content
    assert small.names.asked == []


@pytest.mark.parametrize(
    ("command", "part"),
    [("transcribe", "sound or video file, or a link"), ("describe", "a picture, or a link")],
)
async def test_one_of_them_it_must_be(world: World, command: str, part: str) -> None:
    result = await run_with(world, command, None)
    assert result.response.ephemeral
    assert part in result.response.content


async def test_a_model_that_cannot_use_a_linked_picture_is_named_before_it_is_fetched(
    world: World, small: SmallInternet
) -> None:
    url = "https://files.example/blue.png"
    result = await run_with(world, "imagine", url, model="plain-painter")
    assert "can't start from a picture" in result.response.content
    assert small.names.asked == []


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("gone.ogg", "There is no file at that link"),
        ("page", "is a web page, not sound or video. The file itself is needed"),
        ("inside", "There is no such server on the public internet"),
        ("endless", "`endless` is larger than the 200 MiB allowed here"),
    ],
)
async def test_a_link_that_fails_is_one_sentence_and_the_next_one_works(
    world: World, small: SmallInternet, path: str, part: str
) -> None:
    small.names.addresses["inside.example"] = [["10.0.0.1"]]
    small.server.answers |= {
        "/page": reply("200 OK", b"<html>" + bytes(100)),
        "/inside": redirect("https://inside.example/admin"),
        "/endless": raw("HTTP/1.1 200 OK\nContent-Length: 999999999999", OGG),
    }
    await run_with(world, "transcribe", f"https://files.example/{path}")
    assert part in world.messages()[-1].content
    assert "10.0.0.1" not in world.messages()[-1].content
    assert world.services.engine.jobs() == []
    await run_with(world, "transcribe", FILE)
    assert WORDS in world.messages()[-1].content


async def test_moderators_close_links_and_open_them_again(
    world: World, small: SmallInternet
) -> None:
    setting = {"key": "links.enabled"}
    await world.moderator.slash(world.channel, "config set", value="off", **setting)
    for command in WITH_LINKS:
        result = await run_with(world, command, IN_DISCORD)
        assert result.response.ephemeral
        assert "Links are switched off here" in result.response.content
    assert small.names.asked == []
    await world.moderator.slash(world.channel, "config set", value="on", **setting)
    await run_with(world, "transcribe", IN_DISCORD)
    assert WORDS in world.messages()[-1].content


class TestFromTheStart:
    """What the owner's default lets through."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"links": LinkSettings()})

    async def test_links_to_files_in_discord_alone_are_open(
        self, world: World, small: SmallInternet
    ) -> None:
        result = await run_with(world, "transcribe", FILE)
        assert result.response.ephemeral
        assert "Only links to files in Discord are opened here" in result.response.content
        assert small.names.asked == []
        await run_with(world, "transcribe", IN_DISCORD)
        assert WORDS in world.messages()[-1].content
