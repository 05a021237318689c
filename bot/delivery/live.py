"""What a member sees while a job waits and runs: its place, its progress, its text as it comes.

This module owns the picture of a job under way. The outcome is the outbox's: once that edits the
anchor, nothing here does any more. Whatever fails here harms no job.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from bot.delivery.faults import Barred, DeliveryFault, Gone
from bot.delivery.parts import Button, File
from bot.delivery.sender import Sender
from bot.delivery.splitter import tail
from bot.delivery.throttle import EditThrottle
from bot.delivery.wording import bar, duration, one_line, subtext
from bot.engine.feed import Sight
from bot.engine.job import Anchor, Ended, GivesWay, Job, LoadingModel, Restarted, Waiting
from bot.views import ids
from models.contracts import MediaInput, Notice, Preview, Progress, TextDelta

_log = logging.getLogger(__name__)

TAIL_LIMIT = 1900
QUIET_S = 1.0
"""A job that ends sooner is shown by its answer alone."""

_PREVIEW = "What it looks like so far"
_RESTARTING = "⏸️ The bot is being restarted. Your place is kept, and this goes on by itself."
_AGING = ((3600.0, 60.0), (900.0, 5.0), (0.0, 0.0))
"""From which age of a job on, in seconds, its anchor is edited how rarely, in seconds."""
_ETA_AFTER_S = 3.0
_ETA_FROM = 0.04
"""Before so many seconds and so much of the work, a guess of the rest is worth nothing."""


class Watched(Protocol):
    """The engine, as far as a live view needs it."""

    def watch(self, job_id: str) -> AsyncIterator[Sight]:
        """Yield what happens to a job until it has ended."""


@dataclass(slots=True)
class Picture:
    """A job as it stands, built up from what was seen of it."""

    job_id: str
    waiting: bool = True
    status: str = "⏳ On it …"
    answer: list[str] = field(default_factory=list)
    reasoning_chars: int = 0
    preview: MediaInput | None = None
    clock: Callable[[], float] = time.time
    hides_text: bool = False
    _began_at: float | None = None
    _shown: MediaInput | None = None

    def see(self, sight: Sight) -> None:
        """Take in what happened."""
        self.waiting = isinstance(sight, Waiting)
        match sight:
            case Waiting(place=place, paused=True):
                self.status = f"⏸️ Place {place} in line · paused by the moderators"
            case Waiting(place=place, eta_s=eta_s):
                wait = "" if eta_s is None else f" · about {duration(max(1.0, eta_s))}"
                self.status = f"⏳ Place {place} in line{wait}"
            case LoadingModel(name=name, expected_s=expected_s):
                about = duration(max(1.0, expected_s))
                self.status = f"📦 Loading {one_line(name, 80)}, about {about} …"
            case GivesWay():
                self.status = "⏸️ Gives way to a short job …"
            case Restarted():
                self.answer.clear()
                self.reasoning_chars = 0
                self.preview = self._began_at = None
                self.status = "🔁 Starting again …"
            case Progress(stage=stage, fraction=fraction):
                share = "" if fraction is None else f" {bar(fraction)}"
                self.status = f"⚙️ {one_line(stage, 80)}{share}{self._rest(fraction)}"
            case Preview(media=media):
                self.preview = media
            case TextDelta(channel="answer", text=text):
                self.answer.append(text)
                self.status = "✍️ Writing …"
            case TextDelta(text=text):
                self.reasoning_chars += len(text)
                self.status = f"💭 Thinking … ({self.reasoning_chars:,} characters)"
            case Notice() | Ended():
                pass

    def content(self) -> str:
        """Return the text of the anchor."""
        answer = "".join(self.answer)
        if self.hides_text or not answer.strip():
            return self.status
        return f"{tail(answer, TAIL_LIMIT)}\n{subtext(self.status)}"

    def files(self) -> list[File] | None:
        """Return the files of the anchor, None while they are what ``shown`` was told of."""
        if self.preview == self._shown:
            return None
        if self.preview is None:
            return []
        media = self.preview
        return [File(media.filename, media.content_type, media.path, description=_PREVIEW)]

    def shown(self, preview: MediaInput | None) -> None:
        """Take in which preview the anchor was given."""
        self._shown = preview

    def buttons(self) -> list[Button]:
        """Return the buttons of the anchor."""
        return [Button(ids.stop_id(self.job_id), "Stop", "danger", emoji="⏹️")]

    def _rest(self, fraction: float | None) -> str:
        """Return how long the rest takes if it goes on as it did, "" while nobody can know."""
        now = self.clock()
        if self._began_at is None:
            self._began_at = now
        passed_s = now - self._began_at
        if fraction is None or not _ETA_FROM <= fraction < 1.0 or passed_s < _ETA_AFTER_S:
            return ""
        return f" · about {duration(max(1.0, passed_s * (1.0 - fraction) / fraction))} left"


def _may_be_veiled(job: Job) -> bool:
    """Return whether the text may turn out to be about an explicit picture that is not shown."""
    return job.submission.presentation.get("unsafe") in ("block", "spoiler")


class LiveViews:
    """Follows jobs and edits their anchors.

    Args:
        engine: Tells what happens.
        sender: Edits.
        throttle: Says when.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        engine: Watched,
        sender: Sender,
        throttle: EditThrottle,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._sender = sender
        self._throttle = throttle
        self._clock = clock
        self._followed: dict[str, tuple[Job, Picture, asyncio.Task[None]]] = {}

    def follow(self, job: Job) -> None:
        """Show a job on its anchor until it has ended; returns at once."""
        if job.id in self._followed:
            return
        picture = Picture(job.id, clock=self._clock, hides_text=_may_be_veiled(job))
        task = asyncio.create_task(self._follow(job, picture), name=f"live view of {job.id}")
        self._followed[job.id] = job, picture, task
        task.add_done_callback(partial(self._ended, job.id))

    async def announce_restart(self) -> None:
        """Tell those whose jobs wait that their place is kept, and follow these no more."""
        waiting = [(job, task) for job, view, task in self._followed.values() if view.waiting]
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
        await asyncio.gather(*(self._tell(job) for job, _ in waiting))

    async def close(self) -> None:
        """Stop following. Jobs that still wait are told that their place is kept."""
        await self.announce_restart()
        running = [task for *_, task in self._followed.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _follow(self, job: Job, picture: Picture) -> None:
        anchor = job.submission.anchor
        self._throttle.open(
            anchor.message_id, partial(self._show, anchor, picture), after_s=QUIET_S
        )
        try:
            async for sight in self._engine.watch(job.id):
                if isinstance(sight, Ended):
                    return
                picture.see(sight)
                self._throttle.request(
                    anchor.message_id, self._bucket(anchor), interval_s=self._interval_s(job)
                )
        finally:
            await self._throttle.finish(anchor.message_id)

    async def _show(self, anchor: Anchor, picture: Picture) -> None:
        preview, files = picture.preview, picture.files()
        try:
            await self._sender.edit_anchor(anchor, picture.content(), picture.buttons(), files)
        except (Barred, Gone) as fault:
            _log.info("job %s is not shown any more: %s", picture.job_id, fault)
            self._followed[picture.job_id][-1].cancel()
        except DeliveryFault as fault:
            _log.info("a live edit of job %s failed: %s", picture.job_id, fault)
        finally:
            picture.shown(preview)  # one that could not be is not worth another try

    async def _tell(self, job: Job) -> None:
        try:
            async with asyncio.timeout(5.0):
                await self._sender.edit_anchor(job.submission.anchor, _RESTARTING)
        except (DeliveryFault, TimeoutError) as fault:
            _log.info("job %s could not be told of the restart: %s", job.id, fault)

    def _bucket(self, anchor: Anchor) -> str:
        if self._sender.token_serves(anchor):
            return f"webhook {anchor.token}"
        return f"channel {anchor.channel_id}"

    def _interval_s(self, job: Job) -> float:
        age_s = self._clock() - job.created_at
        return next(interval_s for from_s, interval_s in _AGING if age_s >= from_s)

    def _ended(self, job_id: str, task: asyncio.Task[None]) -> None:
        self._followed.pop(job_id, None)
        if not task.cancelled() and task.exception() is not None:
            _log.error("the live view of job %s failed", job_id, exc_info=task.exception())
