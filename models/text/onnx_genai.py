"""Text on a processor: weights of four and eight bits in onnxruntime-genai's format.

This module owns that library, which converts the weights once (see ``convert`` and ``cache``) and
runs what cannot share steps; ``onnx_rows`` runs the rest. It must not know about conversations.

Source: https://onnxruntime.ai/docs/genai/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from models.catalog import ModelSpec
from models.errors import BackendError, ModelLoadFailed, OutOfMemory
from models.text.batch import TextStepper
from models.text.cache import converted, versions_of
from models.text.chat import ChatTokenizer
from models.text.convert import BUILDER_OPTIONS, convert
from models.text.local import LocalTextHandler
from models.text.onnx_rows import OnnxRows, can_share, worker_threads
from models.text.options import TextOptions
from models.text.sampling import Sampling

if TYPE_CHECKING:
    import onnxruntime_genai as og

_SEED_RANGE = 2**31 - 1
"""The library takes seeds of 31 bits, a request has 32: two seeds in a thousand million meet."""


def load(spec: ModelSpec, location: str, device: str) -> TextStepper | LocalTextHandler:
    """Load a model; convert it first, which takes half a minute for the smallest.

    Args:
        spec: Row of the catalogue.
        location: GGUF file, or folder with safetensors and ``tokenizer.json``.
        device: Not looked at: this backend is for processors.

    Raises:
        ModelLoadFailed: The files are not of a model that the library knows.
        DiskFull: There is no room for the converted form.
    """
    options = TextOptions.of(spec)
    source = Path(location)
    recipe = {
        **versions_of("onnxruntime-genai", "onnxruntime", "transformers"),
        "options": " ".join(BUILDER_OPTIONS),
    }
    folder = converted(
        source,
        Path(options.cache_dir),
        recipe,
        lambda target: convert(source, target, "onnx"),
    )
    tokenizer = ChatTokenizer.from_folder(folder, options.template)
    if options.rows > 1 and can_share(folder):
        rows = OnnxRows(folder, options.rows, spec.context_tokens)
        return TextStepper(rows, tokenizer, options)
    return LocalTextHandler(OnnxModel(folder), tokenizer, spec.context_tokens, options)


class OnnxModel:
    """A model in the library's own format."""

    def __init__(self, folder: Path) -> None:
        """Load it.

        Raises:
            ModelLoadFailed: The library refuses it.
        """
        import onnxruntime_genai as og

        session = {"intra_op_num_threads": worker_threads(), "inter_op_num_threads": 1}
        try:
            config = og.Config(str(folder))
            config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
            self._model: og.Model | None = og.Model(config)
            about = json.loads((folder / "genai_config.json").read_text("utf-8"))
            self.context_tokens = int(about["model"]["context_length"])
        except (RuntimeError, OSError, ValueError, LookupError) as error:
            raise ModelLoadFailed from error

    def begin(self, sampling: Sampling, max_tokens: int) -> OnnxDecoding:
        """Begin a job."""
        if self._model is None:
            raise BackendError from RuntimeError("the model is closed")
        return OnnxDecoding(self._model, sampling, max_tokens)

    def close(self) -> None:
        """Free the memory."""
        self._model = None


class OnnxDecoding:
    """One job: its cache of keys and values, its random numbers."""

    def __init__(self, model: og.Model, sampling: Sampling, max_tokens: int) -> None:
        import onnxruntime_genai as og

        options: dict[str, float | bool] = {
            "max_length": max_tokens,
            "repetition_penalty": sampling.repetition_penalty,
            "do_sample": sampling.temperature > 0,
        }
        if sampling.temperature > 0:
            options |= {
                "temperature": sampling.temperature,
                "top_k": sampling.top_k,
                "top_p": sampling.top_p,
                "random_seed": sampling.seed % _SEED_RANGE,
            }
        with _translated():
            params = og.GeneratorParams(model)
            params.set_search_options(**options)
            self._generator = og.Generator(model, params)

    def read(self, tokens: Sequence[int]) -> None:
        """Take in more of the prompt."""
        import numpy as np

        with _translated():
            self._generator.append_tokens(np.asarray(tokens, dtype=np.int32))

    def next_token(self) -> int:
        """Draw the next token."""
        with _translated():
            self._generator.generate_next_token()
            return int(self._generator.get_next_tokens()[0])


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory from error
    except RuntimeError as error:
        # The library has one exception; its text tells a failed allocation from the rest.
        text = str(error).lower()
        memory = "alloc" in text or "out of memory" in text
        raise (OutOfMemory if memory else BackendError) from error
