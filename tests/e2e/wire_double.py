"""A double of Discord on the loopback: the gateway and the part of REST that the bot uses.

Run as a process of its own (``python wire_double.py``), it prints one line of JSON with its port
and lives until its standard input closes. It keeps to Discord's documented rules as far as a bot
can break them: acknowledgement in three seconds and once, tokens that expire, lengths, files,
sizes, nonces, buckets, voice messages, permissions, sessions that resume. What a well-behaved bot
never does is noted under ``problems``. Tests drive it through ``/control/...``, at the end.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import re
import sys
import time
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import BodyPartReader, WSMsgType, web

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

TOKEN = "wire.double.token"
APPLICATION, BOT_NAME = 1000, "Sextant"
GUILD, CHANNEL, OTHER_CHANNEL, OWNER, BOT_ROLE = 2000, 3000, 3001, 4000, 5000
MEMBERS = {OWNER: "olga", 4001: "amir", 4002: "beate"}
ALL_PERMISSIONS = (1 << 53) - 1
SEND_MESSAGES, ATTACH_FILES, SEND_VOICE = 1 << 11, 1 << 15, 1 << 46
VIEW_CHANNEL, SEND_IN_THREADS = 1 << 10, 1 << 38
EPHEMERAL, VOICE_MESSAGE, LOADING = 1 << 6, 1 << 13, 1 << 7
MESSAGE_CONTENT, GUILD_MESSAGES, DIRECT_MESSAGES = 1 << 15, 1 << 9, 1 << 12
TOKEN_LIFE_S = 900.0
FILE_LIMIT, REQUEST_LIMIT = 10 * 2**20, 25 * 2**20
_counter = itertools.count(1)


def snowflake() -> int:
    return (int(time.time() * 1000) - 1420070400000) << 22 | next(_counter) % 2**22


def now() -> str:
    return datetime.now(UTC).isoformat()


class Refused(Exception):
    """An error answer of the API."""

    def __init__(self, status: int, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.body = status, {"code": code, "message": message, **more}


def user(user_id: int) -> Json:
    name = BOT_NAME if user_id == APPLICATION else MEMBERS.get(user_id, f"user{user_id}")
    return {
        "id": str(user_id), "username": name, "discriminator": "0", "global_name": name,
        "avatar": None, "bot": user_id == APPLICATION, "public_flags": 0,
    }  # fmt: skip


def member(user_id: int) -> Json:
    roles = [str(BOT_ROLE)] if user_id == APPLICATION else []
    return {
        "user": user(user_id), "roles": roles, "joined_at": "2026-01-01T00:00:00+00:00",
        "deaf": False, "mute": False, "flags": 0, "pending": False, "nick": None, "avatar": None,
    }  # fmt: skip


# --------------------------------------------------------------------------- state


@dataclass
class Interaction:
    """One interaction with its life."""

    id: int
    token: str
    channel_id: int
    user_id: int
    kind: int
    created: float = field(default_factory=time.monotonic)
    answered: float | None = None
    expired: bool = False
    original: int | None = None
    ephemeral: bool = False
    modal: Json | None = None
    choices: list[Json] | None = None

    @property
    def token_valid(self) -> bool:
        return not self.expired and time.monotonic() - self.created < TOKEN_LIFE_S


@dataclass
class Fault:
    """What shall go wrong.

    ``when``: *before* the action or *after* it was done, *drop* the connection once it was done, or
    *hold* the reply back for longer than a test lasts.
    """

    method: str
    path: str
    status: int
    times: int
    when: str = "before"
    code: int = 0
    retry_after: float = 0.2


@dataclass
class Bucket:
    """A window of time with so many requests left; it begins with the first request."""

    limit: int
    window_s: float
    left: int = 0
    ends: float = 0.0

    def renew(self) -> None:
        if time.monotonic() >= self.ends:
            self.left, self.ends = self.limit, time.monotonic() + self.window_s

    @property
    def rest_s(self) -> float:
        return max(self.ends - time.monotonic(), 0.001)


class Discord:
    """Everything that Discord remembers."""

    def __init__(self) -> None:
        self.base = ""
        self.channels: dict[int, Json] = {}
        self.messages: dict[int, dict[int, Json]] = defaultdict(dict)
        self.deleted: list[int] = []
        self.edits: Counter[int] = Counter()
        self.interactions: dict[str, Interaction] = {}
        self.commands: list[Json] = []
        self.files: dict[str, tuple[bytes, str]] = {}
        self.nonces: dict[tuple[int, str], tuple[float, int]] = {}
        self.requests: list[Json] = []
        self.problems: list[str] = []
        self.faults: list[Fault] = []
        self.limits: dict[str, tuple[int, float]] = {"messages": (5, 5.0), "webhooks": (5, 2.0)}
        self.buckets: dict[str, Bucket] = {}
        self.flags = 1 << 18  # message content, as the developer portal has it
        self.denied = 0
        self.nonce_life_s = 300.0
        self.ack_deadline_s = 3.0
        self.gateway = Gateway(self)
        for channel_id, name in ((CHANNEL, "general"), (OTHER_CHANNEL, "sounds")):
            self.add_channel(channel_id, 0, name)

    def add_channel(self, channel_id: int, kind: int, name: str, **more: Any) -> Json:
        channel = {
            "id": str(channel_id), "type": kind, "guild_id": str(GUILD), "name": name,
            "position": 0, "permission_overwrites": [], "nsfw": False, "parent_id": None,
            "topic": None, "rate_limit_per_user": 0, "last_message_id": None, **more,
        }  # fmt: skip
        self.channels[channel_id] = channel
        return channel

    def guild(self) -> Json:
        colors = {"primary_color": 0, "secondary_color": None, "tertiary_color": None}
        role = {
            "color": 0, "colors": colors, "hoist": False, "managed": False, "mentionable": False,
            "flags": 0, "icon": None, "unicode_emoji": None,
        }  # fmt: skip
        everyone = {
            **role,
            "id": str(GUILD),
            "name": "@everyone",
            "position": 0,
            "permissions": "0",
        }
        granted = str(ALL_PERMISSIONS & ~8 & ~self.denied)
        of_bot = {**role, "id": str(BOT_ROLE), "name": "bot", "position": 1, "permissions": granted}
        return {
            "id": str(GUILD), "name": "Wire", "owner_id": str(OWNER), "roles": [everyone, of_bot],
            "members": [member(APPLICATION)],  # without the intent for members, only this one
            "channels": [c for c in self.channels.values() if c["type"] == 0],
            "threads": [c for c in self.channels.values() if c["type"] == 11],
            "member_count": len(MEMBERS) + 1, "large": False, "unavailable": False,
            "joined_at": "2026-01-01T00:00:00+00:00", "icon": None, "splash": None, "banner": None,
            "discovery_splash": None, "afk_channel_id": None, "afk_timeout": 300, "features": [],
            "verification_level": 0, "default_message_notifications": 0, "mfa_level": 0,
            "explicit_content_filter": 0, "emojis": [], "stickers": [], "voice_states": [],
            "presences": [], "stage_instances": [], "guild_scheduled_events": [],
            "system_channel_id": None, "system_channel_flags": 0, "rules_channel_id": None,
            "public_updates_channel_id": None, "vanity_url_code": None, "description": None,
            "premium_tier": 0, "preferred_locale": "en-US", "nsfw_level": 0,
            "premium_progress_bar_enabled": False, "application_id": None,
        }  # fmt: skip

    def find(self, channel_id: int, message_id: int) -> Json:
        try:
            return self.messages[channel_id][message_id]
        except KeyError:
            raise Refused(404, 10008, "Unknown Message") from None

    # ----------------------------------------------------------------- messages

    def post(
        self, channel_id: int, author: int, body: Json, files: dict[int, Upload], **more: Any
    ) -> Json:
        """Store a message and tell the gateway, unless it repeats a nonce or is ephemeral."""
        if channel_id not in self.channels:
            raise Refused(404, 10003, "Unknown Channel")
        nonce = str(body.get("nonce") or "")
        if author == APPLICATION and not more:
            self._may_post(body, files)
        known = self.nonces.get((channel_id, nonce))
        if (
            nonce
            and body.get("enforce_nonce")
            and known
            and time.time() - known[0] < self.nonce_life_s
        ):
            return self.find(channel_id, known[1])
        message_id = snowflake()
        message: Json = {
            "id": str(message_id), "channel_id": str(channel_id), "author": user(author),
            "content": body.get("content") or "", "timestamp": now(), "edited_timestamp": None,
            "tts": False, "mention_everyone": False, "mentions": [], "mention_roles": [],
            "attachments": self._attachments(body, files), "embeds": body.get("embeds") or [],
            "components": body.get("components") or [], "pinned": False, "type": 0,
            "flags": body.get("flags") or 0, **more,
        }  # fmt: skip
        if nonce:
            message["nonce"] = nonce
        if self.channels[channel_id]["type"] != 1:
            message["guild_id"] = str(GUILD)
            message["member"] = {k: v for k, v in member(author).items() if k != "user"}
        self._refer(message, body.get("message_reference"))
        self._mention(message, body.get("allowed_mentions"))
        self.messages[channel_id][message_id] = message
        self.channels[channel_id]["last_message_id"] = str(message_id)
        if nonce and body.get("enforce_nonce"):
            self.nonces[channel_id, nonce] = (time.time(), message_id)
        if not message["flags"] & EPHEMERAL:
            self.gateway.dispatch("MESSAGE_CREATE", message)
        return message

    def edit(self, message: Json, body: Json, files: dict[int, Upload]) -> Json:
        if message["flags"] & VOICE_MESSAGE:
            raise Refused(400, 50162, "Voice messages cannot be edited")
        for name in ("content", "embeds", "components"):
            if name in body:
                message[name] = body[name] or ("" if name == "content" else [])
        if files or "attachments" in body:
            message["attachments"] = self._attachments(body, files, message["attachments"])
        message["flags"] &= ~LOADING
        message["edited_timestamp"] = now()
        self.edits[int(message["id"])] += 1
        self._mention(message, body.get("allowed_mentions"))
        if not message["flags"] & EPHEMERAL:
            self.gateway.dispatch("MESSAGE_UPDATE", message)
        return message

    def delete(self, channel_id: int, message_id: int) -> None:
        self.find(channel_id, message_id)
        del self.messages[channel_id][message_id]
        self.deleted.append(message_id)
        event = {"id": str(message_id), "channel_id": str(channel_id), "guild_id": str(GUILD)}
        self.gateway.dispatch("MESSAGE_DELETE", event)

    def _may_post(self, body: Json, files: dict[int, Upload]) -> None:
        voice = (body.get("flags") or 0) & VOICE_MESSAGE
        if self.denied & (SEND_MESSAGES | VIEW_CHANNEL):
            raise Refused(403, 50001, "Missing Access")
        if voice and self.denied & SEND_VOICE:
            raise Refused(403, 50173, "You cannot send voice messages in this channel")
        if files and self.denied & ATTACH_FILES:
            raise Refused(403, 50013, "Missing Permissions")

    def _attachments(
        self, body: Json, files: dict[int, Upload], before: list[Json] | None = None
    ) -> list[Json]:
        listed = body.get("attachments")
        kept = {str(entry["id"]) for entry in listed or []}
        result = [a for a in before or [] if listed is None or a["id"] in kept]
        described = {str(entry["id"]): entry for entry in listed or []}
        for number, upload in files.items():
            entry = described.get(str(number), {})
            result.append(self.attach(upload, **_chosen(entry, "description")))
            result[-1].update(_chosen(entry, "duration_secs", "waveform"))
        return result

    def attach(self, upload: Upload, **more: Any) -> Json:
        attachment_id = snowflake()
        path = f"/cdn/{attachment_id}/{upload.filename}"
        self.files[path] = (upload.data, upload.content_type)
        url = self.base + path
        return {
            "id": str(attachment_id), "filename": upload.filename, "size": len(upload.data),
            "content_type": upload.content_type, "url": url, "proxy_url": url, **more,
        }  # fmt: skip

    def _refer(self, message: Json, reference: Json | None) -> None:
        if not reference:
            return
        channel_id = int(reference.get("channel_id") or message["channel_id"])
        target = self.messages[channel_id].get(int(reference["message_id"]))
        if target is None and reference.get("fail_if_not_exists", True):
            raise Refused(400, 50035, "Invalid Form Body", errors={"message_reference": "unknown"})
        message["type"] = 19
        message["message_reference"] = {
            "type": 0, "message_id": str(reference["message_id"]), "channel_id": str(channel_id),
            "guild_id": str(GUILD),
        }  # fmt: skip
        message["referenced_message"] = target and {**target, "referenced_message": None}

    def _mention(self, message: Json, allowed: Json | None) -> None:
        named = {int(i) for i in re.findall(r"<@!?(\d+)>", message["content"])}
        parse = {"users", "everyone"} if allowed is None else set(allowed.get("parse") or [])
        users = (
            named if "users" in parse else named & set(map(int, (allowed or {}).get("users") or []))
        )
        target = message.get("referenced_message")
        if target and (allowed is None or allowed.get("replied_user")):
            users = users | {int(target["author"]["id"])}
        message["mentions"] = [user(user_id) for user_id in sorted(users)]
        everyone = re.search(r"@(everyone|here)", message["content"])
        message["mention_everyone"] = bool(everyone and "everyone" in parse)


def _chosen(entry: Json, *names: str) -> Json:
    return {name: entry[name] for name in names if name in entry}


# --------------------------------------------------------------------------- gateway


@dataclass
class Session:
    """A gateway session: it outlives its connection, so that it can be resumed."""

    id: str
    intents: int
    log: list[Json] = field(default_factory=list)
    connection: Connection | None = None


class Connection:
    """One websocket, with the compression that the client asked for."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket, self._request = socket, request
        compressed = request.query.get("compress") == "zlib-stream"
        self._deflate = zlib.compressobj() if compressed else None

    def abort(self) -> None:
        """Cut it without a word, as a broken network does."""
        if self._request.transport:
            self._request.transport.abort()

    async def send(self, payload: Json) -> None:
        data = json.dumps(payload).encode()
        if self._deflate:
            await self.socket.send_bytes(
                self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
            )
        else:
            await self.socket.send_str(data.decode())


