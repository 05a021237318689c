"""Buttons below pictures: pressed by those who may and those who may not, also after a restart."""

from __future__ import annotations

from typing import Any

import discord
import pytest

from models.catalog import Catalog
from models.contracts import ImageRequest, Request, VideoRequest
from tests.conftest import World
from tests.fake_pictures import colour_of
from tests.fakes import fake_catalog, fake_model
from tests.views.test_buttons import labels

EVERY_BUTTON = [
    *("Again", "Vary", "Upscale", "Edit prompt", "Use as reference"),
    *("Describe", "Animate", "Delete"),
]
ABLE = {"seed", "steps", "guidance", "negative_prompt", "reference"}


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("fake-text"),
        fake_model("painter", "image", capabilities=ABLE),
        fake_model("sketcher", "image", capabilities={"seed"}),
        fake_model("eyes", "vision", capabilities={"caption", "detailed", "question"}),
        fake_model("camera", "video", capabilities={"first_frame"}),
    )


async def imagine(world: World, prompt: str = "a red door", **options: Any) -> discord.Message:
    options = {"size": "640x480", "seed": 5, **options}
    await world.member.slash(world.channel, "imagine", prompt=prompt, **options)
    return world.messages()[-1]


async def last_request(world: World, person: Any = None) -> Request:
    *_, row = await world.services.recipes.of_member((person or world.member).id)
    recipe = await world.services.recipes.load(row.id)
    assert recipe is not None
    return recipe.request


async def drawn(world: World) -> ImageRequest:
    request = await last_request(world)
    assert isinstance(request, ImageRequest)
    return request


async def test_a_picture_has_every_button_in_rows_that_discord_takes(world: World) -> None:
    answer = await imagine(world)
    assert labels(answer) == EVERY_BUTTON
    assert [len(row.children) for row in answer.components] == [5, 3]  # type: ignore[union-attr]


async def test_again_draws_with_a_new_seed(world: World) -> None:
    await world.member.click(await imagine(world), label="Again")
    assert colour_of(await world.messages()[-1].attachments[0].read()) == "red"
    request = await drawn(world)
    assert request.seed is None
    assert request.width_px == 640


@pytest.mark.parametrize("label", ["Vary", "Upscale", "Edit prompt", "Use as reference", "Animate"])
async def test_a_stranger_may_not(world: World, label: str) -> None:
    answer = await imagine(world)
    pressed = await world.stranger.click(answer, label=label)
    assert "Only the member who asked" in pressed.response.content
    assert pressed.response.flags.ephemeral


async def test_the_limit_holds_for_buttons_too(world: World) -> None:
    answer = await imagine(world)
    await world.services.server_settings.set(
        "limits.jobs_at_once", "1", guild_id=world.guild.id, user_id=1
    )
    await world.member.slash(world.channel, "ask", prompt="!delay 5\n!words 9")
    for label in ("Vary", "Upscale", "Describe"):
        pressed = await world.member.click(answer, label=label)
        assert "under way" in pressed.response.content
        assert pressed.response.flags.ephemeral


# ------------------------------------------------------------------ vary


async def test_vary_starts_from_the_picture_also_after_a_restart(world: World) -> None:
    answer = await imagine(world)
    await world.restart()
    await world.member.click(answer, label="Vary")
    request = await drawn(world)
    assert request.reference is not None
    assert (request.strength, request.seed) == (0.5, None)
    varied = world.messages()[-1]
    assert colour_of(await varied.attachments[0].read()) == "red"
    # What it started from can be fetched again, so it has every button too.
    assert labels(varied) == EVERY_BUTTON
    await world.member.click(varied, label="Again")
    assert colour_of(await world.messages()[-1].attachments[0].read()) == "red"


async def test_again_of_a_variation_whose_picture_is_gone_says_so(world: World) -> None:
    answer = await imagine(world)
    await world.member.click(answer, label="Vary")
    varied = world.messages()[-1]
    await world.moderator.delete(answer)
    await world.member.click(varied, label="Again")
    assert "not there any more" in world.messages()[-1].content
    assert list(world.services.spool.folder.iterdir()) == []


async def test_a_model_that_starts_from_no_picture_varies_by_seed_and_says_so(
    world: World,
) -> None:
    await world.member.click(await imagine(world, model="sketcher"), label="Vary")
    assert "Sketcher can't start from a picture" in world.messages()[-1].content
    request = await drawn(world)
    assert (request.reference, request.seed) == (None, None)


async def test_one_of_several_pictures_is_picked_first(world: World) -> None:
    answer = await imagine(world, count=3)
    asked = await world.member.click(answer, label="Vary")
    assert asked.response.flags.ephemeral
    assert asked.response.content == "Which picture?"
    assert len(asked.response.components[0]["components"]) == 3
    await world.member.click(asked.response, label="2")
    *_, row = await world.services.recipes.of_member(world.member.id)
    recipe = await world.services.recipes.load(row.id)
    assert recipe is not None
    assert recipe.presentation["pictures"] == [
        [answer.channel.id, answer.id, answer.attachments[1].id]
    ]


