from typing import Any

import pytest

from models.catalog import Catalog
from models.contracts import VideoRequest
from tests.conftest import World
from tests.fake_pictures import picture
from tests.fakes import fake_catalog, fake_model
from tests.views.test_buttons import labels


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("fake-text"),
        fake_model("plain-camera", "video"),
        fake_model("camera", "video", capabilities={"seed", "first_frame"}),
        fake_model("small-camera", "video", options={"side_px": 512, "fps": 8, "max_frames": 16}),
    )


async def film(world: World, **options: Any) -> Any:
    options = {"prompt": "a red door opens", **options}
    return await world.member.slash(world.channel, "video", **options)


async def test_words_become_a_clip_with_alt_text(world: World) -> None:
    await film(world, seconds=2.0, size="320x240", model="camera", seed=3)
    [answer] = world.messages()
    [file] = answer.attachments
    assert (await file.read())[4:8] == b"ftyp"
    assert file.filename == "clip.mp4"
    assert file.description == "AI-generated clip: a red door opens"
    assert answer.content == "> a red door opens\n🎬 `camera` · 64 × 64 · 2.0 s · seed 3"
    assert labels(answer) == ["Again", "Edit prompt", "Delete"]
    [row] = await world.services.recipes.of_member(world.member.id)
    recipe = await world.services.recipes.load(row.id)
    assert recipe is not None
    assert recipe.request == VideoRequest(
        "a red door opens", seconds=2.0, width_px=320, height_px=240, seed=3
    )


async def test_where_nothing_is_said_a_clip_is_as_its_model_makes_it(world: World) -> None:
    for model, wished in (("camera", (4.0, 832, 480)), ("small-camera", (2.0, 512, 512))):
        await film(world, model=model)
        newest = (await world.services.recipes.of_member(world.member.id))[-1]
        recipe = await world.services.recipes.load(newest.id)
        assert recipe is not None
        assert isinstance(recipe.request, VideoRequest)
        request = recipe.request
        assert (request.seconds, request.width_px, request.height_px) == wished


async def test_a_first_frame_finds_a_model_that_takes_it(world: World) -> None:
    await film(world, first_frame=("me.png", picture("blue")))
    [answer] = world.messages()
    assert "`camera`" in answer.content
    assert "If the reference shows a person" in answer.content
    assert labels(answer) == ["Again", "Edit prompt", "Delete"]


async def test_the_prompt_of_a_clip_can_be_edited(world: World) -> None:
    await film(world)
    form = await world.member.click(world.messages()[0], label="Edit prompt")
    await world.member.submit_modal(form, {"prompt": "a green door opens"})
    assert world.messages()[-1].content.startswith("> a green door opens\n🎬")


async def test_progress_is_shown_with_the_time_left(world: World) -> None:
    await film(world, prompt="!progress 0.0\n!sleep 10\n!progress 0.5\n!delay 5\na b c d")
    await world.env.advance_time(12)
    assert "50% · about 1" in world.messages()[0].content
    assert " left" in world.messages()[0].content


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"prompt": "\u200b"}, "what happens in the clip"),
        ({"size": "1x1"}, "A size is"),
        ({"model": "plain-camera", "seed": 1}, "can't repeat a clip"),
        ({"model": "plain-camera", "first_frame": ("a.png", b"x")}, "can't begin with a picture"),
    ],
)
async def test_what_cannot_be_is_refused_privately(
    world: World, options: dict[str, Any], part: str
) -> None:
    result = await film(world, **options)
    assert result.response.ephemeral
    assert part in result.response.content


async def test_an_explicit_clip_is_blocked(world: World) -> None:
    await film(world, prompt="!unsafe 0.9\na red door")
    [answer] = world.messages()
    assert answer.attachments == []
    assert "Not shown" in answer.content
