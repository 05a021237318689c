"""What the log looks like: a line for a person, or a JSON object a line for a machine.

This module owns the format and which libraries may speak. Code that works on a job names it with
``extra={"job_id": job.id}``, and the id then stands at the end of its line. The log never holds
what members wrote, so libraries that would print it at DEBUG are kept at INFO.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from bot.settings import LogSettings

_TALKATIVE = ("discord", "aiosqlite", "aiohttp", "asyncio")
_NEWS_ONLY = {
    "alembic": logging.WARNING,
    "discord.client": logging.ERROR,  # it warns of voice channels, which the bot does not join
}


def set_up(settings: LogSettings) -> None:
    """Send every log line to standard error in the chosen format."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.INFO))
    for name, level in _NEWS_ONLY.items():
        logging.getLogger(name).setLevel(max(root.level, level))


class TextFormatter(logging.Formatter):
    """``2026-11-24 10:00:00 INFO    bot.client: ready [01hx…]``."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)-7s %(name)s: %(message)s%(job)s",
            "%Y-%m-%d %H:%M:%S",
            defaults={"job": ""},
        )

    def format(self, record: logging.LogRecord) -> str:
        if job_id := getattr(record, "job_id", ""):
            record.job = f" [{job_id}]"
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One object a line: time (UTC, ISO 8601), level, logger, message, job_id, error."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if job_id := getattr(record, "job_id", ""):
            line["job_id"] = job_id
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
