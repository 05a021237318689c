"""Several text jobs on one model, a token of each at every step.

This module owns which job has which row, whose prompt is read next, and how many tokens may be
kept at once. What a library does with rows is a ``BatchModel``. It must not import one.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from models.allocator import give_back_freed_memory
from models.contracts import Control, HandlerEvent, Joins, Progress, TextRequest
from models.text.chat import ChatTokenizer
from models.text.dialogue import Dialogue
from models.text.options import TextOptions
from models.text.sampling import Sampler, Scores

PROMPT_CHUNK: Final = 64
"""Tokens of a prompt that are read in a step: a sixth of a second of a slow processor, for which
all the others wait."""

_OVERTAKING: Final = 32
"""A job that came a step later goes first if its prompt has so many tokens less left to read. So
short prompts pass long ones, which wait for a bounded time."""

_SIGN_OF_LIFE_S: Final = 10.0
"""A job that waits for room says so after so long, again and again."""

Happened = tuple[str, HandlerEvent | Exception]


class BatchModel(Protocol):
    """A loaded model with rows of tokens. Those in use are the first ones, without holes.

    Attributes:
        context_tokens: The longest row.
        rows: How many there are.
        vocabulary: How many scores there are for a row.
        exact: Whether the scores of a row are the same, bit for bit, whoever is beside it.
    """

    context_tokens: int
    rows: int
    vocabulary: int
    exact: bool

    def read(self, row: int, tokens: Sequence[int]) -> Scores:
        """Append tokens to a row; return the scores of what may follow, until the next call."""

    def advance(self, tokens: Sequence[int]) -> Scores:
        """Append a token to each of the first rows; return a line of scores for each of them."""

    def swap(self, first: int, second: int) -> None:
        """Exchange two rows."""

    def clear(self, row: int) -> None:
        """Empty a row and give back its memory."""

    def close(self) -> None:
        """Free the memory."""


@dataclass(eq=False, slots=True)
class _Job:
    """A job that is in.

    Attributes:
        came: The number of the step at which it came.
        read: Tokens of its prompt that the model knows.
        last: The token that it wrote last.
        told_at: When it last said that it waits for room.
    """

    id: str
    dialogue: Dialogue
    sampler: Sampler
    came: int
    read: int = 0
    last: int = 0
    told_at: float = -_SIGN_OF_LIFE_S

    @property
    def turn(self) -> int:
        """Sort key of those whose prompt is not read yet."""
        return len(self.dialogue.prompt) - self.read + _OVERTAKING * self.came


class TextStepper:
    """Answers several conversations at once.

    The job at place n of ``_seated`` has row n. Those that write come first, since a step writes
    into the first rows; behind them are those whose prompt is still to be read.
    """

    joins: Joins = "anytime"

    def __init__(
        self,
        model: BatchModel,
        tokenizer: ChatTokenizer,
        options: TextOptions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slots = model.rows
        self.exact = model.exact
        self._model = model
        self._tokenizer = tokenizer
        self._options = options
        self._clock = clock
        self._most_tokens = max(options.cache_tokens, model.context_tokens)
        self._steps = 0
        self._admitted: deque[tuple[str, TextRequest]] = deque()
        self._waiting: deque[_Job] = deque()
        self._seated: list[_Job] = []
        self._writing = 0

    def admit(self, job_id: str, request: TextRequest, control: Control) -> None:
        """Take a job in. Nothing is opened or stored for it."""
        self._admitted.append((job_id, request))

    def step(self) -> list[Happened]:
        """Read a part of one prompt, then write a token of each answer that has begun."""
        self._steps += 1
        happened: list[Happened] = []
        self._open(happened)
        self._seat(happened)
        self._read(happened)
        self._write(happened)
        return happened

    def cancel(self, job_id: str) -> None:
        """Drop a job, wherever it is."""
        self._admitted = deque(each for each in self._admitted if each[0] != job_id)
        self._waiting = deque(job for job in self._waiting if job.id != job_id)
        for job in self._seated:
            if job.id == job_id:
                self._leave(job)
                break

    def close(self) -> None:
        """Drop all jobs and free the memory of the model."""
        self._admitted.clear()
        self._waiting.clear()
        self._seated.clear()
        self._writing = 0
        self._model.close()
        gc.collect()
        give_back_freed_memory()

    # ----------------------------------------------------------------- stages of a step

    def _open(self, happened: list[Happened]) -> None:
        """Fit what came in since the last step into the context."""
        while self._admitted:
            job_id, request = self._admitted.popleft()
            try:
                dialogue = Dialogue(
                    request, self._tokenizer, self._model.context_tokens, self._options
                )
            except Exception as error:  # noqa: BLE001 - it concerns this job alone
                happened.append((job_id, error))
                continue
            sampler = Sampler(dialogue.sampling, self._model.vocabulary)
            sampler.read(dialogue.prompt)
            self._waiting.append(_Job(job_id, dialogue, sampler, self._steps))
            happened += [(job_id, notice) for notice in dialogue.notices]

    def _seat(self, happened: list[Happened]) -> None:
        """Give rows to those that wait, as far as their longest answers fit beside the others."""
        taken = sum(job.dialogue.size for job in self._seated)
        while self._waiting and len(self._seated) < self.slots:
            taken += self._waiting[0].dialogue.size
            if taken > self._most_tokens:
                break
            self._seated.append(self._waiting.popleft())
        now = self._clock()
        for job in self._waiting:
            if now - job.told_at >= _SIGN_OF_LIFE_S:
                job.told_at = now
                happened.append((job.id, Progress("waiting for room beside other answers")))

    def _read(self, happened: list[Happened]) -> None:
        """Read a part of the prompt whose turn it is; after the last part the answer begins."""
        if self._writing == len(self._seated):
            return
        job = min(self._seated[self._writing :], key=lambda each: each.turn)
        row = self._seated.index(job)
        part = job.dialogue.prompt[job.read : job.read + PROMPT_CHUNK]
        try:
            scores = self._model.read(row, part)
        except Exception as error:  # noqa: BLE001 - it concerns this job alone
            self._fail(job, error, happened)
            return
        job.read += len(part)
        if job.read < len(job.dialogue.prompt):
            happened.append((job.id, job.dialogue.reading(job.read)))
            return
        self._swap(row, self._writing)
        self._writing += 1
        self._take(job, scores, happened)

    def _write(self, happened: list[Happened]) -> None:
        """Write a token of each answer."""
        writing = self._seated[: self._writing]
        if not writing:
            return
        try:
            lines = self._model.advance([job.last for job in writing])
        except Exception as error:  # noqa: BLE001 - whatever the library raises ends its jobs
            for job in writing:
                self._fail(job, error, happened)
            return
        for job, scores in zip(writing, lines, strict=True):
            self._take(job, scores, happened)

    def _take(self, job: _Job, scores: Scores, happened: list[Happened]) -> None:
        try:
            job.last = job.sampler.draw(scores)
            happened += [(job.id, event) for event in job.dialogue.take(job.last)]
        except Exception as error:  # noqa: BLE001 - it concerns this job alone
            self._fail(job, error, happened)
            return
        if job.dialogue.ended:
            self._leave(job)

    # ----------------------------------------------------------------- rows

    def _fail(self, job: _Job, error: Exception, happened: list[Happened]) -> None:
        happened.append((job.id, error))
        self._leave(job)

    def _leave(self, job: _Job) -> None:
        """Free a job's row and close the hole."""
        row = self._seated.index(job)
        self._model.clear(row)
        if row < self._writing:
            self._writing -= 1
            row = self._swap(row, self._writing)
        self._swap(row, len(self._seated) - 1)
        self._seated.pop()

    def _swap(self, row: int, other: int) -> int:
        """Exchange two rows with their jobs; return where the first one is now."""
        if row != other:
            self._model.swap(row, other)
            seated = self._seated
            seated[row], seated[other] = seated[other], seated[row]
        return other
