"""Draw the next token from a model's scores, for one job.

This module owns what temperature, top-k, top-p and the repetition penalty mean, and each job's own
random numbers. It must not know a library that computes scores.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from models.contracts import TextRequest
from models.errors import BackendError
from models.text.options import TextOptions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Scores: TypeAlias = "npt.NDArray[np.float32]"
"""What a model thinks of each token of its vocabulary as the next one, not normalised."""

_BLOCK: Final = 128
"""Tokens of which only the best one is looked at first."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the tokens of one job are drawn. ``temperature`` 0 is greedy."""

    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    seed: int

    @classmethod
    def of(cls, request: TextRequest, options: TextOptions) -> Sampling:
        """Join what the member asked for with what suits the model."""
        return cls(
            temperature=request.temperature * options.temperature_scale,
            top_p=options.top_p,
            top_k=options.top_k,
            repetition_penalty=options.repetition_penalty,
            seed=secrets.randbits(31) if request.seed is None else request.seed,
        )


class Sampler:
    """One job's draws. The same seed and the same scores give the same tokens."""

    def __init__(self, sampling: Sampling, vocabulary: int) -> None:
        import numpy as np

        self._sampling = sampling
        self._random = np.random.Generator(np.random.PCG64(sampling.seed))
        self._seen = np.zeros(vocabulary, dtype=np.bool_)

    def read(self, tokens: Sequence[int]) -> None:
        """Take note of the prompt: its tokens count as said already."""
        self._seen[list(tokens)] = True

    def draw(self, scores: Scores) -> int:
        """Draw the next token.

        Raises:
            BackendError: There are scores that are no numbers.
        """
        import numpy as np

        scores = self.penalised(scores)
        if not np.isfinite(scores.max()):
            raise BackendError from ArithmeticError("the model's scores are not finite")
        if self._sampling.temperature == 0:
            token = int(scores.argmax())
        else:
            tokens, chances = self.chances(scores)
            token = int(tokens[_drawn(chances, self._random.random())])
        self._seen[token] = True
        return token

    def chances(self, scores: Scores) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the tokens that may be drawn, likeliest first, and how likely each is."""
        import numpy as np

        most = min(self._sampling.top_k, scores.size)
        top = _candidates(scores, most)
        top = top[np.lexsort((top, -scores[top]))][:most]
        above = scores[top].astype(np.float64)
        chances = np.exp((above - above[0]) / self._sampling.temperature)
        chances /= chances.sum()
        kept = np.cumsum(chances) - chances < self._sampling.top_p
        return top[kept], chances[kept] / chances[kept].sum()

    def penalised(self, scores: Scores) -> Scores:
        """Return scores in which what was said already is less likely."""
        import numpy as np

        penalty = self._sampling.repetition_penalty
        if penalty == 1:
            return scores
        seen = np.flatnonzero(self._seen)
        said = scores[seen]
        scores = scores.copy()
        scores[seen] = np.where(said < 0, said * penalty, said / penalty)
        return scores


def _candidates(scores: Scores, most: int) -> npt.NDArray[np.int64]:
    """Return tokens among which are the best ones; few, and found without sorting all."""
    import numpy as np

    whole = scores.size // _BLOCK * _BLOCK
    peaks = scores[:whole].reshape(-1, _BLOCK).max(axis=1)
    if peaks.size < most:
        return np.arange(scores.size)
    bar = np.partition(peaks, peaks.size - most)[peaks.size - most]
    return np.flatnonzero(scores >= bar)


def _drawn(chances: npt.NDArray[np.float64], point: float) -> int:
    """Return the index into whose share of 0 to 1 a point falls."""
    import numpy as np

    index = int(np.searchsorted(np.cumsum(chances), point, side="right"))
    return min(index, len(chances) - 1)
