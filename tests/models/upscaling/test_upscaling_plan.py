"""Sizes and tiles of enlargements, and what their files say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.errors import UnsupportedOption
from models.upscaling.plan import Tiling, enlarged_metadata, enlarged_size, tiles_of


@pytest.mark.parametrize("size", [(1, 1), (70, 30), (96, 96), (257, 640)])
@pytest.mark.parametrize(("overlap_px", "window_px"), [(0, 1), (16, 8), (16, 16)])
def test_tiles_cover_a_picture_once_and_see_no_more_than_they_may(
    size: tuple[int, int], overlap_px: int, window_px: int
) -> None:
    width, height = size
    covered = np.zeros((height, width), int)
    for tile in tiles_of(size, Tiling(96, overlap_px, window_px)):
        left, top, right, bottom = tile.kept
        covered[top:bottom, left:right] += 1
        seen_left, seen_top, seen_right, seen_bottom = tile.seen
        assert max(seen_right - seen_left, seen_bottom - seen_top) <= 96
        assert seen_left == max(0, left - overlap_px)
        assert seen_bottom == min(height, bottom + overlap_px)
        assert min(seen_top, seen_left) >= 0
        assert seen_right <= width
        assert (left % window_px, top % window_px) == (0, 0)
    assert (covered == 1).all()


def test_what_is_kept_of_an_enlarged_tile_is_where_it_was() -> None:
    tile = tiles_of((200, 100), Tiling(96, 16, 8))[1]
    assert tile.kept == (56, 0, 112, 56)
    assert tile.seen == (40, 0, 128, 72)
    assert tile.kept_of_enlarged(3) == (48, 0, 216, 168)


def test_a_picture_that_fits_is_not_cut() -> None:
    [tile] = tiles_of((96, 40), Tiling(96, 16, 8))
    assert tile.kept == tile.seen == (0, 0, 96, 40)


def test_tiles_shrink_down_to_a_bound() -> None:
    tiling: Tiling | None = Tiling(256, 16, 8)
    sides = []
    while tiling is not None:
        sides.append(tiling.side_px)
        tiling = tiling.smaller()
    assert sides == [256, 128, 64]
    assert Tiling(128, 32, 8).smaller() is None


def test_pictures_grow_up_to_a_bound() -> None:
    assert enlarged_size((2048, 10), 2) == (4096, 20)
    with pytest.raises(UnsupportedOption, match="10 × 2049 pixels; up to 4096 a side"):
        enlarged_size((10, 2049), 2)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"recipe": '{"seed": 7}', "model": "sdxl"}, {"seed": 7}),
        ({"recipe": "not JSON"}, {}),
        ({"recipe": "[1]"}, {}),
        ({}, {}),
    ],
)
def test_a_recipe_goes_along_and_names_what_enlarged(
    said: dict[str, str], kept: dict[str, int]
) -> None:
    metadata = enlarged_metadata(said, "swin2sr", (40, 30), {"factor": 2})
    assert metadata["upscaler"] == "swin2sr"
    assert metadata.get("model") == said.get("model")
    assert json.loads(metadata["recipe"]) == {
        **kept,
        "upscaling": {"upscaler": "swin2sr", "from": "40x30", "factor": 2},
    }
