"""Buttons below answers, pressed by those who may and those who may not, also after a restart."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
import pytest

from bot.services.recipes import Recipe, RecipeService
from bot.settings import PrivacySettings, Settings
from tests.conftest import World

SLOW = "!delay 1\n!words 30"


def labels(message: discord.Message) -> list[str | None]:
    return [
        item.label
        for row in message.components
        if isinstance(row, discord.ActionRow)
        for item in row.children
        if isinstance(item, discord.Button)
    ]


async def ask(world: World, prompt: str, **options: Any) -> Any:
    return await world.member.slash(world.channel, "ask", prompt=prompt, **options)


async def started(world: World) -> discord.Message:
    """Ask for something slow and return the anchor, a few words in."""
    await ask(world, SLOW)
    await world.env.advance_time(4)
    [anchor] = world.messages()
    assert labels(anchor) == ["Stop"]
    return anchor


# --------------------------------------------------------------------------- stop


async def test_stop_ends_a_running_job_and_keeps_its_words(world: World) -> None:
    anchor = await started(world)
    await world.member.click(anchor, label="Stop")
    await world.env.advance_time(3)
    [stopped] = world.messages()
    assert "word1" in stopped.content
    assert "word29" not in stopped.content
    assert world.services.engine.jobs() == []


async def test_a_stranger_may_not_stop(world: World) -> None:
    anchor = await started(world)
    pressed = await world.stranger.click(anchor, label="Stop")
    assert "Only the member who asked" in pressed.response.content
    assert pressed.response.flags.ephemeral
    assert len(world.services.engine.jobs()) == 1


async def test_a_moderator_may_stop(world: World) -> None:
    anchor = await started(world)
    await world.moderator.click(anchor, label="Stop")
    await world.env.advance_time(3)
    assert world.services.engine.jobs() == []


async def test_stop_works_after_a_restart(world: World) -> None:
    anchor = await started(world)
    await world.restart()
    await world.env.advance_time(4)
    assert len(world.services.engine.jobs()) == 1
    await world.member.click(anchor, label="Stop")
    await world.env.advance_time(3)
    assert world.services.engine.jobs() == []
    assert "word29" not in world.messages()[0].content


async def test_stop_of_something_that_has_ended_says_so(world: World) -> None:
    anchor = await started(world)
    world.env.inject_error("PATCH", "/webhooks/*/*/messages/*", status=500, times=None)
    await world.env.advance_time(30)
    assert world.services.engine.jobs() == []
    pressed = await world.member.click(anchor, label="Stop")
    assert pressed.response.content == "This has already ended."


# --------------------------------------------------------------------------- again


async def test_regenerate_answers_once_more(world: World) -> None:
    await ask(world, "blue", seed=7)
    [first] = world.messages()
    await world.member.click(first, label="Regenerate")
    first, second = world.messages()
    assert "blue" in second.content
    assert labels(second) == labels(first)


async def test_regenerate_works_after_a_restart(world: World) -> None:
    await ask(world, "blue")
    await world.restart()
    [first] = world.messages()
    await world.member.click(first, label="Regenerate")
    assert "blue" in world.messages()[1].content


async def test_a_stranger_may_not_regenerate(world: World) -> None:
    await ask(world, "blue")
    [first] = world.messages()
    pressed = await world.stranger.click(first, label="Regenerate")
    assert "Only the member who asked" in pressed.response.content
    assert pressed.response.flags.ephemeral
    assert len(world.messages()) == 1


async def test_a_private_answer_is_regenerated_privately(world: World) -> None:
    first = await ask(world, "blue", private=True)
    pressed = await world.member.click(first.response, label="Regenerate")
    assert pressed.response.flags.ephemeral
    assert "blue" in pressed.response.content
    assert world.messages(world.stranger) == []


async def test_regenerate_obeys_the_settings_of_now(world: World) -> None:
    await ask(world, "blue")
    [first] = world.messages()
    await world.services.server_settings.set(
        "text.enabled", "off", guild_id=world.guild.id, user_id=world.moderator.id
    )
    pressed = await world.member.click(first, label="Regenerate")
    assert "switched off" in pressed.response.content
    assert pressed.response.flags.ephemeral
    assert world.messages(world.stranger) == [first]
    assert world.services.engine.jobs() == []


async def test_regenerate_obeys_the_limit(world: World) -> None:
    await ask(world, "blue")
    [first] = world.messages()
    await world.services.server_settings.set(
        "limits.jobs_at_once", "1", guild_id=world.guild.id, user_id=world.moderator.id
    )
    await ask(world, SLOW)
    pressed = await world.member.click(first, label="Regenerate")
    assert "a job under way" in pressed.response.content
    assert pressed.response.flags.ephemeral


async def test_a_recipe_that_has_expired_says_so(world: World) -> None:
    await ask(world, "blue")
    [first] = world.messages()
    await world.services.recipes.delete_member(world.member.id)
    pressed = await world.member.click(first, label="Regenerate")
    assert "too old to be repeated" in pressed.response.content
    assert pressed.response.flags.ephemeral
    assert world.messages(world.stranger) == [first]


async def test_a_slow_disk_delays_no_acknowledgement(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(world, "blue")
    [first] = world.messages()
    load = RecipeService.load

    async def slow(self: RecipeService, recipe_id: str) -> Recipe | None:
        await asyncio.sleep(5)
        return await load(self, recipe_id)

    monkeypatch.setattr(RecipeService, "load", slow)
    await world.member.click(first, label="Regenerate")
    assert len(world.messages()) == 1
    await world.env.advance_time(2)
    assert len(world.messages()) == 2  # acknowledged, and still reading
    await world.env.advance_time(4)
    assert "blue" in world.messages()[1].content


class TestNoRecipes:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"privacy": PrivacySettings(recipe_days=0)})

    async def test_without_recipes_there_is_no_button_that_could_not_work(
        self, world: World
    ) -> None:
        await ask(world, "blue")
        [answer] = world.messages()
        assert "Regenerate" not in labels(answer)


# --------------------------------------------------------------------------- delete


async def test_delete_takes_every_part_away(world: World) -> None:
    await ask(world, "!words 500")
    parts = world.messages()
    assert len(parts) > 1
    await world.member.click(parts[-1], label="Delete")
    assert world.messages() == []


async def test_delete_takes_the_voice_message_along(world: World) -> None:
    await world.member.slash(world.channel, "speak", text="good morning")
    control, voice = world.messages()
    assert voice.attachments
    await world.member.click(control, label="Delete")
    assert world.messages() == []


async def test_delete_bears_a_part_that_is_gone(world: World) -> None:
    await ask(world, "!words 500")
    first, *_, last = world.messages()
    await world.moderator.delete(first)
    await world.member.click(last, label="Delete")
    assert world.messages() == []


async def test_a_stranger_may_not_delete(world: World) -> None:
    await ask(world, "blue")
    [answer] = world.messages()
    pressed = await world.stranger.click(answer, label="Delete")
    assert "Only the member who asked" in pressed.response.content
    assert len(world.messages()) == 1


async def test_a_moderator_may_delete(world: World) -> None:
    await ask(world, "blue")
    [answer] = world.messages()
    await world.moderator.click(answer, label="Delete")
    assert world.messages() == []
