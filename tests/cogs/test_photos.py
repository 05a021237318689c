import asyncio
from typing import Any

import pytest

from bot.db.next_steps import NextStepRepository
from models.catalog import Catalog
from tests.conftest import World
from tests.fake_pictures import picture
from tests.fakes import fake_catalog, fake_model
from tests.views.test_buttons import labels

PAGE = "\n".join(["The quick brown fox", "jumps over the lazy dog"] * 3)
SIGN = "EXIT"


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("fake-text"),
        fake_model("eyes", "vision", capabilities={"caption", "question"}),
        fake_model("reader", "vision", capabilities={"ocr"}),
    )


async def switch_on(world: World) -> None:
    await world.services.server_settings.set(
        "vision.automatic", "on", guild_id=world.guild.id, channel_id=world.channel.id, user_id=1
    )


async def drop(world: World, *files: bytes, person: Any = None) -> None:
    named = [(f"{number}.png", data) for number, data in enumerate(files)]
    await (person or world.stranger).send(world.channel, "", attachments=named)


async def test_a_dropped_picture_gets_its_caption(world: World) -> None:
    await switch_on(world)
    await drop(world, picture("red", says=SIGN))
    dropped, answer = world.messages()
    assert answer.content == "👁️ A red picture (caption)."
    assert answer.reference is not None
    assert answer.reference.message_id == dropped.id
    assert labels(answer) == ["Again", "Ask about it", "Delete"]
    assert world.services.engine.jobs() == []


async def test_a_dropped_page_gets_its_text(world: World) -> None:
    await switch_on(world)
    await drop(world, picture("red", says=PAGE))
    assert "> The quick brown fox" in world.messages()[-1].content
    rows = await world.services.jobs.of_member(world.stranger.id)
    assert [row.model_id for row in rows] == ["reader"]


async def test_several_pictures_are_one_answer(world: World) -> None:
    await switch_on(world)
    await drop(world, picture("red"), picture("blue"))
    _, answer = world.messages()
    assert "A red picture" in answer.content
    assert "A blue picture" in answer.content


async def test_questions_reply_to_the_caption(world: World) -> None:
    await switch_on(world)
    await drop(world, picture("green"))
    await world.member.send(world.channel, "Which colour?", reply_to=world.messages()[-1])
    assert world.messages()[-1].content.endswith("Which colour? It is green.")


async def test_without_the_setting_nothing_is_said(world: World) -> None:
    await drop(world, picture("red"))
    assert len(world.messages()) == 1


async def test_other_files_are_left_alone(world: World) -> None:
    await switch_on(world)
    await world.member.send(world.channel, "", attachments=[("a.svg", b"<svg/>"), ("b.txt", b"hi")])
    assert len(world.messages()) == 1


async def test_a_damaged_picture_is_said_to_be_one(world: World) -> None:
    await switch_on(world)
    await drop(world, b"nothing of the kind")
    assert "not a picture" in world.messages()[-1].content


async def test_a_picture_deleted_meanwhile_is_said_to_be_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await switch_on(world)
    world.env.inject_error("GET", "/channels/*/messages/*", status=404, code=10008, times=None)
    await drop(world, picture("red"))
    assert "not there any more" in world.messages()[-1].content


# ------------------------------------------------------------------ ended between text and caption


@pytest.mark.parametrize("gently", [True, False])
async def test_the_caption_comes_after_a_restart_in_between(
    world: World, monkeypatch: pytest.MonkeyPatch, *, gently: bool
) -> None:
    await switch_on(world)
    if gently:
        await world.services.next_steps.close()
    else:  # as if it were killed just then
        monkeypatch.setattr(world.services.engine._endings, "_observers", [])
    await drop(world, picture("red", says=SIGN))
    rows = await world.services.jobs.of_member(world.stranger.id)
    assert [(row.model_id, row.state) for row in rows] == [("reader", "done")]
    await world.restart()
    _, answer = world.messages()
    assert answer.content == "👁️ A red picture (caption)."
    assert labels(answer) == ["Again", "Ask about it", "Delete"]
    await world.restart()
    assert len(await world.services.jobs.of_member(world.stranger.id)) == 2


async def test_a_caption_that_was_begun_is_not_begun_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: Any) -> None:
        raise asyncio.CancelledError

    await switch_on(world)
    with monkeypatch.context() as patch:
        patch.setattr(NextStepRepository, "begun", killed)
        await drop(world, picture("red", says=SIGN))
    assert await world.services.next_steps._rows.owed()
    await world.restart()
    assert len(world.messages()) == 2
    assert len(await world.services.jobs.of_member(world.stranger.id)) == 2
    assert not await world.services.next_steps._rows.owed()


async def test_a_picture_deleted_before_the_restart_gets_no_caption(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await switch_on(world)
    monkeypatch.setattr(world.services.engine._endings, "_observers", [])
    await drop(world, picture("red", says=SIGN))
    await world.moderator.delete(world.messages()[0])
    await world.restart()
    [answer] = world.messages()
    assert "not there any more" in answer.content
    assert not await world.services.next_steps._rows.owed()


class TestReaderAlone:
    @pytest.fixture
    def catalog(self) -> Catalog:
        return fake_catalog(fake_model("reader", "vision", capabilities={"ocr"}))

    @pytest.mark.parametrize(("says", "part"), [(SIGN, "> EXIT"), ("", "no text in this picture")])
    async def test_whatever_text_there_is_is_read(self, world: World, says: str, part: str) -> None:
        await switch_on(world)
        await drop(world, picture("red", says=says))
        assert part in world.messages()[-1].content
