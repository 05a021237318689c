"""Small pieces of wording that answers and live views share.

This module owns how durations, progress and clipped lines look. It is pure.
"""

from __future__ import annotations

_BAR_CELLS = 12


def duration(seconds: float) -> str:
    """Return a length of time for people: ``0.8 s``, ``42 s``, ``3 min 5 s``, ``1 h 12 min``."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def one_line(text: str, limit: int) -> str:
    """Return a text without line breaks, clipped to a number of characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def subtext(sentence: str) -> str:
    """Return a sentence in Discord's small print, which holds for one line."""
    return f"-# {one_line(sentence, 300)}"


def bar(fraction: float) -> str:
    """Return a progress bar with its percentage."""
    share = min(1.0, max(0.0, fraction))
    filled = round(share * _BAR_CELLS)
    return f"`{'█' * filled}{'░' * (_BAR_CELLS - filled)}` {share:.0%}"
