"""Workers in a Ray cluster.

This module owns the lanes there and the budgets of their models. It must not import Ray, which
would bring threads, signal handlers and a hundred megabytes into the bot: each worker is reached
through a process of its own, ``bot.engine.ray_bridge``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bot.engine.crossing import Status
from bot.engine.local import INSTALLED_BACKENDS, RAM, LocalPort, LocalWorkers, environment
from bot.engine.port import LaneKind, LanePlan, WorkerGone, Workers
from bot.engine.protocol import PROTOCOL_VERSION
from bot.settings import EngineSettings, RaySettings, Settings
from models.errors import ModelUnavailable

_log = logging.getLogger(__name__)

_OF_A_GPU = 0.9

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
        self._log_format = log_format
        self._machines: list[dict[str, Any]] = []
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
        """Return the bounds of the smallest machine; there are none before one was seen."""
        bounds = {}
        if self._ray.gpus and self._machines:
            bounds[RAM] = min(machine["memory_mb"] for machine in self._machines) // 2
        per_lane_mb = self._ray.memory_mb or self._seen_mb()
        if per_lane_mb:
            bounds |= {lane.pool: per_lane_mb for lane in self._there}
        return bounds

    async def open(self) -> None:
        """Look at the machines of the cluster, which need not be there yet.

        Raises:
            ModelUnavailable: None can take a worker.
        """
        if find_spec("ray") is None:
            raise ModelUnavailable("Ray is missing: pip install -e '.[cluster]'")
        answer = await self._survey()
        if answer is None:
            raise ModelUnavailable(
                f"No Ray cluster answers at {self._ray.address}. Jobs wait until one does."
            )
        self._machines = json.loads(answer)
        for machine in self._machines:
            if machine["protocol"] != PROTOCOL_VERSION:
                _log.warning("%s has another version of Sextant than the bot", machine["name"])
        if not self._machines:
            raise ModelUnavailable(
                f"No machine of the cluster has {self._needs()}. Jobs wait until one has."
            )
        names = ", ".join(sorted(machine["name"] for machine in self._machines))
        _log.info("workers may run on %d machines: %s", len(self._machines), names)

    def port(self, lane: LanePlan) -> LocalPort:
        if lane.kind == "net":
            return self._local.port(lane)
        return RayPort((*_BRIDGE, *self._arguments, "--lane", lane.name), threads=1)

    async def _survey(self) -> bytes | None:
        """Return what the machines have, as JSON; None where the cluster is out of reach."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot.engine.ray_survey", "--parent", str(os.getpid())),
            *("--address", self._ray.address, "--needs", json.dumps(self._needs())),
            *("--log-format", self._log_format),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=environment(threads=1),
        )
        answer, _ = await process.communicate()
        return answer if process.returncode == 0 else None

    def _needs(self) -> dict[str, float]:
        """Return what a worker reserves, in Ray's words."""
        needs = {"GPU": self._ray.gpus, "CPU": self._ray.cpus, **self._ray.resources}
        return {name: amount for name, amount in needs.items() if amount}

    def _seen_mb(self) -> int:
        """Return what the models of a lane may take by default; 0 where that is not known."""
        if not self._machines:
            return 0
        if not self._ray.gpus:
            return min(int(machine["memory_mb"]) for machine in self._machines) // 2
        smallest_mb = min(int(machine["gpu_mb"]) for machine in self._machines)
        return int(smallest_mb * _OF_A_GPU * min(1.0, self._ray.gpus))

    async def close(self) -> None:
        await self._local.close()
