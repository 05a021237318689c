"""What a benchmark's row says."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report import Measurement, table, write_json

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
    write_json([Measurement("a.b", 30.0, "ms", "lower", 50.0, peer="p", peer_value=60.0)], file)
    [row] = json.loads(file.read_text())
    assert row.keys() >= {"machine", "goal_of"}
    shown = {k: row[k] for k in row if k not in ("machine", "goal_of")}
    assert shown == {
        "name": "a.b", "value": 30.0, "unit": "ms", "better": "lower", "goal": 50.0, "peer": "p",
        "peer_value": 60.0, "ratio": 0.5, "met": True,
    }  # fmt: skip
    assert row["machine"].keys() >= {"processor", "cores", "memory_gb", "date"}


def test_a_missed_goal_and_a_peer_that_is_not_there_stand_out_in_the_table() -> None:
    [*_, line] = table([Measurement("a", 60.0, "ms", "lower", 50.0, peer="not here")]).splitlines()
    assert line == "| a | 60 ms | ≤ 50 ms | not here |  | **no** |"
