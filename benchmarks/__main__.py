"""Run the benchmarks: ``python -m benchmarks [name …]``; without a name, all of them.

Prints a table. A run of all of them also writes ``benchmarks/results/latest.json`` and the figures
of ``docs/benchmarks.md``; ``python -m benchmarks table`` writes the latter alone.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from benchmarks import page
from benchmarks.report import Measurement, Run, table, write_json

BENCHMARKS = (
    "startup", "ack", "overhead", "text", "transcription",
    "cancel", "previews", "swap", "memory", "safety", "crowd", "recovery", "growth",
)  # fmt: skip
"""Modules of this package, each with ``run() -> list[Measurement]``."""

TABLE = "table"


def main() -> int:
    """Return 1 if a goal was missed."""
    listed = f"The names, in the order in which they run: {', '.join(BENCHMARKS)}."
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, epilog=listed
    )
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, TABLE, []], metavar="name")
    names = parser.parse_args().names or BENCHMARKS
    if TABLE in names:
        page.write()
        return 0
    measurements: list[Measurement] = []
    run = Run()
    for name in names:
        print(f"== {name}", flush=True)
        measurements += importlib.import_module(f"benchmarks.{name}").run()
        print(f"   {run.lap_s():.0f} s", flush=True)
    print(table(measurements))
    if len(names) == len(BENCHMARKS):
        write_json(measurements, page.RESULTS, run)
        page.write()
    missed = [m.name for m in measurements if m.met is False]
    if missed:
        print("missed: " + ", ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
