"""What a backend loaded, as a stepper.

This module owns that choice alone. Backends that compute several jobs at once are steppers.
"""

from __future__ import annotations

from typing import cast

from models.contracts import Handler, Stepper
from models.turns import Turns


def as_stepper(loaded: Handler | Stepper) -> Stepper:
    """Return what a backend loaded as a stepper; a handler gets a single slot."""
    if hasattr(loaded, "admit"):
        return cast(Stepper, loaded)
    return Turns(loaded)
