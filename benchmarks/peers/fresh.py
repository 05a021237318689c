"""A model loaded by a fresh process: from a request on its input to its first event.

Input is JSON: the row of the catalogue, where its weights lie, the request, a folder for files.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from bot.engine.process import NICENESS
from bot.engine.spool import Spool
from bot.engine.stepper import as_stepper
from bot.engine.worker import JobControl, installed_backend
from models.catalog import ModelSpec
from models.contracts import load_request


def main() -> None:
    """Load, and say so at the first event; the model ends with the process."""
    os.nice(NICENESS)  # as a worker does
    given = json.loads(sys.stdin.readline())
    spec = ModelSpec.model_validate_json(given["spec"])
    stepper = as_stepper(installed_backend(spec.backend)(spec, given["location"], "cpu"))
    stepper.admit("job", load_request(given["request"]), JobControl(Spool(Path(given["folder"]))))
    events: list[object] = []
    while not events:
        events = [event for _, event in stepper.step()]
    print(type(events[0]).__name__, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
