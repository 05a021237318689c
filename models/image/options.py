"""Load-time options of the picture models, from the catalogue.

This module owns their names and bounds. It is pure.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.options import Options, PipelineOptions

_TOKENS: Final = 1_000_000


class DiffusionOptions(PipelineOptions):
    """Options of a model that diffusers draws with.

    Attributes:
        side_px: Side of the square that the model draws best.
        preview_s: Shortest time between two previews, in seconds.
    """

    side_px: int = Field(1024, ge=16, le=4096)
    preview_s: float = Field(2.0, ge=0)


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


class HostedImageOptions(Options):
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
