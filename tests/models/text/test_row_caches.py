"""Memory of rows: taken when it is written, given back when a row ends."""

from __future__ import annotations

import numpy as np
import psutil
import pytest

from models.text.row_caches import CacheShape, RowCaches

SHAPE = CacheShape(layers=16, heads=3, head_size=64)
TOKENS = 1024
_ROW_MB = SHAPE.layers * SHAPE.heads * SHAPE.token_bytes * TOKENS / 2**20
_SLACK_MB = 4.0


@pytest.fixture
def caches() -> RowCaches:
    return RowCaches(SHAPE, 64, TOKENS)


def rss_mb() -> float:
    return float(psutil.Process().memory_info().rss / 2**20)


def test_memory_comes_with_what_is_written_and_goes_with_its_row() -> None:
    before = rss_mb()
    caches = RowCaches(SHAPE, 64, TOKENS)
    assert rss_mb() - before < _SLACK_MB, "800 MB are only reserved"
    caches.layers[:, :4] = 1
    full = rss_mb() - before
    assert full == pytest.approx(4 * _ROW_MB, abs=_SLACK_MB)
    caches.release(0)
    caches.release(1, TOKENS // 2)
    assert rss_mb() - before == pytest.approx(2.5 * _ROW_MB, abs=_SLACK_MB)
    assert not caches.layers[:, 0].any()
    assert caches.layers[:, 1, :, : TOKENS // 2].all()
    assert caches.layers[:, 2:4].all()


@pytest.mark.parametrize(("first", "second"), [(5, 700), (700, 5), (0, 64), (33, 33), (64, 0)])
def test_rows_of_any_length_change_places(first: int, second: int, caches: RowCaches) -> None:
    random = np.random.default_rng(1)
    one = random.normal(size=(SHAPE.layers, SHAPE.heads, first, 64)).astype(np.float32)
    other = random.normal(size=(SHAPE.layers, SHAPE.heads, second, 64)).astype(np.float32)
    caches.layers[:, 3, :, :first] = one
    caches.layers[:, 9, :, :second] = other
    caches.layers[:, 4] = 7
    caches.swap(3, first, 9, second)
    np.testing.assert_array_equal(caches.layers[:, 3, :, :second], other)
    np.testing.assert_array_equal(caches.layers[:, 9, :, :first], one)
    assert (caches.layers[:, 4] == 7).all()


def test_a_swap_leaves_no_memory_behind(caches: RowCaches) -> None:
    caches.layers[:, 3] = 1
    before = rss_mb()
    caches.swap(3, TOKENS, 9, 0)
    assert rss_mb() - before < _SLACK_MB


@pytest.mark.parametrize("head_size", [64, 80, 96, 128])
def test_a_head_of_any_size_shares_no_page_with_another(head_size: int) -> None:
    caches = RowCaches(CacheShape(2, 2, head_size), 2, 50)
    assert caches.layers.shape[3] >= 50
    caches.layers[:] = 1
    caches.release(1, 50)
    caches.release(0, 10)
    assert caches.layers[:, 1, :, :50].all()
    assert caches.layers[:, 0, :, :10].all()
    caches.release(0)
    assert not caches.layers[:, 0].any()
    assert caches.layers[:, 1, :, :50].all()
