"""Load-time options of the picture models, from the catalogue.

This module owns their names and bounds. It is pure.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.options import Options, PipelineOptions


class DiffusionOptions(PipelineOptions):
    """Options of a model that diffusers draws with.

    Attributes:
        side_px: Side of the square that the model draws best.
    """

    side_px: int = Field(1024, ge=16, le=4096)


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
    cache_dir: str = ""
    safety_dir: str = ""
