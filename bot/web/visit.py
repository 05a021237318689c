"""Reading the page of a bot that runs, from another process.

This module owns the client's side of ``/readyz``. It blocks: only the command line may call it.
"""

from __future__ import annotations

import http.client
import json

from bot.settings import WebSettings

_PATIENCE_S = 5.0


class AnotherProgram(Exception):
    """Somebody listens there, and it is no bot that answers in time."""


def troubles(settings: WebSettings) -> dict[str, str] | None:
    """Return what the running bot finds wrong, by check; None where nobody listens.

    Raises:
        AnotherProgram: It does not answer, or not as a bot does.
    """
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=_PATIENCE_S)
    try:
        connection.connect()
    except OSError:
        return None
    try:
        connection.request("GET", "/readyz")
        checks = json.loads(connection.getresponse().read())["checks"]
        return {name: check["finding"] for name, check in checks.items() if not check["ok"]}
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
        raise AnotherProgram from error
    finally:
        connection.close()
