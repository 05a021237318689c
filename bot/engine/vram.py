"""The memory of NVIDIA GPUs as their driver counts it, seen from outside of the workers.

This module owns the library that asks the driver (``nvidia-ml-py``, which need not be installed:
then nothing is known). It never opens a context on a GPU.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any


class GpuMemory:
    """The memory of one GPU.

    Args:
        index: Its number in the order of the bus, as in ``cuda:0``.
    """

    def __init__(self, index: int) -> None:
        self._index = index

    def total_bytes(self) -> int:
        """Return how much there is, 0 where nobody knows."""
        return self._counted("total")

    def used_bytes(self) -> int:
        """Return how much is taken, by whomever, 0 where nobody knows."""
        return self._counted("used")

    def used_by(self, pid: int) -> int:
        """Return how much a process takes; 0 where it takes none, or the driver does not tell.

        It tells nothing of processes that a container gave numbers of its own.
        """
        nvml = _driver()
        if nvml is None:
            return 0
        try:
            running = nvml.nvmlDeviceGetComputeRunningProcesses(self._handle(nvml))
        except nvml.NVMLError:
            return 0
        return sum(process.usedGpuMemory or 0 for process in running if process.pid == pid)

    def _counted(self, field: str) -> int:
        nvml = _driver()
        if nvml is None:
            return 0
        try:
            return int(getattr(nvml.nvmlDeviceGetMemoryInfo(self._handle(nvml)), field))
        except nvml.NVMLError:
            return 0

    def _handle(self, nvml: Any) -> Any:
        return nvml.nvmlDeviceGetHandleByIndex(self._index)


def gpu_memory(device: str) -> GpuMemory:
    """Return the memory of a device such as ``cuda:1``; ``cuda`` is the first."""
    return GpuMemory(int(device.partition(":")[2] or 0))


@cache
def _driver() -> Any:
    """Return the library with the driver reached, None without either."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml
