"""Memory for the keys and values of several rows of tokens.

This module owns when that memory is taken and given back: a page when something is written into
it, and not before; numpy's own memory would come in pages of two megabytes here. It must not know
what is kept.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class CacheShape:
    """What is kept for each token.

    Attributes:
        layers: Caches, two for each layer of a model: keys and values.
        heads, head_size: In each of them, in numbers of four bytes.
    """

    layers: int
    heads: int
    head_size: int

    @property
    def token_bytes(self) -> int:
        """Size of one token's part of one head."""
        return 4 * self.head_size


class RowCaches:
    """Caches of shape (rows, heads, tokens, head size), float32, one for keys or values of a layer.

    Attributes:
        layers: The caches.
    """

    def __init__(self, shape: CacheShape, rows: int, tokens: int) -> None:
        """Reserve addresses for so many rows of so many tokens; no memory yet.

        Raises:
            OSError: There are not so many addresses.
        """
        import numpy as np

        # Each head of a row begins with a page, so that pages can go that no other head uses.
        whole = mmap.PAGESIZE // math.gcd(mmap.PAGESIZE, shape.token_bytes)
        tokens = math.ceil(tokens / whole) * whole
        self._shape = shape
        self._head_bytes = tokens * shape.token_bytes
        self._row_bytes = shape.heads * self._head_bytes
        self._layer_bytes = rows * self._row_bytes
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # shared memory would not come back
        self._map = mmap.mmap(-1, shape.layers * self._layer_bytes, flags=private)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            self._map.madvise(mmap.MADV_NOHUGEPAGE)
        numbers = np.frombuffer(self._map, np.float32)
        self.layers: npt.NDArray[np.float32]
        self.layers = numbers.reshape(shape.layers, rows, shape.heads, tokens, shape.head_size)

    def swap(self, first: int, first_tokens: int, second: int, second_tokens: int) -> None:
        """Exchange two rows, of so many tokens each."""
        longest = max(first_tokens, second_tokens)
        for layer in self.layers:
            kept = layer[first, :, :first_tokens].copy()
            layer[first, :, :second_tokens] = layer[second, :, :second_tokens]
            layer[second, :, :first_tokens] = kept
        for row, tokens in ((first, second_tokens), (second, first_tokens)):
            if tokens < longest:
                self.release(row, tokens)

    def release(self, row: int, tokens: int = 0) -> None:
        """Give back the memory of a row but for its first tokens."""
        pages = math.ceil(tokens * self._shape.token_bytes / mmap.PAGESIZE)
        kept = pages * mmap.PAGESIZE
        if kept == self._head_bytes:
            return
        for layer in range(self._shape.layers):
            start = layer * self._layer_bytes + row * self._row_bytes
            if not kept:
                self._map.madvise(mmap.MADV_DONTNEED, start, self._row_bytes)
                continue
            for head in range(self._shape.heads):
                begin = start + head * self._head_bytes + kept
                self._map.madvise(mmap.MADV_DONTNEED, begin, self._head_bytes - kept)
