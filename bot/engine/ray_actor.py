"""A worker in a Ray actor: the loop of ``bot.engine.process``, with calls in place of a socket.

This module owns the actor: its thread, a spool of its own, the weights of its machine. It must not
retry or restart anything, since that is the engine's. Ray imports it on the machines of the
cluster; the bot never does.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import platform
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias

import psutil

from bot.engine.crossing import Calls
from bot.engine.port import Vitals
from bot.engine.process import NICENESS, resolver, serve
from bot.engine.protocol import PROTOCOL_VERSION
from bot.engine.spool import Spool
from bot.engine.worker import LoadBackend, ResolveBackend, Worker
from bot.hardware import read_hardware
from bot.logs import set_up_worker
from bot.settings import CONFIG_FOLDER
from models.catalog import Catalog, ModelSpec
from models.contracts import Handler, MediaInput, Stepper
from models.errors import ModelNotInstalled
from models.weights import WeightStore, placed

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger(__name__)

Block: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.uint8]]"
"""A file's bytes as Ray's object store holds them without a copy."""

_SPOOL, _LOCK = "sextant-worker-", "lock"


@dataclass(frozen=True, slots=True)
class Equipment:
    """What an actor is told when it is made.

    Attributes:
        lane: What the log calls it.
        weights_dir: Of the bot; its machine may have the weights elsewhere.
        resolver: What finds backends there, ``module:function``.
        log_format: How its log lines look, ``text`` or ``json``.
    """

    lane: str
    weights_dir: str
    resolver: str
    log_format: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where an actor is: Ray's id of the node, the machine's name, the protocol spoken there."""

    node_id: str
    machine: str
    protocol: int


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of the cluster: its memory, and that of its smallest GPU, in MiB; 0 is none."""

    name: str
    protocol: int
    memory_mb: int
    gpu_mb: int


class WorkerActor:
    """Runs a worker until it is told to shut down. Its methods are called side by side."""

    def __init__(self, equipment: Equipment) -> None:
        import ray

        os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        # What a library will change one day is for developers.
        warnings.simplefilter("ignore", FutureWarning)
        set_up_worker(equipment.log_format, lane=equipment.lane, pid=os.getpid())
        self._node_id = ray.get_runtime_context().get_node_id()
        self._spool, self._lock = own_spool(Path(tempfile.gettempdir()))
        self._calls = Calls(self._spool, vitals)
        weights = WeightStore(Path(os.environ.get("SEXTANT_WEIGHTS_DIR") or equipment.weights_dir))
        self._worker = Worker(
            resolve=partial(_at_home, resolver(equipment.resolver), weights),
            device="cuda:0" if ray.get_gpu_ids() else "cpu",
            spool=self._spool,
            report=self._calls.send,
            rss_bytes=lambda: vitals().rss_bytes,
        )
        threading.Thread(target=self._serve, daemon=True).start()

    def place(self) -> Place:
        """Say where this is."""
        return Place(self._node_id, platform.node(), PROTOCOL_VERSION)

    def put(self, frame: bytes, media: Sequence[MediaInput], *blocks: Block) -> None:
        """Take a command, with the files that it speaks of; Ray has fetched those by now."""
        self._calls.put(
            frame, [(file, block.data) for file, block in zip(media, blocks, strict=True)]
        )

    def reports(self) -> Iterator[list[tuple[bytes, list[tuple[MediaInput, Block]]]]]:
        """Yield what the worker reports, as much at once as there is."""
        import numpy as np

        for batch in self._calls.reports():
            yield [
                (frame, [(media, np.frombuffer(data, np.uint8)) for media, data in files])
                for frame, files in batch
            ]

    def _serve(self) -> None:
        os.nice(NICENESS)  # of this thread alone: Ray's own answer the cluster
        try:
            serve(self._worker, self._calls)
        except Exception:  # noqa: BLE001 - whatever it is, the engine must learn of it
            _log.exception("the worker ends")
            os._exit(1)
        shutil.rmtree(self._spool.folder.parent, ignore_errors=True)
        self._calls.close()


# --------------------------------------------------------------------------- this machine


def own_spool(folder: Path) -> tuple[Spool, IO[str]]:
    """Make a spool for this process, and delete those of others that ended without a goodbye.

    Returns:
        The spool, and what must stay open as long as it is used.
    """
    for stale in folder.glob(f"{_SPOOL}*"):
        with contextlib.suppress(OSError), (stale / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(stale)
    made = Path(tempfile.mkdtemp(prefix="sextant-new-", dir=folder))
    lock = (made / _LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    own = made.rename(folder / made.name.replace("sextant-new-", _SPOOL))  # now others may look
    return Spool(own / "files"), lock


def this_machine() -> Machine:
    """Say what this machine has."""
    found = read_hardware()
    gpu_mb = min((memory_mb for _, memory_mb in found.gpus), default=0)
    in_mib = (memory_mb * 1_000_000 >> 20 for memory_mb in (found.memory_mb, gpu_mb))
    return Machine(platform.node(), PROTOCOL_VERSION, *in_mib)


def vitals() -> Vitals:
    """Measure this process. What it holds of a GPU is asked of torch, if that is in use.

    The worker's thread may be in the middle of importing it.
    """
    cuda = sys.modules.get("torch.cuda")
    in_use = getattr(cuda, "is_initialized", None)
    vram = int(cuda.memory_reserved()) if cuda and in_use and in_use() else 0
    return Vitals(int(psutil.Process().memory_info().rss), vram)


def _at_home(resolve: ResolveBackend, weights: WeightStore, name: str) -> LoadBackend:
    """Find a backend, and have it load from this machine instead of the bot's."""
    load = resolve(name)

    def load_here(spec: ModelSpec, _location: str, device: str) -> Handler | Stepper:
        return load(*settled(spec, weights), device)

    return load_here


def settled(spec: ModelSpec, weights: WeightStore) -> tuple[ModelSpec, str]:
    """Return a row that was told the places of another machine, told those of this one.

    Returns:
        The row, and the file or folder of its weights.

    Raises:
        ModelNotInstalled: With a sentence that names this machine.
    """
    tools = Catalog.read(CONFIG_FOLDER).tools
    elsewhere = {f"{name}_dir" for name in tools}
    options = {key: value for key, value in spec.options.items() if key not in elsewhere}
    try:
        location = weights.locate(spec)
    except ModelNotInstalled as error:
        raise ModelNotInstalled(f"On {platform.node()}: {error.user_message}") from error
    return placed(spec.model_copy(update={"options": options}), weights, tools), location