class Gateway:
    """Sessions, heartbeats and events."""

    def __init__(self, discord: Discord) -> None:
        self.discord = discord
        self.sessions: dict[str, Session] = {}
        self.counts: Counter[str] = Counter()
        self.heartbeat_ms = 1000
        self.away = False
        self.ready_at: list[float] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def dispatch(self, event: str, data: Json) -> None:
        """Log an event in every session; send it to those that are connected."""
        for session in self.sessions.values():
            shown = self._visible(session, event, data)
            if shown is not None:
                session.log.append({"op": 0, "t": event, "s": len(session.log) + 1, "d": shown})
                if session.connection:
                    self._later(session.connection.send(session.log[-1]))

    def _later(self, sending: Awaitable[None]) -> None:
        task = asyncio.ensure_future(_quietly(sending))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    def _visible(session: Session, event: str, data: Json) -> Json | None:
        if not event.startswith("MESSAGE_"):
            return data
        wanted = GUILD_MESSAGES if data.get("guild_id") else DIRECT_MESSAGES
        if not session.intents & wanted:
            return None
        mine = data.get("author", {}).get("id") == str(APPLICATION)
        named = any(entry["id"] == str(APPLICATION) for entry in data.get("mentions", []))
        if session.intents & MESSAGE_CONTENT or mine or named or not data.get("guild_id"):
            return data
        return {**data, "content": "", "attachments": [], "embeds": [], "components": []}

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        if self.away:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        connection = Connection(socket, request)
        await connection.send({"op": 10, "d": {"heartbeat_interval": self.heartbeat_ms}})
        session: Session | None = None
        async for frame in socket:
            if frame.type != WSMsgType.TEXT:
                continue
            payload = frame.json()
            self.counts[f"op {payload['op']}"] += 1
            if payload["op"] == 1:
                await connection.send({"op": 11})
            elif payload["op"] == 2:
                session = await self._identify(connection, payload["d"])
            elif payload["op"] == 6:
                session = await self._resume(connection, payload["d"])
        if session and session.connection is connection:
            session.connection = None
        return socket

    async def _identify(self, connection: Connection, data: Json) -> Session | None:
        wanted = data["intents"]
        if data["token"] != TOKEN:
            await connection.socket.close(code=4004)
            return None
        if wanted & MESSAGE_CONTENT and not self.discord.flags & (3 << 18):
            await connection.socket.close(code=4014, message=b"Disallowed intent(s).")
            return None
        self.sessions.clear()  # an identify ends what the same shard had before
        session = Session(hashlib.sha256(str(snowflake()).encode()).hexdigest()[:32], wanted)
        session.connection = connection
        self.sessions[session.id] = session
        ready = {
            "v": 10, "user": user(APPLICATION), "session_id": session.id,
            "shard": data.get("shard"), "guilds": [{"id": str(GUILD), "unavailable": True}],
            "resume_gateway_url": self._url(),
            "application": {"id": str(APPLICATION), "flags": self.discord.flags},
        }  # fmt: skip
        self.ready_at.append(time.time())
        self.dispatch("READY", ready)
        self.dispatch("GUILD_CREATE", self.discord.guild())
        return session

    def _url(self) -> str:
        return self.discord.base.replace("http", "ws", 1) + "/gateway"

    async def _resume(self, connection: Connection, data: Json) -> Session | None:
        session = self.sessions.get(data["session_id"])
        if session is None or data["seq"] > len(session.log):
            await connection.send({"op": 9, "d": False})
            return None
        session.connection = connection
        self.counts["resumed"] += 1
        for payload in session.log[data["seq"] :]:
            await connection.send(payload)
        self.dispatch("RESUMED", {})
        return session

    async def disturb(self, action: str) -> None:
        """Cut the connection (drop), ask for a new one (reconnect), or end it all (invalidate).

        ``away`` cuts it and takes no other until ``back``.
        """
        self.away = action == "away"
        for session in list(self.sessions.values()):
            if not session.connection:
                continue
            connection = session.connection
            if action == "reconnect":
                await connection.send({"op": 7, "d": None})
            elif action == "invalidate":
                self.sessions.clear()
                await connection.send({"op": 9, "d": False})
            elif action != "back":
                session.connection = None
                connection.abort()


