"""The figures of ``docs/benchmarks.md``, made from the results: nobody copies them by hand.

This module owns what stands between the two marks of that page.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.report import Measurement, read_json, table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "latest.json"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures:begin -->\n", "<!-- figures:end -->\n"


def write() -> None:
    """Bring the page up to date with the results."""
    PAGE.write_text(updated(PAGE.read_text("utf-8"), figures(*read_json(RESULTS))), "utf-8")


def updated(page: str, text: str) -> str:
    """Return a page with other figures between its marks.

    Raises:
        ValueError: It has no marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN.strip()} with its end")
    return before + begin + text + end + after


def figures(measurements: list[Measurement], machine: dict[str, object]) -> str:
    """Return the table, the machine, and which goals were missed."""
    missed = [f"`{m.name}`" for m in measurements if m.met is False]
    verdict = f"Missed: {', '.join(missed)}." if missed else "Every goal was met."
    where = (
        f"Measured on {machine['date']}: {machine['processor']}, {machine['cores']} virtual cores, "
        f"{machine['memory_gb']} GB, Python {machine['python']}, {machine['system']}."
    )
    load = machine.get("others_percent")
    if load is not None:
        where += f" Other programs took {load} % of its cores meanwhile."
    took = machine.get("minutes")
    if took is not None:
        where += f" The run took {took} minutes."
    return f"{table(measurements)}\n\n{where} {verdict}\n"
