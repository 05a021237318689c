"""One question, from the command to the answer in the channel."""

from __future__ import annotations

from tests.conftest import World


async def test_a_question_is_answered(world: World) -> None:
    await world.member.slash(world.channel, "ask", prompt="the sky is blue")

    [answer] = world.messages()
    assert "the sky is blue" in answer.content
    assert "Regenerate" in [b.label for row in answer.components for b in row.children]
