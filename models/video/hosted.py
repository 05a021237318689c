"""What clips from anybody's server have in common.

This module owns what is ordered, the wait for it, and what becomes of the file that comes. It
must not know a provider's API.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from models.catalog import ModelSpec
from models.contracts import Control, Finished, Usage, VideoRequest, VideoResult
from models.errors import BackendError, DeadlineExceeded, InvalidMedia
from models.image.pictures import read_picture
from models.image.provenance import Recipe, alt_text, metadata_of
from models.image.safety import SafetyClassifier, screened, worst
from models.prices import Amounts, offered_length
from models.video.mp4 import MP4, adopt
from models.video.options import HostedClipOptions
from models.video.plan import length_notice
from models.video.provenance import CROPPED, LOOKED_AT, clip_metadata
from models.video.reading import stills

T = TypeVar("T")

_FAILED_LOOKS: Final = 3
"""In a row: a clip that is paid for is not given up because one answer was lost."""

_LIKE: Final = 0.05
"""Shapes that differ by less are alike."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a server is asked for.

    Attributes:
        width_px, height_px, seconds: The shape of the clip.
        notices: What the member should know.
        first_frame: The picture to begin with, as a PNG of that size.
        first_score: What the safety classifier said of it.
    """

    width_px: int
    height_px: int
    seconds: int
    notices: tuple[str, ...]
    first_frame: bytes | None = None
    first_score: float | None = None

    @property
    def price(self) -> Amounts:
        """What is charged as soon as the server has begun, also for a clip that is given up."""
        return Amounts(clip_s=self.seconds)

    @property
    def size(self) -> str:
        """The size as providers write it."""
        return f"{self.width_px}x{self.height_px}"


def order_for(
    request: VideoRequest, options: HostedClipOptions, name: str, *, takes_seed: bool
) -> Order:
    """Fit a request to what a server makes."""
    width, height = _nearest_size(request, options.sizes)
    seconds = int(offered_length(request.seconds, options.seconds))
    notices = []
    if (width, height) != (request.width_px, request.height_px):
        notices.append(
            f"{name} does not make {request.width_px} × {request.height_px} pixels, "
            f"so this is {width} × {height}."
        )
    if seconds != request.seconds:
        notices.append(length_notice(name, request.seconds, seconds))
    wishes = {"steps": request.num_inference_steps, "guidance": request.guidance_scale}
    if not takes_seed:
        wishes["seed"] = request.seed
    ignored = [what for what, value in wishes.items() if value is not None]
    if ignored:
        notices.append(f"{name} takes no {' or '.join(ignored)}, so yours was not used.")
    return Order(width, height, seconds, tuple(notices))


def with_first_frame(
    order: Order, request: VideoRequest, control: Control, safety: SafetyClassifier | None
) -> Order:
    """Return an order that begins with the picture of the request, if it has one.

    Raises:
        InvalidMedia: It is not a picture, or is damaged.
        UnsafePicture: It is blocked, so it does not leave this machine.
    """
    from PIL import ImageOps

    if request.first_frame is None:
        return order
    read = read_picture(control.open(request.first_frame))
    score = screened(safety, read.image, request.blocked_from)
    notices = (*order.notices, *read.notices)
    if (
        not 0.95
        < (order.width_px / order.height_px) / (read.image.width / read.image.height)
        < 1.05
    ):
        notices += (CROPPED,)
    file = io.BytesIO()
    ImageOps.fit(read.image, (order.width_px, order.height_px)).save(file, "PNG")
    return replace(order, notices=notices, first_frame=file.getvalue(), first_score=score)


async def polled(
    look: Callable[[], Awaitable[T]], options: HostedClipOptions
) -> AsyncGenerator[T, None]:
    """Yield what is found at each look, until nobody asks any more.

    Raises:
        DeadlineExceeded: It took too long.
        BackendError: The server failed several times in a row.
    """
    clock = asyncio.get_running_loop().time
    end, failed = clock() + options.deadline_s, 0
    while clock() < end:
        try:
            found = await look()
        except BackendError:
            failed += 1
            if failed > _FAILED_LOOKS:
                raise
        else:
            failed = 0
            yield found
        await asyncio.sleep(options.poll_s)
    raise DeadlineExceeded("The model's server took too long for this clip, so it was given up.")


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes in the file that a server sends."""

    spec: ModelSpec
    options: HostedClipOptions
    safety: SafetyClassifier | None

    def finished(
        self, request: VideoRequest, order: Order, data: bytes, control: Control, seed: int | None
    ) -> Finished:
        """Store a clip as it is sent on, and say what it is.

        Raises:
            BackendError: What came is no clip.
        """
        recipe: Recipe = {
            "size": order.size,
            "seconds": order.seconds,
            "negative_prompt": bool(request.negative_prompt.strip()),
            "first_frame_sha256": request.first_frame.sha256 if request.first_frame else None,
        }
        try:
            clip = adopt(data, clip_metadata(metadata_of(self.spec, seed, recipe)))
            score = worst(self._score(clip.data), order.first_score)
        except InvalidMedia as error:
            raise BackendError("The model's server sent a damaged clip.") from error
        name = "clip.mp4" if seed is None else f"clip-{seed}.mp4"
        result = VideoResult(
            media=control.store(clip.data, name, MP4),
            width_px=clip.width_px,
            height_px=clip.height_px,
            frames=clip.frames,
            fps=clip.fps,
            seed=seed,
            alt_text=alt_text(request.prompt, "clip"),
            usage=Usage(clip.frames, "frames"),
            unsafe_score=score,
        )
        return Finished(result)

    def _score(self, clip: bytes) -> float | None:
        if self.safety is None:
            return None
        return max(self.safety.score(frame) for frame in stills(clip, LOOKED_AT))


def _nearest_size(request: VideoRequest, sizes: tuple[str, ...]) -> tuple[int, int]:
    """Return the size of the nearest shape; among like shapes the nearest in pixels."""
    width, height = request.width_px, request.height_px
    known = [tuple(int(side) for side in size.split("x")) for size in sizes]
    nearest = min(
        known,
        key=lambda s: (
            max(_LIKE, abs(s[0] * height - s[1] * width) / (s[1] * height)),
            abs(s[0] * s[1] - width * height),
        ),
    )
    return nearest[0], nearest[1]
