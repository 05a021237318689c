import json
from typing import Any

import pytest

from models.catalog import Catalog
from models.contracts import Modality
from tests.cogs.people import OGG, speak
from tests.conftest import World
from tests.fakes import fake_catalog, fake_model

WORDS = "one two three"


@pytest.fixture
def catalog() -> Catalog:
    script = {"script": WORDS}
    return fake_catalog(
        fake_model("fake-text"),
        fake_model(
            "ears",
            Modality.TRANSCRIPTION,
            options=script,
            languages=("en", "de"),
            capabilities=["language", "translate", "word_timestamps"],
        ),
        fake_model("plain-ears", Modality.TRANSCRIPTION, options=script, languages=("en",)),
        fake_model("any-ears", Modality.TRANSCRIPTION, options=script, capabilities=["language"]),
    )


async def test_a_file_is_written_down(world: World) -> None:
    await world.member.slash(world.channel, "transcribe", file=("talk.ogg", OGG))
    content = world.messages()[-1].content
    assert WORDS in content
    assert "talk.ogg" in content


@pytest.mark.parametrize(
    ("format_", "beginning"), [("srt", "1\n"), ("vtt", "WEBVTT"), ("json", "{")]
)
async def test_the_chosen_format_comes_as_a_file(
    world: World, format_: str, beginning: str
) -> None:
    await world.member.slash(world.channel, "transcribe", file=("talk.ogg", OGG), format=format_)
    [file] = world.messages()[-1].attachments
    text = (await file.read()).decode()
    assert file.filename == f"talk.{format_}"
    assert text.startswith(beginning)
    assert WORDS in text
    if format_ == "json":
        json.loads(text)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"model": "plain-ears", "translate": True}, "can't translate"),
        ({"model": "plain-ears", "word_timestamps": True}, "can't give words their times"),
        ({"model": "plain-ears", "language": "fr"}, "does not understand “fr”"),
        ({"language": "klingon"}, "does not understand “klingon”"),
        ({"model": "fake-text"}, "is no transcription model"),
    ],
)
async def test_what_the_model_cannot_do_is_refused_privately(
    world: World, options: dict[str, Any], part: str
) -> None:
    result = await world.member.slash(
        world.channel, "transcribe", file=("talk.ogg", OGG), **options
    )
    assert result.response.ephemeral
    assert part in result.response.content


@pytest.mark.parametrize(
    "options",
    [
        {"language": "auto"},
        {"language": "de", "translate": True, "word_timestamps": True},
        {"language": "sw", "model": "any-ears"},
    ],
)
async def test_what_the_model_can_do_is_done(world: World, options: dict[str, Any]) -> None:
    await world.member.slash(world.channel, "transcribe", file=("talk.ogg", OGG), **options)
    assert WORDS in world.messages()[-1].content


async def test_speakers_are_named_when_somebody_asks(world: World) -> None:
    await world.member.slash(world.channel, "transcribe", file=("a.ogg", OGG), speakers=True)
    assert f"Speaker 1: {WORDS}" in world.messages()[-1].content
    await world.member.slash(world.channel, "transcribe", file=("b.ogg", OGG))
    assert "Speaker" not in world.messages()[-1].content


@pytest.mark.parametrize(
    ("filename", "data", "part"),
    [
        ("song.mp3", b"\x89PNG\r\n\x1a\n" + bytes(50), "a picture (PNG)"),
        ("song.ogg", b"", "empty"),
        ("song.mp3", b"not sound at all", "not sound or video"),
    ],
    ids=["picture named .mp3", "empty", "text named .mp3"],
)
async def test_a_file_that_is_no_recording_is_refused_and_the_next_one_works(
    world: World, filename: str, data: bytes, part: str
) -> None:
    await world.member.slash(world.channel, "transcribe", file=(filename, data))
    assert part in world.messages()[-1].content
    assert world.services.engine.jobs() == []
    await world.member.slash(world.channel, "transcribe", file=("talk.ogg", OGG))
    assert WORDS in world.messages()[-1].content


async def test_languages_complete_from_the_model(world: World) -> None:
    async def offered(typed: str = "", **filled: Any) -> list[str]:
        found = await world.member.autocomplete(
            world.channel, "transcribe", "language", typed, **filled
        )
        return [choice["value"] for choice in found]

    assert await offered() == ["auto", "en", "de"]
    assert await offered("ger") == ["de"]
    assert await offered("swah", model="any-ears") == ["sw"]
    assert await offered(model="nobody") == []


# ------------------------------------------------------------------ the right-click menu


async def test_a_message_is_written_down_by_right_click(world: World) -> None:
    message = await speak(world, world.stranger)
    result = await world.member.context_menu(world.channel, "Transcribe", message)
    assert WORDS in result.response.content
    [row] = await world.services.jobs.of_member(world.member.id)
    assert row.modality == "transcription"


async def test_of_several_recordings_the_first_is_written_down_and_that_is_said(
    world: World,
) -> None:
    message = await world.stranger.send(
        world.channel, "", attachments=[("a.ogg", OGG), ("b.ogg", OGG), ("c.txt", b"text")]
    )
    result = await world.member.context_menu(world.channel, "Transcribe", message)
    assert "a.ogg" in result.response.content
    assert "has 2 recordings" in result.response.content


async def test_a_message_without_a_recording_is_refused(world: World) -> None:
    message = await world.stranger.send(world.channel, "just words")
    result = await world.member.context_menu(world.channel, "Transcribe", message)
    assert result.response.ephemeral
    assert "no sound or video file" in result.response.content
