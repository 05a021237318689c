"""Workers in a Ray cluster.

This module owns the lanes there and the budgets of their models. It must not import Ray, which
would bring threads, signal handlers and a hundred megabytes into the bot: each worker is reached
through a process of its own, ``bot.engine.ray_bridge``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bot.engine.crossing import Status
from bot.engine.local import INSTALLED_BACKENDS, LocalPort, LocalWorkers
from bot.engine.port import LaneKind, LanePlan, WorkerGone, Workers
from bot.settings import EngineSettings, RaySettings, Settings

_BRIDGE = (sys.executable, "-m", "bot.engine.ray_bridge")


def chosen_workers(settings: Settings, spool: Path) -> Workers:
    """Return the workers that the owner wants: of this machine, or in the cluster."""
    if settings.engine.backend == "local":
        return LocalWorkers(settings.engine, spool, log_format=settings.log.format)
    return RayWorkers(
        settings.engine, settings.ray, spool, settings.models_dir, log_format=settings.log.format
    )


class RayPort(LocalPort):
    """A worker in the cluster, behind its bridge."""

    def _gone(self, status: int | None) -> WorkerGone:
        """Say how it ended. Whatever ends but the worker itself, no job has caused."""
        match status:
            case Status.WORKER_DIED:
                return WorkerGone("it died, and its machine lives")
            case Status.NO_CLUSTER:
                return WorkerGone("the cluster is out of reach", innocent=True)
            case Status.NO_ROOM:
                return WorkerGone("no machine of the cluster took it", innocent=True)
            case Status.MACHINE_LOST:
                return WorkerGone("its machine is lost", innocent=True)
            case _:
                gone = super()._gone(status)
                return WorkerGone(f"its bridge {gone.reason}", innocent=True)


class RayWorkers:
    """Workers in the cluster; those that ask servers stay on this machine, with the keys.

    Args:
        settings: Of the engine; its lanes and devices are for workers of this machine.
        ray: What there is to be in the cluster.
        spool: Folder of the spool.
        weights_dir: Where the bot has its weights.
        log_format: How log lines look, ``text`` or ``json``.
        resolver: What finds backends, ``module:function``.
    """

    def __init__(
        self,
        settings: EngineSettings,
        ray: RaySettings,
        spool: Path,
        weights_dir: Path,
        *,
        log_format: str = "text",
        resolver: str = INSTALLED_BACKENDS,
    ) -> None:
        self._ray = ray
        self._local = LocalWorkers(settings, spool, log_format=log_format, resolver=resolver)
        kind: LaneKind = "gpu" if ray.gpus else "cpu"
        names = [f"ray/{number}" for number in range(ray.lanes)]
        self._there = [LanePlan(name, kind, "cluster", name) for name in names]
        self._arguments = [
            *("--spool", str(spool.absolute())),
            *("--weights", str(weights_dir.absolute())),
            *("--address", ray.address),
            *("--gpus", str(ray.gpus), "--cpus", str(ray.cpus)),
            *("--resources", json.dumps(dict(ray.resources))),
            *("--start-s", str(ray.start_s)),
            *("--resolver", resolver, "--log-format", log_format),
        ]

    def lanes(self) -> Sequence[LanePlan]:
        return (*self._there, *(lane for lane in self._local.lanes() if lane.kind == "net"))

    def budgets(self) -> Mapping[str, int]:
        return {lane.pool: self._ray.memory_mb for lane in self._there if self._ray.memory_mb}

    async def open(self) -> None:
        pass

    def port(self, lane: LanePlan) -> LocalPort:
        if lane.kind == "net":
            return self._local.port(lane)
        return RayPort((*_BRIDGE, *self._arguments, "--lane", lane.name), threads=1)

    async def close(self) -> None:
        await self._local.close()
