"""What the log looks like: a line for a person, or a JSON object a line for a machine.

This module owns the format and which libraries may speak. A message that is about a job says
``job <id>``; the id then is a field of its own for a machine. The log never holds what members
wrote, so libraries that would print it at DEBUG are kept at INFO.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime

from bot.settings import LogSettings

_TEXT_TIME = "%Y-%m-%d %H:%M:%S"
_JOB = re.compile(r"\bjob ([0-9a-z]{16})\b")
_TALKATIVE = ("discord", "aiosqlite", "aiohttp", "asyncio")
_NEWS_ONLY = {
    "alembic": logging.WARNING,
    "discord.client": logging.ERROR,  # it warns of voice channels, which the bot does not join
}


def set_up(settings: LogSettings) -> None:
    """Send every log line to standard error in the chosen format."""
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", _TEXT_TIME)
    handler.setFormatter(JsonFormatter() if settings.format == "json" else text)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.INFO))
    for name, level in _NEWS_ONLY.items():
        logging.getLogger(name).setLevel(max(root.level, level))


class JsonFormatter(logging.Formatter):
    """One object a line: time (UTC, ISO 8601), level, logger, message, job_id, error."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if job := _JOB.search(line["message"]):
            line["job_id"] = job[1]
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
