"""A model loaded by a fresh process: what whatever brings a model to work is compared with."""

from __future__ import annotations

import subprocess
import sys
import time
from json import dumps
from pathlib import Path

from benchmarks import production
from models.catalog import ModelSpec
from models.contracts import Request, dump_request
from models.weights import placed

PEER = Path(__file__).parent / "peers" / "fresh.py"


def first_event_s(folder: Path, spec: ModelSpec, request: Request) -> float:
    """Return the seconds from the start of a process to the first event of its job."""
    weights, tools = production.weights(), production.catalog().tools
    given = {
        "spec": placed(spec, weights, tools).model_dump_json(),
        "location": weights.locate(spec),
        "request": dump_request(request),
        "folder": str(folder),
    }
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, str(PEER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parent.parent,
        env=production.worker_environment(),
    ) as process:
        said, _ = process.communicate(dumps(given) + "\n")
        seconds = time.perf_counter() - began
    assert said.strip(), f"{PEER} ended with {process.returncode}"
    return seconds
