"""A repository of a model hub, fetched file by file.

This module owns the way from a pinned repository to a folder: what was there of an earlier try is
gone on with, and every file is compared with the checksum that the hub has recorded of it. It must
not know models. The hub's library is imported when something is fetched.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from models.catalog import HubSource

_UNFINISHED = ".unfinished"
_BAR_CHARS = 24
_BAR_EVERY_S = 0.5

Count = Callable[[int, int], None]
"""Told the bytes that are there, and how many there will be."""


class PullFailed(Exception):
    """Weights could not be fetched; the message says why and what the owner can do."""


@dataclass(frozen=True)
class _File:
    """A file of a repository; it has the checksum of its bytes, or that of its git object."""

    name: str
    size_bytes: int
    sha256: str
    git_sha1: str

    def is_at(self, path: Path) -> bool:
        """Whether the bytes at a path are those of the repository."""
        if self.sha256:
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256
        data = path.read_bytes()  # git keeps small texts alone
        blob = b"blob %d\0" % len(data) + data
        return hashlib.sha1(blob, usedforsecurity=False).hexdigest() == self.git_sha1


def fetch_repository(source: HubSource, folder: Path, count: Count) -> None:
    """Bring the wanted files into a folder that an earlier try may have begun.

    Raises:
        PullFailed: What arrived whole stays for the next try.
    """
    try:
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
    except ImportError as error:
        raise PullFailed("huggingface_hub is not installed: pip install -e '.[models]'") from error
    disable_progress_bars()
    if source.gated and not has_token():
        raise PullFailed(gated(source))  # before the files that anybody gets
    with _told_plainly(source):
        files = _wanted(source)
        sizes = [_present_bytes(folder, file) for file in files]
        total = sum(file.size_bytes for file in files)
        for number, file in enumerate(files):
            elsewhere = sum(sizes) - sizes[number]

            def tell(done: int, before: int = elsewhere) -> None:
                count(before + done, total)

            _fetch(source, file, folder, tell)
            sizes[number] = file.size_bytes


def gated(source: HubSource) -> str:
    """Return the sentence that says what to do about a gated repository."""
    return (
        f"{source.repo} is gated: accept its licence on its page of the hub, make a token there, "
        "and set HF_TOKEN."
    )


def has_token() -> bool:
    """Whether the hub's library finds a token, in the environment or where one has logged in."""
    from huggingface_hub import get_token

    return get_token() is not None


def _wanted(source: HubSource) -> list[_File]:
    from huggingface_hub import HfApi

    listed = HfApi().model_info(source.repo, revision=source.revision, files_metadata=True)
    files = [
        _File(
            each.rfilename,
            each.size or 0,
            each.lfs.sha256 if each.lfs else "",
            each.blob_id or "",
        )
        for each in listed.siblings or ()
    ]
    patterns = source.files or ("*",)
    missing = [
        name
        for name in source.files
        if "*" not in name and not any(file.name == name for file in files)
    ]
    if missing:
        raise PullFailed(f"{source.repo} has no {', '.join(missing)} at its pinned revision")
    return [
        file
        for file in files
        if any(fnmatch.fnmatchcase(file.name, pattern) for pattern in patterns)
    ]


def _present_bytes(folder: Path, file: _File) -> int:
    for path in (folder / file.name, folder / (file.name + _UNFINISHED)):
        if path.is_file():
            return min(path.stat().st_size, file.size_bytes)
    return 0


def _fetch(source: HubSource, file: _File, folder: Path, count: Callable[[int], None]) -> None:
    """Fetch one file, or the rest of it. It gets its name when it has been compared."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    path = folder / file.name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise PullFailed(f"{source.repo} has a file outside its folder: {file.name}")
    if path.is_file():
        count(file.size_bytes)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + _UNFINISHED)
    with unfinished.open("ab") as stream:
        counted = _Counted(stream, count)
        http_get(
            hf_hub_url(source.repo, file.name, revision=source.revision),
            counted,  # type: ignore[arg-type]
            resume_size=stream.tell(),
            headers=build_hf_headers(),
            expected_size=file.size_bytes,
        )
        stream.flush()
        os.fsync(stream.fileno())
    if not file.is_at(unfinished):
        unfinished.unlink()
        raise PullFailed(
            f"{file.name} of {source.repo} arrived damaged and was thrown away. Pull it again."
        )
    unfinished.rename(path)


class _Counted:
    """A file that tells how long it has become."""

    def __init__(self, stream: BinaryIO, count: Callable[[int], None]) -> None:
        self._stream = stream
        self._count = count

    def write(self, data: bytes) -> int:
        written = self._stream.write(data)
        self._stream.flush()  # a process that is killed loses what is not written
        self._count(self._stream.tell())
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Bar:
    """Tells how far a pull is, twice a second at most, each whole percent once."""

    def __init__(self, name: str, tell: Callable[[str], None]) -> None:
        self._name = name
        self._tell = tell
        self._percent = -1
        self._next_s = 0.0

    def draw(self, done: int, total: int) -> None:
        """Tell that so many bytes of so many are there."""
        percent = 100 * done // max(1, total)
        if percent == self._percent or (percent < 100 and time.monotonic() < self._next_s):
            return
        self._percent, self._next_s = percent, time.monotonic() + _BAR_EVERY_S
        full = percent * _BAR_CHARS // 100
        bar = "#" * full + "-" * (_BAR_CHARS - full)
        self._tell(f"{self._name}: [{bar}] {_mb(done)} of {_mb(total)} MB, {percent} %")


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:,.1f}"


@contextmanager
def _told_plainly(source: HubSource) -> Iterator[None]:
    """Turn what the hub's library raises into what the owner can do about it."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        yield
    except PullFailed:
        raise
    except GatedRepoError as error:
        raise PullFailed(gated(source)) from error
    except RepositoryNotFoundError as error:
        raise PullFailed(
            f"The hub has no {source.repo}, or shows it to nobody without HF_TOKEN."
        ) from error
    except Exception as error:  # what else the library and its HTTP client raise
        raise PullFailed(
            f"{source.repo} could not be fetched from the hub: {error}\n"
            "What arrived is kept: pulling again goes on from there."
        ) from error
