"""The spool: whole files or none, no path out of it, and a disk that is full."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace

import pytest

from bot.engine.journal import JournalUnavailable
from bot.engine.spool import Spool, keep_swept, paths_in
from models.contracts import MediaInput
from models.errors import DiskFull, InvalidMedia


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


def test_what_is_stored_is_found_again(spool):
    media = spool.store(b"abc", "../../evil name.ogg", "audio/ogg")
    assert spool.checked_path(media).read_bytes() == b"abc"
    assert media.size_bytes == 3
    assert spool.path(media).parent == spool.folder
    assert "evil" not in media.path


def test_blocks_are_joined(spool):
    media = spool.store(iter([b"ab", b"", b"c"]), "x", "text/plain")
    assert spool.checked_path(media).read_bytes() == b"abc"
    assert media == spool.store(b"abc", "x", "text/plain").__class__(
        media.path, "x", "text/plain", 3, media.sha256
    )


def test_a_file_of_another_spool_keeps_its_name(spool, tmp_path):
    media = Spool(tmp_path / "far").store(b"abc", "x.txt", "text/plain")
    for _ in range(2):  # the second time it is there already
        spool.adopt(media, memoryview(b"abc"))
        assert spool.checked_path(media).read_bytes() == b"abc"
    assert [file.name for file in spool.folder.iterdir()] == [media.path]


@pytest.mark.parametrize("data", [b"abd", b""])
def test_what_was_damaged_on_its_way_is_not_adopted(spool, tmp_path, data):
    media = Spool(tmp_path / "far").store(b"abc", "x.txt", "text/plain")
    with pytest.raises(InvalidMedia, match="damaged"):
        spool.adopt(media, data)
    assert not spool.folder.exists()


def test_no_name_of_another_spool_leads_out_of_this_one(spool, tmp_path):
    media = Spool(tmp_path / "far").store(b"abc", "x.txt", "text/plain")
    with pytest.raises(InvalidMedia):
        spool.adopt(replace(media, path="../secret"), b"abc")
    assert not (spool.folder.parent / "secret").exists()


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "", "f" * 31, f"{'a' * 32}/.."])
def test_no_path_leads_out_of_the_spool(spool, path):
    spool.store(b"x", "x", "text/plain")
    (spool.folder.parent / "secret").write_bytes(b"secret")
    with pytest.raises(InvalidMedia):
        spool.path(MediaInput(path, "x", "text/plain", 1, "0" * 64))
    spool.discard([path])
    assert (spool.folder.parent / "secret").exists()


def test_a_missing_or_damaged_file_is_told(spool):
    media = spool.store(b"abc", "x", "text/plain")
    spool.path(media).write_bytes(b"abd")
    with pytest.raises(InvalidMedia, match="damaged"):
        spool.checked_path(media)
    spool.discard([media.path, media.path])
    with pytest.raises(InvalidMedia, match="not here any more"):
        spool.checked_path(media)


def test_bytes_and_name_are_on_the_disk_before_anything_may_refer_to_them(spool, monkeypatch):
    flushed = []

    def fsync(file):
        flushed.append(os.path.realpath(f"/proc/self/fd/{file}"))

    monkeypatch.setattr(os, "fsync", fsync)
    media = spool.store(b"abc", "x", "text/plain")
    folder = os.path.realpath(spool.folder)
    assert flushed == [f"{folder}/{media.path}.part", folder]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_and_leaves_nothing(spool, monkeypatch, number):
    def fsync(file):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DiskFull):
        spool.store(b"abc", "x", "text/plain")
    assert list(spool.folder.iterdir()) == []


def test_another_fault_of_the_disk_is_not_called_full(spool, monkeypatch):
    def fsync(file):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="broken"):
        spool.store(b"abc", "x", "text/plain")


def test_blocks_that_fail_half_way_leave_nothing(spool):
    def blocks():
        yield b"abc"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        spool.store(blocks(), "x", "text/plain")
    assert list(spool.folder.iterdir()) == []


def test_a_sweep_spares_what_is_kept_and_what_is_young(spool):
    kept, orphan = (spool.store(b"x", "x", "text/plain") for _ in range(2))
    assert spool.sweep({kept.path}, older_than_s=60) == 0
    assert spool.sweep({kept.path}) == 1
    assert spool.path(kept).is_file()
    with pytest.raises(InvalidMedia):
        spool.path(orphan)


def test_a_sweep_of_no_folder_is_nothing(spool):
    assert spool.sweep(set()) == 0


async def test_the_spool_is_swept_again_and_again(spool, monkeypatch):
    monkeypatch.setattr("bot.engine.spool._SWEEP_S", 0.01)
    answers = iter([JournalUnavailable("locked"), set()])
    orphan = spool.store(b"x", "x", "text/plain")

    async def in_use():
        answer = next(answers, set())
        if isinstance(answer, Exception):
            raise answer
        return answer

    sweeping = asyncio.create_task(keep_swept(spool, in_use))
    async with asyncio.timeout(60):
        while (spool.folder / orphan.path).exists():
            await asyncio.sleep(0.01)
    sweeping.cancel()


def test_paths_are_found_in_stored_text_and_checksums_are_not():
    path, checksum = "ab" * 16, "cd" * 32
    assert paths_in(f'{{"path": "{path}", "sha256": "{checksum}"}}') == [path]
