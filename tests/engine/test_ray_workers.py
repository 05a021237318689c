"""Lanes in a cluster as the bot sees them, and what an actor finds on its machine, without Ray."""

from __future__ import annotations

import json
import platform
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import AsyncMock

import pytest
from pydantic import ValidationError

from bot.engine.cluster import RayPort, RayWorkers, chosen_workers
from bot.engine.crossing import Status
from bot.engine.local import LocalPort
from bot.engine.protocol import PROTOCOL_VERSION
from bot.engine.ray_actor import own_spool, settled, vitals
from bot.settings import EngineSettings, RaySettings, Settings
from models.catalog import PathSource
from models.errors import ModelNotInstalled, ModelUnavailable
from models.weights import WeightStore
from tests.fakes import fake_model

pytestmark = pytest.mark.slow  # starts processes


@pytest.mark.parametrize(
    ("status", "innocent"),
    [
        (Status.WORKER_DIED, False),
        (Status.NO_CLUSTER, True),
        (Status.NO_ROOM, True),
        (Status.MACHINE_LOST, True),
        (1, True),
        (-9, True),
    ],
)
def test_only_a_worker_that_died_has_to_do_with_its_jobs(status, innocent):
    gone = RayPort((), threads=1)._gone(status)
    assert gone.innocent is innocent
    assert gone.reason


def test_lanes_are_in_the_cluster_where_the_owner_says_so(tmp_path):
    engine = EngineSettings(backend="ray", lanes=5)
    settings = Settings(data_dir=tmp_path, engine=engine, ray=RaySettings(lanes=2, memory_mb=9000))
    workers = chosen_workers(settings, settings.spool_dir)
    lanes = {lane.name: (lane.kind, type(workers.port(lane))) for lane in workers.lanes()}
    assert lanes == {
        "ray/0": ("gpu", RayPort),
        "ray/1": ("gpu", RayPort),
        "net/0": ("net", LocalPort),  # keys of servers stay with the bot
    }
    assert workers.budgets() == {"ray/0": 9000, "ray/1": 9000}


def machine(**fields):
    found = {"name": "gpu-1", "protocol": PROTOCOL_VERSION, "memory_mb": 64000, "gpu_mb": 24000}
    return found | fields


@pytest.mark.parametrize(
    ("ray", "budgets"),
    [
        ({}, {"ram": 16000, "ray/0": 14400}),
        ({"gpus": 2.0}, {"ram": 16000, "ray/0": 14400}),
        ({"gpus": 0.5}, {"ram": 16000, "ray/0": 7200}),
        ({"gpus": 0.0}, {"ray/0": 16000}),
        ({"memory_mb": 9000}, {"ram": 16000, "ray/0": 9000}),
    ],
)
async def test_models_take_what_the_smallest_machine_has(tmp_path, monkeypatch, ray, budgets):
    workers = RayWorkers(EngineSettings(), RaySettings(**ray), tmp_path, tmp_path)
    seen = [machine(), machine(name="gpu-2", memory_mb=32000, gpu_mb=16000)]
    monkeypatch.setattr(workers, "_survey", AsyncMock(return_value=json.dumps(seen).encode()))
    await workers.open()
    assert workers.budgets() == budgets


async def test_a_machine_with_another_version_is_named(tmp_path, monkeypatch, caplog):
    workers = RayWorkers(EngineSettings(), RaySettings(), tmp_path, tmp_path)
    seen = json.dumps([machine(protocol=0)]).encode()
    monkeypatch.setattr(workers, "_survey", AsyncMock(return_value=seen))
    await workers.open()
    assert "gpu-1 has another version" in caplog.text


async def test_a_cluster_that_does_not_answer_is_told(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings = RaySettings(address=f"127.0.0.1:{free.getsockname()[1]}")
    with pytest.raises(ModelUnavailable, match="No Ray cluster answers"):
        await RayWorkers(EngineSettings(), settings, tmp_path, tmp_path).open()


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "http://head:8265"])
def test_an_address_that_no_bridge_can_use_is_refused(address):
    with pytest.raises(ValidationError):
        RaySettings(address=address)


def test_weights_are_looked_for_on_the_machine_that_computes(tmp_path):
    told = {"cache_dir": "/bot/converted", "safety_dir": "/bot/safety", "batch": 4}
    spec = fake_model(source=PathSource(path=str(tmp_path / "weights")), options=told)
    store = WeightStore(tmp_path / "store")
    with pytest.raises(ModelNotInstalled, match=f"^On {platform.node()}: `fake-text`"):
        settled(spec, store)
    (tmp_path / "weights").mkdir()
    here, location = settled(spec, store)
    assert location == str(tmp_path / "weights")
    assert here.options == {"cache_dir": str(store.cache_dir(spec)), "batch": 4}


def test_a_gpu_is_asked_about_once_it_is_in_use_and_not_in_mid_import(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    monkeypatch.delitem(sys.modules, "torch.cuda", raising=False)
    assert vitals().vram_bytes == 0
    cuda = ModuleType("torch.cuda")
    monkeypatch.setitem(sys.modules, "torch.cuda", cuda)
    assert vitals().vram_bytes == 0
    in_use = False
    cuda.is_initialized = lambda: in_use
    cuda.memory_reserved = lambda: 7
    assert vitals().vram_bytes == 0
    in_use = True
    assert vitals().vram_bytes == 7
    assert vitals().rss_bytes > 1 << 20


HOLD = """
import sys, pathlib
from bot.engine.ray_actor import own_spool
spool, lock = own_spool(pathlib.Path(sys.argv[1]))
spool.store(b"secret", "x", "text/plain")
print(spool.folder, flush=True)
sys.stdin.read()
"""


def test_a_spool_goes_once_its_process_is_gone_and_not_before(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        folder = other.stdout.readline().strip()
        ours, lock = own_spool(tmp_path)
        assert len(list(Path(folder).iterdir())) == 1
        other.kill()
    with lock:
        _, newer = own_spool(tmp_path)
        newer.close()
        assert not Path(folder).exists()
        assert ours.folder.parent.exists()
