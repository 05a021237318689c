"""What a member has used, over the periods that people think in, and what that cost.

This module owns the periods. The figures are the usage log's (``bot.db.jobs``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from bot.db.jobs import JobRepository
from bot.db.jobs import UsageFigures as Figures
from bot.db.spending import Cost
from models.catalog import Catalog

__all__ = ["Cost", "Figures", "Period", "cost_of", "usage_of"]

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Period:
    """The figures of a stretch of time that ends now, one for each modality that was used."""

    title: str
    figures: Sequence[Figures]


async def usage_of(jobs: JobRepository, user_id: int, *, kept_days: int) -> list[Period]:
    """Return what a member used: today, this month, and as long as the log is kept."""
    now = time.time()
    spans = {
        1: "The last 24 hours",
        30: "The last 30 days",
        kept_days: f"The last {kept_days} days",
    }
    return [
        Period(title, await jobs.usage(user_id, now - days * _DAY_S))
        for days, title in sorted(spans.items())
    ]


async def cost_of(jobs: JobRepository, user_id: int, *, since: float, catalog: Catalog) -> Cost:
    """Return what a member's jobs on hosted models cost since a moment (Unix seconds)."""
    ids = [model.id for model in catalog.all() if model.is_hosted or model.prices]
    return await jobs.cost(user_id, since, ids)