async def _quietly(sending: Awaitable[None]) -> None:
    with contextlib.suppress(ConnectionError):  # the session keeps the event for its resume
        await sending


# --------------------------------------------------------------------------- REST: what is sent


@dataclass
class Upload:
    """A file of a multipart request."""

    filename: str
    content_type: str
    data: bytes


async def read_body(request: web.Request) -> tuple[Json, dict[int, Upload]]:
    """Read JSON or multipart, and note the payload in the log of requests."""
    body, files = await _read(request)
    request["log"] |= {"body": body, "files": len(files)}
    return body, files


async def _read(request: web.Request) -> tuple[Json, dict[int, Upload]]:
    """Read JSON, or multipart with ``payload_json`` and ``files[n]``."""
    if not request.content_type.startswith("multipart/"):
        text = await request.text()
        return (json.loads(text) if text else {}), {}
    body: Json = {}
    files: dict[int, Upload] = {}
    total = 0
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read())
        total += len(data)
        if part.name == "payload_json":
            body = json.loads(data)
        elif matched := re.fullmatch(r"files\[(\d+)\]", part.name or ""):
            kind = part.headers.get("Content-Type", "application/octet-stream")
            files[int(matched[1])] = Upload(part.filename or "", kind, data)
        else:
            raise Refused(400, 50035, f"Invalid Form Body: part {part.name}")
    if total > REQUEST_LIMIT or any(len(upload.data) > FILE_LIMIT for upload in files.values()):
        raise Refused(413, 40005, "Request entity too large")
    return body, files


