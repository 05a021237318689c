"""Run the benchmarks: ``python -m benchmarks [name …]``; without a name, all of them.

Prints a table and writes ``benchmarks/results/latest.json``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks.report import Measurement, table, write_json

BENCHMARKS = ("startup", "ack", "overhead", "text", "transcription")
"""Modules of this package, each with ``run() -> list[Measurement]``."""

RESULTS = Path(__file__).parent / "results" / "latest.json"


def main() -> int:
    """Return 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="name")
    names = parser.parse_args().names or BENCHMARKS
    measurements: list[Measurement] = []
    for name in names:
        print(f"== {name}", flush=True)
        measurements += importlib.import_module(f"benchmarks.{name}").run()
    print(table(measurements))
    if len(names) == len(BENCHMARKS):
        write_json(measurements, RESULTS)
    missed = [m.name for m in measurements if m.met is False]
    if missed:
        print("missed: " + ", ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