# ------------------------------------------------------------------ forms


async def test_the_prompt_is_edited_and_everything_else_kept(world: World) -> None:
    answer = await imagine(world, style="photo", negative_prompt="people", count=2)
    form = await world.member.click(answer, label="Edit prompt")
    assert form.modal is not None
    assert "a red door" in str(form.modal)
    assert "photograph" not in str(form.modal)
    assert "people" in str(form.modal)
    await world.member.submit_modal(form, {"prompt": "a blue door", "negative": "dogs"})
    edited = world.messages()[-1]
    assert edited.content.startswith("> a blue door\n")
    assert colour_of(await edited.attachments[0].read()) == "blue"
    request = await drawn(world)
    assert request.prompt.startswith("a blue door, photograph")
    assert request.negative_prompt.startswith("dogs, drawing")
    assert (request.count, request.seed, request.width_px) == (2, 5, 640)


async def test_a_prompt_that_a_style_makes_too_long_is_refused(world: World) -> None:
    form = await world.member.click(await imagine(world, style="photo"), label="Edit prompt")
    await world.member.submit_modal(form, {"prompt": "x" * 3990, "negative": ""})
    assert "`prompt` has at most 4,000 characters" in world.messages()[-1].content


async def test_a_form_without_words_begins_nothing(world: World) -> None:
    form = await world.member.click(await imagine(world), label="Edit prompt")
    result = await world.member.submit_modal(form, {"prompt": "\u200b"})
    assert "no words" in result.response.content
    assert result.response.flags.ephemeral


async def test_a_picture_becomes_the_reference_of_another(world: World) -> None:
    form = await world.member.click(await imagine(world), label="Use as reference")
    await world.member.submit_modal(form, {"prompt": "a blue house", "strength": "0,3"})
    answer = world.messages()[-1]
    assert colour_of(await answer.attachments[0].read()) == "red"
    assert "If the reference shows a person" in answer.content
    request = await drawn(world)
    assert (request.prompt, request.strength, request.seed) == ("a blue house", 0.3, None)


@pytest.mark.parametrize("strength", ["much", "0", "1.5", "nan"])
async def test_a_strength_that_is_none_is_refused(world: World, strength: str) -> None:
    form = await world.member.click(await imagine(world), label="Use as reference")
    result = await world.member.submit_modal(form, {"prompt": "x", "strength": strength})
    assert "above 0 and up to 1" in result.response.content
    assert result.response.flags.ephemeral


async def test_a_picture_comes_to_life(world: World) -> None:
    form = await world.member.click(await imagine(world), label="Animate")
    await world.member.submit_modal(form, {"prompt": "the door opens"})
    clip = world.messages()[-1]
    assert clip.attachments[0].filename == "clip.mp4"
    assert labels(clip) == ["Again", "Edit prompt", "Delete"]
    request = await last_request(world)
    assert isinstance(request, VideoRequest)
    assert request.first_frame is not None
    assert (request.width_px, request.height_px) == (640, 480)


async def test_the_right_picture_is_picked_for_a_form(world: World) -> None:
    answer = await imagine(world, count=2)
    asked = await world.member.click(answer, label="Use as reference")
    form = await world.member.click(asked.response, label="1")
    await world.member.submit_modal(form, {"prompt": "a blue house", "strength": "0.5"})
    assert len(world.messages()[-1].attachments) == 2


# ------------------------------------------------------------------ words about pictures


async def test_everybody_may_have_a_picture_described_and_ask(world: World) -> None:
    await world.stranger.click(await imagine(world), label="Describe")
    described = world.messages()[-1]
    assert described.content == "👁️ A red picture (detailed)."
    await world.member.send(world.channel, "Which colour?", reply_to=described)
    assert world.messages()[-1].content.endswith("Which colour? It is red.")


# ------------------------------------------------------------------ what is not offered


class TestPainterAlone:
    @pytest.fixture
    def catalog(self) -> Catalog:
        return fake_catalog(fake_model("painter", "image", capabilities=ABLE))

    async def test_what_no_model_here_can_do_is_not_offered(self, world: World) -> None:
        assert not {"Describe", "Animate"} & set(labels(await imagine(world)))


async def test_what_is_switched_off_is_not_offered_nor_done(world: World) -> None:
    answer = await imagine(world)
    await world.services.server_settings.set(
        "vision.enabled", "off", guild_id=world.guild.id, user_id=1
    )
    assert "Describe" not in labels(await imagine(world))
    pressed = await world.member.click(answer, label="Describe")
    assert "switched off" in pressed.response.content


async def test_a_recipe_that_has_expired_says_so(world: World) -> None:
    answer = await imagine(world)
    await world.services.recipes.delete_member(world.member.id)
    for label in ("Vary", "Edit prompt"):
        pressed = await world.member.click(answer, label=label)
        assert "too old" in pressed.response.content
        assert pressed.response.flags.ephemeral