def check_message(body: Json, files: dict[int, Upload], *, new: bool) -> None:
    """Refuse what Discord refuses."""
    flags = body.get("flags") or 0
    if flags & VOICE_MESSAGE:
        check_voice(body, files)
        return
    errors = {}
    if len(body.get("content") or "") > 2000:
        errors["content"] = "Must be 2000 or fewer in length."
    if len(body.get("attachments") or files) > 10:
        errors["attachments"] = "Must be 10 or fewer in length."
    embeds = body.get("embeds") or []
    if len(embeds) > 10 or any(len(e.get("description") or "") > 4096 for e in embeds):
        errors["embeds"] = "Too many or too long."
    if sum(len(json.dumps(embed)) for embed in embeds) > 12_000:
        errors["embeds"] = "Must be 6000 or fewer in all."
    if len(str(body.get("nonce") or "")) > 25:
        errors["nonce"] = "Must be 25 or fewer in length."
    rows = body.get("components") or []
    buttons = [button for row in rows for button in row.get("components", [])]
    if len(rows) > 5 or any(len(row.get("components", [])) > 5 for row in rows):
        errors["components"] = "Must be 5 or fewer in length."
    if any(len(b.get("custom_id", "")) > 100 or len(b.get("label") or "") > 80 for b in buttons):
        errors["components"] = "custom_id or label is too long."
    if len({b.get("custom_id") for b in buttons}) < len(buttons):
        errors["components"] = "custom_id is duplicated."
    if errors:
        raise Refused(400, 50035, "Invalid Form Body", errors=errors)
    if new and not (body.get("content") or files or embeds or rows):
        raise Refused(400, 50006, "Cannot send an empty message")


def check_voice(body: Json, files: dict[int, Upload]) -> None:
    """Exactly one Ogg file with its duration and waveform, and nothing else."""
    if body.get("content") or body.get("embeds") or body.get("components"):
        raise Refused(400, 50159, "Voice messages do not support additional content")
    if len(files) != 1 or not next(iter(files.values())).data.startswith(b"OggS"):
        raise Refused(400, 50160, "Voice messages must have a single audio attachment")
    entries = body.get("attachments") or [{}]
    waveform, duration = entries[0].get("waveform"), entries[0].get("duration_secs")
    try:
        points = base64.b64decode(waveform or "", validate=True)
    except ValueError:
        points = b""
    if not 1 <= len(points) <= 256 or not isinstance(duration, int | float) or duration <= 0:
        raise Refused(400, 50161, "Voice messages must have supporting metadata")


# --------------------------------------------------------------------------- REST: routes


