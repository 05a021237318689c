from typing import Any

import pytest

from models.catalog import Catalog
from models.contracts import VisionRequest
from tests.conftest import World
from tests.fake_pictures import colour_of, picture
from tests.fakes import fake_catalog, fake_model
from tests.views.test_buttons import labels

EYES = {"caption", "detailed", "alt_text", "question"}
PAGE = "Chapter one\nin which nothing much happens"


@pytest.fixture
def catalog() -> Catalog:
    return fake_catalog(
        fake_model("fake-text"),
        fake_model("eyes", "vision", capabilities=EYES),
        fake_model("reader", "vision", capabilities={"ocr", "layout"}, languages=("en", "de")),
    )


async def describe(world: World, data: bytes, **options: Any) -> Any:
    options = {"picture": ("photo.png", data), **options}
    return await world.member.slash(world.channel, "describe", **options)


async def asked(world: World, person: Any = None) -> VisionRequest:
    """Return the last request."""
    *_, row = await world.services.recipes.of_member((person or world.member).id)
    recipe = await world.services.recipes.load(row.id)
    assert recipe is not None
    assert isinstance(recipe.request, VisionRequest)
    return recipe.request


async def test_a_picture_is_described_and_shown_with_its_alt_text(world: World) -> None:
    await describe(world, picture("red"))
    [answer] = world.messages()
    assert answer.content == "👁️ A red picture (caption)."
    [file] = answer.attachments
    assert colour_of(await file.read()) == "red"
    assert file.description == "A red picture (caption)."
    assert labels(answer) == ["Again", "Ask about it", "Delete"]


@pytest.mark.parametrize("task", ["caption", "detailed", "alt_text"])
async def test_the_task_reaches_the_model(world: World, task: str) -> None:
    await describe(world, picture("blue"), task=task)
    assert f"A blue picture ({task})." in world.messages()[0].content


async def test_text_is_read_by_a_model_that_can(world: World) -> None:
    await describe(world, picture("red", says=PAGE), task="ocr")
    assert world.messages()[0].content == "📄\n> Chapter one\n> in which nothing much happens"
    [row] = await world.services.jobs.of_member(world.member.id)
    assert row.model_id == "reader"


async def test_the_layout_of_a_page_is_kept(world: World) -> None:
    await describe(world, picture("red", says=PAGE), layout=True)
    assert f"```\n{PAGE}\n```" in world.messages()[0].content
    assert (await asked(world)).layout


async def test_a_long_text_comes_as_a_file(world: World) -> None:
    page = "\n".join(f"line {number} of the page" for number in range(200))
    await describe(world, picture("red", says=page), task="ocr")
    [answer] = world.messages()
    _, file = answer.attachments
    assert (await file.read()).decode() == page
    assert "whole text is in the attached file" in answer.content


async def test_a_question_is_answered(world: World) -> None:
    await describe(world, picture("green"), question="Which colour?")
    assert world.messages()[0].content == "> Which colour?\n👁️ Which colour? It is green."


async def test_several_pictures_are_answered_in_their_order(world: World) -> None:
    more = {"picture_2": ("b.png", picture("blue")), "picture_4": ("d.png", picture("green"))}
    await describe(world, picture("red"), **more)
    [answer] = world.messages()
    texts = [line for line in answer.content.splitlines() if line.startswith("A ")]
    assert [text.split()[1] for text in texts] == ["red", "blue", "green"]
    assert len(answer.attachments) == 3


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"task": "question"}, "Which question"),
        ({"question": "\u200b"}, "no question"),
        ({"task": "ocr", "question": "what?"}, "task `question` alone"),
        ({"task": "caption", "layout": True}, "has a layout"),
        ({"task": "caption", "language": "de"}, "a layout and a language"),
        ({"question": "what?", "language": "de"}, "task `question` alone"),
        ({"language": "ru"}, "Reader can't read “ru”"),
        ({"model": "eyes", "task": "ocr"}, "can't read text in pictures"),
        ({"model": "reader", "question": "what?"}, "can't answer questions"),
        ({"model": "fake-text"}, "is no vision model"),
    ],
)
async def test_what_cannot_be_is_refused_privately(
    world: World, options: dict[str, Any], part: str
) -> None:
    result = await describe(world, picture("red"), **options)
    assert result.response.ephemeral
    assert part in result.response.content


