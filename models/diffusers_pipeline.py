"""A pipeline of diffusers in memory: what those that make pictures and those that make clips share.

This module owns diffusers: loading a folder of safetensors, a call with a callback at each step,
and the ways to do with less memory. It knows neither requests nor what is made.

Source: https://huggingface.co/docs/diffusers/api/pipelines/overview
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.contracts import Notice
from models.errors import BackendError
from models.options import PipelineOptions
from models.torch_errors import free_memory, lacks_memory, translated

if TYPE_CHECKING:
    import torch

OnStep = Callable[[int, int, "torch.Tensor"], None]
"""Called after each step: its number from 1, how many there are, the latents."""

_QUOTED_CHARS = 120
_QUOTED_WORDS = 6


class DiffusersPipeline:
    """One model, used by one job at a time."""

    def __init__(self, folder: Path, device: str, options: PipelineOptions) -> None:
        """Read it into the machine's memory; ``_place`` brings it to the device."""
        self._options = options
        self._device = device
        self._pipe: Any = _read(folder, device, options)
        self._economies = _economies(self._pipe, device, options)
        self.economical = False
        self.dtype = str(self._pipe.dtype).removeprefix("torch.")
        self.scheduler = type(self._pipe.scheduler).__name__

    def left_out(self, prompt: str) -> str:
        """Return the end of a prompt that no text encoder reads; "" when it is read whole."""
        tokenizer, limit = max(self._tokenizers(), key=lambda pair: pair[1], default=(None, 0))
        if tokenizer is None:
            return ""
        read = tokenizer(
            prompt, truncation=False, verbose=False, return_offsets_mapping=tokenizer.is_fast
        )
        ids = read.input_ids
        if len(ids) <= limit:
            return ""
        if tokenizer.is_fast:
            return prompt[read.offset_mapping[limit - 1][0] :].strip()
        text: str = tokenizer.decode(ids[limit - 1 : -1], skip_special_tokens=True)
        return text.strip()

    def unread(self, text: str, what: str, name: str) -> Iterator[Notice]:
        """Say what no text encoder reads of a prompt, if there is any."""
        lost = self.left_out(text) if text else ""
        if lost:
            quoted = lost if len(lost) <= _QUOTED_CHARS else f"…{lost[-_QUOTED_CHARS:]}"
            yield Notice(
                f"This {what} is longer than {name} reads. Left out at its end: “{quoted}”"
            )

    def strange(self, text: str) -> Iterator[Notice]:
        """Say which words a model of few words does not know, and what it does know."""
        words = self._unknown_words(text) if self._options.knows else []
        if words:
            quoted = ", ".join(f"“{word}”" for word in words[:_QUOTED_WORDS])
            more = f" and {len(words) - _QUOTED_WORDS} more" if words[_QUOTED_WORDS:] else ""
            yield Notice(
                f"I don't know {quoted}{more}, so that changed nothing. "
                f"I only know {self._options.knows}."
            )

    def economise(self) -> bool:
        """Do with less memory, slower, from now on; False when all ways are used up."""
        free_memory()
        if not self._economies:
            return False
        self._economies.pop(0)()
        self.economical = True
        return True

    def close(self) -> None:
        """Free the memory."""
        if self._pipe is not None:
            self._pipe.remove_all_hooks()
        self._pipe = None
        self._economies = []
        free_memory()

    def _place(self, device: str) -> None:
        if device != "cpu" and self._options.offload == "model":
            self._pipe.enable_model_cpu_offload(device=device)
        elif device != "cpu" and self._options.offload == "sequential":
            self._pipe.enable_sequential_cpu_offload(device=device)
        else:
            try:
                self._pipe.to(device)
            except Exception as error:
                if self._options.offload == "none" or not lacks_memory(error) or device == "cpu":
                    raise
                self._pipe.to("cpu")
                while self.economise():
                    pass

    def _call(self, pipe: Any, seed: int, on_step: OnStep, wished: Mapping[str, Any]) -> Any:
        """Call a pipeline over these weights with those arguments that it takes.

        ``Stopped`` from ``on_step`` ends it, and comes out as it is.

        Raises:
            BackendError: The pipeline failed.
            OutOfMemory: There was not enough memory; ``economise`` may help.
        """
        import torch

        def step_ended(
            used: Any, index: int, _time: Any, tensors: dict[str, Any]
        ) -> dict[str, Any]:
            on_step(index + 1, used.num_timesteps, tensors["latents"])
            return {}

        accepted = parameters_of(pipe)
        arguments = {name: value for name, value in wished.items() if name in accepted}
        # On the processor whatever the device, so that the numbers are the same everywhere.
        generator = torch.Generator("cpu").manual_seed(seed)
        try:
            with translated(BackendError):
                return pipe(generator=generator, callback_on_step_end=step_ended, **arguments)
        finally:
            self._pipe.maybe_free_model_hooks()  # a call that was stopped leaves that out

    def _unknown_words(self, text: str) -> list[str]:
        """Return the words that the tokenizer has no number for, each once."""
        tokenizer = self._pipe.tokenizer
        read = tokenizer(text, truncation=False, verbose=False, return_offsets_mapping=True)
        places = zip(read.input_ids, read.offset_mapping, strict=True)
        words = (text[a:b].lower() for number, (a, b) in places if number == tokenizer.unk_token_id)
        return list(dict.fromkeys(words))

    def _tokenizers(self) -> list[tuple[Any, int]]:
        """Return the tokenizers in use, each with the tokens that its encoder reads."""
        default = parameters_of(self._pipe).get("max_sequence_length")
        longest = self._options.max_sequence_length or (default.default if default else 0)
        found = []
        for end in ("", "_2", "_3"):
            tokenizer = getattr(self._pipe, f"tokenizer{end}", None)
            encoder = getattr(self._pipe, f"text_encoder{end}", None)
            if tokenizer is None or encoder is None:
                continue
            clip = str(encoder.config.model_type).startswith("clip")
            limit = longest if longest and not clip else _own_limit(tokenizer)
            found.append((tokenizer, limit - _wrapping(tokenizer)))
        return found


