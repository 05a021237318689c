"""One question, from the command to the answer in the channel."""

from __future__ import annotations

from tests.conftest import World


async def test_a_question_is_answered(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt="the sky is blue")

    [answer] = world.messages()
    assert "the sky is blue" in answer.content
    assert "Regenerate" in [b.label for row in answer.components for b in row.children]


async def test_a_question_in_a_direct_message_is_answered(world: World) -> None:
    await world.user.slash("ask", prompt="the sky is blue")
    [answer] = world.direct()
    assert "the sky is blue" in answer.content


async def test_an_answer_survives_a_crash_between_result_and_delivery(world: World) -> None:
    """Every way to the anchor fails, the bot stops, and the next one delivers, once."""
    world.env.inject_error("PATCH", "*", status=500, times=None)
    await world.member.slash(world.channel, "ask", prompt="the sky is blue")
    await world.env.advance_time(3)
    [anchor] = world.messages()
    assert "the sky is blue" not in anchor.content
    world.env.backend.faults.clear()
    await world.restart()
    await world.env.advance_time(400)
    [answer] = world.messages()
    assert "the sky is blue" in answer.content


async def test_an_answer_that_takes_longer_than_its_token_arrives_all_the_same(
    world: World,
) -> None:
    await world.member.slash(world.channel, "ask", prompt="!sleep 100\n" * 10 + "done at last")
    await world.env.advance_time(1100)
    assert "done at last" in world.messages()[-1].content
