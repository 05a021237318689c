"""What all answers are built from: quotes, small print, clipped texts, the buttons below.

This module owns the pieces; ``bot.delivery.present`` and its like put them together. It is pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.delivery.parts import Button, File
from bot.delivery.splitter import MESSAGE_LIMIT, open_fence, split, units
from bot.delivery.wording import one_line, subtext
from bot.engine.job import Job
from bot.views import ids
from models.contracts import files_of

LATE_S = 3600.0
"""An answer that took longer is a new message, since nobody looks at the anchor any more."""

_BEGINNING_CHARS = 1200
_SHORTEST_BEGINNING_CHARS = 200
_MENTION_CHARS = 30


def message_limit(job: Job) -> int:
    """Return how long a message may be: a late one begins with a mention."""
    return MESSAGE_LIMIT - _MENTION_CHARS if is_late(job) else MESSAGE_LIMIT


def is_late(job: Job) -> bool:
    """Return whether the answer comes so late that nobody looks at its anchor any more."""
    took_s = (job.finished_at or job.created_at) - job.created_at
    return took_s > LATE_S and not job.submission.anchor.ephemeral


def own_buttons(
    job: Job, again: str, more: Sequence[Button] = (), *, shows_files: bool = False
) -> tuple[Button, ...]:
    """Return the buttons of an answer: once more, what else there is to do with it, and delete.

    Args:
        job: The job.
        again: Label of the button that carries it out once more; "" for none.
        more: Buttons between those two.
        shows_files: Whether the answer holds the files that the request read.
    """
    buttons: list[Button] = []
    user_id = job.submission.requester.user_id
    recipe = job.submission.presentation.get("recipe")
    if isinstance(recipe, str) and recipe and again and (shows_files or can_repeat(job)):
        buttons.append(Button(ids.again_id(user_id, recipe), again, emoji="🔁"))
    buttons += more
    if not job.submission.anchor.ephemeral:
        buttons.append(Button(ids.delete_id(user_id, job.id), "Delete", emoji="🗑️"))
    return tuple(buttons)


def can_repeat(job: Job) -> bool:
    """Return whether the files that a request reads, if any, can be fetched again."""
    request, shown = job.submission.request, job.submission.presentation
    return not files_of(request) or bool(shown.get("pictures") or shown.get("kept"))


def text_file(filename: str, text: str, description: str) -> File:
    """Return a file in Markdown."""
    return File(filename, "text/markdown", text=text, description=description)


def quote_of(job: Job) -> str:
    """Return what was asked as a quote, "" where nothing is to be quoted."""
    quote = job.submission.presentation.get("quote")
    return as_quote(str(quote)) if quote else ""


def as_quote(text: str) -> str:
    """Return a line of quotation."""
    return f"> {one_line(text, 200)}\n"


def closed(text: str) -> str:
    """Return a text whose last code block has an end."""
    return text if open_fence(text) is None else f"{text}\n```"


def small_print(notes: Sequence[str]) -> str:
    """Return notes as lines of small print."""
    return "".join(f"\n{subtext(note)}" for note in notes)


def beginning_of(text: str, room: int) -> str:
    """Return as much of a text's beginning as is good to show, with an ellipsis."""
    limit = max(_SHORTEST_BEGINNING_CHARS, min(_BEGINNING_CHARS, room))
    return split(text, limit)[0] + "\n…"


def clipped(body: str, notes: Sequence[str], limit: int) -> str:
    """Return one message: a body that is known to be short enough and the notes that still fit."""
    content = body
    for note in notes:
        below = small_print([note])
        if units(content) + units(below) <= limit:
            content += below
    return content
