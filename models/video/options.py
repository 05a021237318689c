"""Load-time options of the models that make clips, from the catalogue.

This module owns their names and bounds. It is pure.
"""

from __future__ import annotations

from pydantic import Field

from models.options import Options, PipelineOptions


class ClipOptions(PipelineOptions):
    """Options of a model that diffusers runs.

    Attributes:
        fps: Frames a second that the model was trained on.
        min_frames, max_frames: Bounds of the length.
        side_px: Side of the square that is made where nobody says a size; None makes it wide.
    """

    fps: float = Field(16.0, ge=1, le=60)
    min_frames: int = Field(5, ge=1)
    max_frames: int = Field(81, ge=1, le=1000)
    side_px: int | None = Field(None, ge=16, le=4096)
    min_pixels: int = Field(65_536, ge=64)
    max_pixels: int = Field(832 * 480, ge=64)


class HostedClipOptions(Options):
    """Options of a model on somebody's server.

    Attributes:
        slots: How many jobs may wait for the server at once.
        timeout_s: Longest silence of the server when it is asked something, in seconds.
        poll_s: Time between two looks at a clip that is being made, in seconds.
        deadline_s: Longest time that a clip may take, in seconds.
        sizes: All sizes that it makes, such as "1280x720".
        seconds: All lengths that it makes.
        location: Google: the region of the server, as in its address.
        cache_dir, safety_dir: Set by the engine; the latter only where the classifier is there.
    """

    slots: int = Field(4, ge=1, le=64)
    timeout_s: float = Field(60.0, gt=0)
    poll_s: float = Field(5.0, gt=0)
    deadline_s: float = Field(900.0, gt=0)
    sizes: tuple[str, ...] = Field(("1280x720", "720x1280"), min_length=1)
    seconds: tuple[int, ...] = Field((4, 8), min_length=1)
    location: str = ""
    cache_dir: str = ""
    safety_dir: str = ""