def _read(folder: Path, device: str, options: PipelineOptions) -> Any:
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for log in (diffusers_logging, transformers_logging):
        log.set_verbosity_error()  # they write prompts into the log when they cut them
        log.disable_progress_bar()
    # The classifier of the first Stable Diffusions is left out: ours looks at every picture.
    left_out: dict[str, Any] = {}
    index = DiffusionPipeline.load_config(folder, local_files_only=True)
    if "safety_checker" in index:
        left_out = {
            "safety_checker": None,
            "feature_extractor": None,
            "requires_safety_checker": False,
        }
    pipe = DiffusionPipeline.from_pretrained(
        folder,
        dtype=_dtype(options.dtype, device),
        variant=options.variant,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        **left_out,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _dtype(wanted: str, device: str) -> torch.dtype:
    """Choose the type of the weights: half of it on a GPU, unless the catalogue says otherwise."""
    import torch

    if wanted != "auto":
        chosen: torch.dtype = getattr(torch, wanted)
        return chosen if device != "cpu" else torch.float32
    if device == "cpu":
        return torch.float32
    bfloat16 = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if bfloat16 else torch.float16


def _economies(pipe: Any, device: str, options: PipelineOptions) -> list[Callable[[], None]]:
    """Return the ways to save memory, least slowing first."""

    def decode_in_tiles() -> None:
        # Attention is left as it is: torch's own needs less memory than slices of it.
        for name in ("enable_slicing", "enable_tiling"):
            getattr(pipe.vae, name, lambda: None)()

    def offload() -> None:
        pipe.enable_model_cpu_offload(device=device)

    may_move = device != "cpu" and options.offload == "auto"
    return [decode_in_tiles, offload] if may_move else [decode_in_tiles]


def parameters_of(pipe: Any) -> dict[str, inspect.Parameter]:
    """Return what a pipeline may be called with."""
    return dict(inspect.signature(pipe.__call__).parameters)


def default_of(parameters: dict[str, inspect.Parameter], name: str) -> Any:
    """Return the value of a parameter that is not given; None where it must be."""
    found = parameters.get(name)
    return None if found is None or found.default is inspect.Parameter.empty else found.default


def _wrapping(tokenizer: Any) -> int:
    """Return how many tokens a chat template puts around a prompt, where there is one."""
    if not getattr(tokenizer, "chat_template", None):
        return 0
    empty = [{"role": "user", "content": ""}]
    wrapped: str = tokenizer.apply_chat_template(empty, tokenize=False, add_generation_prompt=True)
    return len(tokenizer(wrapped).input_ids)


def _own_limit(tokenizer: Any) -> int:
    return int(min(tokenizer.model_max_length, 4096))  # some say 10 to the 30