class Rest:
    """The API, version 10."""

    def __init__(self, discord: Discord) -> None:
        self.discord = discord

    def routes(self) -> list[web.RouteDef]:
        commands = "/applications/{app}/commands"
        messages, hook = "/channels/{channel}/messages", "/webhooks/{app}/{token}"
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/gateway/bot", self.gateway_bot),
            ("GET", "/users/@me", self.me),
            ("GET", "/applications/@me", self.application),
            ("GET", "/oauth2/applications/@me", self.application),
            ("GET", "/users/@me/guilds", self.guilds),
            ("POST", "/users/@me/channels", self.open_dm),
            ("GET", commands, self.get_commands),
            ("PUT", commands, self.put_commands),
            ("POST", "/interactions/{id}/{token}/callback", self.callback),
            ("POST", hook, self.follow_up),
            ("GET", hook + "/messages/{message}", self.hook_get),
            ("PATCH", hook + "/messages/{message}", self.hook_edit),
            ("DELETE", hook + "/messages/{message}", self.hook_delete),
            ("GET", "/channels/{channel}", self.channel),
            ("POST", "/channels/{channel}/typing", self.typing),
            ("GET", messages, self.history),
            ("POST", messages, self.post),
            ("GET", messages + "/{message}", self.get),
            ("PATCH", messages + "/{message}", self.edit),
            ("DELETE", messages + "/{message}", self.remove),
            ("POST", messages + "/{message}/threads", self.thread),
        ]
        return [web.route(method, "/api/v10" + path, handler) for method, path, handler in table]

    # ----------------------------------------------------------------- about the bot

    async def gateway_bot(self, _: web.Request) -> web.Response:
        limit = {"total": 1000, "remaining": 999, "reset_after": 1, "max_concurrency": 1}
        url = self.discord.gateway._url()
        return web.json_response({"url": url, "shards": 1, "session_start_limit": limit})

    async def me(self, _: web.Request) -> web.Response:
        return web.json_response(user(APPLICATION))

    async def application(self, _: web.Request) -> web.Response:
        return web.json_response({
            "id": str(APPLICATION), "name": BOT_NAME, "icon": None, "description": "",
            "bot_public": True, "bot_require_code_grant": False, "verify_key": "0" * 64,
            "flags": self.discord.flags, "owner": user(OWNER), "team": None, "rpc_origins": [],
            "summary": "", "bot": user(APPLICATION),
        })  # fmt: skip

    async def guilds(self, _: web.Request) -> web.Response:
        granted = str(ALL_PERMISSIONS & ~8 & ~self.discord.denied)
        entry: Json = {
            "id": str(GUILD),
            "name": "Wire",
            "icon": None,
            "owner": False,
            "features": [],
        }
        return web.json_response([{**entry, "permissions": granted}])

    async def get_commands(self, _: web.Request) -> web.Response:
        return web.json_response(self.discord.commands)

    async def put_commands(self, request: web.Request) -> web.Response:
        known = {(command["name"], command["type"]): command for command in self.discord.commands}
        stored = []
        for given in await request.json():
            command = {"type": 1, "description": "", "options": [], **given}
            old = known.get((command["name"], command["type"]))
            ids = {"id": old["id"] if old else str(snowflake()), "application_id": str(APPLICATION)}
            stored.append({"version": "1", "default_member_permissions": None, **command, **ids})
        self.discord.commands = stored
        return web.json_response(stored)

    # ----------------------------------------------------------------- interactions

    def _interaction(self, request: web.Request) -> Interaction:
        found = self.discord.interactions.get(request.match_info["token"])
        if found is None or not found.token_valid:
            raise Refused(401, 50027, "Invalid Webhook Token")
        if found.answered is None and "id" not in request.match_info:
            raise Refused(404, 10015, "Unknown Webhook")
        return found

    async def callback(self, request: web.Request) -> web.Response:
        discord, body_files = self.discord, await read_body(request)
        body, files = body_files
        data = body.get("data") or {}
        interaction = self._interaction(request)
        if interaction.answered is not None:
            discord.problems.append(f"interaction {interaction.id} was acknowledged twice")
            raise Refused(400, 40060, "Interaction has already been acknowledged.")
        if time.monotonic() - interaction.created > discord.ack_deadline_s:
            discord.problems.append(f"interaction {interaction.id} was acknowledged too late")
            raise Refused(404, 10062, "Unknown interaction")
        if body["type"] in (4, 7):
            check_message(data, files, new=body["type"] == 4)
        interaction.answered = time.monotonic()
        message = self._answer(interaction, body["type"], data, files)
        resource = {"type": body["type"], **({"message": message} if message else {})}
        about = {"id": str(interaction.id), "type": interaction.kind, "response_message_id": None}
        if message:
            about["response_message_id"] = message["id"]
        if request.query.get("with_response") not in ("1", "true"):
            return web.Response(status=204)
        return web.json_response({"interaction": about, "resource": resource})

    def _answer(
        self, interaction: Interaction, kind: int, data: Json, files: dict[int, Upload]
    ) -> Json | None:
        discord = self.discord
        if kind in (4, 5):  # a message, or the promise of one
            flags = (data.get("flags") or 0) | (LOADING if kind == 5 else 0)
            interaction.ephemeral = bool(flags & EPHEMERAL)
            message = discord.post(
                interaction.channel_id, APPLICATION, {**data, "flags": flags}, files,
                type=20, webhook_id=str(APPLICATION), application_id=str(APPLICATION),
            )  # fmt: skip
            interaction.original = int(message["id"])
            return message
        if kind == 7 and interaction.original:
            original = discord.find(interaction.channel_id, interaction.original)
            return discord.edit(original, data, files)
        if kind == 8:
            interaction.choices = data["choices"]
        if kind == 9:
            interaction.modal = data
        return None

    def _hook_message(self, request: web.Request) -> tuple[Interaction, Json]:
        interaction, name = self._interaction(request), request.match_info["message"]
        message_id = interaction.original if name == "@original" else int(name)
        return interaction, self.discord.find(interaction.channel_id, message_id or 0)

    async def follow_up(self, request: web.Request) -> web.Response:
        interaction = self._interaction(request)
        body, files = await read_body(request)
        check_message(body, files, new=True)
        message = self.discord.post(
            interaction.channel_id, APPLICATION, body, files,
            webhook_id=str(APPLICATION), application_id=str(APPLICATION),
        )  # fmt: skip
        return web.json_response(message)

    async def hook_get(self, request: web.Request) -> web.Response:
        return web.json_response(self._hook_message(request)[1])

    async def hook_edit(self, request: web.Request) -> web.Response:
        body, files = await read_body(request)
        check_message(body, files, new=False)
        message = self._hook_message(request)[1]
        return web.json_response(self.discord.edit(message, body, files))

    async def hook_delete(self, request: web.Request) -> web.Response:
        interaction, message = self._hook_message(request)
        self.discord.delete(interaction.channel_id, int(message["id"]))
        return web.Response(status=204)

    # ----------------------------------------------------------------- channels

    def _channel(self, request: web.Request) -> int:
        channel_id = int(request.match_info["channel"])
        if channel_id not in self.discord.channels:
            raise Refused(404, 10003, "Unknown Channel")
        if self.discord.denied & VIEW_CHANNEL:
            raise Refused(403, 50001, "Missing Access")
        return channel_id

    def _own(self, request: web.Request) -> Json:
        message = self.discord.find(self._channel(request), int(request.match_info["message"]))
        if message["flags"] & EPHEMERAL:
            raise Refused(404, 10008, "Unknown Message")
        return message

    async def channel(self, request: web.Request) -> web.Response:
        return web.json_response(self.discord.channels[self._channel(request)])

    async def typing(self, request: web.Request) -> web.Response:
        self._channel(request)
        return web.Response(status=204)

    async def open_dm(self, request: web.Request) -> web.Response:
        recipient = int((await request.json())["recipient_id"])
        channel_id = 900_000 + recipient
        if channel_id not in self.discord.channels:
            channel = self.discord.add_channel(channel_id, 1, "", recipients=[user(recipient)])
            del channel["guild_id"]
        return web.json_response(self.discord.channels[channel_id])

    async def history(self, request: web.Request) -> web.Response:
        channel_id = self._channel(request)
        shown = [
            m for m in self.discord.messages[channel_id].values() if not m["flags"] & EPHEMERAL
        ]
        limit = int(request.query.get("limit", 50))
        if "after" in request.query:  # the oldest ones after it, newest first
            after = [m for m in shown if int(m["id"]) > int(request.query["after"])]
            return web.json_response(self._read(after[:limit]))
        before = int(request.query.get("before", 2**63))
        return web.json_response(self._read([m for m in shown if int(m["id"]) < before][-limit:]))

    @staticmethod
    def _read(messages: list[Json]) -> list[Json]:
        """Newest first, and without nonces: nothing promises that they can be read again."""
        return [{k: v for k, v in m.items() if k != "nonce"} for m in reversed(messages)]

    async def post(self, request: web.Request) -> web.Response:
        channel_id = self._channel(request)
        body, files = await read_body(request)
        check_message(body, files, new=True)
        return web.json_response(self.discord.post(channel_id, APPLICATION, body, files))

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(self._own(request))

    async def edit(self, request: web.Request) -> web.Response:
        body, files = await read_body(request)
        check_message(body, files, new=False)
        message = self._own(request)
        if message["author"]["id"] != str(APPLICATION):
            raise Refused(403, 50005, "Cannot edit a message authored by another user")
        return web.json_response(self.discord.edit(message, body, files))

    async def remove(self, request: web.Request) -> web.Response:
        message = self._own(request)
        self.discord.delete(int(message["channel_id"]), int(message["id"]))
        return web.Response(status=204)

    async def thread(self, request: web.Request) -> web.Response:
        message, body = self._own(request), await request.json()
        meta = {"archived": False, "auto_archive_duration": 1440, "locked": False}
        thread = self.discord.add_channel(
            int(message["id"]), 11, body["name"], parent_id=message["channel_id"],
            owner_id=str(APPLICATION), message_count=0, member_count=1,
            thread_metadata={**meta, "archive_timestamp": now(), "create_timestamp": now()},
        )  # fmt: skip
        self.discord.gateway.dispatch("THREAD_CREATE", {**thread, "newly_created": True})
        return web.json_response(thread)


