"""The folder of uploaded pictures: how much stays in it, and for how long."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bot.engine.spool import Spool
from bot.services.kept_pictures import MOST_BYTES, KeptPictures
from models.contracts import MediaInput
from models.errors import DiskFull, InvalidMedia

MIB = 1 << 20


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def kept(tmp_path: Path, spool: Spool) -> KeptPictures:
    return KeptPictures(tmp_path / "kept", spool, days=30, mb_per_member=3)


def uploaded(spool: Spool, size_bytes: int = MIB) -> MediaInput:
    return spool.store(os.urandom(size_bytes), "me.png", "image/png")


def test_a_picture_outlives_the_one_in_the_spool(kept: KeptPictures, spool: Spool) -> None:
    media = uploaded(spool)
    name = kept.keep(media, [])
    assert name
    spool.discard([media.path])
    for _ in range(2):
        back = kept.bring(name, media)
        assert (back.sha256, back.filename, back.content_type) == (
            media.sha256,
            "me.png",
            "image/png",
        )
        assert spool.checked_path(back)
    kept.discard([name])
    with pytest.raises(InvalidMedia, match="not kept any more"):
        kept.bring(name, media)


def test_the_oldest_go_where_they_are_too_many(kept: KeptPictures, spool: Spool) -> None:
    names: list[str] = []
    for _ in range(4):
        name = kept.keep(uploaded(spool), names)
        assert name
        names.append(name)
    assert [kept.path(name).is_file() for name in names] == [False, True, True, True]
    name = kept.keep(uploaded(spool, 2 * MIB), names)
    assert name
    assert [kept.path(each).is_file() for each in names] == [False, False, False, True]


@pytest.mark.parametrize(("mb_per_member", "size_bytes"), [(3, 3 * MIB + 1), (0, 1), (50, -1)])
def test_what_is_too_large_is_not_kept(
    mb_per_member: int, size_bytes: int, spool: Spool, tmp_path: Path
) -> None:
    kept = KeptPictures(tmp_path / "kept", spool, days=30, mb_per_member=mb_per_member)
    size_bytes = size_bytes if size_bytes > 0 else MOST_BYTES + 1
    assert kept.keep(uploaded(spool, size_bytes), []) is None
    assert not (tmp_path / "kept").exists()


def test_a_full_disk_costs_the_button_and_not_the_job(
    kept: KeptPictures, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = uploaded(spool)

    def full(*_: object) -> None:
        raise DiskFull

    monkeypatch.setattr(Spool, "store", full)
    assert kept.keep(media, []) is None


def test_a_picture_goes_when_its_time_is_over(kept: KeptPictures, spool: Spool) -> None:
    old, used, new = (kept.keep(uploaded(spool, 10), []) for _ in range(3))
    assert old
    assert used
    assert new
    for name in (old, used):
        before = time.time() - 31 * 86_400
        os.utime(kept.path(name), (before, before))
    kept.renew([used, "gone"])
    assert kept.sweep() == 1
    assert [kept.path(name).is_file() for name in (old, used, new)] == [False, True, True]
