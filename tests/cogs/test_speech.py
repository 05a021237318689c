from typing import Any

import pytest

from models.catalog import Catalog
from tests.conftest import World
from tests.fakes import fake_catalog, fake_model


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model(
            "voices",
            "speech",
            voices=("Ada", "Grace", "Joan"),
            languages=("en", "de"),
            capabilities=["seed", "speed", "language"],
        ),
        fake_model("monotone", "speech", voices=("Bot",), languages=("fr",)),
    )


async def _requests(world: World) -> list[Any]:
    rows = await world.services.recipes.of_member(world.member.id)
    return [(await world.services.recipes.load(row.id)).request for row in rows]


async def test_a_text_becomes_a_voice_message(world: World) -> None:
    await world.member.slash(world.channel, "speak", text="Good morning")
    files = [file for message in world.messages() for file in message.attachments]
    assert len(files) == 1
    assert (await files[0].read()).startswith(b"OggS")


async def test_options_reach_the_model(world: World) -> None:
    await world.member.slash(
        world.channel,
        "speak",
        text="Guten Tag",
        voice="Grace",
        language="de",
        speed=1.5,
        pause=0.0,
        seed=0,
    )
    [request] = await _requests(world)
    assert (request.text, request.voice, request.language) == ("Guten Tag", "Grace", "de")
    assert (request.speed, request.pause_s, request.seed) == (1.5, 0.0, 0)


async def test_a_text_file_is_read_aloud_after_the_text(world: World) -> None:
    await world.member.slash(
        world.channel, "speak", text="A letter.", file=("letter.txt", b"Dear Ada,\r\nhi")
    )
    [request] = await _requests(world)
    assert request.text == "A letter.\n\nDear Ada,\nhi"


async def test_too_long_a_text_is_refused(world: World) -> None:
    await world.member.slash(world.channel, "speak", file=("book.txt", b"word " * 4001))
    assert "20,000" in world.messages()[-1].content.replace("20000", "20,000")
    assert world.services.engine.jobs() == []


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({}, "Give me something to say"),
        ({"text": "\u200b"}, "Give me something to say"),
        ({"text": "hi", "voice": "Elvis"}, "no voice called “Elvis”"),
        ({"text": "hi", "language": "tlh"}, "does not speak “tlh”"),
        ({"text": "hi", "model": "monotone", "speed": 2.0}, "has no speed"),
        ({"text": "hi", "model": "monotone", "seed": 7}, "has no seed"),
        ({"text": "hi", "model": "monotone", "voice": "Ada"}, "no voice called “Ada”"),
    ],
)
async def test_what_cannot_be_is_refused_privately(
    world: World, options: dict[str, Any], part: str
) -> None:
    response = await world.member.slash(world.channel, "speak", **options)
    assert response.response.ephemeral
    assert part in response.response.content


async def test_voices_and_languages_are_those_of_the_chosen_model(world: World) -> None:
    async def offered(option: str, typed: str = "", **filled: Any) -> list[str]:
        found = await world.member.autocomplete(world.channel, "speak", option, typed, **filled)
        return [choice["value"] for choice in found]

    assert await offered("voice") == ["Ada", "Grace", "Joan"]
    assert await offered("voice", "gr") == ["Grace"]
    assert await offered("voice", model="monotone") == ["Bot"]
    assert await offered("voice", model="nobody") == []
    assert await offered("language") == ["en", "de"]
    assert await offered("language", "germ") == ["de"]
    assert await offered("model", "mono") == ["monotone"]
