"""A Ray cluster on the loopback: a head that computes nothing, and two nodes with one lane each.

Run as a process of its own (``python two_nodes.py``), since Ray's sockets and warnings are no
business of a test's process. It prints its address as a line of JSON, obeys commands on its
standard input, one a line, answers each with a line of JSON, and ends the cluster when its input
closes.

    kill 4711   end the node on which process 4711 runs, all of it at once, as a power cut does
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

HOST = "127.0.0.2"
"""On the loopback, and not the address for which Ray puts the one that others know."""

LANE = "lane"
"""A custom resource: each node has one, which an actor takes whole."""

_NODE = {
    "node_ip_address": HOST,
    "num_cpus": 1,
    "resources": {LANE: 1},
    "object_store_memory": 80_000_000,
}
_TRIES = 5


def main() -> None:
    answers = os.dup(1)
    os.dup2(2, 1)  # Ray prints
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # what the nodes' workers inherit
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # In /tmp, because a socket bears no long path.
    with tempfile.TemporaryDirectory("", "two-", "/tmp", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        cluster, nodes = patiently(start)
        try:
            tell(answers, {"address": cluster.address})
            for line in sys.stdin:
                command, _, argument = line.strip().partition(" ")
                if command == "kill":
                    kill(cluster, nodes, int(argument))
                tell(answers, {"done": command})
        finally:
            cluster.shutdown()


def patiently(start: Callable[[], tuple[Any, list[Any]]]) -> tuple[Any, list[Any]]:
    """Try again what Ray gives up after 15 s, on a machine that has much else to do."""
    for _ in range(_TRIES - 1):
        try:
            return start()
        except Exception as error:  # noqa: BLE001 - Ray raises nothing more exact
            print(f"once more, since the cluster did not start: {error}")
    return start()


def start() -> tuple[Any, list[Any]]:
    """Start the head and the nodes."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        cluster.add_node(include_dashboard=False, **(_NODE | {"num_cpus": 0, "resources": {}}))
        nodes = [cluster.add_node(wait=False, **_NODE) for _ in range(2)]
        cluster.wait_for_nodes(timeout=60)
    except BaseException:
        cluster.shutdown()
        raise
    return cluster, nodes


def kill(cluster: Any, nodes: list[Any], pid: int) -> None:
    """End the node of a worker: first of all what could say goodbye for the others."""
    ancestors = {process.pid for process in psutil.Process(pid).parents()}
    [node] = [node for node in nodes if raylet(node) in ancestors]
    descendants = psutil.Process(raylet(node)).children(recursive=True)
    for process in (psutil.Process(raylet(node)), *descendants):
        process.kill()
    nodes.remove(node)
    cluster.remove_node(node, allow_graceful=False)


def raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def tell(answers: int, message: dict[str, str]) -> None:
    os.write(answers, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
