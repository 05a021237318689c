"""How descriptions of pictures look in Discord.

This module owns the shape of captions, answers and texts that were read. It is pure, as
``bot.delivery.present`` is. Keys of ``presentation`` are described there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.delivery.gallery import shown_file, verdict
from bot.delivery.parts import AnchorEdit, Button, File, Part
from bot.delivery.shape import (
    beginning_of,
    can_repeat,
    clipped,
    message_limit,
    own_buttons,
    small_print,
)
from bot.delivery.splitter import units
from bot.delivery.wording import one_line
from bot.engine.job import Job, Outcome
from bot.views import ids
from models.contracts import PictureText, VisionRequest, VisionResult

CAPTION = "caption"
"""Name of the step after a text that was read: a caption, where there is not much text."""

_SEEN, _READ_OUT = "👁️", "📄"
_INLINE_CHARS = 1500
_MUCH_TEXT_CHARS = 80
_MUCH_TEXT_LINES = 3
_BLOCKED = "🔞 *The safety check takes this picture for explicit, which is blocked here.*"
_SPLIT_BARS = "|\u200b|"
_SPLIT_TICKS = "`\u200b``"
"""What would end a spoiler or a code block, made harmless."""
_READ = "The text in it:"
_NO_TEXT = "*There is no text in this picture.*"
_NO_SUCH_TEXT = "*There is no text in this language in the picture.*"


def described(job: Job, outcome: Outcome, result: VisionResult) -> list[Part]:
    """Return the answer about pictures; no part at all where their text was wanted in vain."""
    request = job.submission.request
    if not isinstance(request, VisionRequest):
        raise TypeError(f"{request!r} does not ask about pictures")
    if job.submission.presentation.get("then") == CAPTION and not is_mostly_text(result):
        return []
    verdicts = [verdict(job, answer.unsafe_score) for answer in result.answers]
    texts = [
        _text(request, answer, what) for answer, what in zip(result.answers, verdicts, strict=True)
    ]
    copies = tuple(
        shown_file(answer.copy, answer.text or "A picture", veiled=what == "spoiler")
        for answer, what in zip(result.answers, verdicts, strict=True)
        if answer.copy is not None and what != "block"
    )
    body = _body(request, texts)
    notes, files = list(outcome.notices), copies
    if units(body) > _INLINE_CHARS:
        notes.insert(0, "📄 The whole text is in the attached file.")
        files = (*copies, _whole(request, result, verdicts))
        body = beginning_of(body, message_limit(job) - units(small_print(notes)))
        body = body if body.count("||") % 2 == 0 else f"{body}||"
    shows_all = bool(copies) and len(copies) == len(result.answers)
    content = clipped(body, notes, message_limit(job))
    buttons = own_buttons(job, "Again", _ask(job, shows_files=shows_all), shows_files=shows_all)
    return [AnchorEdit(content, files, buttons)]


def is_description(content: str) -> bool:
    """Return whether a message of the bot's has the form of an answer about pictures."""
    return re.match(rf"(> .*\n)?({_SEEN}|{_READ_OUT})", content) is not None


def is_mostly_text(result: VisionResult) -> bool:
    """Return whether what was read in a picture is what the picture is about."""
    answer = result.answers[0]
    letters = sum(char.isalnum() for char in answer.text)
    lines = len(answer.lines) or len(answer.text.splitlines())
    return letters >= _MUCH_TEXT_CHARS and lines >= _MUCH_TEXT_LINES


def _text(request: VisionRequest, answer: PictureText, what: str) -> str:
    if what == "block":
        return _BLOCKED
    text = _with_text_besides(request, answer).strip()
    if not text:
        if request.task != "ocr":
            return "*(no answer)*"
        return _NO_SUCH_TEXT if request.languages else _NO_TEXT
    if what == "spoiler":
        return f"||{text.replace('||', _SPLIT_BARS)}||"
    if request.task == "ocr" and request.layout:
        return f"```\n{answer.text.rstrip().replace('```', _SPLIT_TICKS)}\n```"
    if request.task == "ocr":
        return _quoted(text)
    said, _, read = text.partition(f"{_READ}\n")
    return f"{said}{_READ}\n{_quoted(read)}" if read else text


def _with_text_besides(request: VisionRequest, answer: PictureText) -> str:
    """Return an answer, with the text that was read in a picture that the model does not know."""
    if request.task == "ocr" or not answer.lines:
        return answer.text
    return "\n".join((f"{answer.text} {_READ}", *(line.text for line in answer.lines)))


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.split("\n"))


def _body(request: VisionRequest, texts: Sequence[str]) -> str:
    head = f"> {one_line(request.question, 200)}\n" if request.task == "question" else ""
    emoji = _READ_OUT if request.task == "ocr" else _SEEN
    if len(texts) == 1:
        line = "\n" if texts[0].startswith(("> ", "```")) else " "
        return f"{head}{emoji}{line}{texts[0]}"
    numbered = (f"{emoji} **{number}**\n{text}" for number, text in enumerate(texts, start=1))
    return head + "\n".join(numbered)


def _whole(request: VisionRequest, result: VisionResult, verdicts: Sequence[str]) -> File:
    answers = zip(result.answers, verdicts, strict=True)
    texts = [
        _BLOCKED if what == "block" else _with_text_besides(request, answer)
        for answer, what in answers
    ]
    veil = "SPOILER_" if "spoiler" in verdicts else ""
    return File(
        f"{veil}{'text' if request.task == 'ocr' else 'description'}.txt",
        "text/plain",
        text="\n\n".join(texts),
        description="The whole text",
    )


def _ask(job: Job, *, shows_files: bool) -> tuple[Button, ...]:
    """Return the button that asks more, where a model of the place can answer."""
    presentation = job.submission.presentation
    recipe, offers = presentation.get("recipe"), presentation.get("offers")
    if not isinstance(recipe, str) or not recipe or not (shows_files or can_repeat(job)):
        return ()
    if not isinstance(offers, list) or "ask" not in offers:
        return ()
    user_id = job.submission.requester.user_id
    return (Button(ids.picture_id("ask", user_id, recipe), "Ask about it", emoji="❓"),)
