"""Load-time options of the local text backends, from the catalogue.

This module is pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from models.options import Options


class TextOptions(Options):
    """Load-time options of the local text backends.

    Attributes:
        top_p, top_k, repetition_penalty: How the next token is drawn. On a GPU jobs share their
            steps only without a repetition penalty, which is 1: transformers has none for each.
        temperature_scale: Multiplies the temperature that members set. Small models lose the
            thread at temperatures that suit large ones.
        rows: Jobs that share each step of the model. 1 has them answered one after the other.
        cache_tokens: Tokens of all jobs together whose keys and values may be kept at once; at
            least one job of the model's whole context always fits. It bounds the memory.
        template: Variables for the chat template, such as ``enable_thinking``.
        dtype: transformers: type of the weights in memory; "auto" suits the device.
        cache_dir: Where converted weights are kept; the engine sets it.
    """

    top_p: float = Field(0.9, gt=0, le=1)
    top_k: int = Field(40, ge=1)
    repetition_penalty: float = Field(1.1, ge=1)
    temperature_scale: float = Field(1.0, gt=0, le=2)
    rows: int = Field(8, ge=1, le=64)
    cache_tokens: int = Field(8192, ge=1)
    template: Mapping[str, Any] = Field(default_factory=dict)
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    cache_dir: str = ""
