from typing import Any

import discord
import pytest

from models.catalog import Catalog
from models.contracts import ImageRequest
from tests.conftest import World
from tests.fake_pictures import colour_of, picture
from tests.fakes import fake_catalog, fake_model
from tests.views.test_buttons import labels

ABLE = {"seed", "steps", "guidance", "negative_prompt", "reference"}


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("fake-text"),
        fake_model("painter", "image", capabilities=ABLE, options={"side_px": 512}),
        fake_model("sketcher", "image", capabilities={"steps"}),
    )


async def imagine(world: World, prompt: str, **options: Any) -> Any:
    return await world.member.slash(world.channel, "imagine", prompt=prompt, **options)


async def drawn(world: World) -> ImageRequest:
    """Return the last request."""
    *_, row = await world.services.recipes.of_member(world.member.id)
    recipe = await world.services.recipes.load(row.id)
    assert recipe is not None
    assert isinstance(recipe.request, ImageRequest)
    return recipe.request


async def test_words_become_a_picture_with_alt_text_and_its_seed(world: World) -> None:
    await imagine(world, "a red door", seed=41)
    [answer] = world.messages()
    [file] = answer.attachments
    assert colour_of(await file.read()) == "red"
    assert file.description == "AI-generated picture: a red door"
    assert answer.content.startswith("> a red door\n🎨 `painter` · ")
    assert "seed 41" in answer.content
    assert labels(answer) == [
        "Again",
        "Vary",
        "Upscale",
        "Edit prompt",
        "Use as reference",
        "Delete",
    ]


async def test_options_reach_the_model(world: World) -> None:
    await imagine(
        world,
        "a red door",
        negative_prompt="people",
        size="640x384",
        count=3,
        steps=12,
        guidance=4.5,
        seed=5,
    )
    request = await drawn(world)
    assert request == ImageRequest(
        "a red door",
        negative_prompt="people",
        width_px=640,
        height_px=384,
        count=3,
        num_inference_steps=12,
        guidance_scale=4.5,
        seed=5,
    )
    [answer] = world.messages()
    assert len(answer.attachments) == 3
    assert all(file.description for file in answer.attachments)
    assert "12 steps" in answer.content
    assert "seeds 5, 6, 7" in answer.content


async def test_a_shape_takes_the_size_that_suits_the_model(world: World) -> None:
    await imagine(world, "a red door", aspect="16:9")
    request = await drawn(world)
    assert (request.width_px, request.height_px) == (688, 384)


async def test_a_style_is_added_and_named(world: World) -> None:
    await imagine(world, "a red door", style="watercolour", negative_prompt="people")
    request = await drawn(world)
    assert request.prompt.startswith("a red door, watercolour painting")
    assert request.negative_prompt.startswith("people, photo")
    [answer] = world.messages()
    assert answer.content.startswith("> a red door\n")
    assert "style watercolour" in answer.content


async def test_a_reference_is_read_and_brings_a_notice(world: World) -> None:
    await imagine(world, "a green door", reference=("me.png", picture("blue")), strength=0.3)
    [answer] = world.messages()
    assert colour_of(await answer.attachments[0].read()) == "blue"
    assert "If the reference shows a person" in answer.content
    request = await drawn(world)
    assert request.strength == 0.3
    assert labels(answer)[:2] == ["Again", "Vary"]


async def test_a_reference_finds_a_model_that_takes_it(world: World) -> None:
    await world.services.server_settings.set(
        "image.model", "sketcher", guild_id=world.guild.id, user_id=1
    )
    await imagine(world, "a green door")
    await imagine(world, "a green door", reference=("me.png", picture("blue")))
    plain, started = world.messages()
    assert "`sketcher`" in plain.content
    assert "`painter`" in started.content


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"prompt": "\u200b"}, "what the picture should show"),
        ({"aspect": "1:1", "size": "64x64"}, "a shape or a size"),
        ({"size": "8x8"}, "A size is"),
        ({"size": "wide"}, "A size is"),
        ({"style": "nope"}, "no style called “nope”"),
        ({"strength": 0.5}, "about a reference picture"),
        ({"model": "sketcher", "seed": 1}, "can't repeat a picture"),
        ({"model": "sketcher", "reference": ("a.png", picture("red"))}, "can't start from"),
        ({"model": "fake-text"}, "is no image model"),
    ],
)
async def test_what_cannot_be_is_refused_privately(
    world: World, options: dict[str, Any], part: str
) -> None:
    result = await imagine(world, **{"prompt": "a red door", **options})
    assert result.response.ephemeral
    assert part in result.response.content


