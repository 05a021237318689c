"""Writing with a model that looks at pictures: token by token, stoppable at each.

This module owns ``generate`` of transformers for vision. It must not know what is written about.

Source: https://huggingface.co/docs/transformers/main_classes/text_generation
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from models.contracts import Progress, TextDelta
from models.errors import BackendError
from models.stepping import StepThread, Stopped
from models.torch_errors import free_memory, translated

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

FLUSH_INTERVAL_S: Final = 0.1
"""Text is gathered for so long: nobody reads faster, and every event costs a trip over the pipe."""

_TICK_INTERVAL_S: Final = 1.0
_UNFINISHED: Final = "\ufffd"


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a text is written. It is always the likeliest one, so that it can be repeated.

    Attributes:
        max_new_tokens: Where it is cut off.
        num_beams: More than 1 searches so many texts side by side.
        repetition_penalty: 1 is none.
        streams: Whether the text is told as it comes. What several beams write may still change.
    """

    max_new_tokens: int
    num_beams: int = 1
    repetition_penalty: float = 1.0
    streams: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A text.

    Attributes:
        text: Without control tokens.
        cut: Whether it ended at ``max_new_tokens``.
        confidence: How likely each token was, 0 to 1, as their geometric mean.
    """

    text: str
    cut: bool
    confidence: float


Writing = Generator["TextDelta | Progress", None, "Written | None"]
"""What is told while a text is written, and the text; None when it was told to stop."""


class Writer:
    """Runs a model. ``decode`` turns tokens into text."""

    def __init__(self, model: PreTrainedModel, decode: Callable[[list[int]], str]) -> None:
        self._model: PreTrainedModel | None = model
        self._decode = decode
        self._thread = StepThread()

    def write(
        self, inputs: Mapping[str, Any], decoding: Decoding, cancelled: Callable[[], bool]
    ) -> Writing:
        """Write a text.

        Args:
            inputs: Tensors by name, as the processor made them.
            decoding: How to write.
            cancelled: Asked after each token.

        Raises:
            BackendError: The library failed.
            OutOfMemory: The device has not enough memory.
        """
        model = self._model
        if model is None:
            raise BackendError from RuntimeError("the model is closed")
        sure = _Sureness()
        told = _Stream(self._decode) if decoding.streams else _Ticks()
        ids: list[int] = []
        output: list[int] = []

        def work(tell: Callable[[int], None]) -> None:
            output.extend(_generate(model, inputs, decoding, sure, tell))

        steps = self._thread.run(work, cancelled)
        with translated(BackendError):
            try:
                for token in steps:
                    ids.append(token)
                    yield from told.push(ids)
            except Stopped:
                return None
            finally:
                steps.close()
        if decoding.num_beams > 1:
            ids = output  # what several beams wrote is known at the end alone
        text = self._decode(ids).strip()
        yield from told.finish(text)
        cut = (
            decoding.num_beams == 1
            and len(ids) >= decoding.max_new_tokens
            and ids[-1] not in _ends(model)
        )
        return Written(text, cut, sure.mean())

    def whole(
        self, inputs: Mapping[str, Any], decoding: Decoding, cancelled: Callable[[], bool]
    ) -> Written | None:
        """Write a text that is too short to tell about; see ``write``."""
        writing = self.write(inputs, decoding, cancelled)
        while True:
            try:
                next(writing)
            except StopIteration as end:
                written: Written | None = end.value
                return written

    def close(self) -> None:
        """Free the memory of the model."""
        self._model = None
        self._thread.close()
        free_memory()


@dataclass(slots=True)
class _Stream:
    """Tells a text in whole words: a later token may change the last one."""

    decode: Callable[[list[int]], str]
    sent: str = ""
    sent_at: float = -math.inf

    def push(self, ids: list[int]) -> Iterator[TextDelta]:
        if time.monotonic() - self.sent_at >= FLUSH_INTERVAL_S:
            text = self.decode(ids).lstrip().rstrip(_UNFINISHED)
            end = max(text.rfind(" "), text.rfind("\n"), 0)
            yield from self.finish(text[:end].rstrip())

    def finish(self, text: str) -> Iterator[TextDelta]:
        if len(text) > len(self.sent) and text.startswith(self.sent):
            delta, self.sent = text[len(self.sent) :], text
            self.sent_at = time.monotonic()
            yield TextDelta(delta)


@dataclass(slots=True)
class _Ticks:
    """Tells that something goes on."""

    told_at: float = field(default_factory=time.monotonic)

    def push(self, _: list[int]) -> Iterator[Progress]:
        if time.monotonic() - self.told_at >= _TICK_INTERVAL_S:
            self.told_at = time.monotonic()
            yield Progress("writing")

    def finish(self, _: str) -> Iterator[Progress]:
        yield from ()


@dataclass(slots=True)
class _Sureness:
    """Looks at how likely each token is that gets chosen. It changes nothing."""

    total: float = 0.0
    count: int = 0

    def __call__(self, _: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.total += float(scores[0].float().log_softmax(-1).max())
        self.count += 1
        return scores

    def mean(self) -> float:
        return math.exp(self.total / self.count) if self.count else 0.0


def _generate(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    decoding: Decoding,
    sure: _Sureness,
    tell: Callable[[int], None],
) -> list[int]:
    import torch
    from transformers import LogitsProcessorList, StoppingCriteriaList

    def at_each_step(ids: torch.Tensor, _: object, **__: object) -> torch.Tensor:
        tell(int(ids[0, -1]))
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    with torch.inference_mode():
        output: torch.Tensor = model.generate(
            **{name: _on(value, model) for name, value in inputs.items()},
            do_sample=False,
            max_new_tokens=decoding.max_new_tokens,
            num_beams=decoding.num_beams,
            repetition_penalty=decoding.repetition_penalty,
            logits_processor=LogitsProcessorList([sure]),
            stopping_criteria=StoppingCriteriaList([at_each_step]),
        )
    ids: list[int] = output[0].tolist()
    return ids


def _on(value: Any, model: PreTrainedModel) -> Any:
    """Bring a tensor to the model's device, and pixels to its type."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    return value.to(model.device, model.dtype if value.is_floating_point() else None)


def _ends(model: PreTrainedModel) -> set[int]:
    configured = model.generation_config.eos_token_id if model.generation_config else None
    several = configured if isinstance(configured, list) else [configured]
    return {number for number in several if number is not None}
