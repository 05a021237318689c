"""Keep converted weights: made once, verified at every load, made again when damaged.

This module owns the folder of one model's converted form and its manifest. It must not know how a
conversion works.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from models.errors import DiskFull, ModelLoadFailed

_LOG = logging.getLogger(__name__)

_MANIFEST: Final = "manifest.json"

Manifest = dict[str, Any]


def versions_of(*packages: str) -> dict[str, str]:
    """Return the installed versions of what a conversion depends on."""
    return {package: version(package) for package in packages}


def converted(
    source: Path, folder: Path, recipe: Mapping[str, str], convert: Callable[[Path], None]
) -> Path:
    """Return the folder of the converted form of ``source``; convert it if need be.

    Args:
        source: A file or folder. Its content counts, not its dates.
        folder: Where the form is kept; nothing else may live there.
        recipe: What the form depends on besides the source, such as library versions.
        convert: Writes the form into the empty folder that it is given.

    Raises:
        DiskFull: There is no room.
        ModelLoadFailed: The folder cannot be written, or ``convert`` failed.
    """
    target = folder / "form"
    try:
        with _lock(folder):
            stale = _mismatch(source, target, recipe)
            if stale:
                _LOG.info("converting %s: %s", source.name, stale)
                began = time.monotonic()
                _make(source, target, recipe, convert)
                _LOG.info("converted %s in %.0f s", source.name, time.monotonic() - began)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull("The bot's disk has no room to convert this model.") from error
        raise ModelLoadFailed from error
    return target


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Let one process convert at a time; others wait and find the work done."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(
    source: Path, target: Path, recipe: Mapping[str, str], convert: Callable[[Path], None]
) -> None:
    for left_behind in target.parent.glob("making-*"):
        shutil.rmtree(left_behind)
    scratch = Path(tempfile.mkdtemp(prefix="making-", dir=target.parent))
    try:
        convert(scratch)
        manifest = {
            "recipe": dict(recipe),
            "source": _describe(source),
            "files": {name: entry["sha256"] for name, entry in _describe(scratch).items()},
        }
        _write_durably(scratch / _MANIFEST, json.dumps(manifest, indent=1))
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _mismatch(source: Path, target: Path, recipe: Mapping[str, str]) -> str:
    """Say why the form cannot be used, or nothing."""
    try:
        manifest: Manifest = json.loads((target / _MANIFEST).read_text("utf-8"))
        if manifest["recipe"] != dict(recipe):
            return "it was made by other versions"
        if not _same_source(source, manifest["source"]):
            return "the source has changed"
        damaged = [
            name for name, sum_ in manifest["files"].items() if _sha256(target / name) != sum_
        ]
    except FileNotFoundError:
        return "there is no whole form yet"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "its manifest is damaged"
    return f"damaged: {', '.join(damaged)}" if damaged else ""


def _same_source(source: Path, known: Mapping[str, Mapping[str, Any]]) -> bool:
    """Compare by size and date, and by checksum where only the date differs."""
    files = _files(source)
    if files.keys() != known.keys():
        return False
    for name, file in files.items():
        stat, entry = file.stat(), known[name]
        if stat.st_size != entry["size"]:
            return False
        if stat.st_mtime_ns != entry["mtime_ns"] and _sha256(file) != entry["sha256"]:
            return False
    return True


def _describe(place: Path) -> Manifest:
    return {
        name: {
            "size": file.stat().st_size,
            "mtime_ns": file.stat().st_mtime_ns,
            "sha256": _sha256(file),
        }
        for name, file in _files(place).items()
    }


def _files(place: Path) -> dict[str, Path]:
    if place.is_file():
        return {place.name: place}
    return {str(f.relative_to(place)): f for f in sorted(place.rglob("*")) if f.is_file()}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_durably(file: Path, text: str) -> None:
    with file.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
