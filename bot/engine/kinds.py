"""What a job can start with or beside.

This module owns which waiting jobs are alike enough to share a model's batch. It is pure. Whether
they do is the scheduler's decision.
"""

from __future__ import annotations

from typing import NamedTuple

from bot.engine.job import Job
from models.batching import batch_key
from models.catalog import ModelSpec


class Kind(NamedTuple):
    """What a job can start with or beside.

    Attributes:
        model_id: Row of the catalogue.
        batch: Jobs of one model and batch may share it; None shares with nobody.
        seeded: A member asked for its seed, and so for a result that can be repeated: it shares
            only where a neighbour changes nothing of that.
    """

    model_id: str
    batch: str | None
    seeded: bool = False

    def beside(self, *, exact: bool) -> list[Kind]:
        """Return which kinds may run beside a job of this one.

        Args:
            exact: Whether a job's neighbours change nothing of what it yields.
        """
        if self.batch is None or (self.seeded and not exact):
            return []
        seeds = (False, True) if exact else (False,)
        return [Kind(self.model_id, self.batch, seeded) for seeded in seeds]


def kind_of(job: Job, spec: ModelSpec) -> Kind:
    """Return the kind of a job that runs on a model."""
    request = job.submission.request
    seeded = getattr(request, "seed", None) is not None
    return Kind(spec.id, batch_key(spec, request), seeded)
