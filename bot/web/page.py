"""The page: ``/healthz``, ``/readyz`` and ``/metrics`` over HTTP.

This module owns the server and what an answer looks like. It runs in the bot's own event loop, so
that a bot that hangs does not answer, and begins before the bot has logged in.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from aiohttp import web

from bot.settings import WebSettings
from bot.web.health import Check, Health, Question, Watched
from bot.web.lag import LoopLag
from bot.web.metrics import Now, PrometheusMeter

_log = logging.getLogger(__name__)

_GOODBYE_S = 1.0


class Page:
    """Serves the page from ``open`` to ``close``.

    Attributes:
        meter: What the engine and delivery tell of themselves.
    """

    def __init__(self, settings: WebSettings, watched: Watched, meter: PrometheusMeter) -> None:
        self._settings = settings
        self._watched = watched
        self._lag = LoopLag()
        self._health = Health(watched, self._lag, meter.losses)
        self._now = Now(meter.registry)
        self._backlog = Question(watched.backlog)
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Begin to serve. An address that cannot be had is logged: the bot goes on without."""
        self._lag.start()
        app = web.Application()
        app.add_routes([
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._metrics),
        ])  # fmt: skip
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GOODBYE_S)
        await self._runner.setup()
        host, port = self._settings.host, self._settings.port
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            _log.error("the page cannot be served at %s:%d: %s", host, port, error.strerror)
        else:
            _log.info("health and metrics are at http://%s:%d", host, port)

    async def close(self) -> None:
        """Serve no more."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._lag.close()
        await self._health.close()
        await self._backlog.close()

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer({"loop": self._health.alive()})

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(await self._health.checks())

    async def _metrics(self, request: web.Request) -> web.Response:
        self._now.look(self._watched, self._lag, await self._health.checks())
        try:
            answers, since = await self._backlog.answer()
        except Exception:  # noqa: BLE001 - that the database is out of reach is one of the metrics
            self._now.note_backlog(math.nan, math.nan)
        else:
            self._now.note_backlog(answers, 0.0 if since is None else self._watched.clock() - since)
        body, content_type = self._now.written(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})


def _answer(checks: Mapping[str, Check]) -> web.Response:
    """Return 200 where all is well, 503 where something is not; the body says what."""
    ok = all(check.ok for check in checks.values())
    body = {
        "ok": ok,
        "checks": {name: {"ok": c.ok, "finding": c.finding} for name, c in checks.items()},
    }
    headers = {"Cache-Control": "no-store"}
    return web.json_response(body, status=200 if ok else 503, headers=headers)
