"""A PostgreSQL server for tests, where its programs are installed.

It listens on loopback alone, lives in a folder of its own, and is gone with the tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_READY_S = 30.0


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs, None where there is none."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    return Path(found).resolve().parent if found else folders[-1] if folders else None


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run a server and yield the start of its databases' addresses.

    Args:
        folder: Of its programs.
    """
    # A server refuses to run as root, and whoever it runs as may not look into pytest's folders.
    data, whom = Path(tempfile.mkdtemp(prefix="sextant-postgres-")), _somebody()
    if whom:
        shutil.chown(data, whom["user"], whom["group"])
    port = _free_port()
    options = ["-p", str(port), "-F", "-c", "listen_addresses=127.0.0.1"]
    options += ["-c", "unix_socket_directories="]
    try:
        _call(folder / "initdb", "-A", "trust", "-N", "-U", "postgres", "-D", data / "db", **whom)
        command = [folder / "postgres", "-D", data / "db", *options]
        running = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **whom
        )
        try:
            _wait_until_ready(folder, port)
            yield f"postgresql+asyncpg://postgres@127.0.0.1:{port}"
        finally:
            running.send_signal(signal.SIGINT)  # SIGTERM would wait for clients
            running.wait(_READY_S)
    finally:
        shutil.rmtree(data)


def create_database(folder: Path, address: str, name: str) -> str:
    """Create an empty database on a running server; return its URL."""
    port = address.rpartition(":")[2]
    _call(folder / "createdb", "-h", "127.0.0.1", "-p", port, "-U", "postgres", name)
    return f"{address}/{name}"


def _somebody() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


def _call(*command: str | Path, **whom: Any) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60, **whom)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _wait_until_ready(folder: Path, port: int) -> None:
    end = time.monotonic() + _READY_S
    command = [folder / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(command, check=False).returncode:
        assert time.monotonic() < end, "PostgreSQL does not start"
        time.sleep(0.05)
