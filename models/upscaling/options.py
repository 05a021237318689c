"""Load-time options of the models that enlarge, from the catalogue.

This module owns their names and bounds. It is pure.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from models.options import Options


class UpscalingOptions(Options):
    """Options of a model that enlarges.

    Attributes:
        tile_px: Most that it sees at once, as the side of a square: bounds memory, and the time
            between two looks at whether to stop. None suits the device.
        overlap_px: How far it sees beyond what is kept of a tile, so that no seam shows: whole
            windows of the network.
        cache_dir, safety_dir: Set by the engine; the latter only where the classifier is there.
    """

    tile_px: int | None = Field(None, ge=16, le=1024)
    overlap_px: int = Field(16, ge=0, le=128, multiple_of=8)
    cache_dir: str = ""
    safety_dir: str = ""

    @model_validator(mode="after")
    def _something_is_kept(self) -> Self:
        if self.tile_px is not None and self.tile_px < 2 * self.overlap_px + 16:
            raise ValueError("tile_px has to be twice overlap_px and 16 more at least")
        return self
