"""Text with transformers: any causal language model, on a processor or a GPU.

This module owns the model in memory and how one job runs on it. It drives the forward pass itself
instead of ``generate``: a token a step, so that a cancel is heard at once, and random numbers of
each job's own, so that a seed repeats whatever else runs; ``continuous`` runs several jobs at once.
It must not know about conversations.

Source: https://huggingface.co/docs/transformers/main_classes/model
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.catalog import ModelSpec
from models.dtypes import weights_dtype
from models.errors import BackendError, ModelLoadFailed, OutOfMemory
from models.text.cache import converted, versions_of
from models.text.chat import ChatFormat, ChatTokenizer, named_template
from models.text.continuous import ContinuousText, can_share
from models.text.convert import convert
from models.text.local import LocalTextHandler
from models.text.options import TextOptions
from models.text.sampling import Sampling

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def load(spec: ModelSpec, location: str, device: str) -> LocalTextHandler | ContinuousText:
    """Load a model; unpack it first if it is a GGUF file.

    Args:
        spec: Row of the catalogue.
        location: Folder with safetensors, or a GGUF file. Pickled weights are refused.
        device: ``cpu``, ``cuda:0``, ...

    Raises:
        ModelLoadFailed: The files are not of a causal language model.
        OutOfMemory: The device has not enough memory.
        DiskFull: There is no room to unpack it.
    """
    options = TextOptions.of(spec)
    folder = Path(location)
    if folder.is_file():
        folder = _unpacked(folder, Path(options.cache_dir))
    with _translated(ModelLoadFailed):
        weights = _read_weights(folder, options, device)
        model = CausalModel(weights)
        tokenizer = _read_tokenizer(folder, model, options)
        alone = LocalTextHandler(model, tokenizer, spec.context_tokens, options)
        if not can_share(options, device):
            return alone
        context_tokens = min(spec.context_tokens, model.context_tokens)
        return ContinuousText(weights, alone, tokenizer, context_tokens, options)


class CausalModel:
    """A model in memory."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model: PreTrainedModel | None = model
        self.context_tokens = int(getattr(model.config, "max_position_embeddings", None) or 2**20)
        declared = model.generation_config.eos_token_id if model.generation_config else None
        several = declared if isinstance(declared, list) else [declared]
        self.eos_ids = frozenset(number for number in several if number is not None)
        accepted = inspect.signature(model.forward).parameters
        self._extra: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        if "past_key_values" not in accepted:
            raise ModelLoadFailed("This kind of model is not supported. Tell the owner.")

    def begin(self, sampling: Sampling, max_tokens: int) -> CausalDecoding:
        """Begin a job."""
        if self._model is None:
            raise BackendError from RuntimeError("the model is closed")
        return CausalDecoding(self._model, sampling, self._extra)

    def close(self) -> None:
        """Free the memory."""
        import torch

        self._model = None
        gc.collect()  # modules refer to each other; the cache below must not find them
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class CausalDecoding:
    """One job: what it has read and written, its cache, its random numbers."""

    def __init__(self, model: PreTrainedModel, sampling: Sampling, extra: dict[str, Any]) -> None:
        import torch
        from transformers import DynamicCache

        self._model = model
        self._extra = extra
        self._temperature = sampling.temperature
        self._processors = _processors(sampling)
        self._random = torch.Generator(model.device).manual_seed(sampling.seed)
        self._cache = DynamicCache(config=model.config)
        self._sequence = torch.empty((1, 0), dtype=torch.long, device=model.device)
        self._logits: torch.Tensor | None = None
        self._unread: list[int] = []

    def read(self, tokens: Sequence[int]) -> None:
        """Take in more of the prompt."""
        import torch

        with _translated(BackendError), torch.inference_mode():
            ids = torch.tensor([tokens], dtype=torch.long, device=self._model.device)
            self._sequence = torch.cat([self._sequence, ids], dim=1)
            output = self._model(
                input_ids=ids, past_key_values=self._cache, use_cache=True, **self._extra
            )
            self._logits = output.logits[:, -1].float()

    def next_token(self) -> int:
        """Draw the next token."""
        import torch

        if self._unread:
            self.read(self._unread)
        if self._logits is None:
            raise BackendError from RuntimeError("there is no prompt")
        with _translated(BackendError), torch.inference_mode():
            scores = self._processors(self._sequence, self._logits)
            if self._temperature > 0:
                token = int(torch.multinomial(scores.softmax(-1), 1, generator=self._random))
            else:
                token = int(scores.argmax(-1))
        self._unread = [token]
        return token


def _unpacked(file: Path, cache_dir: Path) -> Path:
    recipe = {**versions_of("transformers", "gguf"), "form": "float16"}
    return converted(file, cache_dir, recipe, lambda target: convert(file, target, "safetensors"))


def _read_weights(folder: Path, options: TextOptions, device: str) -> PreTrainedModel:
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(folder, **local)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        use_safetensors=True,
        dtype=weights_dtype(options.dtype, config.dtype, device),
        device_map={"": device},
        **local,
    )
    return model.eval()


def _read_tokenizer(folder: Path, model: CausalModel, options: TextOptions) -> ChatTokenizer:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    special = {
        name: text for name, text in tokenizer.special_tokens_map.items() if isinstance(text, str)
    }
    end = tokenizer.eos_token_id
    form = ChatFormat(
        template=named_template({"chat_template": tokenizer.chat_template}),
        special=special,
        eos_ids=model.eos_ids | ({end} if end is not None else set()),
        options=options.template,
    )
    return ChatTokenizer(tokenizer.backend_tokenizer, form)


def _processors(sampling: Sampling) -> Any:
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    processors = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature > 0:
        processors.append(TemperatureLogitsWarper(sampling.temperature))
        processors.append(TopKLogitsWarper(sampling.top_k))
        processors.append(TopPLogitsWarper(sampling.top_p))
    return processors


@contextmanager
def _translated(otherwise: type[BackendError | ModelLoadFailed]) -> Iterator[None]:
    """Translate what torch and transformers raise; ``otherwise`` is for all but memory."""
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise OutOfMemory from error
    except (RuntimeError, ValueError, OSError, LookupError, TypeError, AttributeError) as error:
        # On a processor a failed allocation is a plain RuntimeError.
        memory = "alloc" in str(error) and "memory" in str(error)
        raise (OutOfMemory if memory else otherwise) from error
