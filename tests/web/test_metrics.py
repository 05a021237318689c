"""What is counted of jobs that really ran, and how it is written."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bot.engine.engine import Engine
from bot.engine.job import JobState
from bot.engine.meter import SILENT, Meter
from bot.web.metrics import Now, PrometheusMeter
from models.errors import JobCancelled, OutOfMemory
from tests.fakes import fake_catalog, fake_engine, fake_model, outcome_of, submission
from tests.scripted import Stage

Samples = dict[tuple[str, ...], float]


def samples(meter: PrometheusMeter) -> Samples:
    families = text_string_to_metric_families(generate_latest(meter.registry).decode())
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def meter() -> PrometheusMeter:
    return PrometheusMeter()


@pytest.fixture
async def engine(tmp_path: Path, meter: PrometheusMeter) -> AsyncIterator[Engine]:
    bad = fake_model("fake-bad", options={"load": "!bug"})
    engine = fake_engine(
        Stage(tmp_path).start_worker,
        tmp_path,
        catalog=fake_catalog(fake_model(), bad),
        meter=meter,
        device="cpu",
    )
    await engine.start()
    yield engine
    await engine.close()


async def ended(engine: Engine, prompt: str, model_id: str = "fake-text") -> JobState:
    return (await outcome_of(engine, await engine.submit(submission(prompt, model_id)))).state


async def test_stages_and_ends_are_told_apart(engine: Engine, meter: PrometheusMeter) -> None:
    assert await ended(engine, "!sleep 0.1\nfine") is JobState.DONE
    assert await ended(engine, "!refuse no") is JobState.FAILED
    assert await ended(engine, "!bug", "fake-bad") is JobState.FAILED
    found = samples(meter)
    assert found["sextant_jobs_submitted_total", "text"] == 3
    assert found["sextant_jobs_total", "", "text", "done"] == 1
    assert found["sextant_jobs_total", "unsupported_option", "text", "failed"] == 1
    assert found["sextant_jobs_total", "model_load_failed", "text", "failed"] == 1
    assert found["sextant_model_loads_total", "fake-text", "ok"] == 1
    assert found["sextant_model_loads_total", "fake-bad", "failed"] == 1
    counts = {key[2]: n for key, n in found.items() if key[0] == "sextant_stage_seconds_count"}
    assert counts == {"queued": 3, "load": 1, "first_event": 1, "run": 1}
    assert 0.1 <= found["sextant_stage_seconds_sum", "text", "run"] < 60
    assert 0.1 <= found["sextant_stage_seconds_sum", "text", "first_event"] < 60


async def test_workers_that_die_count_against_their_lane_until_a_job_is_done(
    engine: Engine, meter: PrometheusMeter
) -> None:
    assert await ended(engine, "!crash") is JobState.FAILED
    assert samples(meter)["sextant_workers_lost_total", "cpu/0", "died"] == 2
    assert meter.losses.lanes() == []
    for _ in range(3):
        meter.worker_lost("cpu/0", JobCancelled.kind)
    assert meter.losses.lanes() == []
    meter.worker_lost("cpu/0", OutOfMemory.kind)
    assert meter.losses.lanes() == ["cpu/0"]
    assert await ended(engine, "fine") is JobState.DONE
    assert meter.losses.lanes() == []


async def test_a_job_that_runs_again_waited_once(engine: Engine, meter: PrometheusMeter) -> None:
    await ended(engine, "!crash")
    found = samples(meter)
    assert found["sextant_stage_seconds_count", "text", "queued"] == 1
    assert found["sextant_jobs_submitted_total", "text"] == 1


def test_memory_is_that_of_workers_that_live(meter: PrometheusMeter) -> None:
    meter.worker_memory("cpu/0", 5 << 20)
    assert samples(meter)["sextant_worker_memory_bytes", "cpu/0"] == 5 << 20
    meter.worker_memory("cpu/0", None)
    meter.worker_memory("cpu/1", None)
    assert not [key for key in samples(meter) if key[0] == "sextant_worker_memory_bytes"]


def test_deliveries_are_counted_by_their_end(meter: PrometheusMeter) -> None:
    meter.delivered(0.3)
    meter.undelivered(given_up=False)
    meter.undelivered(given_up=True)
    found = samples(meter)
    assert found["sextant_delivery_seconds_bucket", "0.5"] == 1
    assert found["sextant_delivery_seconds_bucket", "0.25"] == 0
    assert found["sextant_deliveries_failed_total", "put_off"] == 1
    assert found["sextant_deliveries_failed_total", "given_up"] == 1


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        ("", "text/plain; version=0.0.4", b"\n"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text", b"# EOF\n"),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(
    meter: PrometheusMeter, accept: str, content_type: str, end: bytes
) -> None:
    body, named = Now(meter.registry).written(accept)
    assert named.startswith(content_type)
    assert body.endswith(end)


def test_every_meter_can_be_told_everything() -> None:
    told = {name for name in vars(Meter) if not name.startswith("_")}
    assert told
    for meter in (SILENT, PrometheusMeter()):
        assert all(callable(getattr(meter, name)) for name in told)


def test_the_owners_guide_lists_every_metric(meter: PrometheusMeter) -> None:
    Now(meter.registry)
    ours = {
        family.name for family in meter.registry.collect() if family.name.startswith("sextant_")
    }
    guide = Path(__file__).parents[2] / "docs" / "owners.md"
    rows = re.findall(r"^\| (`sextant_.*?) \|", guide.read_text("utf-8"), re.MULTILINE)
    named = {name.strip("`").removesuffix("_total") for row in rows for name in row.split(", ")}
    assert named == ours
