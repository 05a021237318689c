"""What a benchmark's row says."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report import Measurement, Run, read_json, table, write_json

RATIO = {"value": 90.0, "better": "higher", "goal": 1.0, "goal_of": "ratio"}


@pytest.mark.parametrize(
    ("row", "met"),
    [
        ({"value": 49.0, "goal": 50.0}, True),
        ({"value": 51.0, "goal": 50.0}, False),
        ({"value": 51.0, "goal": 50.0, "better": "higher"}, True),
        ({"value": 51.0}, None),
        (RATIO, None),
        (RATIO | {"peer_value": 100.0}, False),
        (RATIO | {"peer_value": 80.0}, True),
    ],
)
def test_a_goal_is_met_by_the_value_or_by_the_ratio(row: dict[str, Any], met: bool | None) -> None:
    assert Measurement(**{"name": "a", "unit": "ms", "better": "lower", **row}).met is met


def test_the_file_has_a_row_for_each_measurement_that_can_be_read_alone(tmp_path: Path) -> None:
    file = tmp_path / "results" / "latest.json"
    write_json(
        [Measurement("a.b", 30.0, "ms", "lower", 50.0, peer="p", peer_value=60.0)], file, Run()
    )
    [row] = json.loads(file.read_text())
    assert row.keys() >= {"machine", "goal_of"}
    shown = {k: row[k] for k in row if k not in ("machine", "goal_of")}
    assert shown == {
        "name": "a.b", "value": 30.0, "unit": "ms", "better": "lower", "goal": 50.0, "peer": "p",
        "peer_value": 60.0, "ratio": 0.5, "met": True,
    }  # fmt: skip
    assert row["machine"].keys() >= {"processor", "cores", "memory_gb", "date", "minutes"}


def test_a_missed_goal_and_a_peer_that_is_not_there_stand_out_in_the_table() -> None:
    [*_, line] = table([Measurement("a", 60.0, "ms", "lower", 50.0, peer="not here")]).splitlines()
    assert line == "| a | 60 ms | ≤ 50 ms | not here |  | **no** |"


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "latest.json"
    rows = [
        Measurement("a", 1.0, "s", "lower", 1.05, "ratio", "p", 2.0),
        Measurement("b", 2.0, "s", "higher"),
    ]
    write_json(rows, file, Run())
    read, machine = read_json(file)
    assert read == rows
    assert "processor" in machine


def test_the_work_of_others_is_told_from_ones_own() -> None:
    """As seen by the run: this process and its children are no others."""
    run = Run()
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    busy, others = run.busy_s(), run.others_s()
    assert busy - others >= 0.25
    first, second = run.lap_s(), run.lap_s()
    assert first >= 0.3
    assert second < first, "each lap begins where the last one ended"
    assert 0 <= int(str(run.summary()["others_percent"])) <= 100


def test_a_small_ratio_keeps_its_digits() -> None:
    row = Measurement("a", 45.0, "ms", "lower", 0.05, "ratio", "the job", 6000.0)
    assert table([row]).endswith("| ≤ 0.05 x | the job: 6000 ms | 0.0075 | yes |")
