"""How an ended job looks in Discord: its outcome as parts.

This module owns the shape of answers. It is pure and deterministic: no clock, no disk, no Discord,
so that the parts can be committed in the transaction that ends the job. Keys of ``presentation``:

- ``recipe``: id of a recipe; adds the button that carries it out again
- ``notice``: whether to say that facts need checking
- ``format``: of a transcript: txt, srt, vtt or json
- ``title``: what was worked on, such as the name of a file
- ``quote``: what was asked, shown above the answer
- ``notes``: sentences to read with the answer, such as which files were left out
- ``pictures``: where the pictures that the request reads can be fetched again, each as channel,
  message and attachment id
- ``kept``: under which names the pictures that the request reads are kept, where a member uploaded
  them
- ``kept_prompt``: whether moderators can read what was asked, which the answer then says
- ``negative``: what a member does not want to see, without what a style added
- ``style``: name of the preset that a prompt was written in
- ``offers``: what else can be done with pictures here: describe, animate, ask
- ``unsafe``, ``unsafe_from``: what becomes of explicit pictures (block, spoiler, allow), and from
  which score on
- ``then``: what follows the job, see ``bot.services.next_steps``; before a ``caption`` the text
  of the picture is wanted only if there is much of it
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import cast, get_args

from bot.delivery.descriptions import described
from bot.delivery.gallery import clip, enlarged, pictures
from bot.delivery.parts import (
    AnchorEdit,
    Button,
    ChannelMessage,
    File,
    Part,
    Pointer,
    VoiceMessage,
    dump_part,
)
from bot.delivery.shape import (
    as_quote,
    beginning_of,
    clipped,
    closed,
    is_late,
    message_limit,
    own_buttons,
    quote_of,
    small_print,
    text_file,
)
from bot.delivery.splitter import split, units
from bot.delivery.wording import duration, one_line
from bot.engine.job import Job, JobState, Outcome
from models.contracts import (
    ImageResult,
    Modality,
    SpeechRequest,
    SpeechResult,
    TextResult,
    TranscriptionRequest,
    TranscriptionResult,
    UpscalingResult,
    VideoResult,
    VisionResult,
)
from models.errors import InvalidRequest
from models.transcription.formats import TranscriptFormat, render

MAX_MESSAGES = 5
"""A longer answer becomes a file."""

_UNREADABLE = "⚠️ I was changed while this waited, and cannot read it any more. Please ask again."
_INLINE_TRANSCRIPT_CHARS = 1500
_KEPT_PROMPT = "👁️ The moderators of this server can read what was asked."
_CONTENT_TYPES: dict[TranscriptFormat, str] = {
    "txt": "text/plain",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "json": "application/json",
}


def present(job: Job, outcome: Outcome) -> list[str]:
    """Return the parts of an ended job as JSON, in the order in which they are sent."""
    return [dump_part(part) for part in parts_of(job, outcome)]


def present_unreadable() -> list[str]:
    """Return the parts of the answer to a job of which only its place can be read any more."""
    return [dump_part(AnchorEdit(_UNREADABLE))]


def parts_of(job: Job, outcome: Outcome) -> list[Part]:
    """Return the parts of an ended job, in the order in which they are sent."""
    notes = job.submission.presentation.get("notes")
    if isinstance(notes, list):
        outcome = replace(outcome, notices=(*map(str, notes), *outcome.notices))
    if job.submission.presentation.get("kept_prompt"):
        outcome = replace(outcome, notices=(*outcome.notices, _KEPT_PROMPT))
    parts = _parts(job, outcome)
    return _as_new_message(job, parts) if is_late(job) else parts


def _parts(job: Job, outcome: Outcome) -> list[Part]:
    match outcome.result:
        case TextResult() as result if outcome.state is JobState.DONE:
            return _text(job, outcome, result)
        case SpeechResult() as result if outcome.state is JobState.DONE:
            return _speech(job, outcome, result)
        case TranscriptionResult() as result if outcome.state is JobState.DONE:
            return [_transcript(job, outcome, result)]
        case ImageResult() as result if outcome.state is JobState.DONE:
            return [pictures(job, outcome, result)]
        case VideoResult() as result if outcome.state is JobState.DONE:
            return [clip(job, outcome, result)]
        case UpscalingResult() as result if outcome.state is JobState.DONE:
            return [enlarged(job, outcome, result)]
        case VisionResult() as result if outcome.state is JobState.DONE:
            return described(job, outcome, result)
        case _:
            return _unfinished(job, outcome)


# --------------------------------------------------------------------------- text


def _text(job: Job, outcome: Outcome, result: TextResult) -> list[Part]:
    notes = list(outcome.notices)
    files: list[File] = []
    if result.finish_reason == "length":
        cut = f"{result.usage.amount:.0f} {result.usage.unit}"
        notes.append(f"✂️ The answer was cut off at its limit of {cut}.")
    if result.reasoning.strip():
        files.append(text_file("reasoning.md", result.reasoning, "How the model reasoned"))
        notes.append("💭 The reasoning is in the attached file.")
    if job.submission.presentation.get("notice"):
        notes.append("A language model wrote this. Check facts before you rely on them.")
    return _messages(job, result.text if result.text.strip() else "*(no answer)*", notes, files)


def _messages(job: Job, body: str, notes: Sequence[str], files: list[File]) -> list[Part]:
    """Return a text with notes below it as messages, or as its beginning and a file."""
    limit = message_limit(job)
    contents = split(quote_of(job) + closed(body) + small_print(notes), limit)
    if len(contents) > (1 if job.submission.anchor.ephemeral else MAX_MESSAGES):
        whole = f"📄 The whole answer ({len(body):,} characters) is in the attached file."
        below = small_print([whole, *notes])
        beginning = beginning_of(body, limit - units(quote_of(job) + below))
        files = [text_file("answer.md", body, "The whole answer"), *files]
        contents = [clipped(f"{quote_of(job)}{beginning}", [whole, *notes], limit)]
    last = len(contents) - 1
    return [
        _message(
            position,
            content,
            files=tuple(files) if position == 0 else (),
            buttons=own_buttons(job, "Regenerate") if position == last else (),
        )
        for position, content in enumerate(contents)
    ]


def _message(
    position: int, content: str, *, files: tuple[File, ...], buttons: tuple[Button, ...]
) -> Part:
    if position == 0:
        return AnchorEdit(content, files, buttons)
    return ChannelMessage(content, files, buttons)


# --------------------------------------------------------------------------- speech


def _speech(job: Job, outcome: Outcome, result: SpeechResult) -> list[Part]:
    voice = f"**{one_line(result.voice, 80)}** · " if result.voice else ""
    content = clipped(
        f"{quote_of(job) or _spoken(job)}🔊 {voice}{duration(result.duration_s)}",
        outcome.notices,
        message_limit(job),
    )
    buttons = own_buttons(job, "Speak again")
    file = File(
        filename=f"speech-{job.id}.ogg",
        content_type=result.media.content_type,
        spool_path=result.media.path,
        description=f"A spoken text, {duration(result.duration_s)}",
        sha256=result.media.sha256,
    )
    if job.submission.anchor.ephemeral:
        return [AnchorEdit(content, (file,), buttons)]
    return [
        AnchorEdit(content, (), buttons),
        VoiceMessage(file, result.duration_s, result.waveform),
    ]


def _spoken(job: Job) -> str:
    """Return the spoken text as a caption, for those who cannot listen now."""
    request = job.submission.request
    return as_quote(request.text) if isinstance(request, SpeechRequest) else ""


# --------------------------------------------------------------------------- transcription


def _transcript(job: Job, outcome: Outcome, result: TranscriptionResult) -> Part:
    title = str(job.submission.presentation.get("title") or "")
    if not result.text:
        named = f" in **{one_line(title, 100)}**" if title else " in this recording"
        silent = f"🔇 Nobody spoke{named} ({duration(result.duration_s)})."
        return AnchorEdit(
            clipped(silent, outcome.notices, message_limit(job)), (), own_buttons(job, "Again")
        )

    chosen = job.submission.presentation.get("format")
    format_ = cast("TranscriptFormat", chosen) if chosen in get_args(TranscriptFormat) else "txt"
    quoted = "\n".join(f"> {line}" for line in render(result, "txt").strip().split("\n"))
    notes = list(outcome.notices)
    files: tuple[File, ...] = ()
    too_long = units(quoted) > _INLINE_TRANSCRIPT_CHARS
    if too_long:
        notes.insert(0, "📄 The whole transcript is in the attached file.")
        quoted = beginning_of(quoted, message_limit(job) - units(small_print(notes)))
    if too_long or format_ != "txt":
        files = (
            File(
                filename=f"{_stem(title)}.{format_}",
                content_type=_CONTENT_TYPES[format_],
                text=render(result, format_),
                description=f"Transcript, {duration(result.duration_s)}",
            ),
        )
    content = clipped(f"{_facts(job, title, result)}\n{quoted}", notes, message_limit(job))
    return AnchorEdit(content, files, own_buttons(job, "Again"))


def _facts(job: Job, title: str, result: TranscriptionResult) -> str:
    request = job.submission.request
    translated = isinstance(request, TranscriptionRequest) and request.translate
    language = f"{result.language} → en" if translated else result.language
    named = f"**{one_line(title, 100)}** · " if title else ""
    return f"📝 {named}{language} · {duration(result.duration_s)}"


def _stem(title: str) -> str:
    """Return a file name without its ending, fit for any system."""
    without_ending = re.sub(r"\.\w{1,5}$", "", title)
    stem = re.sub(r"[^\w-]+", "-", without_ending).strip("-_")
    return stem[:60] or "transcript"


# --------------------------------------------------------------------------- the rest


def _unfinished(job: Job, outcome: Outcome) -> list[Part]:
    again = "Again" if job.modality is Modality.TRANSCRIPTION else "Try again"
    if outcome.state is JobState.CANCELLED:
        sentence = "⏹️ Stopped."
    else:
        error = outcome.error
        sentence = "⚠️ " + (error.user_message if error else "Something went wrong here.")
        if isinstance(error, InvalidRequest):
            again = ""
    if outcome.partial_text.strip() and job.modality is not Modality.VISION:
        return _messages(job, outcome.partial_text, [*outcome.notices, sentence], [])
    content = clipped(quote_of(job) + one_line(sentence, 1500), outcome.notices, message_limit(job))
    return [AnchorEdit(content, (), own_buttons(job, again))]


def _as_new_message(job: Job, parts: list[Part]) -> list[Part]:
    user_id = job.submission.requester.user_id
    took = duration((job.finished_at or job.created_at) - job.created_at)
    moved: list[Part] = [
        ChannelMessage(f"<@{user_id}>\n{p.content}", p.files, p.buttons, mention_user_id=user_id)
        if isinstance(p, AnchorEdit)
        else p
        for p in parts
    ]
    guild_id = job.submission.requester.guild_id
    return [*moved, Pointer(f"This took {took}, so the answer is a new message:", guild_id)]