# --------------------------------------------------------------------------- REST: around each call


class Border:
    """What every call to the API passes: the log, authorisation, faults, buckets."""

    def __init__(self, discord: Discord) -> None:
        self.discord = discord
        self._global: deque[float] = deque()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/api/"):
            return await handler(request)
        resource = request.match_info.route.resource
        path = request.path.removeprefix("/api/v10")
        route = resource.canonical.removeprefix("/api/v10") if resource else ""
        if not route:
            self.discord.problems.append(f"unknown route {request.method} {path}")
        entry: Json = {"at": time.time(), "method": request.method, "path": path, "route": route}
        self.discord.requests.append(entry)
        request["log"] = entry
        try:
            response = await self._guarded(request, handler, path, route)
        except Refused as refusal:
            response = web.json_response(refusal.body, status=refusal.status)
        except ConnectionError:  # the bot was killed in the middle of an upload
            response = web.Response(status=499)
        except web.HTTPException as error:
            response = web.json_response({"code": 0, "message": error.reason}, status=error.status)
        entry["status"] = response.status
        if response.content_type == "application/json":
            response.charset = None  # the client compares the whole header
        response.headers.update(self._headers(request, route))
        if response.status == 429:
            response.headers["Via"] = "1.1 google"  # without it the client believes in a ban
        return response

    async def _guarded(
        self, request: web.Request, handler: Handler, path: str, route: str
    ) -> web.StreamResponse:
        hooked = route.startswith(("/webhooks", "/interactions"))
        if not hooked and request.headers.get("Authorization") != f"Bot {TOKEN}":
            raise Refused(401, 0, "401: Unauthorized")
        fault = self._fault(request.method, path)
        if fault and fault.when == "before":
            return self._failure(fault)
        self._limit(request, route)
        response = await handler(request)
        if fault and fault.when == "hold":
            await asyncio.sleep(600)
        elif fault and fault.when == "drop" and request.transport:
            request.transport.abort()
        elif fault:
            return self._failure(fault)
        return response

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.discord.faults:
            if fault.method in (method, "*") and re.search(fault.path, path) and fault.times:
                fault.times -= 1
                return fault
        return None

    @staticmethod
    def _failure(fault: Fault) -> web.Response:
        body: Json = {"code": fault.code, "message": f"injected {fault.status}"}
        if fault.status == 429:
            body |= {"retry_after": fault.retry_after, "global": False}
            headers = {"Retry-After": str(fault.retry_after), "X-RateLimit-Scope": "shared"}
            return web.json_response(body, status=429, headers=headers)
        return web.json_response(body, status=fault.status)

    # ----------------------------------------------------------------- rate limits

    def _bucket(self, request: web.Request, route: str) -> Bucket:
        name = "webhooks" if route.startswith("/webhooks") else route.split("/")[-1].strip("{}")
        name = "messages" if name == "message" and request.method != "GET" else name
        major = request.match_info.get("channel") or request.match_info.get("token") or ""
        key = f"{request.method} {route} {major}"
        limit, window_s = self.discord.limits.get(name, (50, 1.0))
        return self.discord.buckets.setdefault(key, Bucket(limit, window_s))

    def _limit(self, request: web.Request, route: str) -> None:
        clock = time.monotonic()
        while self._global and self._global[0] < clock - 1:
            self._global.popleft()
        if len(self._global) >= 50 and not route.startswith("/interactions"):
            raise self._too_many(0.5, everywhere=True)
        self._global.append(clock)
        bucket = self._bucket(request, route)
        bucket.renew()
        if not bucket.left:
            raise self._too_many(bucket.rest_s, everywhere=False)
        bucket.left -= 1

    @staticmethod
    def _too_many(retry_after: float, *, everywhere: bool) -> Refused:
        body = {"retry_after": round(retry_after, 3), "global": everywhere}
        return Refused(429, 0, "You are being rate limited.", **body)

    def _headers(self, request: web.Request, route: str) -> dict[str, str]:
        bucket = self._bucket(request, route)
        name = hashlib.sha256(f"{request.method} {route}".encode()).hexdigest()[:32]
        return {
            "X-RateLimit-Bucket": name,
            "X-RateLimit-Limit": str(bucket.limit),
            "X-RateLimit-Remaining": str(bucket.left),
            "X-RateLimit-Reset": f"{time.time() + bucket.rest_s:.3f}",
            "X-RateLimit-Reset-After": f"{bucket.rest_s:.3f}",
        }