@pytest.mark.parametrize(
    ("filename", "data", "part"),
    [
        ("a.png", b"OggS" + bytes(50), "an Ogg file, not a picture"),
        ("a.png", b"<svg xmlns='x'></svg>", "an SVG drawing, not a picture"),
        ("a.png", b"", "empty"),
        ("a.png", bytes(range(1, 30)), "not a picture"),
    ],
)
async def test_a_reference_that_is_no_picture_is_refused_in_a_sentence(
    world: World, filename: str, data: bytes, part: str
) -> None:
    await imagine(world, "a red door", reference=(filename, data))
    assert part in world.messages()[-1].content
    assert world.services.engine.jobs() == []


async def test_switched_off_means_off(world: World) -> None:
    await world.services.server_settings.set(
        "image.enabled", "off", guild_id=world.guild.id, user_id=1
    )
    result = await imagine(world, "a red door")
    assert "Making pictures is switched off here" in result.response.content


async def test_it_shows_while_it_forms_and_can_be_stopped(world: World) -> None:
    await imagine(world, "!preview blue\n!progress 0.25\n!delay 3\n!words 20")
    await world.env.advance_time(4)
    [anchor] = world.messages()
    [preview] = anchor.attachments
    assert colour_of(await preview.read()) == "blue"
    assert preview.description == "What it looks like so far"
    assert labels(anchor) == ["Stop"]
    await world.member.click(anchor, label="Stop")
    await world.env.advance_time(6)
    [stopped] = world.messages()
    assert stopped.attachments == []
    assert world.services.engine.jobs() == []
    assert list(world.services.spool.folder.iterdir()) == []


async def test_the_picture_takes_the_place_of_its_preview(world: World) -> None:
    await imagine(world, "!preview blue\n!delay 3\na red door")
    await world.env.advance_time(20)
    [answer] = world.messages()
    [file] = answer.attachments
    assert colour_of(await file.read()) == "red"
    assert list(world.services.spool.folder.iterdir()) == []


async def test_notices_of_the_model_are_said(world: World) -> None:
    await imagine(world, "!notice This prompt is longer than Painter reads.\na red door")
    assert "-# This prompt is longer than Painter reads." in world.messages()[0].content


async def test_models_and_styles_complete(world: World) -> None:
    async def offered(option: str, typed: str) -> list[str]:
        found = await world.member.autocomplete(world.channel, "imagine", option, typed)
        return [choice["value"] for choice in found]

    assert await offered("model", "sk") == ["sketcher"]
    assert await offered("style", "art") == ["line art", "pixel art"]


# ------------------------------------------------------------------ explicit pictures


async def rule(world: World, value: str) -> None:
    await world.services.server_settings.set(
        "safety.pictures", value, guild_id=world.guild.id, user_id=1
    )


async def test_explicit_pictures_are_blocked_by_default(world: World) -> None:
    await imagine(world, "!unsafe 0.9\na red door")
    [answer] = world.messages()
    assert answer.attachments == []
    assert "Not shown" in answer.content
    assert labels(answer) == ["Again", "Edit prompt", "Delete"]
    await imagine(world, "!unsafe 0.9\na red door", count=2)
    [_, answer] = world.messages()
    assert len(answer.attachments) == 1
    assert "1 more not shown" in answer.content


async def test_explicit_pictures_are_veiled_where_moderators_say_so(world: World) -> None:
    await rule(world, "spoiler")
    await imagine(world, "!unsafe 0.9\na red door")
    [answer] = world.messages()
    assert answer.attachments[0].is_spoiler()
    await imagine(world, "!unsafe 0.6\na red door")
    assert not world.messages()[-1].attachments[0].is_spoiler()


async def test_explicit_pictures_are_shown_in_age_restricted_channels_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rule(world, "age_restricted")
    adults = world.guild.create_text_channel("adults")
    # The simulated Discord knows no age restriction.
    monkeypatch.setattr(discord.TextChannel, "is_nsfw", lambda channel: channel.name == "adults")
    for channel, shown in ((world.channel, 0), (adults, 1)):
        await world.member.slash(channel, "imagine", prompt="!unsafe 0.9\na red door")
        [answer] = list(channel.history(viewer=world.member))
        assert len(answer.attachments) == shown


async def test_an_explicit_reference_is_blocked_or_makes_a_veiled_picture(world: World) -> None:
    blue = ("me.png", picture("blue"))
    await imagine(world, "!unsafe 0.9\na door", reference=blue)
    assert "was not used" in world.messages()[-1].content
    recipes = world.services.recipes
    assert await recipes.pictures_of_member(world.member.id) == []  # nor is it kept
    await rule(world, "spoiler")
    await imagine(world, "!unsafe 0.9\na door", reference=blue)
    assert world.messages()[-1].attachments[0].is_spoiler()
    assert len(await recipes.pictures_of_member(world.member.id)) == 1


async def test_the_threshold_is_the_moderators(world: World) -> None:
    await world.services.server_settings.set(
        "safety.threshold", "0.95", guild_id=world.guild.id, user_id=1
    )
    await imagine(world, "!unsafe 0.9\na red door")
    assert len(world.messages()[0].attachments) == 1
