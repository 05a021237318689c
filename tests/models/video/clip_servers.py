"""Loopback servers that speak the video APIs of OpenAI and of Google.

What a test puts into ``script`` (for orders), ``looks`` and ``files`` is answered in turn; without
anything the server does its work.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web

from models.video.mp4 import encode
from tests.models.loopback import ModelServer, Reply

PROJECT, REGION = "a-project", "us-central1"


def clip(seconds: float = 1.0, size: tuple[int, int] = (64, 48), fps: int = 8) -> bytes:
    """Return a clip that turns from black to white."""
    shades = np.linspace(0, 255, round(seconds * fps), dtype=np.uint8)
    frames = [np.full((size[1], size[0], 3), shade, np.uint8) for shade in shades]
    return encode(frames, fps, {"comment": "of the provider"}).data


class SoraServer(ModelServer):
    """Speaks OpenAI's video API. Requests are orders."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[Reply | dict[str, Any]] = []
        self.files: list[Reply] = []
        self.clip = clip()
        self.looked = threading.Event()
        self.deleted = threading.Event()
        self.deletions: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return await super().answer(request)
        if request.method == "DELETE":
            self.deletions.append(request.path)
            self.deleted.set()
            return web.json_response({"id": "video_1", "deleted": True, "object": "video.deleted"})
        if request.path.endswith("/content"):
            if self.files:
                return await self.reply(request, self.files.pop(0))
            return web.Response(body=self.clip, content_type="video/mp4")
        self.looked.set()
        found = self.looks.pop(0) if self.looks else {"status": "completed", "progress": 100}
        if isinstance(found, Reply):
            return await self.reply(request, found)
        return web.json_response(_video(**found))

    async def serve(self, request: web.Request, wanted: Any) -> web.StreamResponse:
        return web.json_response(_video(status="queued"))


class VeoServer(ModelServer):
    """Speaks the Agent Platform's API for long work, and hands out tokens.

    Requests are orders; the paths of what was asked after them are in ``looked_at``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[Reply | dict[str, Any]] = []
        self.tokens: list[Reply] = []
        self.clip = clip()
        self.looked = threading.Event()
        self.looked_at: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            if self.tokens:
                return await self.reply(request, self.tokens.pop(0))
            return web.json_response({"access_token": "signed", "expires_in": 3600})
        assert request.headers["Authorization"] == "Bearer signed"
        if request.path.endswith(":predictLongRunning"):
            return await super().answer(request)
        assert request.path.endswith(":fetchPredictOperation")
        self.looked_at.append(request.path)
        self.looked.set()
        name = (await request.json())["operationName"]
        found = self.looks.pop(0) if self.looks else self.done()
        if isinstance(found, Reply):
            return await self.reply(request, found)
        return web.json_response({"name": name, **found})

    async def serve(self, request: web.Request, wanted: Any) -> web.StreamResponse:
        model = request.path.rpartition(":")[0].removeprefix("/v1beta1/")
        return web.json_response({"name": f"{model}/operations/7"})

    def done(self, **response: Any) -> dict[str, Any]:
        """Return what is found when the clip is there."""
        encoded = base64.b64encode(self.clip).decode()
        video = {"bytesBase64Encoded": encoded, "mimeType": "video/mp4"}
        return {"done": True, "response": {"videos": [video], **response}}


def _video(**fields: Any) -> dict[str, Any]:
    return {
        "id": "video_1",
        "object": "video",
        "created_at": 1,
        "model": "sora-2",
        "progress": 0,
        "seconds": "4",
        "size": "1280x720",
        **fields,
    }


def google_account(folder: Path, server: VeoServer) -> Path:
    """Write the key file of a service account."""
    account = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key": _private_key(),
        "client_email": "sextant@a-project.example",
        "token_uri": f"{server.url}/token",
    }
    file = folder / "account.json"
    file.write_text(json.dumps(account))
    return file


@cache
def _private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, pkcs8, serialization.NoEncryption()).decode()


def google_refuses(status: int, code: str = "", message: str = "No.") -> Reply:
    error: Mapping[str, Any] = {"error": {"code": status, "status": code, "message": message}}
    return Reply(status, json.dumps(error))
