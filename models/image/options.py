"""Load-time options of the picture models, from the catalogue.

This module owns their names and bounds. It is pure.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.catalog import ModelSpec
from models.errors import ModelLoadFailed


class DiffusionOptions(BaseModel):
    """Options of a model that diffusers runs.

    Attributes:
        dtype: Type of the weights in memory; "auto" suits the device.
        variant: Which of several weights in the folder, such as ``fp16``.
        offload: What waits in the machine's memory until the GPU needs it: "model" moves a part of
            the pipeline at a time, "sequential" a layer at a time; "auto" nothing, if it fits.
        num_inference_steps, guidance_scale: The usual values; None takes the pipeline's.
        distilled: The model was trained for its usual guidance, and takes no negative prompt.
        max_sequence_length: Tokens that the longest text encoder reads; None is the pipeline's.
        side_px: Side of the square that the model draws best.
        min_side_px, max_pixels: Bounds of the size.
        preview_s: Shortest time between two previews, in seconds.
        cache_dir, safety_dir: Set by the engine; the latter only where the classifier is there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    variant: str | None = None
    offload: Literal["auto", "none", "model", "sequential"] = "auto"
    num_inference_steps: int | None = Field(None, ge=1, le=150)
    guidance_scale: float | None = Field(None, ge=0, le=30)
    distilled: bool = False
    max_sequence_length: int | None = Field(None, ge=16, le=4096)
    side_px: int = Field(1024, ge=16, le=4096)
    min_side_px: int = Field(256, ge=8, le=4096)
    max_pixels: int = Field(1_600_000, ge=64)
    preview_s: float = Field(2.0, ge=0)
    cache_dir: str = ""
    safety_dir: str = ""

    @classmethod
    def of(cls, spec: ModelSpec) -> DiffusionOptions:
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
