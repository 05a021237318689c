"""Load-time options of the picture models, from the catalogue.

This module owns their names and bounds. It is pure.
"""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.catalog import ModelSpec
from models.errors import ModelLoadFailed

_TOKENS: Final = 1_000_000


class _Options(BaseModel):
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


class DiffusionOptions(_Options):
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
        min_pixels, max_pixels: Bounds of the size.
        preview_s: Shortest time between two previews, in seconds.
        cache_dir, safety_dir: Set by the engine; the latter only where the classifier is there.
    """

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    variant: str | None = None
    offload: Literal["auto", "none", "model", "sequential"] = "auto"
    num_inference_steps: int | None = Field(None, ge=1, le=150)
    guidance_scale: float | None = Field(None, ge=0, le=30)
    distilled: bool = False
    max_sequence_length: int | None = Field(None, ge=16, le=4096)
    side_px: int = Field(1024, ge=16, le=4096)
    min_pixels: int = Field(65_536, ge=64)
    max_pixels: int = Field(1_600_000, ge=64)
    preview_s: float = Field(2.0, ge=0)
    cache_dir: str = ""
    safety_dir: str = ""


class Prices(BaseModel):
    """What the provider charges, in dollars.

    Attributes:
        text_input, image_input, image_output: For a million tokens.
        picture: For each picture, where the server does not count tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_input: float = Field(0.0, ge=0)
    image_input: float = Field(0.0, ge=0)
    image_output: float = Field(0.0, ge=0)
    picture: float = Field(0.0, ge=0)

    def cost_usd(self, used: Any, pictures: int) -> float:
        """Return what a call cost, from the counts that came with its answer."""
        if used is None:
            return self.picture * pictures
        given = used.input_tokens_details
        text, images = given.text_tokens * self.text_input, given.image_tokens * self.image_input
        return float(text + images + used.output_tokens * self.image_output) / _TOKENS


class HostedImageOptions(_Options):
    """Load-time options of a server, from the catalogue.

    Attributes:
        slots: How many jobs may wait for the server at once.
        timeout_s: Longest silence of the server, in seconds.
        quality, moderation: As the API has them.
        partial_images: Previews of a single picture; 0 where the server does not stream.
        sizes: All sizes that it makes, such as "1024x1024"; none where any multiple of
            ``multiple_px`` within the other bounds will do.
        side_px: Side of the square that the model draws best.
        prices: For the costs that are logged.
        cache_dir, safety_dir: Set by the engine.
    """

    slots: int = Field(4, ge=1, le=64)
    timeout_s: float = Field(240.0, gt=0)
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max"] = "auto"
    moderation: Literal["auto", "low"] = "auto"
    partial_images: int = Field(2, ge=0, le=3)
    sizes: tuple[str, ...] = ()
    multiple_px: int = Field(16, ge=1)
    min_pixels: int = Field(655_360, ge=1)
    max_pixels: int = Field(2560 * 1440, ge=1)
    max_ratio: float = Field(3.0, ge=1)
    side_px: int = Field(1024, ge=16)
    prices: Prices = Prices()
    cache_dir: str = ""
    safety_dir: str = ""
