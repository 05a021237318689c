"""The figures in the documents are those of the last whole run."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import benchmarks
from benchmarks import page
from benchmarks.__main__ import BENCHMARKS
from benchmarks.report import Measurement, read_json

HERE = {
    "processor": "Abacus", "cores": 2, "memory_gb": 24, "python": "3.11", "system": "Linux",
    "date": "2026-11-24",
}  # fmt: skip


def test_the_page_has_the_figures_of_the_results() -> None:
    written = page.PAGE.read_text("utf-8")
    wanted = page.updated(written, page.figures(*read_json(page.RESULTS)))
    assert written == wanted, "python -m benchmarks table"


def test_only_what_stands_between_the_marks_is_written() -> None:
    before, after = f"# Figures\n\n{page.BEGIN}", f"{page.END}\nThe end.\n"
    assert page.updated(f"{before}old\n{after}", "new\n") == f"{before}new\n{after}"
    with pytest.raises(ValueError, match="no <!-- figures:begin -->"):
        page.updated("# Figures\n", "new\n")


def test_missed_goals_and_other_programs_are_named() -> None:
    rows = [Measurement("a", 2.0, "s", "lower", 1.0), Measurement("b", 1.0, "s", "lower", 1.0)]
    busy = page.figures(rows, HERE | {"others_percent": 40, "minutes": 21.5})
    assert "Missed: `a`." in busy
    assert "Other programs took 40 % of its cores" in busy
    assert "The run took 21.5 minutes." in busy
    quiet = page.figures(rows[1:], HERE)
    assert "Every goal was met." in quiet
    assert "Other programs" not in quiet


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_is_there_and_explained(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").run)
    explained = page.PAGE.read_text("utf-8").partition(page.END)[2]
    assert f"`{name}." in explained


def test_they_are_explained_in_the_order_in_which_they_run() -> None:
    explained = page.PAGE.read_text("utf-8").partition(page.END)[2]
    places = [explained.index(f"`{name}.") for name in BENCHMARKS]
    assert places == sorted(places)


def test_no_benchmark_is_left_out() -> None:
    """Each runs by its name, or within another one."""
    folder = Path(benchmarks.__file__).parent
    sources = {file.stem: file.read_text("utf-8") for file in folder.glob("*.py")}
    measuring = {name for name, text in sources.items() if "\ndef run() -> list[Mea" in text}
    inner = {
        name for name in measuring if any(f"{name}.run()" in each for each in sources.values())
    }
    assert measuring - inner == set(BENCHMARKS)