async def test_what_is_no_picture_is_refused_and_leaves_no_file(world: World) -> None:
    await describe(world, picture("red"), picture_2=("b.png", b"%PDF-1.7 not a picture"))
    assert "a PDF document, not a picture" in world.messages()[-1].content
    assert list(world.services.spool.folder.iterdir()) == []


class TestReaderAlone:
    @pytest.fixture
    def catalog(self) -> Catalog:
        return fake_catalog(
            fake_model("fake-text"), fake_model("reader", "vision", capabilities={"ocr"})
        )

    async def test_without_a_task_text_is_read_where_nothing_else_can_be_done(
        self, world: World
    ) -> None:
        await describe(world, picture("red", says=PAGE))
        assert "> Chapter one" in world.messages()[0].content


@pytest.mark.parametrize("read", [{"task": "ocr"}, {}])
async def test_the_language_reaches_the_reader(world: World, read: dict[str, str]) -> None:
    await describe(world, picture("red", says=PAGE), language="de", **read)
    assert "> Chapter one" in world.messages()[0].content
    request = await asked(world)
    assert (request.task, request.languages) == ("ocr", ("de",))


async def test_the_languages_of_the_reader_are_offered(world: World) -> None:
    offered = await world.member.autocomplete(world.channel, "describe", "language", "e")
    assert [(choice["name"], choice["value"]) for choice in offered] == [
        ("English (en)", "en"),
        ("German (de)", "de"),
    ]


# ------------------------------------------------------------------ private descriptions


async def test_a_private_description_is_seen_by_nobody_else(world: World) -> None:
    answer = (await describe(world, picture("red"), private=True)).response
    assert answer.ephemeral
    assert answer.content == "👁️ A red picture (caption)."
    assert colour_of(await answer.attachments[0].read()) == "red"
    assert labels(world.messages()[-1]) == ["Again", "Ask about it"]
    assert world.messages(world.stranger) == []


async def test_what_follows_a_private_description_is_private_too(world: World) -> None:
    answer = (await describe(world, picture("red"), private=True)).response
    again = (await world.member.click(answer, label="Again")).response
    form = await world.member.click(again, label="Ask about it")
    said = (await world.member.submit_modal(form, {"prompt": "Which colour?"})).response
    assert said.content.endswith("Which colour? It is red.")
    form = await world.member.click(said, label="Ask about it")
    more = (await world.member.submit_modal(form, {"prompt": "Sure?"})).response
    assert more.content.endswith("Sure? It is red.")
    assert all(one.ephemeral for one in (again, said, more))
    assert world.messages(world.stranger) == []


async def test_a_private_description_that_comes_too_late_is_told_directly(world: World) -> None:
    world.env.inject_error("PATCH", "/webhooks/*/*/messages/*", status=401, code=50027, times=None)
    await describe(world, picture("red"), private=True)
    assert world.messages(world.stranger) == []
    [told] = world.direct()
    assert "A red picture" in told.content
    assert colour_of(await told.attachments[0].read()) == "red"


# ------------------------------------------------------------------ the right-click menu


async def test_pictures_of_a_message_are_described_by_right_click(world: World) -> None:
    files = [("a.png", picture("red")), ("b.txt", b"text"), ("c.png", picture("blue"))]
    message = await world.stranger.send(world.channel, "look", attachments=files)
    result = await world.member.context_menu(world.channel, "Describe image", message)
    assert "A red picture" in result.response.content
    assert "A blue picture" in result.response.content
    assert world.messages()[-1].attachments == []  # they are in the channel already


