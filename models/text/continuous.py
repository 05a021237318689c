"""Continuous batching of transformers: several text jobs in each pass of a model on a GPU.

This module owns the library's manager, which runs in a thread of its own, and who gets what comes
out of it. The library has one seed for all and no repetition penalty for each, so a job with a seed
of its own is done by the handler that does one at a time. It must not load a model.

Source: https://huggingface.co/docs/transformers/continuous_batching
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from models.contracts import Control, Finished, HandlerEvent, Joins, TextRequest
from models.errors import BackendError, OutOfMemory
from models.text.chat import ChatTokenizer
from models.text.dialogue import Dialogue
from models.text.local import LocalTextHandler
from models.text.options import TextOptions
from models.text.sampling import Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.generation.continuous_batching import ContinuousBatchingManager
    from transformers.generation.continuous_batching.requests import GenerationOutput

_STEP_S: Final = 0.05
"""Longest time that a step waits for the next token of any job."""

_PAGE_TOKENS: Final = 256
_PASS_TOKENS: Final = 512
"""Most tokens in a pass: long prompts are read in parts of that size, beside the others' tokens."""

Happened = tuple[str, HandlerEvent | Exception]


def can_share(options: TextOptions, device: str) -> bool:
    """Whether jobs of a model share its passes.

    They do on a GPU, if its row asks for nothing that the library does not have for each job.
    """
    return device != "cpu" and options.rows > 1 and options.repetition_penalty == 1


@dataclass(eq=False, slots=True)
class _Job:
    """A job that is with the manager, and how many of its tokens were taken."""

    id: str
    dialogue: Dialogue
    taken: int = 0


