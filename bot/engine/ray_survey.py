"""What machines of a cluster could take a worker: ``python -m bot.engine.ray_survey``.

This module owns a process that looks once, tells what it saw as one line of JSON, and ends; so the
bot need not import Ray to know how much memory the models of its lanes may take.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bot.engine.crossing import Ended
from bot.engine.process import tie_to_parent
from bot.engine.ray_actor import Machine, this_machine
from bot.engine.ray_bridge import QUIET, connect
from bot.logs import set_up_worker

_log = logging.getLogger("bot.engine.ray_survey")

_ANSWER_S = 60.0


async def survey(needs: Mapping[str, float]) -> list[Machine]:
    """Ask every machine that has what a worker needs; those that do not answer are left out."""
    import ray

    nodes = await asyncio.to_thread(ray.nodes)
    able = [node["NodeID"] for node in nodes if node["Alive"] and _has(node, needs)]
    asked = [asyncio.create_task(_ask(node_id)) for node_id in able]
    if not asked:
        return []
    answered, _ = await asyncio.wait(asked, timeout=_ANSWER_S)
    return [task.result() for task in answered if task.exception() is None]


def _has(node: Mapping[str, Any], needs: Mapping[str, float]) -> bool:
    """Whether a machine has something of a kind at all, taken by somebody or not."""
    return all(node["Resources"].get(name, 0.0) >= amount for name, amount in needs.items())


async def _ask(node_id: str) -> Machine:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    ask: Any = ray.remote(this_machine)
    options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
    machine: Machine = await ask.options(**options).remote()
    return machine


async def _run(options: argparse.Namespace, answers: int) -> None:
    status = 1
    try:
        await connect(options.address)
        machines = await survey(options.needs)
        os.write(answers, json.dumps([asdict(machine) for machine in machines]).encode())
        status = 0
    except Ended as ended:
        _log.warning("%s", ended)
    except Exception:  # noqa: BLE001 - whatever it is, the process must not linger
        _log.exception("the survey ends")
    os._exit(status)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bot.engine.ray_survey")
    parser.add_argument("--parent", type=int, required=True, help="process id of the bot")
    parser.add_argument("--address", default="auto", help="of the cluster")
    parser.add_argument("--needs", type=json.loads, required=True, help="of a worker, as JSON")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    options = parser.parse_args()
    tie_to_parent(options.parent)
    os.environ |= QUIET
    set_up_worker(options.log_format, lane="ray", pid=os.getpid())
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    asyncio.run(_run(options, answers))


if __name__ == "__main__":
    main()
