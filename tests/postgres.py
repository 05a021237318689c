"""A PostgreSQL server for tests, where its programs are installed.

It listens on loopback alone, lives in a folder of its own, and is gone with the tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from bot.db.session import newest_revision, upgrade
from bot.db.tables import Table
from tests.ports import free_port

_READY_S = 60.0


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs, None where there is none."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    return Path(found).resolve().parent if found else folders[-1] if folders else None


class Server:
    """A running server.

    Args:
        folder: Of its programs.
        port: Where it listens.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._where = ("-h", "127.0.0.1", "-p", str(port), "-U", "postgres")
        self._numbers = count(1)
        self._newest = ""

    def empty(self) -> str:
        """Create a database with nothing in it; return its URL."""
        name = f"test{next(self._numbers)}"
        _call(self._folder / "createdb", *self._where, name)
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self._port}/{name}"

    def emptied(self) -> str:
        """Empty the tables of one database that has the newest schema; return its URL.

        To lay the tables for each test would take a second, and to delete them as long.
        """
        if not self._newest:
            self._newest = self.empty()
            upgrade(make_url(self._newest))
        tables = ", ".join(Table.metadata.tables)
        self.execute(
            self._newest,
            f"TRUNCATE {tables} RESTART IDENTITY CASCADE;"
            f"UPDATE alembic_version SET version_num = '{newest_revision()}'",
        )
        return self._newest

    def execute(self, url: str, statements: str) -> None:
        """Have statements executed in a database."""
        _call(self._folder / "psql", *self._where, "-q", "-c", statements, url.rpartition("/")[2])


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """Run a server with a folder of its own.

    Args:
        folder: Of its programs.
    """
    with data_of_a_server(folder) as data, running(folder, data, free_port()) as found:
        yield found


@contextmanager
def data_of_a_server(folder: Path) -> Iterator[Path]:
    """Make the folder that a server runs on."""
    # A server refuses to run as root, and whoever it runs as may not look into pytest's folders.
    data, whom = Path(tempfile.mkdtemp(prefix="sextant-postgres-")), _somebody()
    if whom:
        shutil.chown(data, whom["user"], whom["group"])
    try:
        _call(folder / "initdb", "-A", "trust", "-N", "-U", "postgres", "-D", data / "db", **whom)
        yield data / "db"
    finally:
        shutil.rmtree(data)


@contextmanager
def running(folder: Path, data: Path, port: int) -> Iterator[Server]:
    """Run a server on a folder that was made for it."""
    options = ["-p", str(port), "-F", "-c", "listen_addresses=127.0.0.1"]
    options += ["-c", "unix_socket_directories="]
    process = subprocess.Popen(
        [folder / "postgres", "-D", data, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **_somebody(),
    )
    try:
        _wait_until_ready(folder, port)
        yield Server(folder, port)
    finally:
        process.send_signal(signal.SIGQUIT)  # SIGTERM would wait for clients, SIGINT for the disk
        process.wait(_READY_S)


def _somebody() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


def _call(*command: str | Path, **whom: Any) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=120, **whom)


def _wait_until_ready(folder: Path, port: int) -> None:
    end = time.monotonic() + _READY_S
    command = [folder / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(command, check=False).returncode:
        assert time.monotonic() < end, "PostgreSQL does not start"
        time.sleep(0.05)
