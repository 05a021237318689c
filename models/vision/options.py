"""Load-time options of the models that look at pictures, from the catalogue.

This module owns their names and bounds. It is pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.options import Options


class Limits(BaseModel):
    """What a captioning model is limited to, where it does not know every kind of picture.

    Attributes:
        knows: What it knows, such as "simple drawings".
        unknown: The sentence that it writes about any other picture.
        sure_from: What it is less sure of counts as that sentence; see ``Written.confidence``.
        better: Id of a model that knows photos.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    knows: str = Field(min_length=1)
    unknown: str = Field(min_length=1)
    sure_from: float = Field(0.0, ge=0, le=1)
    better: str = Field(min_length=1)


class VisionOptions(Options):
    """Options of a model that looks at pictures.

    Attributes:
        dtype: transformers: type of the weights in memory; "auto" suits the device.
        num_beams: Captioning and question models: searches so many texts side by side.
        limits: Captioning models that do not know every kind of picture: what they know.
        repetition_penalty: Models that talk: 1 is none.
        max_new_tokens: Models that talk: the longest answer, in tokens.
        processor: Models that talk: passed to the processor, such as the largest picture size.
        threads: RapidOCR: 0 takes what ``OMP_NUM_THREADS`` says.
        cache_dir, safety_dir: Set by the engine; the latter only where the classifier is there.
    """

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    num_beams: int = Field(1, ge=1, le=8)
    limits: Limits | None = None
    repetition_penalty: float = Field(1.0, ge=1, le=2)
    max_new_tokens: int = Field(512, ge=16, le=4096)
    processor: Mapping[str, Any] = Field(default_factory=dict)
    threads: int = Field(0, ge=0, le=64)
    cache_dir: str = ""
    safety_dir: str = ""
