"""The Upscale button, with and without a model for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import discord
import pytest

from models.catalog import Catalog, ModelSpec
from models.image.pictures import open_picture, said_by
from tests.conftest import World
from tests.fake_pictures import colour_of
from tests.fakes import FakeWeights, fake_catalog, fake_model
from tests.views.test_buttons import labels


async def imagine(world: World, **options: Any) -> discord.Message:
    wishes = {"prompt": "a red door", "size": "640x480", "seed": 5, **options}
    await world.member.slash(world.channel, "imagine", **wishes)
    return world.messages()[-1]


async def rule(world: World, key: str, value: str) -> None:
    await world.services.server_settings.set(key, value, guild_id=world.guild.id, user_id=1)


class TestWithoutAModel:
    @pytest.fixture
    def catalog(self) -> Catalog:
        return fake_catalog(fake_model("painter", "image", capabilities={"seed"}))

    async def test_a_resampler_doubles_the_picture_and_says_so(self, world: World) -> None:
        answer = await imagine(world)
        await world.member.click(answer, label="Upscale")
        larger = world.messages()[-1]
        [file] = larger.attachments
        assert open_picture(await file.read()).size == (80, 60)
        assert colour_of(await file.read()) == "red"
        assert larger.content == (
            "🔍 40 × 30 → 80 × 60\n"
            "-# Enlarged by a resampler, since no upscaling model is installed here."
        )
        assert file.description == "AI-generated picture: a red door"
        assert list(world.services.spool.folder.iterdir()) == []
        await world.member.click(larger, label="Delete")
        assert [message.id for message in world.messages()] == [answer.id]

    async def test_what_a_picture_says_of_itself_goes_along(
        self, world: World, tmp_path: Path
    ) -> None:
        await world.member.click(await imagine(world), label="Upscale")
        file = tmp_path / "larger.png"
        file.write_bytes(await world.messages()[-1].attachments[0].read())
        said = said_by(file)
        assert "says" in said
        assert said["upscaler"] == "Lanczos resampler"

    async def test_a_model_that_is_not_fetched_is_none(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upscaler = fake_model("enlarger", "upscaling")
        world.services.catalog._models[upscaler.id] = upscaler
        await rule(world, "upscaling.model", "enlarger")
        answer = await imagine(world)

        def is_installed(_: FakeWeights, spec: ModelSpec) -> bool:
            return spec.id != "enlarger"

        monkeypatch.setattr(FakeWeights, "is_installed", is_installed)
        await world.member.click(answer, label="Upscale")
        assert "by a resampler" in world.messages()[-1].content


class TestWithAModel:
    @pytest.fixture
    def catalog(self) -> Catalog:
        return fake_catalog(
            fake_model("painter", "image", capabilities={"seed"}),
            fake_model("enlarger", "upscaling"),
        )

    async def test_it_draws_the_larger_picture_and_is_named(self, world: World) -> None:
        answer = await imagine(world)
        await world.restart()
        await world.member.click(answer, label="Upscale")
        larger = world.messages()[-1]
        [file] = larger.attachments
        assert larger.content == "🔍 `enlarger` · 40 × 30 → 80 × 60"
        assert open_picture(await file.read()).size == (80, 60)
        assert file.description == "AI-generated picture: a red door"
        assert labels(larger) == ["Delete"]
        assert list(world.services.spool.folder.iterdir()) == []
        [used] = [f for f in await world.services.jobs.usage(world.member.id, 0) if f.jobs][-1:]
        assert (used.modality, used.unit, used.units) == ("upscaling", "pictures", 1)

    async def test_it_can_be_stopped_and_tried_again(self, world: World) -> None:
        answer = await imagine(world)
        slow = world.services.catalog.get("enlarger").model_copy(
            update={"options": {"script": "!sleep 3\n!sleep 3\n!sleep 3\n!sleep 3"}}
        )
        world.services.catalog._models["enlarger"] = slow
        await world.member.click(answer, label="Upscale")
        await world.env.advance_time(5)
        await world.member.click(world.messages()[-1], label="Stop")
        await world.env.advance_time(6)
        stopped = world.messages()[-1]
        assert (stopped.content, labels(stopped)) == ("⏹️ Stopped.", ["Try again", "Delete"])
        await world.member.click(stopped, label="Try again")
        await world.env.advance_time(40)
        assert "`enlarger` · 40 × 30 → 80 × 60" in world.messages()[-1].content

    async def test_one_of_several_is_picked(self, world: World) -> None:
        asked = await world.member.click(await imagine(world, count=2), label="Upscale")
        await world.member.click(asked.response, label="2")
        assert "`enlarger`" in world.messages()[-1].content

    async def test_a_veil_stays(self, world: World) -> None:
        await rule(world, "safety.pictures", "spoiler")
        answer = await imagine(world, prompt="!unsafe 0.9\na red door")
        assert answer.attachments[0].is_spoiler()
        await world.member.click(answer, label="Upscale")
        assert world.messages()[-1].attachments[0].is_spoiler()

    @pytest.mark.parametrize(("what", "files"), [("block", 0), ("spoiler", 1)])
    async def test_what_is_made_is_under_the_rule_for_explicit_pictures(
        self, world: World, what: str, files: int
    ) -> None:
        await rule(world, "safety.pictures", what)
        answer = await imagine(world)
        strict = world.services.catalog.get("enlarger").model_copy(
            update={"options": {"script": "!unsafe 0.9"}}
        )
        world.services.catalog._models["enlarger"] = strict
        await world.member.click(answer, label="Upscale")
        larger = world.messages()[-1]
        assert [file.is_spoiler() for file in larger.attachments] == [True] * files
        assert "explicit" in larger.content

    async def test_switched_off_means_off(self, world: World) -> None:
        answer = await imagine(world)
        await rule(world, "upscaling.enabled", "off")
        pressed = await world.member.click(answer, label="Upscale")
        assert "Making pictures larger is switched off here" in pressed.response.content
        assert pressed.response.flags.ephemeral

    async def test_it_is_no_choice_for_imagine(self, world: World) -> None:
        found = await world.member.autocomplete(world.channel, "imagine", "model", "")
        assert [choice["value"] for choice in found] == ["painter"]
        refused = await world.member.slash(
            world.channel, "imagine", prompt="a red door", model="enlarger"
        )
        assert "is no image model" in refused.response.content
