"""Keeping what members ask for, for the moderators of servers that turned it on.

This module owns what is kept of a request, and the mark that a job carries when it is. Members are
told with every answer (``bot.delivery.present``). It must not know who may read it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from bot.db.prompts import KeptPrompt as KeptPrompt
from bot.db.prompts import write_prompt
from bot.engine.job import Job, Outcome
from models.contracts import (
    ImageRequest,
    Request,
    SpeechRequest,
    TextRequest,
    VideoRequest,
    VisionRequest,
)

SETTING: Final = "privacy.keep_prompts"
KEPT_PROMPT: Final = "kept_prompt"
"""Key of a job's presentation: moderators can read what was asked. It travels with the job, so that
a change of the setting counts for what is asked after it."""

MOST_CHARS: Final = 4000


def words_of(request: Request) -> str:
    """Return what a member said in a request; files have no words."""
    match request:
        case TextRequest(messages=(*_, last)):
            return last.content
        case ImageRequest() | VideoRequest():
            left_out = f"\nNot: {request.negative_prompt}" if request.negative_prompt else ""
            return request.prompt + left_out
        case SpeechRequest():
            return request.text
        case VisionRequest():
            return request.question
        case _:
            return ""


async def keep_prompt(session: AsyncSession, job: Job, outcome: Outcome) -> None:
    """Keep what was asked, where the job says so, in the transaction that ends it."""
    del outcome  # also what failed was asked
    submission = job.submission
    text = words_of(submission.request).strip()
    if not (submission.presentation.get(KEPT_PROMPT) and text):
        return
    requester = submission.requester
    await write_prompt(
        session,
        KeptPrompt(
            job_id=job.id,
            user_id=requester.user_id,
            guild_id=requester.guild_id,
            channel_id=requester.channel_id,
            modality=str(submission.request.modality),
            text=text if len(text) <= MOST_CHARS else text[: MOST_CHARS - 1] + "…",
            created_at=job.created_at,
        ),
    )
