"""What the log looks like: a line for a person, or a JSON object a line for a machine.

This module owns the format, which job a line is about, and which libraries may speak. Workers write
the same lines as the bot. The log never holds what members wrote, so libraries that would print it
at DEBUG are kept at INFO.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bot.settings import LogSettings

Fields = Mapping[str, str | int]

_NOTHING: Final[Fields] = MappingProxyType({})
_about: ContextVar[Fields] = ContextVar("about", default=_NOTHING)

_TEXT_TIME = "%Y-%m-%d %H:%M:%S"
_JOB = re.compile(r"\bjob ([0-9a-z]{16})\b")
_TALKATIVE = ("discord", "aiosqlite", "aiohttp", "asyncio")
_NEWS_ONLY = {
    "alembic": logging.WARNING,
    "discord.client": logging.ERROR,  # it warns of voice channels, which the bot does not join
}


@contextmanager
def about(**fields: str | int) -> Iterator[None]:
    """Give every line that is logged in the block these fields, and no others.

    A task begins with the fields of whoever started it, which may be another job: so they are
    replaced, never added to.

    Args:
        fields: ``job_id``, ``attempt``, ``lane``, ``model``, ``modality``, ``guild_id``.
    """
    token = _about.set(fields)
    try:
        yield
    finally:
        _about.reset(token)


def set_up(settings: LogSettings) -> None:
    """Send every log line of the bot to standard error in the chosen format."""
    root = _attach(TextFormatter() if settings.format == "text" else JsonFormatter())
    root.setLevel(settings.level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.INFO))
    for name, level in _NEWS_ONLY.items():
        logging.getLogger(name).setLevel(max(root.level, level))


def set_up_worker(log_format: str, *, lane: str, pid: int) -> None:
    """Send a worker's warnings to standard error, as lines that name its lane and process."""
    fields: Fields = {"lane": lane, "worker": pid}
    _attach(TextFormatter(fields) if log_format == "text" else JsonFormatter(fields))
    logging.getLogger().setLevel(logging.WARNING)


def _attach(formatter: logging.Formatter) -> logging.Logger:
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    logging.captureWarnings(True)  # noqa: FBT003 - the standard library's signature
    sys.excepthook = _log_uncaught
    return root


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Log what ends the process; an interrupt is nobody's fault."""
    if isinstance(error, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logging.getLogger("bot").critical("the process ends", exc_info=(kind, error, trace))


class TextFormatter(logging.Formatter):
    """Time, level, logger, message; then the lane and the job, unless the message says which.

    Args:
        always: Fields of every line.
    """

    def __init__(self, always: Fields = _NOTHING) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", _TEXT_TIME)
        self._always = always

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overridden
        """Return the line without a traceback."""
        fields = _fields_of(record.message, self._always)
        told = [f"worker {fields['lane']}"] if "worker" in fields else []
        if "job_id" in fields and not _JOB.search(record.message):
            told.append(f"job {fields['job_id']}")
        line = super().formatMessage(record)
        return f"{line} [{', '.join(told)}]" if told else line


class JsonFormatter(logging.Formatter):
    """One object a line: time (UTC, ISO 8601), level, logger, message, what it is about, error.

    Args:
        always: Fields of every line.
    """

    def __init__(self, always: Fields = _NOTHING) -> None:
        super().__init__()
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
            **_fields_of(message, self._always),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _fields_of(message: str, always: Fields) -> Fields:
    """Return what a line is about: the job that its message names, rather than the one at work."""
    here, named = _about.get(), _JOB.search(message)
    if named is None:
        return {**always, **here}
    if here.get("job_id", named[1]) != named[1]:
        return {**always, "job_id": named[1]}
    return {**always, **here, "job_id": named[1]}