class ContinuousText:
    """Answers several conversations at once, and those with a seed alone."""

    joins: Joins = "anytime"
    exact = False

    def __init__(
        self,
        model: PreTrainedModel,
        alone: LocalTextHandler,
        tokenizer: ChatTokenizer,
        context_tokens: int,
        options: TextOptions,
    ) -> None:
        """Start the manager and its thread.

        Args:
            model: On its device, for the manager.
            alone: Does the jobs that have a seed of their own, with the same model.
            tokenizer: Of the model.
            context_tokens: Of one job.
            options: Of the model.
        """
        self.slots = options.rows
        self._alone = alone
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._options = options
        self._vocabulary = int(model.config.get_text_config().vocab_size)
        self._manager: ContinuousBatchingManager = _manager(model, context_tokens, options)
        self._numbers = count()
        self._admitted: dict[str, tuple[TextRequest, Control]] = {}
        self._seeded: dict[str, Iterator[HandlerEvent]] = {}
        self._shared: dict[str, _Job] = {}
        self._manager.start()

    def admit(self, job_id: str, request: TextRequest, control: Control) -> None:
        """Take a job in."""
        self._admitted[job_id] = (request, control)

    def step(self) -> list[Happened]:
        """Return what came out of the manager, after a short wait; advance those with a seed."""
        happened: list[Happened] = []
        for job_id, (request, control) in self._admitted.items():
            try:
                happened += self._begin(job_id, request, control)
            except Exception as error:  # noqa: BLE001 - it concerns this job alone
                happened.append((job_id, error))
        self._admitted.clear()
        for job_id in list(self._seeded):
            happened += self._advance(job_id)
        if self._shared:
            happened += self._receive(0 if self._seeded else _STEP_S)
        return happened

    def cancel(self, job_id: str) -> None:
        """Drop a job."""
        self._admitted.pop(job_id, None)
        self._seeded.pop(job_id, None)
        for request_id, job in list(self._shared.items()):
            if job.id == job_id:
                self._drop(request_id)

    def close(self) -> None:
        """Drop all jobs, end the manager's thread and free the memory of the model."""
        self._admitted.clear()
        self._seeded.clear()
        self._shared.clear()
        self._manager.stop(block=True, hard_stop=True)
        del self._manager
        self._alone.close()

    # ----------------------------------------------------------------- the manager

    def _begin(self, job_id: str, request: TextRequest, control: Control) -> list[Happened]:
        if request.seed is not None:
            self._seeded[job_id] = self._alone.run(request, control)
            return []
        dialogue = Dialogue(request, self._tokenizer, self._context_tokens, self._options)
        self._revive()
        request_id = f"{job_id}/{next(self._numbers)}"  # a job may come again after a cancel
        self._shared[request_id] = _Job(job_id, dialogue)
        self._manager.add_request(
            dialogue.prompt,
            request_id=request_id,
            max_new_tokens=dialogue.max_new_tokens,
            streaming=True,
            eos_token_id=sorted(self._tokenizer.eos_ids) or -1,
            **self._drawn_by(dialogue.sampling),
        )
        return [(job_id, notice) for notice in dialogue.notices]

    def _drawn_by(self, sampling: Sampling) -> dict[str, Any]:
        """Return a job's own options, of those that the manager has for each job.

        It always draws; the likeliest token alone is what a temperature of 0 asks for.
        """
        greedy = sampling.temperature == 0
        options = {
            "temperature": 1.0 if greedy else float(sampling.temperature),
            "top_k": 1 if greedy else min(sampling.top_k, self._vocabulary),
            "top_p": float(sampling.top_p),
        }
        known = self._manager.logit_processor.supported_keys
        return {name: value for name, value in options.items() if name in known}

    def _receive(self, wait_s: float) -> list[Happened]:
        """Take what has come out, after a wait for the first of it."""
        happened: list[Happened] = []
        while (output := self._manager.get_result(timeout=wait_s)) is not None:
            happened += self._take(output)
            wait_s = 0
        if not self._manager.is_running():
            happened += self._fail_all()
        return happened

    def _take(self, output: GenerationOutput) -> list[Happened]:
        job = self._shared.get(output.request_id)
        if job is None:
            return []  # it was dropped meanwhile
        happened: list[Happened] = []
        try:
            for token in output.generated_tokens[job.taken :]:
                job.taken += 1
                happened += [(job.id, event) for event in job.dialogue.take(token)]
                if job.dialogue.ended:
                    break
            if output.is_finished() and not job.dialogue.ended:
                raise _translated(output.error or "it ended too soon")
        except Exception as error:  # noqa: BLE001 - it concerns this job alone
            happened.append((job.id, error))
        if happened and isinstance(happened[-1][1], Finished | Exception):
            self._drop(output.request_id)
        return happened

    def _drop(self, request_id: str) -> None:
        del self._shared[request_id]
        self._manager.cancel_request(request_id)

    def _revive(self) -> None:
        """Start the manager's thread if it has not been started, or has died."""
        if not self._manager.is_running():
            self._manager.stop(block=True)
            self._manager.start()

    def _fail_all(self) -> list[Happened]:
        cause = self._manager.background_thread_status.fatal_error
        failed: list[Happened] = [
            (job.id, _translated(repr(cause))) for job in self._shared.values()
        ]
        self._shared.clear()
        return failed

    # ----------------------------------------------------------------- with a seed

    def _advance(self, job_id: str) -> list[Happened]:
        """Take the next event of a job that is done alone.

        The manager stands still meanwhile: two threads in one model leave it wrong for good.
        """
        self._revive()
        try:
            with self._manager.pause():
                event: HandlerEvent | Exception = next(self._seeded[job_id])
        except StopIteration:  # it was told to stop
            del self._seeded[job_id]
            return []
        except Exception as error:  # noqa: BLE001 - it concerns this job alone
            event = error
        if isinstance(event, Finished | Exception):
            del self._seeded[job_id]
        return [(job_id, event)]


def _manager(
    model: PreTrainedModel, context_tokens: int, options: TextOptions
) -> ContinuousBatchingManager:
    """Make a manager that holds the memory which it will ever take."""
    from transformers import GenerationConfig
    from transformers.generation.configuration_utils import ContinuousBatchingConfig

    tokens = max(options.cache_tokens, context_tokens)
    manager: ContinuousBatchingManager = model.init_continuous_batching(
        # What each job may set must be here, and not be what means "nothing".
        generation_config=GenerationConfig(
            do_sample=True, temperature=0.5, top_k=options.top_k, top_p=options.top_p
        ),
        continuous_batching_config=ContinuousBatchingConfig(
            per_request_processors=True,
            page_size=_PAGE_TOKENS,
            num_blocks=math.ceil(tokens / _PAGE_TOKENS) + options.rows,
            max_batch_tokens=_PASS_TOKENS,
            max_requests_per_batch=options.rows,
            auto_switch_to_flash=False,  # the jobs with a seed use the same model
        ),
    )
    manager.warmup()
    return manager


def _translated(cause: str) -> BackendError | OutOfMemory:
    """Return what ends a job, by what the library says of it."""
    error = OutOfMemory() if "out of memory" in cause.lower() else BackendError()
    error.__cause__ = RuntimeError(cause)
    return error
