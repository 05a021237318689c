"""A converted text model whose jobs share each step: plain onnxruntime on a processor.

This module owns the session. The weights are those that onnxruntime-genai's builder wrote; that
library itself has one set of options for all that it draws together. It must not know jobs: a row
is a sequence of tokens.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
(GroupQueryAttention)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.errors import BackendError, HandlerError, ModelLoadFailed, OutOfMemory
from models.text.row_caches import CacheShape, RowCaches
from models.text.sampling import Scores

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnxruntime as ort

_IDS: Final = "input_ids"
_MASK: Final = "attention_mask"
_POSITIONS: Final = "position_ids"
_LOGITS: Final = "logits"
_PROBE: Final = 1
"""Any token of any vocabulary."""


def worker_threads() -> int:
    """Return how many threads a model may take: libraries have pools of their own."""
    return int(os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 2) - 1))


class OnnxRows:
    """A model with rows of tokens. Rows 0 to n-1 are stepped together.

    A row's keys and values are read and written in place, so a step copies nothing.

    Attributes:
        context_tokens: The longest row.
        rows: How many there are.
        vocabulary: How many scores a step gives for a row.
        exact: Whether the scores of a row are the same, bit for bit, whoever is beside it. That
            depends on the processor, so it is tried.
    """

    def __init__(self, folder: Path, rows: int, context_tokens: int) -> None:
        """Load a model.

        Args:
            folder: What the builder wrote. ``can_share`` says whether it is of the right kind.
            rows: Jobs at once.
            context_tokens: The longest row that is asked for.

        Raises:
            ModelLoadFailed: The library refuses it.
            OutOfMemory: There is no room for it.
        """
        import numpy as np

        with _translated(ModelLoadFailed):
            about = _about(folder)
            session = _session(folder / about["decoder"]["filename"])
            self._names = _cache_names(about)
            heads = about["decoder"]["num_key_value_heads"]
            shape = CacheShape(len(self._names), heads, about["decoder"]["head_size"])
            self.rows = rows
            self.vocabulary = int(about["vocab_size"])
            self.context_tokens = min(context_tokens, int(about["context_length"]))
            self._caches: RowCaches | None = RowCaches(shape, rows, self.context_tokens)
            self._session: ort.InferenceSession | None = session
        self._asks_positions = _POSITIONS in {each.name for each in session.get_inputs()}
        self._logits = np.zeros((rows, 1, self.vocabulary), np.float32)
        self._lengths = np.zeros(rows, np.int64)
        self._bindings: dict[tuple[int, int], ort.IOBinding] = {}
        self.exact = self._is_exact()

    def read(self, row: int, tokens: Sequence[int]) -> Scores:
        """Append tokens to a row; return the scores of what may follow, until the next call."""
        import numpy as np

        scores: Scores = self._run(row, np.asarray([tokens], np.int64))[0]
        return scores

    def advance(self, tokens: Sequence[int]) -> Scores:
        """Append a token to each of the first rows; return a line of scores for each of them."""
        import numpy as np

        return self._run(0, np.asarray(tokens, np.int64)[:, None])

    def swap(self, first: int, second: int) -> None:
        """Exchange two rows."""
        lengths = self._lengths
        self._loaded()[1].swap(first, int(lengths[first]), second, int(lengths[second]))
        lengths[[first, second]] = lengths[[second, first]]

    def clear(self, row: int) -> None:
        """Empty a row and give back its memory."""
        self._loaded()[1].release(row)
        self._lengths[row] = 0

    def close(self) -> None:
        """Free the memory."""
        self._bindings.clear()
        self._session = self._caches = None

    def _run(self, first: int, ids: npt.NDArray[np.int64]) -> Scores:
        import numpy as np

        session, _ = self._loaded()
        count, new = ids.shape
        rows = slice(first, first + count)
        before = self._lengths[rows, None]
        lengths = before + new
        if lengths.max() > self.context_tokens:
            raise BackendError from IndexError("a row is longer than the context")
        mask = (np.arange(lengths.max()) < lengths).astype(np.int64)
        with _translated(BackendError):
            binding = self._binding(first, count)
            binding.bind_cpu_input(_IDS, ids)
            binding.bind_cpu_input(_MASK, mask)
            if self._asks_positions:
                binding.bind_cpu_input(_POSITIONS, before + np.arange(new))
            session.run_with_iobinding(binding)
        self._lengths[rows] += new
        scores: Scores = self._logits[rows, 0]
        return scores

    def _binding(self, first: int, count: int) -> ort.IOBinding:
        """Return what ties the graph to the caches of some rows; made once, since it takes long."""
        import numpy as np

        if (first, count) not in self._bindings:
            session, caches = self._loaded()
            binding = session.io_binding()
            rows = slice(first, first + count)
            for (past, present), layer in zip(self._names, caches.layers, strict=True):
                place = (layer[rows].shape, layer[rows].ctypes.data)
                binding.bind_input(past, "cpu", 0, np.float32, *place)
                binding.bind_output(present, "cpu", 0, np.float32, *place)
            logits = self._logits[rows]
            binding.bind_output(_LOGITS, "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
            self._bindings[first, count] = binding
        return self._bindings[first, count]

    def _loaded(self) -> tuple[ort.InferenceSession, RowCaches]:
        if self._session is None or self._caches is None:
            raise BackendError from RuntimeError("the model is closed")
        return self._session, self._caches

    def _is_exact(self) -> bool:
        """Compare a step of one row with steps of several that all have read the same."""
        import numpy as np

        alone = self.advance([_PROBE])[0].copy()
        same = True
        for count in range(2, self.rows + 1):
            self._lengths[:] = 0
            same = same and all(
                np.array_equal(alone, beside) for beside in self.advance([_PROBE] * count)
            )
        for row in range(self.rows):
            self.clear(row)
        return same


def can_share(folder: Path) -> bool:
    """Whether the graph in a folder has caches of fixed places, which rows need.

    Raises:
        ModelLoadFailed: There is no description of it.
    """
    with _translated(ModelLoadFailed):
        about = json.loads((folder / "genai_config.json").read_text("utf-8"))
        return bool(about["search"]["past_present_share_buffer"])


def _about(folder: Path) -> Mapping[str, Any]:
    about = json.loads((folder / "genai_config.json").read_text("utf-8"))
    model: Mapping[str, Any] = about["model"]
    return model


def _session(file: Path) -> ort.InferenceSession:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = worker_threads()
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it would remember every length that ever occurred
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _cache_names(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what keys and values are called where they go in and where they come out."""
    inputs, outputs = about["decoder"]["inputs"], about["decoder"]["outputs"]
    patterns = (
        (inputs["past_key_names"], outputs["present_key_names"]),
        (inputs["past_value_names"], outputs["present_value_names"]),
    )
    layers = range(about["decoder"]["num_hidden_layers"])
    return [(past % n, present % n) for n in layers for past, present in patterns]


@contextmanager
def _translated(otherwise: type[BackendError | ModelLoadFailed]) -> Iterator[None]:
    """Translate what the library raises: its errors have no base of their own."""
    try:
        yield
    except HandlerError:
        raise
    except Exception as error:
        text = str(error).lower()
        memory = isinstance(error, MemoryError) or ("alloc" in text and "memory" in text)
        raise (OutOfMemory if memory else otherwise) from error
