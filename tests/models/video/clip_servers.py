"""Loopback servers that speak the video APIs of OpenAI and of Google.

What a test puts into ``orders``, ``looks`` and ``files`` is answered in turn; without anything the
server does its work. What it was asked is kept.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from aiohttp import web

from models.video.mp4 import encode
from tests.models.loopback import Loopback, Reply

PROJECT, REGION = "a-project", "us-central1"


def clip(seconds: float = 1.0, size: tuple[int, int] = (64, 48), fps: int = 8) -> bytes:
    """Return a clip that turns from black to white."""
    shades = np.linspace(0, 255, round(seconds * fps), dtype=np.uint8)
    frames = [np.full((size[1], size[0], 3), shade, np.uint8) for shade in shades]
    return encode(frames, fps, {"comment": "of the provider"}).data


class SoraServer(Loopback):
    """Speaks OpenAI's video API."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[Reply] = []
        self.looks: list[Reply | dict[str, Any]] = []
        self.files: list[Reply] = []
        self.clip = clip()
        self.asked: list[dict[str, Any]] = []
        self.looked = threading.Event()
        self.deleted = threading.Event()
        self.deletions: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"].startswith("Bearer ")
        if request.method == "POST":
            self.asked.append(await _fields(request))
            if self.orders:
                return await self.orders.pop(0).response()
            return web.json_response(_video(status="queued"))
        if request.method == "DELETE":
            self.deletions.append(request.path)
            self.deleted.set()
            return web.json_response({"id": "video_1", "deleted": True, "object": "video.deleted"})
        if request.path.endswith("/content"):
            if self.files:
                return await self.files.pop(0).response()
            return web.Response(body=self.clip, content_type="video/mp4")
        self.looked.set()
        found = self.looks.pop(0) if self.looks else {"status": "completed", "progress": 100}
        return (
            await found.response()
            if isinstance(found, Reply)
            else web.json_response(_video(**found))
        )


class VeoServer(Loopback):
    """Speaks the Agent Platform's API for long work, and hands out tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[Reply] = []
        self.looks: list[Reply | dict[str, Any]] = []
        self.tokens: list[Reply] = []
        self.clip = clip()
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.looked = threading.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            if self.tokens:
                return await self.tokens.pop(0).response()
            return web.json_response({"access_token": "signed", "expires_in": 3600})
        assert request.headers["Authorization"] == "Bearer signed"
        self.paths.append(request.path)
        model, _, verb = request.path.rpartition(":")
        if verb == "predictLongRunning":
            self.asked.append(await request.json())
            if self.orders:
                return await self.orders.pop(0).response()
            return web.json_response({"name": f"{model.removeprefix('/v1beta1/')}/operations/7"})
        assert verb == "fetchPredictOperation"
        self.looked.set()
        name = (await request.json())["operationName"]
        found = self.looks.pop(0) if self.looks else self.done()
        if isinstance(found, Reply):
            return await found.response()
        return web.json_response({"name": name, **found})

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


async def _fields(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        fields: dict[str, Any] = await request.json()
        return fields
    form = await request.post()
    return {
        name: value.file.read() if isinstance(value, web.FileField) else value
        for name, value in form.items()
    }


def openai_refuses(status: int, code: str = "", message: str = "No.", **headers: str) -> Reply:
    error = {"error": {"message": message, "code": code or None, "type": "x", "param": None}}
    return Reply(status, json.dumps(error), headers)


def google_refuses(status: int, code: str, message: str = "No.") -> Reply:
    error: Mapping[str, Any] = {"error": {"code": status, "status": code, "message": message}}
    return Reply(status, json.dumps(error))
