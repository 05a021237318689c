"""What a benchmark reports, and how a run is written down.

A measurement quotes its peer from the same run: machines are noisy, so the ratio
is worth more than the value.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import psutil


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure.

    Attributes:
        name: Stable, dotted, such as ``text.tokens_per_second``.
        value: The figure in ``unit``.
        better: Whether higher or lower is better.
        goal: The bound that was promised, on ``value``, or on ``ratio`` where ``goal_of`` says so.
        peer: What ``peer_value`` belongs to; empty where there is nothing to compare with.
    """

    name: str
    value: float
    unit: str
    better: Literal["higher", "lower"]
    goal: float | None = None
    goal_of: Literal["value", "ratio"] = "value"
    peer: str = ""
    peer_value: float | None = None

    @property
    def ratio(self) -> float | None:
        """Return value / peer_value, or None without a peer."""
        return None if not self.peer_value else self.value / self.peer_value

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is no goal, or no peer to judge by."""
        figure = self.value if self.goal_of == "value" else self.ratio
        if self.goal is None or figure is None:
            return None
        return figure >= self.goal if self.better == "higher" else figure <= self.goal


class Run:
    """How long a run has taken, and how much of the machine others took meanwhile."""

    def __init__(self) -> None:
        self._began = self._lap = time.monotonic()
        self._busy_s, self._own_s = _busy_s(), _own_s()

    def lap_s(self) -> float:
        """Return the seconds since the last call, or since the beginning."""
        last, self._lap = self._lap, time.monotonic()
        return self._lap - last

    def busy_s(self) -> float:
        """Return the seconds that all cores together have worked."""
        return _busy_s() - self._busy_s

    def others_s(self) -> float:
        """Return the part of ``busy_s`` that was not ours.

        Children count as ours once they have ended. The workers of a bot that is killed, as the
        benchmarks of the whole bot do, end without anybody to count them: they make a few percent.
        """
        return max(0.0, self.busy_s() - (_own_s() - self._own_s))

    def summary(self) -> dict[str, object]:
        """Return the minutes, and the percentage of all cores that other programs used."""
        seconds = time.monotonic() - self._began
        share = self.others_s() / (seconds * (os.cpu_count() or 1))
        return {"minutes": round(seconds / 60, 1), "others_percent": round(100 * share)}


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in ("user", "nice", "system")))


def _own_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def machine() -> dict[str, object]:
    """Describe where the run took place."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "date": time.strftime("%Y-%m-%d"),
    }


def write_json(measurements: Iterable[Measurement], file: Path, run: Run) -> None:
    """Write a list of objects, each with its machine, so that a row can be read alone."""
    here = machine() | run.summary()
    rows = [asdict(m) | {"ratio": m.ratio, "met": m.met, "machine": here} for m in measurements]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")


def read_json(file: Path) -> tuple[list[Measurement], dict[str, object]]:
    """Read what ``write_json`` wrote; the second is the machine."""
    rows = json.loads(file.read_text("utf-8"))
    names = {field.name for field in fields(Measurement)}
    measurements = [Measurement(**{n: v for n, v in row.items() if n in names}) for row in rows]
    return measurements, rows[0]["machine"]


def table(measurements: Sequence[Measurement]) -> str:
    """Return a Markdown table."""
    lines = [
        "| measurement | value | goal | peer | ratio | met |",
        "|---|---:|---:|---|---:|---|",
    ]
    lines += [_row(m) for m in measurements]
    return "\n".join(lines)


def _row(m: Measurement) -> str:
    sign = "≥" if m.better == "higher" else "≤"
    unit = m.unit if m.goal_of == "value" else "x"
    goal = "" if m.goal is None else f"{sign} {m.goal:.4g} {unit}"
    peer = m.peer if m.peer_value is None else f"{m.peer}: {m.peer_value:.4g} {m.unit}"
    ratio = "" if m.ratio is None else f"{m.ratio:.2f}" if m.ratio >= 0.1 else f"{m.ratio:.2g}"
    met = {True: "yes", False: "**no**", None: ""}[m.met]
    return f"| {m.name} | {m.value:.4g} {m.unit} | {goal} | {peer} | {ratio} | {met} |"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
