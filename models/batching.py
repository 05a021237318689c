"""Which jobs of a model can share a batch, as far as their requests tell.

This module owns that question alone. It is pure. Whether a model takes several jobs at once at all,
and whether those with a seed of their own may be among them, is what its stepper says.
"""

from __future__ import annotations

from models.catalog import ModelSpec
from models.contracts import ImageRequest, Request


def batch_key(spec: ModelSpec, request: Request) -> str | None:
    """Return what a job has in common with those that it can share a batch with.

    One call of a pipeline draws pictures of one size, with as many steps and the same guidance. One
    that starts from a picture of its own is drawn alone. Servers answer each request by itself, so
    to them it does not matter.

    Returns:
        The same for jobs that can be together; None for one that is always alone.
    """
    if spec.is_hosted or not isinstance(request, ImageRequest):
        return ""
    if request.reference is not None:
        return None
    steps = request.num_inference_steps or spec.options.get("num_inference_steps")
    guidance = request.guidance_scale
    if guidance is None:
        guidance = spec.options.get("guidance_scale")
    return f"{request.width_px}x{request.height_px}/{_or_usual(steps)}/{_or_usual(guidance)}"


def _or_usual(value: float | None) -> str:
    return "usual" if value is None else f"{value:g}"
