"""A page beside simcord's preview, for what that one cannot do: files and right-click menus.

This module owns a small web server on the loopback address. Whoever has its address may act as the
demo's member, so the address carries a secret, and nothing else is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from aiohttp import BodyPartReader, web
from simcord.backend.errors import BackendError, SetupError

from bot.demo.channel import ShownFile, ShownMessage
from bot.demo.preview import LivePreview
from bot.demo.world import World

MAX_FILE_BYTES: Final = 10 * 1024 * 1024
"""What Discord takes from a member without a subscription."""

MAX_FILES: Final = 10
_PICTURES: Final = {"image/png", "image/jpeg", "image/webp", "image/gif"}
"""What a browser shows without running anything that is in it."""

_LOOK_AGAIN_S: Final = 0.15
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HTML: Final = Path(__file__).with_name("page.html")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class SidePage:
    """The page, served while the context is entered."""

    def __init__(self, world: World, preview: LivePreview, port: int = 0) -> None:
        self._world = world
        self._preview = preview
        self._secret = secrets.token_urlsafe(24)
        app = web.Application(middlewares=[self._admit])
        app.add_routes(
            [
                web.get("/{secret}/", self._index),
                web.get("/{secret}/events", self._events),
                web.get("/{secret}/files/{message}/{number}", self._file),
                web.post("/{secret}/files", self._send),
                web.post("/{secret}/menu", self._menu),
                web.post("/{secret}/click", self._click),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        self._port = port

    @property
    def url(self) -> str:
        """The address, which is a secret."""
        _, port = self._runner.addresses[0]
        return f"http://127.0.0.1:{port}/{self._secret}/"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse who lacks the secret or came by another name; put failures into a sentence."""
        given = request.match_info.get("secret", "")
        if request.url.host not in {"127.0.0.1", "localhost"} or not secrets.compare_digest(
            given.encode(), self._secret.encode()
        ):
            raise web.HTTPNotFound
        try:
            response = await handler(request)
        except (SetupError, BackendError, KeyError, ValueError) as error:
            response = web.json_response(
                {"error": f"Discord would refuse that: {error}"}, status=400
            )
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    # ---------------------------------------------------------------- reading

    async def _index(self, _: web.Request) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        html = _HTML.read_text("utf-8").replace("{{nonce}}", nonce)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "connect-src 'self'; media-src 'self'; img-src 'self' data:; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        return web.Response(
            text=html, content_type="text/html", headers={"Content-Security-Policy": policy}
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send the whole channel whenever something happened in it."""
        headers = {"Content-Type": "text/event-stream", **_HEADERS}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        seen = -1
        with contextlib.suppress(ConnectionResetError):  # the page was closed
            while True:
                if seen != (seen := self._world.view.version):
                    await response.write(f"data: {json.dumps(self._state())}\n\n".encode())
                await asyncio.sleep(_LOOK_AGAIN_S)
        return response

    def _state(self) -> dict[str, object]:
        world = self._world
        return {
            "guild": world.guild.name,
            "channel": world.channel.name,
            "viewer": world.member.user.global_name,
            "preview": self._preview.url,
            "menu": world.view.menu(),
            "messages": [asdict(message) for message in world.view.messages()],
        }

    async def _file(self, request: web.Request) -> web.Response:
        message = self._message(request.match_info["message"])
        number = int(request.match_info["number"])
        if not 0 <= number < len(message.files):
            raise web.HTTPNotFound
        file = message.files[number]
        data = self._world.view.read(file)
        span = request.http_range
        headers = _file_headers(file)
        if span.start is None:
            return web.Response(body=data, headers=headers)
        start, stop, _ = span.indices(len(data))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return web.Response(status=206, body=data[start:stop], headers=headers)

    # ---------------------------------------------------------------- acting

    async def _send(self, request: web.Request) -> web.Response:
        fields: dict[str, str] = {}
        files: list[tuple[str, bytes]] = []
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise web.HTTPBadRequest
            if part.name != "file":
                fields[part.name or ""] = await part.text()
                continue
            name = part.filename or "file"
            data = await _read_at_most(part, MAX_FILE_BYTES)
            if data is None or len(files) == MAX_FILES:
                sentence = f"Discord takes {MAX_FILES} files of 10 MB each: {name} is too much."
                return web.json_response({"error": sentence}, status=413)
            files.append((name, data))
        world = self._world
        reply_to = fields.get("reply_to")
        sent = await world.env.act(
            world.member.send(
                world.channel,
                fields.get("content", "").strip(),
                attachments=files,
                reply_to=world.as_sent(self._message(reply_to)) if reply_to else None,
            )
        )
        return web.json_response({"message": str(sent.id)})

    async def _menu(self, request: web.Request) -> web.Response:
        body = await _json_object(request)
        world, message = self._world, self._message(body["message"])
        result = await world.env.act(
            world.member.context_menu(world.channel, body["command"], world.as_sent(message))
        )
        return web.json_response({"acknowledged": result.acknowledged})

    async def _click(self, request: web.Request) -> web.Response:
        body = await _json_object(request)
        result = await self._world.press(self._message(body["message"]), body["custom_id"])
        return web.json_response({"acknowledged": result.acknowledged})

    def _message(self, message_id: str) -> ShownMessage:
        message = self._world.view.message(message_id)
        if message is None:
            raise web.HTTPNotFound
        return message


async def _json_object(request: web.Request) -> dict[str, str]:
    body = await request.json()
    if not isinstance(body, dict):
        raise ValueError("not a JSON object")
    return body


async def _read_at_most(part: BodyPartReader, limit: int) -> bytes | None:
    """Read a file; None when it is larger than the limit."""
    data = bytearray()
    while chunk := await part.read_chunk():
        data += chunk
        if len(data) > limit:
            return None
    return bytes(data)


def _file_headers(file: ShownFile) -> dict[str, str]:
    """Show pictures, play sound and video; everything else is only ever saved."""
    kind = file.content_type.split("/")[0]
    playable = kind in {"audio", "video"} or file.content_type in _PICTURES
    return {
        "Content-Type": file.content_type if playable else "application/octet-stream",
        "Content-Disposition": f"{'inline' if playable else 'attachment'}; "
        f"filename*=UTF-8''{quote(file.name)}",
        "Content-Security-Policy": "sandbox",
        "Accept-Ranges": "bytes",
    }
