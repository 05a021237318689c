"""Other shapes of an answer, for when Discord does not take the first.

This module owns how parts are put together anew. It is pure; ``bot.delivery.outbox`` decides when.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.delivery.parts import AnchorEdit, ChannelMessage, File, Part, Pointer, VoiceMessage
from bot.delivery.splitter import MESSAGE_LIMIT, units
from bot.delivery.wording import subtext

REFUSED = "⚠️ Discord did not take this answer, so it can't be shown. Please try something shorter."
LOST = "⚠️ A file of this answer was lost here before it was sent. Please ask for it again."
_NO_MESSAGES = "📄 I may not post messages here, so the rest is in the attached file."
_NO_VOICE = "🔇 I may not send voice messages here, so the sound is attached as a file."


def in_one_message(parts: Sequence[Part]) -> AnchorEdit:
    """Return all parts of a job as one state of its anchor."""
    texts = [part for part in parts if isinstance(part, AnchorEdit | ChannelMessage)]
    voices = [part.file for part in parts if isinstance(part, VoiceMessage)]
    first, rest = texts[0], texts[1:]
    files = [file for text in texts for file in text.files]
    notes = []
    if rest:
        whole = "\n\n".join(text.content for text in rest)
        files.append(File("rest-of-answer.md", "text/markdown", text=whole))
        notes.append(_NO_MESSAGES)
    if voices:
        notes.append(_NO_VOICE)
    content = first.content
    for note in map(subtext, notes):
        if units(content) + units(note) < MESSAGE_LIMIT:
            content += f"\n{note}"
    buttons = tuple(button for text in texts for button in text.buttons)
    return AnchorEdit(content, (*files, *voices), buttons)


def as_direct_message(part: Part) -> ChannelMessage | VoiceMessage | None:
    """Return a part as a message to the member alone; None for what only makes sense in place."""
    match part:
        case VoiceMessage():
            return part
        case AnchorEdit() | ChannelMessage():
            return ChannelMessage(part.content, part.files)
        case Pointer():
            return None


def closed_to_us(user_id: int) -> ChannelMessage:
    """Return the notice to a member whom no private answer reaches."""
    return ChannelMessage(
        f"<@{user_id}> I could not show you a private answer: too much time had passed, and your "
        "direct messages are closed to me. Please ask once more.",
        mention_user_id=user_id,
    )
