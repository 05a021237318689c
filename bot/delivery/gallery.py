"""How generated pictures and clips look in Discord.

This module owns their captions, alt texts and buttons, and what becomes of explicit ones. It is
pure, as ``bot.delivery.present`` is. Keys of ``presentation`` are described there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from bot.delivery.parts import AnchorEdit, Button, File
from bot.delivery.shape import can_repeat, clipped, message_limit, own_buttons, quote_of
from bot.delivery.wording import duration, one_line
from bot.engine.job import Job, Outcome
from bot.views import ids
from models.contracts import ImageResult, MediaInput, UpscalingResult, VideoResult

_Row: TypeAlias = tuple[ids.PictureAction, str, str]
"""A button: what it does, its label, its emoji."""

_ALT_CHARS = 1000
_SPOILER = "SPOILER_"
_BLOCKED_ALL = "🔞 Not shown: the safety check takes this for explicit, which is blocked here."
_BLOCKED_SOME = (
    "{count} more not shown: the safety check takes that for explicit, which is blocked here."
)
_VEILED = "The safety check takes this for explicit, so it is veiled. Click to see it."


def pictures(job: Job, outcome: Outcome, result: ImageResult) -> AnchorEdit:
    """Return the answer that shows pictures."""
    notes = list(outcome.notices)
    verdicts = [verdict(job, picture.unsafe_score) for picture in result.pictures]
    shown = [pair for pair in zip(result.pictures, verdicts, strict=True) if pair[1] != "block"]
    files = tuple(
        shown_file(picture.media, picture.alt_text, veiled=what == "spoiler")
        for picture, what in shown
    )
    if not files:
        return _message(job, _BLOCKED_ALL, notes, (), _picture_buttons(job, shows=False))
    if len(files) < len(verdicts):
        notes.append(_BLOCKED_SOME.format(count=len(verdicts) - len(files)))
    if "spoiler" in verdicts:
        notes.append(_VEILED)
    first = result.pictures[0]
    facts = [
        f"{first.width_px} × {first.height_px}",
        *_steps(result),
        _seeds([picture.seed for picture, _ in shown]),
    ]
    return _message(job, _facts(job, "🎨", facts), notes, files, _picture_buttons(job, shows=True))


def clip(job: Job, outcome: Outcome, result: VideoResult) -> AnchorEdit:
    """Return the answer that shows a clip."""
    notes = list(outcome.notices)
    edit = _recipe_buttons(job, ("edit", "Edit prompt", "✏️"))
    buttons = own_buttons(job, "Again", edit if can_repeat(job) else ())
    what = verdict(job, result.unsafe_score)
    if what == "block":
        return _message(job, _BLOCKED_ALL, notes, (), buttons)
    if what == "spoiler":
        notes.append(_VEILED)
    facts = [
        f"{result.width_px} × {result.height_px}",
        duration(result.frames / result.fps),
        _seeds([result.seed]),
    ]
    file = shown_file(result.media, result.alt_text, veiled=what == "spoiler")
    return _message(job, _facts(job, "🎬", facts), notes, (file,), buttons)


def enlarged(job: Job, outcome: Outcome, result: UpscalingResult) -> AnchorEdit:
    """Return the answer that shows a picture at a larger size."""
    notes, picture = list(outcome.notices), result.picture
    what = verdict(job, picture.unsafe_score)
    if what == "block":
        return _message(job, _BLOCKED_ALL, notes, (), own_buttons(job, ""))
    if what == "spoiler":
        notes.append(_VEILED)
    sizes = (
        f"{result.from_width_px} × {result.from_height_px}"
        f" → {picture.width_px} × {picture.height_px}"
    )
    file = shown_file(picture.media, picture.alt_text, veiled=what == "spoiler")
    return _message(job, _facts(job, "🔍", [sizes]), notes, (file,), own_buttons(job, ""))


def verdict(job: Job, score: float | None) -> str:
    """Return what becomes of a picture of such a score: "show", "spoiler" or "block"."""
    presentation = job.submission.presentation
    from_score = presentation.get("unsafe_from")
    if score is None or not isinstance(from_score, float | int) or score < from_score:
        return "show"
    rule = str(presentation.get("unsafe") or "block")
    return {"allow": "show", "spoiler": "spoiler"}.get(rule, "block")


def shown_file(media: MediaInput, alt_text: str, *, veiled: bool) -> File:
    """Return a picture or clip as a file of an answer, with words for those who do not see it."""
    name = media.filename.removeprefix(_SPOILER) if veiled else media.filename
    return File(
        filename=f"{_SPOILER if veiled else ''}{name}",
        content_type=media.content_type,
        spool_path=media.path,
        description=one_line(alt_text, _ALT_CHARS),
        sha256=media.sha256,
    )


def _message(
    job: Job,
    caption: str,
    notes: Sequence[str],
    files: tuple[File, ...],
    buttons: tuple[Button, ...],
) -> AnchorEdit:
    content = clipped(f"{quote_of(job)}{caption}", notes, message_limit(job))
    return AnchorEdit(content, files, buttons)


def _facts(job: Job, emoji: str, facts: Sequence[str]) -> str:
    style = job.submission.presentation.get("style")
    named = [f"`{job.submission.model_id}`", *([f"style {style}"] if style else []), *facts]
    return f"{emoji} {' · '.join(filter(None, named))}"


def _steps(result: ImageResult) -> list[str]:
    steps, guidance = result.num_inference_steps, result.guidance_scale
    facts = [f"{steps} step{'s' if steps > 1 else ''}"] if steps else []
    return [*facts, f"guidance {guidance:g}"] if guidance else facts


def _seeds(seeds: Sequence[int | None]) -> str:
    known = [str(seed) for seed in seeds if seed is not None]
    if not known:
        return ""
    return f"seed{'s' if len(known) > 1 else ''} {', '.join(known)}"


def _picture_buttons(job: Job, *, shows: bool) -> tuple[Button, ...]:
    offers = job.submission.presentation.get("offers")
    offered = offers if isinstance(offers, list) else []
    rows: list[_Row] = []
    if shows:
        rows += [("vary", "Vary", "🔀"), ("upscale", "Upscale", "🔍")]
    if can_repeat(job):
        rows.append(("edit", "Edit prompt", "✏️"))
    if shows:
        rows.append(("reference", "Use as reference", "🖼️"))
        rows += [("describe", "Describe", "💬")] if "describe" in offered else []
        rows += [("animate", "Animate", "🎬")] if "animate" in offered else []
    return own_buttons(job, "Again", _recipe_buttons(job, *rows))


def _recipe_buttons(job: Job, *rows: _Row) -> tuple[Button, ...]:
    recipe = job.submission.presentation.get("recipe")
    if not isinstance(recipe, str) or not recipe:
        return ()
    user_id = job.submission.requester.user_id
    return tuple(
        Button(ids.picture_id(action, user_id, recipe), label, emoji=emoji)
        for action, label, emoji in rows
    )
