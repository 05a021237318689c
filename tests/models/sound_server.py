"""A loopback server that speaks OpenAI's audio API."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from tests.models.loopback import ModelServer, Reply
from tests.models.sounds import tone


def speaks(seconds: float = 0.5) -> Reply:
    samples = tone(seconds, 24_000)
    data = (samples * 32767).astype("<i2").tobytes()
    return Reply(body=data, content_type="audio/pcm")


def hears(text: str, **fields: Any) -> Reply:
    return Reply(body=json.dumps({"text": text, **fields}))


class SoundServer(ModelServer):
    """The server; it does nothing but what its script says."""

    async def serve(self, request: web.Request, wanted: Any) -> web.StreamResponse:
        raise AssertionError("nobody wanted this request")
