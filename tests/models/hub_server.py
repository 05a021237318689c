"""A model hub on the loopback address, with one repository."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from models.catalog import ModelSpec
from tests.models.control import spec_of
from tests.models.loopback import Loopback

REPO = "owner/name"
REVISION = "0123456789" * 4
WEIGHTS = bytes(range(256)) * 40
CONFIG = b'{"model_type": "llama"}'
LARGE_FROM_BYTES = 500
"""Larger files are kept outside git, as the hub does, and have a checksum of their own."""


@dataclass
class HubServer(Loopback):
    """Serves files as the hub does, with their sizes and checksums.

    Attributes:
        files: The repository.
        sent: What each request of a file asked for: its name and the first byte.
        damaged: Files that are sent with other bytes than were recorded.
        cut_after: Connections of these files break after so many bytes.
        gated: Files are shown to nobody who has not accepted the licence.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    sent: list[tuple[str, int]] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)
    cut_after: dict[str, int] = field(default_factory=dict)
    gated: bool = False
    ranges: bool = True

    def __post_init__(self) -> None:
        super().__init__()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == f"/api/models/{REPO}/revision/{REVISION}":
            assert request.query.get("blobs")
            siblings = [self._sibling(name) for name in self.files]
            return web.json_response({"id": REPO, "sha": REVISION, "siblings": siblings})
        prefix = f"/{REPO}/resolve/{REVISION}/"
        if not request.path.startswith(prefix):
            return web.Response(status=404, headers={"X-Error-Code": "RepoNotFound"})
        if self.gated:
            return web.Response(status=403, headers={"X-Error-Code": "GatedRepo"})
        return await self._send(request, request.path.removeprefix(prefix))

    def _sibling(self, name: str) -> dict[str, object]:
        data = self.files[name]
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        row: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": blob}
        if len(data) >= LARGE_FROM_BYTES:
            digest = hashlib.sha256(data).hexdigest()
            row |= {"blobId": "0" * 40, "lfs": {"sha256": digest, "size": len(data)}}
            row["lfs"] |= {"pointerSize": 130}  # type: ignore[operator]
        return row

    async def _send(self, request: web.Request, name: str) -> web.StreamResponse:
        data = self.files[name]
        if name in self.damaged:
            data = bytes(len(data))
        start = request.http_range.start or 0 if self.ranges else 0
        self.sent.append((name, start))
        headers = {"Content-Length": str(len(data) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        cut = self.cut_after.pop(name, None)
        await response.write(data[start:] if cut is None else data[start : start + cut])
        if cut is not None:
            assert request.transport
            request.transport.close()
        return response


def spec(*files: str, **source: Any) -> ModelSpec:
    """Return a row of the catalogue whose weights are some files of the hub."""
    row = {"kind": "hub", "repo": REPO, "revision": REVISION, "files": files}
    return spec_of("fake", "text", id="tiny", source=row | source)
