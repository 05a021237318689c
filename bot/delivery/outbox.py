"""Delivers what is in the outbox: every part once, in order, whatever Discord says meanwhile.

This module owns when a part is sent, sent again, sent otherwise or given up. How a part looks is
decided before (``bot.delivery.present``), how it is sent below (``bot.delivery.sender``).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from bot.db.outbox import OutboxRepository, PendingPart
from bot.delivery import fallback
from bot.delivery.faults import Barred, DeliveryFault, Gone, Lost, Refused, Transient
from bot.delivery.parts import (
    AnchorEdit,
    ChannelMessage,
    Part,
    Pointer,
    VoiceMessage,
    load_part,
    spool_paths,
)
from bot.delivery.sender import Sender
from bot.delivery.throttle import EditThrottle
from bot.engine.meter import SILENT, Meter
from bot.logs import about

_log = logging.getLogger(__name__)

PARALLEL_JOBS = 8
GIVE_UP_S = 24 * 3600.0
"""A part that could not be sent for so long is of no use to anybody."""

_FIRST_RETRY_S = 2.0
_LONGEST_RETRY_S = 300.0
_TROUBLE_S = 5.0


class Discarder(Protocol):
    """The spool, as far as the outbox needs it."""

    def discard(self, paths: Iterable[str]) -> None:
        """Delete files, present or not."""


class Outbox:
    """Sends pending parts until it is closed.

    Args:
        repository: The rows.
        sender: The calls.
        throttle: Ends live edits of an anchor before its final one.
        spool: Forgets the files of an answer once it is delivered.
        clock: Unix time in seconds.
        meter: Is told what becomes of the answers.
    """

    def __init__(
        self,
        repository: OutboxRepository,
        sender: Sender,
        throttle: EditThrottle,
        spool: Discarder,
        *,
        clock: Callable[[], float] = time.time,
        meter: Meter = SILENT,
    ) -> None:
        self._repository = repository
        self._sender = sender
        self._throttle = throttle
        self._spool = spool
        self._clock = clock
        self._meter = meter
        self._started_at = clock()
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._maybe_posted: set[int] = set()

    def start(self) -> None:
        """Begin to deliver; what a former run has left comes first."""
        self._loop = asyncio.create_task(self._run(), name="outbox")

    def wake(self) -> None:
        """Tell that there is something new."""
        self._wake.set()

    async def close(self, grace_s: float = 10.0) -> None:
        """Stop. Parts under way have a while to arrive; the rest waits for the next run."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        under_way = list(self._busy.values())
        if under_way:
            await asyncio.wait(under_way, timeout=grace_s)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    # ----------------------------------------------------------------------- when

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                wait_s = await self._start_due()
            except Exception:  # noqa: BLE001 - a database that is locked now is free again later
                _log.exception("the outbox cannot be read")
                wait_s = _TROUBLE_S
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _start_due(self) -> float | None:
        """Start the jobs that are due and return how long to wait, None for until woken."""
        now = self._clock()
        due = await self._repository.due(now, limit=2 * PARALLEL_JOBS)
        for job_id in due:
            if job_id not in self._busy and len(self._busy) < PARALLEL_JOBS:
                task = asyncio.create_task(self._deliver(job_id), name=f"delivery of {job_id}")
                self._busy[job_id] = task
                task.add_done_callback(partial(self._delivered, job_id))
        next_at = await self._repository.next_due_at(now)
        return None if next_at is None else max(0.0, next_at - self._clock())

    def _delivered(self, job_id: str, task: asyncio.Task[None]) -> None:
        self._busy.pop(job_id, None)
        if task.cancelled() or task.exception() is None:
            self._wake.set()
        else:
            _log.error("the delivery of job %s failed", job_id, exc_info=task.exception())
            asyncio.get_running_loop().call_later(_TROUBLE_S, self._wake.set)

    # ----------------------------------------------------------------------- what becomes of a job

    async def _deliver(self, job_id: str) -> None:
        with about(job_id=job_id):
            rows = await self._repository.pending(job_id)
            payloads = await self._repository.payloads(job_id)
            if rows and await self._settle(job_id, rows):
                self._maybe_posted -= {row.id for row in rows}
                self._spool.discard(spool_paths(map(load_part, payloads)))

    async def _settle(self, job_id: str, rows: list[PendingPart]) -> bool:
        """Bring a job's parts to an end, and return whether that was reached."""
        try:
            await self._send_all(rows)
        except Transient as fault:
            return await self._put_off(rows[0], fault)
        except DeliveryFault as fault:
            _log.warning("the answer of job %s has no way to its member: %s", job_id, fault)
            await self._give_up(job_id)
        except Exception as error:  # noqa: BLE001 - one job's trouble is not the others'
            _log.exception("the delivery of job %s failed", job_id)
            return await self._put_off(rows[0], Transient(repr(error)))
        else:
            self._meter.delivered(self._clock() - rows[0].created_at)
        return True

    async def _put_off(self, row: PendingPart, fault: Transient) -> bool:
        """Try a job again later; return whether it was given up instead."""
        if self._clock() - row.created_at > GIVE_UP_S:
            _log.error("the answer of job %s is given up: %s", row.job_id, fault)
            await self._give_up(row.job_id)
            return True
        wait_s = max(
            min(_FIRST_RETRY_S * 2.0 ** min(row.attempts, 16), _LONGEST_RETRY_S),
            fault.retry_after_s,
        )
        _log.warning("job %s is delivered again in %.0f s: %s", row.job_id, wait_s, fault)
        await self._repository.mark_retry(row.job_id, self._clock() + wait_s)
        self._meter.undelivered(given_up=False)
        return False

    async def _give_up(self, job_id: str) -> None:
        await self._repository.mark_dropped(job_id)
        self._meter.undelivered(given_up=True)

    async def _send_all(self, rows: list[PendingPart]) -> None:
        for index, row in enumerate(rows):
            part = load_part(row.payload)
            try:
                message_id = await self._send(row, part)
            except (Barred, Gone, Refused) as fault:
                match part:
                    case ChannelMessage() | VoiceMessage():
                        return await self._in_anchor(rows[index:])
                    case AnchorEdit() if not isinstance(fault, Gone):
                        return await self._without_anchor(rows[index:], fault)
                    case _:
                        raise
            await self._repository.mark_sent(row, message_id)
        return None

    # ----------------------------------------------------------------------- one part

    async def _send(self, row: PendingPart, part: Part) -> int:
        match part:
            case AnchorEdit():
                return await self._edit_anchor(row, part)
            case Pointer():
                [first, *_] = await self._repository.messages(row.job_id)
                place = part.guild_id or "@me"
                link = f"https://discord.com/channels/{place}/{row.anchor.channel_id}/{first}"
                return await self._edit_anchor(row, AnchorEdit(f"{part.content} {link}"))
            case ChannelMessage() | VoiceMessage():
                return await self._post_once(row, part, row.anchor.channel_id)

    async def _edit_anchor(self, row: PendingPart, part: AnchorEdit) -> int:
        await self._throttle.finish(row.anchor.message_id)
        await self._sender.edit_anchor(row.anchor, part.content, part.buttons, part.files)
        return row.anchor.message_id

    async def _post_once(
        self, row: PendingPart, part: ChannelMessage | VoiceMessage, channel_id: int
    ) -> int:
        """Post a message unless an attempt whose end was never seen has done so."""
        nonce = f"{row.job_id}.{row.position}"
        if row.id in self._maybe_posted or row.created_at < self._started_at:
            after_id = max([row.anchor.message_id, *await self._repository.messages(row.job_id)])
            found = await self._sender.find(channel_id, after_id, part, nonce=nonce)
            known = await self._repository.known_messages(found)
            if left := [message_id for message_id in found if message_id not in known]:
                return left[0]
        self._maybe_posted.add(row.id)
        return await self._sender.post(channel_id, part, nonce=nonce)

    # ----------------------------------------------------------------------- ways around

    async def _in_anchor(self, rows: list[PendingPart]) -> None:
        """Put everything into the anchor, where the channel takes no messages of ours."""
        parts = [load_part(payload) for payload in await self._repository.payloads(rows[0].job_id)]
        try:
            message_id = await self._edit_anchor(rows[0], fallback.in_one_message(parts))
        except (Barred, Refused) as fault:
            return await self._without_anchor(rows, fault)
        for row in rows:
            await self._repository.mark_sent(row, message_id)
        return None

    async def _without_anchor(self, rows: list[PendingPart], fault: Barred | Refused) -> None:
        """Say in the anchor why there is no answer, or give the answer to the member directly."""
        if isinstance(fault, Refused):
            said = fallback.LOST if isinstance(fault, Lost) else fallback.REFUSED
            await self._edit_anchor(rows[0], AnchorEdit(said))
            raise fault
        try:
            channel_id = await self._sender.direct_channel(rows[0].user_id)
            for row in rows:
                part = fallback.as_direct_message(load_part(row.payload))
                message_id = await self._post_once(row, part, channel_id) if part else None
                await self._repository.mark_sent(row, message_id)
        except (Barred, Refused):
            if rows[0].anchor.ephemeral:
                notice = fallback.closed_to_us(rows[0].user_id)
                await self._post_once(rows[0], notice, rows[0].anchor.channel_id)
            raise
