"""Load-time options of models, from the catalogue: what several kinds of models share.

This module owns reading them, and those of diffusers. It is pure.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.catalog import ModelSpec
from models.errors import ModelLoadFailed


class Options(BaseModel):
    """Options of a backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        """Read a model's options.

        Raises:
            ModelLoadFailed: An option is unknown or out of bounds.
        """
        try:
            return cls.model_validate(dict(spec.options))
        except ValidationError as error:
            raise ModelLoadFailed(
                f"The options of `{spec.id}` are wrong: tell the owner."
            ) from error


class PipelineOptions(Options):
    """Options of a model that diffusers runs.

    Attributes:
        dtype: Type of the weights in memory; "auto" suits the device.
        variant: Which of several weights in the folder, such as ``fp16``.
        offload: What waits in the machine's memory until the GPU needs it: "model" moves a part of
            the pipeline at a time, "sequential" a layer at a time; "auto" nothing, if it fits.
        num_inference_steps, guidance_scale: The usual values; None takes the pipeline's.
        distilled: The model was trained for its usual guidance, and takes no negative prompt.
        preview_s: Shortest time between two previews, in seconds.
        max_sequence_length: Tokens that the longest text encoder reads; None is the pipeline's.
        enlarged: How many times smaller it draws than it is asked to; a resampler does the rest.
        multiple_px: What the sides are multiples of, where more is asked than the parts need.
        knows: What a model of few words knows, for the sentence about words that it does not know;
            "" for models that read any word.
        min_pixels, max_pixels: Bounds of the size.
        cache_dir, safety_dir: Set by the engine; the latter only where the classifier is there.
    """

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    variant: str | None = None
    offload: Literal["auto", "none", "model", "sequential"] = "auto"
    num_inference_steps: int | None = Field(None, ge=1, le=150)
    guidance_scale: float | None = Field(None, ge=0, le=30)
    distilled: bool = False
    preview_s: float = Field(2.0, ge=0)
    max_sequence_length: int | None = Field(None, ge=1, le=4096)
    enlarged: int = Field(1, ge=1, le=16)
    multiple_px: int | None = Field(None, ge=8, le=4096)
    knows: str = ""
    min_pixels: int = Field(65_536, ge=64)
    max_pixels: int = Field(1_600_000, ge=64)
    cache_dir: str = ""
    safety_dir: str = ""
