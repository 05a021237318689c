"""Rules on the frames of a clip: what is there, how it moves, what stands still.

This module owns what is measured of clips, and how. What is there the judge says, which has seen
drawings only; how it moves follows from where it says so; what falls, sets, twinkles and flickers
follows from the pixels.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from training.clip_scenes import FALLS_PX, HORIZON, frames_of, is_sun_moving
from training.judge import CELLS, Judge, Verdict
from training.motion import FRAMES, GOING, MOVING, RISE_PX, STEP_PX
from training.scenes import SIDE_PX, Kind, Scene, Time

if TYPE_CHECKING:
    from training.drawing import Drawing

Frames = npt.NDArray[np.uint8]
"""Frames × height × width × 3."""

_Mask = npt.NDArray[np.bool_]

_SEEN_IN = 0.7
"""Share of the frames in which a thing must be seen."""

_STEP_CELLS = STEP_PX * CELLS / SIDE_PX
_SLOWEST, _QUICKEST = 0.5, 1.7
"""Of the pace that it should have."""

_STILL_CELLS = 1.5
_SWAY_CELLS = 1.5
_TURNS = 2
_SUN = np.array((255, 244, 150))
_ALIKE = 45
_SUN_PIXELS = 12
_TWINKLES = 40
_STARS = 4
_SKY_PX = 30
_MARGIN_PX = 3
_LEAST_STILL = 0.1


@dataclass(frozen=True, slots=True)
class ClipMarks:
    """How a clip keeps to what was asked; None where nothing was.

    Attributes:
        thing: The thing is there in its colour in most frames.
        moves: It moves in its way, or stands where it has none.
        happens: The sun sets or rises, stars twinkle, rain or snow falls.
        surroundings: Time of day and ground are right.
        flicker: How much unmoving pixels change from frame to frame, of 1; None where all move.
    """

    thing: bool | None
    moves: bool | None
    happens: bool | None
    surroundings: bool
    flicker: float | None

    @property
    def right(self) -> bool:
        """Whether nothing that was asked for is wrong."""
        return False not in (self.thing, self.moves, self.happens, self.surroundings)


def clip_marks(judge: Judge, scene: Scene, frames: Frames) -> ClipMarks:
    """Compare a clip with the scene that was asked for."""
    from PIL import Image

    verdicts = judge.look([Image.fromarray(frame) for frame in frames])
    drawn = frames_of(scene)
    thing = moves = None
    if scene.things:
        (asked,) = scene.things
        named = [[s for s in v.things if s.kind is asked.kind] for v in verdicts]
        same = [any(s.colour is asked.colour for s in seen) for seen in named]
        thing = sum(same) >= _SEEN_IN * len(frames)
        moves = _moves(verdicts, asked.kind, mirrored=asked.mirrored)
    return ClipMarks(
        thing=thing,
        moves=moves,
        happens=_happens(scene, frames, _untouched(drawn)),
        surroundings=_most([v.time for v in verdicts]) is scene.time
        and _most([v.ground for v in verdicts]) is scene.ground,
        flicker=_flicker(frames, _unmoving(drawn)),
    )


def _most(values: list[Any]) -> Any:
    return Counter(values).most_common(1)[0][0]


# --------------------------------------------------------------------------- things


def _moves(verdicts: list[Verdict], kind: Kind, *, mirrored: bool) -> bool:
    """Say whether a thing moves as its kind does, from where the judge sees it."""
    places = []
    for frame, verdict in enumerate(verdicts):
        seen = [thing for thing in verdict.things if thing.kind is kind]
        if seen:
            places.append((frame, seen[0].x, seen[0].y))
    if len(places) < _SEEN_IN * len(verdicts):
        return False
    frame, x, y = np.array(places).T
    across, down = (np.polyfit(frame, place, 1)[0] / _STEP_CELLS for place in (x, y))
    rises = -down * FRAMES * STEP_PX / RISE_PX
    if kind in GOING:
        ahead = -across if mirrored else across
        return bool(_SLOWEST < ahead < _QUICKEST and abs(down) < _SLOWEST)
    if kind is Kind.BALLOON:
        return bool(_SLOWEST < rises < _QUICKEST and abs(across) < _SLOWEST)
    if kind in MOVING:
        sides = [side for side in np.sign(np.round(x - np.median(x))) if side]
        turns = sum(a != b for a, b in itertools.pairwise(sides))
        return bool(np.ptp(x) >= _SWAY_CELLS and turns >= _TURNS)
    return bool(max(np.ptp(x), np.ptp(y)) <= _STILL_CELLS)


# --------------------------------------------------------------------------- pixels


def _happens(scene: Scene, frames: Frames, free: _Mask) -> bool | None:
    if is_sun_moving(scene):
        return _sun_moves(frames, sets=scene.time is Time.SUNSET)
    if scene.stars:
        return _stars_twinkle(frames, free)
    if scene.weather in FALLS_PX:
        return abs(_fall(frames, free) - FALLS_PX[scene.weather]) <= 1
    return None


def _sun_moves(frames: Frames, *, sets: bool) -> bool:
    alike = np.abs(frames[:, : int(HORIZON)].astype(int) - _SUN).max(axis=-1) < _ALIKE
    rows = np.arange(alike.shape[1])
    seen = [(n, (on.sum(axis=1) @ rows) / on.sum()) for n, on in enumerate(alike) if on.sum() > 0]
    if alike.sum(axis=(1, 2)).max() < _SUN_PIXELS or len(seen) < FRAMES // 2:
        return False
    frame, row = np.array(seen).T
    slope = np.polyfit(frame, row, 1)[0]
    return bool(slope > 0.2 if sets else slope < -0.2)


def _stars_twinkle(frames: Frames, free: _Mask) -> bool:
    light = frames.max(axis=-1).astype(int)
    change = np.ptp(light, axis=0) * free
    return bool((change[:_SKY_PX] > _TWINKLES).sum() >= _STARS)


def _fall(frames: Frames, free: _Mask) -> int:
    """Return by how many pixels most of what changes is lower in the next frame."""
    light = frames.mean(axis=-1)
    apart = (light - np.median(light, axis=0)) * free
    high = apart.shape[1]
    likeness = [(apart[:-1, : high - px] * apart[1:, px:]).sum() for px in range(13)]
    return int(np.argmax(likeness))


def _flicker(frames: Frames, unmoving: _Mask) -> float | None:
    if unmoving.mean() < _LEAST_STILL:
        return None
    change = np.abs(np.diff(frames.astype(int), axis=0)).mean(axis=(0, -1))
    return float(change[unmoving].mean() / 255)


def _untouched(drawn: list[Drawing]) -> _Mask:
    """Return where no thing ever is in the clip that is meant."""
    return ~_wider(np.max([frame.mask for frame in drawn], axis=0) > 0)


def _unmoving(drawn: list[Drawing]) -> _Mask:
    """Return what stays as it is in the clip that is meant."""
    pixels = np.stack([np.asarray(frame.image) for frame in drawn])
    return ~_wider(np.ptp(pixels, axis=0).max(axis=-1) > 0)


def _wider(mask: _Mask) -> _Mask:
    from PIL import Image, ImageFilter

    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.filter(ImageFilter.MaxFilter(2 * _MARGIN_PX + 1))) > 0