# --------------------------------------------------------------------------- control


class Control:
    """What tests do: act as members, break things, look at what the bot did."""

    def __init__(self, discord: Discord) -> None:
        self.discord = discord

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/control/command", self.command),
            web.post("/control/press", self.press),
            web.post("/control/message", self.message),
            web.post("/control/delete", self.delete),
            web.post("/control/fault", self.fault),
            web.post("/control/gateway", self.gateway),
            web.post("/control/repeat", self.repeat),
            web.post("/control/set", self.set),
            web.post("/control/expire", self.expire),
            web.get("/control/state", self.state),
        ]

    async def command(self, request: web.Request) -> web.Response:
        """Type a slash command, or choose one from a message's menu (``target``)."""
        given = await request.json()
        words = given["name"].split(" ")
        known = next(
            (c for c in self.discord.commands if c["name"] in (words[0], given["name"])), None
        )
        if known is None:
            raise web.HTTPNotFound(reason=f"no command {given['name']}")
        data: Json = {
            "id": known["id"],
            "name": known["name"],
            "type": known["type"],
            "resolved": {},
        }
        if target := given.get("target"):
            message = self.discord.find(given.get("channel", CHANNEL), int(target))
            data |= {"target_id": str(target), "resolved": {"messages": {str(target): message}}}
        else:
            data["options"] = self._options(
                known, words[1:], given.get("options", {}), data["resolved"]
            )
        return self._interact(given, 2, data)

    def _options(self, command: Json, path: list[str], values: Json, resolved: Json) -> list[Json]:
        if path:
            below = next(o for o in command["options"] if o["name"] == path[0])
            inner = self._options(below, path[1:], values, resolved)
            return [{"name": path[0], "type": below["type"], "options": inner}]
        kinds = {option["name"]: option["type"] for option in command.get("options", [])}
        options = []
        for name, value in values.items():
            if kinds[name] == 11:
                attachment = self.discord.attach(_upload(value))
                resolved.setdefault("attachments", {})[attachment["id"]] = attachment
                value = attachment["id"]
            if kinds[name] == 7:
                channel = {**self.discord.channels[int(value)], "permissions": "0"}
                resolved.setdefault("channels", {})[value] = channel
            options.append({"name": name, "type": kinds[name], "value": value})
        return options

    async def press(self, request: web.Request) -> web.Response:
        given = await request.json()
        channel_id = given.get("channel", CHANNEL)
        message = self.discord.find(channel_id, int(given["message"]))
        data = {"custom_id": given["custom_id"], "component_type": 2}
        return self._interact(given, 3, data, message=message)

    def _interact(self, given: Json, kind: int, data: Json, **more: Any) -> web.Response:
        channel_id, user_id = given.get("channel", CHANNEL), given.get("user", OWNER)
        interaction = Interaction(
            snowflake(), f"token-{snowflake()}", channel_id, user_id, kind,
            original=int(more["message"]["id"]) if "message" in more else None,
        )  # fmt: skip
        self.discord.interactions[interaction.token] = interaction
        permissions = str(
            ALL_PERMISSIONS if user_id == OWNER else ALL_PERMISSIONS & ~(8 | 32 | 8192)
        )
        granted = str(ALL_PERMISSIONS & ~8 & ~self.discord.denied)
        event = {
            "id": str(interaction.id), "application_id": str(APPLICATION), "type": kind,
            "data": data, "guild_id": str(GUILD), "channel_id": str(channel_id),
            "guild": {"id": str(GUILD), "locale": "en-US", "features": []}, "version": 1,
            "channel": {**self.discord.channels[channel_id], "permissions": permissions},
            "token": interaction.token, "attachment_size_limit": FILE_LIMIT, "context": 0,
            "member": {**member(user_id), "permissions": permissions}, "locale": "en-US",
            "guild_locale": "en-US", "app_permissions": granted, "entitlements": [],
            "authorizing_integration_owners": {"0": str(GUILD)}, **more,
        }  # fmt: skip
        self.discord.gateway.dispatch("INTERACTION_CREATE", event)
        return web.json_response({"id": interaction.id, "token": interaction.token})

    async def message(self, request: web.Request) -> web.Response:
        given = await request.json()
        files = {n: _upload(entry) for n, entry in enumerate(given.get("files", []))}
        body: Json = {"content": given.get("content", ""), "flags": given.get("flags", 0)}
        if target := given.get("reply_to"):
            body["message_reference"] = {"message_id": str(target)}
        channel_id = given.get("channel", CHANNEL)
        message = self.discord.post(channel_id, given.get("user", OWNER), body, files)
        return web.json_response(message)

    async def delete(self, request: web.Request) -> web.Response:
        given = await request.json()
        self.discord.delete(given.get("channel", CHANNEL), int(given["message"]))
        return web.Response(status=204)

    async def fault(self, request: web.Request) -> web.Response:
        self.discord.faults.append(Fault(**await request.json()))
        return web.Response(status=204)

    async def gateway(self, request: web.Request) -> web.Response:
        await self.discord.gateway.disturb((await request.json())["action"])
        return web.Response(status=204)

    async def repeat(self, request: web.Request) -> web.Response:
        """Send the newest event of a kind once more, as Discord may."""
        kind = (await request.json())["event"]
        for session in self.discord.gateway.sessions.values():
            event = next(e for e in reversed(session.log) if e["t"] == kind)
            self.discord.gateway.dispatch(kind, event["d"])
        return web.Response(status=204)

    async def set(self, request: web.Request) -> web.Response:
        """Change ``limits``, ``denied`` (permission bits), ``nonce_life_s``, ``flags``,
        ``ack_deadline_s``; end faults.

        The buckets begin anew, so that a changed limit holds at once.
        """
        self.discord.faults.clear()
        self.discord.buckets.clear()
        for name, value in (await request.json()).items():
            setattr(self.discord, name, value)
            if name == "denied":
                role = self.discord.guild()["roles"][1]
                self.discord.gateway.dispatch(
                    "GUILD_ROLE_UPDATE", {"guild_id": str(GUILD), "role": role}
                )
        return web.Response(status=204)

    async def expire(self, request: web.Request) -> web.Response:
        self.discord.interactions[(await request.json())["token"]].expired = True
        return web.Response(status=204)

    async def state(self, _: web.Request) -> web.Response:
        discord = self.discord
        messages = [m for channel in discord.messages.values() for m in channel.values()]
        interactions = [
            {
                "id": i.id, "token": i.token, "message": i.original, "ephemeral": i.ephemeral,
                "ack_s": i.answered and i.answered - i.created, "modal": i.modal,
                "choices": i.choices,
            }
            for i in discord.interactions.values()
        ]  # fmt: skip
        return web.json_response({
            "messages": messages, "deleted": discord.deleted, "edits": discord.edits,
            "interactions": interactions, "commands": discord.commands,
            "requests": discord.requests, "problems": discord.problems,
            "gateway": discord.gateway.counts, "ready_at": discord.gateway.ready_at,
            "connected": any(s.connection for s in discord.gateway.sessions.values()),
        })  # fmt: skip


def _upload(entry: Json) -> Upload:
    return Upload(entry["filename"], entry.get("content_type", ""), base64.b64decode(entry["data"]))


# --------------------------------------------------------------------------- process


async def cdn(request: web.Request) -> web.Response:
    discord: Discord = request.app[DISCORD]
    if request.path not in discord.files:
        raise web.HTTPNotFound
    data, content_type = discord.files[request.path]
    return web.Response(body=data, content_type=content_type or "application/octet-stream")


DISCORD: web.AppKey[Discord] = web.AppKey("discord", Discord)


async def main() -> None:
    discord = Discord()
    border = Border(discord)
    app = web.Application(middlewares=[border.middleware], client_max_size=2**30)
    app[DISCORD] = discord
    app.add_routes(Rest(discord).routes() + Control(discord).routes())
    app.add_routes([web.get("/gateway", discord.gateway.connect), web.get("/cdn/{id}/{name}", cdn)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    discord.base = f"http://127.0.0.1:{port}"
    print(json.dumps({"port": port}), flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the test lets go
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
