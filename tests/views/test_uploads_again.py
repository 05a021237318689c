"""Again and Edit prompt, for what was made with a picture that a member uploaded."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import discord
import pytest
from PIL import Image

from bot.settings import PrivacySettings, Settings
from models.catalog import Catalog
from models.contracts import ImageRequest, VideoRequest
from tests.conftest import World
from tests.fake_pictures import colour_of, picture
from tests.fakes import fake_catalog, fake_model
from tests.views.test_buttons import labels


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("painter", "image", capabilities={"seed", "reference"}),
        fake_model("camera", "video", capabilities={"seed", "first_frame"}),
    )


async def imagine(world: World, person: Any = None, **options: Any) -> discord.Message:
    wishes = {"prompt": "a green door", "reference": ("me.png", picture("blue")), **options}
    await (person or world.member).slash(world.channel, "imagine", **wishes)
    return world.messages()[-1]


async def last_request(world: World) -> ImageRequest | VideoRequest:
    *_, row = await world.services.recipes.of_member(world.member.id)
    recipe = await world.services.recipes.load(row.id)
    assert recipe is not None
    assert isinstance(recipe.request, ImageRequest | VideoRequest)
    return recipe.request


def kept(world: World) -> list[Path]:
    folder = world.services.settings.kept_dir
    return sorted(folder.iterdir()) if folder.exists() else []


async def test_again_starts_from_the_uploaded_picture_also_after_a_restart(world: World) -> None:
    answer = await imagine(world, strength=0.3)
    await world.restart()
    await world.member.click(answer, label="Again")
    again = world.messages()[-1]
    assert colour_of(await again.attachments[0].read()) == "blue"
    assert labels(again) == labels(answer)
    request = await last_request(world)
    assert isinstance(request, ImageRequest)
    assert (request.strength, request.seed) == (0.3, None)
    await world.member.click(again, label="Again")
    assert colour_of(await world.messages()[-1].attachments[0].read()) == "blue"
    # However often it is used, it lies there once; in the spool it lies while a job needs it.
    assert len(kept(world)) == 1
    assert list(world.services.spool.folder.iterdir()) == []


async def test_words_are_edited_and_the_uploaded_picture_stays(world: World) -> None:
    answer = await imagine(world)
    await world.restart()
    form = await world.member.click(answer, label="Edit prompt")
    await world.member.submit_modal(form, {"prompt": "a red door", "negative": ""})
    edited = world.messages()[-1]
    assert edited.content.startswith("> a red door\n")
    assert colour_of(await edited.attachments[0].read()) == "blue"


async def test_a_clip_begins_with_the_uploaded_picture_again(world: World) -> None:
    first = ("me.png", picture("blue"))
    await world.member.slash(world.channel, "video", prompt="it opens", first_frame=first)
    answer = world.messages()[-1]
    assert labels(answer) == ["Again", "Edit prompt", "Delete"]
    await world.restart()
    await world.member.click(answer, label="Again")
    request = await last_request(world)
    assert isinstance(request, VideoRequest)
    assert request.first_frame is not None
    form = await world.member.click(world.messages()[-1], label="Edit prompt")
    await world.member.submit_modal(form, {"prompt": "it closes", "negative": ""})
    assert world.messages()[-1].content.startswith("> it closes\n🎬 `camera`")
    assert len(kept(world)) == 1


async def test_what_starts_from_an_answer_keeps_no_upload(world: World) -> None:
    answer = await imagine(world)
    await world.member.click(answer, label="Vary")
    *_, row = await world.services.recipes.of_member(world.member.id)
    assert json.loads(row.presentation)["kept"] == []
    await world.member.click(world.messages()[-1], label="Again")
    assert len(kept(world)) == 1


async def test_a_stopped_job_is_tried_again_with_its_picture(world: World) -> None:
    answer = await imagine(world, prompt="!sleep 3\n!sleep 3\n!sleep 3\na door")
    await world.env.advance_time(4)
    await world.member.click(answer, label="Stop")
    await world.env.advance_time(4)
    await world.member.click(world.messages()[-1], label="Try again")
    await world.env.advance_time(30)
    assert colour_of(await world.messages()[-1].attachments[0].read()) == "blue"


async def test_a_picture_whose_time_is_over_is_said_to_be_gone(world: World) -> None:
    answer = await imagine(world)
    [file] = kept(world)
    long_ago = time.time() - 31 * 86_400
    os.utime(file, (long_ago, long_ago))
    await world.services.recipes.delete_expired()
    assert kept(world) == []
    await world.member.click(answer, label="Again")
    assert "not kept any more. Please send it again." in world.messages()[-1].content
    assert list(world.services.spool.folder.iterdir()) == []


# --------------------------------------------------------------------------- whose they are


async def export(world: World, person: Any) -> list[discord.Attachment]:
    result = await person.slash(world.channel, "privacy export")
    assert result.response.ephemeral
    seen = [*result.response.attachments, *(f for m in result.followups for f in m.attachments)]
    return list(seen)


async def test_an_export_has_the_pictures(world: World) -> None:
    await imagine(world)
    await imagine(world, world.stranger, reference=("other.png", picture("red")))
    shown = await world.member.slash(world.channel, "privacy show")
    assert "1 pictures that you uploaded" in shown.response.content
    data, own = await export(world, world.member)
    assert json.loads(await data.read())["pictures"] == ["me.png"]
    assert (own.filename, colour_of(await own.read())) == ("me.png", "blue")


async def test_many_pictures_come_in_several_messages(world: World) -> None:
    for _ in range(11):
        await imagine(world)
    assert len(await export(world, world.member)) == 12


async def test_deleting_ones_data_deletes_the_pictures_of_the_member_alone(world: World) -> None:
    answer = await imagine(world)
    await imagine(world, world.stranger)
    # A moderator's buttons may use them too; they are the member's all the same.
    await world.moderator.click(answer, label="Again")
    again = world.messages()[-1]
    asked = await world.member.slash(world.channel, "privacy delete")
    pressed = await world.member.click(asked.response, label="Delete everything")
    assert "1 uploaded pictures" in pressed.response.content
    assert len(kept(world)) == 1
    await world.moderator.click(again, label="Again")
    assert "not kept any more" in world.messages()[-1].content


async def test_delete_takes_the_upload_along_unless_another_answer_uses_it(world: World) -> None:
    answer = await imagine(world)
    await world.member.click(answer, label="Again")
    again = world.messages()[-1]
    await world.member.click(answer, label="Delete")
    assert len(kept(world)) == 1
    await world.member.click(again, label="Again")
    assert colour_of(await world.messages()[-1].attachments[0].read()) == "blue"
    for message in world.messages():
        await world.member.click(message, label="Delete")
    assert kept(world) == []
    assert await world.services.recipes.of_member(world.member.id) == []


# --------------------------------------------------------------------------- bounds


class TestLittleRoom:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        privacy = PrivacySettings(kept_pictures_mb=1)
        return settings.model_copy(update={"privacy": privacy})

    async def test_the_oldest_makes_room_for_the_newest(self, world: World) -> None:
        noise = io.BytesIO()
        Image.frombytes("RGB", (500, 400), os.urandom(600_000)).save(noise, "PNG")
        answers = [await imagine(world, reference=("n.png", noise.getvalue())) for _ in range(2)]
        assert len(kept(world)) == 1
        await world.member.click(answers[0], label="Again")
        assert "not kept any more" in world.messages()[-1].content
        await world.member.click(answers[1], label="Again")
        assert world.messages()[-1].attachments

    async def test_without_room_there_is_no_button_that_could_not_work(self, world: World) -> None:
        noise = io.BytesIO()
        Image.frombytes("RGB", (800, 500), os.urandom(1_200_000)).save(noise, "PNG")
        answer = await imagine(world, reference=("n.png", noise.getvalue()))
        assert not {"Again", "Edit prompt"} & set(labels(answer))
        assert kept(world) == []
