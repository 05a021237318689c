"""What is found in the state of the wire double.

This module owns the ways to look at it; it must not change it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.e2e.fake_backend import answer

VOICE_MESSAGE = 1 << 13
BOT = "1000"

Json = dict[str, Any]


def of_bot(state: Json) -> list[Json]:
    """The bot's messages in order."""
    return [m for m in state["messages"] if m["author"]["id"] == BOT]


def saying(text: str) -> Callable[[Json], list[Json]]:
    """What finds the bot's messages that contain a text."""
    return lambda state: [m for m in of_bot(state) if text in m["content"]]


def final(tag: str) -> Callable[[Json], list[Json]]:
    """What finds the delivered answer to a prompt with this tag."""
    return saying(f"answer {tag} part0")


def anchor(state: Json, interaction: Json) -> Json:
    """The message that an interaction was answered with, or an empty stand-in."""
    [found] = [i for i in state["interactions"] if i["id"] == interaction["id"]]
    messages: dict[str, Json] = {m["id"]: m for m in state["messages"]}
    return messages.get(str(found["message"]), {"content": "", "attachments": [], "components": []})


def buttons(message: Json) -> list[Json]:
    return [b for row in message["components"] for b in row.get("components", [])]


def labels(message: Json) -> list[str]:
    return [b.get("label", "") for b in buttons(message)]


def calls(state: Json, method: str, ending: str) -> list[Json]:
    return [r for r in state["requests"] if r["method"] == method and r["route"].endswith(ending)]


def answer_of(text: str, tag: str) -> str:
    """The paragraphs of the fake model's answer in a text, in order."""
    found = re.findall(rf"^answer {re.escape(tag)} part\d+.*$", text, flags=re.MULTILINE)
    return "\n\n".join(line.strip() for line in found)


def whole_answer(tag: str, chars: int) -> Callable[[Json], bool]:
    """What tells that every paragraph of an answer stands there, and fails when one is doubled."""

    def seen(state: Json) -> bool:
        found = answer_of("\n".join(m["content"] for m in of_bot(state)), tag)
        assert len(found) <= len(answer(tag, chars)), f"{tag} stands there twice: {found}"
        return found == answer(tag, chars)

    return seen


def voices(state: Json) -> list[Json]:
    """The bot's voice messages in order."""
    return [m for m in of_bot(state) if m["flags"] & VOICE_MESSAGE]


def brief(message: Json) -> Json:
    shown = {k: message[k] for k in ("id", "channel_id", "content", "flags", "type")}
    return shown | {
        "by": message["author"]["username"],
        "files": [a["filename"] for a in message["attachments"]],
        "buttons": labels(message),
    }
