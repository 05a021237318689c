import json
from typing import Any

import pytest

from tests.cogs.people import open_thread
from tests.conftest import World


async def chat(world: World, person: Any, text: str, channel: Any = None) -> None:
    mention = f"<@{world.bot.user.id}>" if world.bot.user else ""
    await person.send(channel or world.channel, f"{mention} {text}")


async def leftovers(world: World, user_id: int) -> dict[str, Any]:
    exported = json.loads(await world.services.privacy.export(user_id))
    return {key: rows for key, rows in exported.items() if key != "user_id" and rows}


async def delete(world: World, person: Any) -> str:
    result = await person.slash(world.channel, "privacy delete")
    assert result.response.ephemeral
    pressed = await person.click(result.response, label="Delete everything")
    return str(pressed.response.content)


async def test_show_counts_what_is_kept_and_for_how_long(world: World) -> None:
    await chat(world, world.member, "hello")
    result = await world.member.slash(world.channel, "privacy show")
    assert result.response.ephemeral
    said = result.response.content
    assert "2 messages of conversations with me, for 30 days" in said
    assert "1 buttons" in said
    assert "1 rows of the usage log" in said
    assert "for 365 days" in said


async def test_export_has_everything_of_ones_own_and_nothing_of_others(world: World) -> None:
    await chat(world, world.member, "my secret")
    await chat(world, world.stranger, "their secret")
    result = await world.member.slash(world.channel, "privacy export")
    assert result.response.ephemeral
    [file] = result.response.attachments
    text = (await file.read()).decode()
    exported = json.loads(text)
    assert [turn["content"] for turn in exported["conversations"]] == ["my secret", "my secret"]
    assert exported["usage_log"][0]["modality"] == "text"
    assert {minute["guild_id"] for minute in exported["limits"]} == {world.guild.id}
    assert sum(minute["jobs"] for minute in exported["limits"]) == 1
    assert "my secret" in exported["buttons"][0]["request"]
    assert "their secret" not in text


async def test_delete_asks_first(world: World) -> None:
    await chat(world, world.member, "hello")
    result = await world.member.slash(world.channel, "privacy delete")
    pressed = await world.member.click(result.response, label="Keep it")
    assert pressed.response.content == "Nothing was deleted."
    assert pressed.response.components == []
    assert set(await leftovers(world, world.member.id)) == {
        "conversations",
        "buttons",
        "usage_log",
        "limits",
    }


async def test_delete_deletes_everything_of_the_member_alone(world: World) -> None:
    await chat(world, world.member, "mine")
    await world.member.slash(world.channel, "ask", prompt="mine too")
    await chat(world, world.stranger, "theirs")
    said = await delete(world, world.member)
    assert "2 messages of conversations, 2 buttons, 2 rows" in said
    assert set(await leftovers(world, world.member.id)) == {"limits"}
    assert set(await leftovers(world, world.stranger.id)) == {
        "conversations",
        "buttons",
        "usage_log",
        "limits",
    }


async def test_delete_stops_what_is_under_way(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt="!delay 1\na b c d e f g")
    await world.member.slash(world.channel, "ask", prompt="waits")
    await world.env.advance_time(2)
    result = await world.member.slash(world.channel, "privacy delete")
    pressed = await world.member.click(result.response, label="Delete everything")
    await world.env.advance_time(10)
    assert "2 rows of the usage log" in pressed.response.content
    assert world.services.engine.jobs() == []
    assert set(await leftovers(world, world.member.id)) == {"limits"}
    assert sum("Stopped" in message.content for message in world.messages()) == 2


async def test_delete_takes_buttons_of_others_that_carry_the_members_words(world: World) -> None:
    thread = open_thread(world, "talk", world.member)
    await chat(world, world.member, "my secret", thread)
    await world.stranger.send(thread, "what did she say?")
    assert "my secret" in await world.services.privacy.export(world.stranger.id)
    await delete(world, world.member)
    assert "my secret" not in await world.services.privacy.export(world.stranger.id)


async def test_an_unanswered_question_deletes_nothing(world: World) -> None:
    await chat(world, world.member, "hello")
    result = await world.member.slash(world.channel, "privacy delete")
    await world.env.advance_time(121)
    assert "Nothing was deleted" in result.response.content
    assert result.response.components == []
    assert "conversations" in await leftovers(world, world.member.id)


async def test_an_export_too_large_for_discord_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def large(*_: object) -> str:
        return "x" * (30 << 20)

    monkeypatch.setattr(type(world.services.privacy), "export", large)
    result = await world.member.slash(world.channel, "privacy export")
    assert "30 MiB, and Discord lets me send 25 MiB" in result.response.content
    assert result.response.attachments == []
