"""What a machine has: cores, memory, GPUs.

This module asks the operating system and ``nvidia-smi``; it must not import a library for that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Hardware:
    """What the machine has: ``memory_mb`` in all, ``gpus`` by name with their memory in MB."""

    cores: int
    memory_mb: int
    gpus: tuple[tuple[str, int], ...]


def read_hardware() -> Hardware:
    """Ask the operating system, and nvidia-smi where there is one."""
    cores = len(os.sched_getaffinity(0))
    return Hardware(cores, psutil.virtual_memory().total // 1_000_000, tuple(_gpus()))


def _gpus() -> Iterator[tuple[str, int]]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(  # noqa: S603
            query, capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return
    for line in answer.splitlines():
        name, _, memory_mib = line.rpartition(",")
        if memory_mib.strip().isdigit():
            yield name.strip(), int(memory_mib) * 1024 * 1024 // 1_000_000