async def test_a_message_without_a_picture_is_refused(world: World) -> None:
    message = await world.stranger.send(world.channel, "look", attachments=[("b.txt", b"text")])
    result = await world.member.context_menu(world.channel, "Describe image", message)
    assert result.response.ephemeral
    assert "no picture in that message" in result.response.content


# ------------------------------------------------------------------ more questions


async def test_a_reply_asks_more_about_the_picture_that_was_brought_along(world: World) -> None:
    await describe(world, picture("green"))
    [described] = world.messages()
    await world.stranger.send(world.channel, "Which colour?", reply_to=described)
    answer = world.messages()[-1]
    assert answer.content == "> Which colour?\n👁️ Which colour? It is green."
    # One answer alone: the chat leaves such replies to the model that looks.
    assert len(world.messages()) == 3


async def test_a_reply_to_the_reply_keeps_the_picture_also_after_a_restart(world: World) -> None:
    files = [("a.png", picture("blue"))]
    message = await world.stranger.send(world.channel, "look", attachments=files)
    await world.member.context_menu(world.channel, "Describe image", message)
    await world.member.send(world.channel, "What?", reply_to=world.messages()[-1])
    await world.restart()
    await world.member.send(world.channel, "And now?", reply_to=world.messages()[-1])
    assert world.messages()[-1].content.endswith("And now? It is blue.")


async def test_all_pictures_of_a_command_are_kept_also_after_a_restart(world: World) -> None:
    await describe(world, picture("red"), task="detailed", picture_2=("b.png", picture("blue")))
    described = world.messages()[-1]
    for question in ("Which colour?", "Sure?", "Quite?"):
        await world.restart()
        asked_about = described if question == "Which colour?" else world.messages()[-1]
        await world.stranger.send(world.channel, question, reply_to=asked_about)
        answer = world.messages()[-1].content
        assert f"{question} It is red." in answer
        assert f"{question} It is blue." in answer


@pytest.mark.parametrize("options", [{"task": "alt_text"}, {"task": "ocr", "layout": True}])
async def test_questions_follow_whatever_was_asked_first(
    world: World, options: dict[str, Any]
) -> None:
    await describe(world, picture("green", says=PAGE), **options)
    await world.restart()
    await world.member.send(world.channel, "Which colour?", reply_to=world.messages()[-1])
    assert world.messages()[-1].content.endswith("Which colour? It is green.")


async def test_a_picture_that_is_gone_is_said_to_be_gone(world: World) -> None:
    files = [("a.png", picture("blue"))]
    message = await world.stranger.send(world.channel, "look", attachments=files)
    await world.member.context_menu(world.channel, "Describe image", message)
    described = world.messages()[-1]
    await world.moderator.delete(message)
    await world.member.send(world.channel, "What?", reply_to=described)
    assert "not there any more" in world.messages()[-1].content
    assert world.services.engine.jobs() == []


async def test_the_button_asks_with_a_form(world: World) -> None:
    await describe(world, picture("red"))
    [described] = world.messages()
    form = await world.stranger.click(described, label="Ask about it")
    await world.stranger.submit_modal(form, {"prompt": "Which colour?"})
    assert world.messages()[-1].content.endswith("Which colour? It is red.")


async def test_again_looks_at_the_picture_in_the_answer(world: World) -> None:
    await describe(world, picture("red"))
    [described] = world.messages()
    await world.member.click(described, label="Again")
    again = world.messages()[-1]
    assert again.content == described.content
    assert again.id != described.id
    assert colour_of(await again.attachments[0].read()) == "red"


# ------------------------------------------------------------------ pictures with a mention


async def test_a_mention_with_a_picture_is_a_question_about_it(world: World) -> None:
    question = f"{world.bot.user.mention} Which colour?"  # type: ignore[union-attr]
    await world.member.send(world.channel, question, attachments=[("a.png", picture("blue"))])
    _, answer = world.messages()
    assert answer.content == "> Which colour?\n👁️ Which colour? It is blue."
    await world.stranger.send(world.channel, "Sure?", reply_to=answer)
    assert world.messages()[-1].content.endswith("Sure? It is blue.")


async def test_a_mention_with_a_picture_and_no_words_gets_a_caption(world: World) -> None:
    mention = world.bot.user.mention  # type: ignore[union-attr]
    await world.services.server_settings.set(
        "vision.automatic", "on", guild_id=world.guild.id, user_id=1
    )
    await world.member.send(world.channel, mention, attachments=[("a.png", picture("blue"))])
    assert [message.content for message in world.messages()[1:]] == ["👁️ A blue picture (caption)."]


async def test_a_picture_in_a_direct_message_is_looked_at(world: World) -> None:
    files = [("a.png", picture("red"))]
    stored = world.env.backend.store_attachments(world.user.dm_channel.id, files)
    await world.user.send_dm("Which colour?", attachments=stored)
    assert world.direct()[-1].content.endswith("Which colour? It is red.")


# ------------------------------------------------------------------ explicit pictures


class TestExplicit:
    @pytest.fixture
    def catalog(self) -> Catalog:
        script = {"script": "!unsafe 0.9"}
        return fake_catalog(fake_model("eyes", "vision", capabilities=EYES, options=script))

    @pytest.mark.parametrize(
        ("rule", "content", "files"),
        [("block", "blocked here", 0), ("spoiler", "||A red picture (caption).||", 1)],
    )
    async def test_the_rule_of_the_server_holds_for_what_members_send(
        self, world: World, rule: str, content: str, files: int
    ) -> None:
        await world.services.server_settings.set(
            "safety.pictures", rule, guild_id=world.guild.id, user_id=1
        )
        await describe(world, picture("red"))
        [answer] = world.messages()
        assert content in answer.content
        assert len(answer.attachments) == files
        assert all(file.is_spoiler() for file in answer.attachments)

    async def test_it_holds_for_pictures_of_a_chat_and_their_follow_ups(self, world: World) -> None:
        question = f"{world.bot.user.mention} What is that?"  # type: ignore[union-attr]
        await world.member.send(world.channel, question, attachments=[("a.png", picture("red"))])
        await world.member.send(world.channel, "Really?", reply_to=world.messages()[-1])
        for answer in world.messages()[1::2]:
            assert "blocked here" in answer.content
            assert "red" not in answer.content


class TestTalkative:
    @pytest.fixture
    def catalog(self) -> Catalog:
        script = {"script": "!delay 2\nsome words that come one by one"}
        return fake_catalog(fake_model("eyes", "vision", capabilities=EYES, options=script))

    async def test_nothing_is_said_before_the_safety_check_has_its_say(self, world: World) -> None:
        await describe(world, picture("red"))
        await world.env.advance_time(6)
        [anchor] = world.messages()
        assert anchor.content == "✍️ Writing …"
        await world.member.click(anchor, label="Stop")
        await world.env.advance_time(6)
        [stopped] = world.messages()
        assert stopped.content == "⏹️ Stopped."


class TestNobodyAnswers:
    """No model of this place answers questions about pictures."""

    @pytest.fixture
    def catalog(self) -> Catalog:
        return fake_catalog(
            fake_model("fake-text"),
            fake_model("captions", "vision", capabilities={"caption"}),
            fake_model("reader", "vision", capabilities={"ocr"}),
        )

    @pytest.mark.parametrize("task", ["caption", "ocr"])
    async def test_nobody_is_told_to_ask_and_who_does_is_told_why_not(
        self, world: World, task: str
    ) -> None:
        await describe(world, picture("red", says=PAGE), task=task)
        [described] = world.messages()
        assert labels(described) == ["Again", "Delete"]
        await world.member.send(world.channel, "Which colour?", reply_to=described)
        answer = world.messages()[-1].content
        assert "answer questions about pictures" in answer
        assert [message.author.bot for message in world.messages()] == [True, False, True]
