"""The sender against a loopback server, for what the simulated Discord does not look at."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import discord
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from discord.http import Route

from bot.delivery.faults import Barred, DeliveryFault, Gone, Refused, Transient
from bot.delivery.parts import Button, ChannelMessage, File, VoiceMessage
from bot.delivery.sender import Sender
from bot.engine.job import Anchor

FAR = 4_000_000_000.0
BY_TOKEN = Anchor(70, 900, application_id=5, token="secret", token_expires_at=FAR)
BY_BOT = Anchor(70, 900)
OWN_ID = 5
Body = dict[str, Any]


def person(user_id: int) -> Body:
    return {"id": str(user_id), "username": "x", "discriminator": "0", "avatar": None}


APPLICATION = {
    "id": str(OWN_ID),
    "name": "bot",
    "description": "",
    "icon": None,
    "bot_public": False,
    "bot_require_code_grant": False,
    "verify_key": "",
    "owner": person(1),
    "flags": 0,
}


def reply(body: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    # discord.py takes a body for JSON only when its type is given without a charset.
    headers = {"Content-Type": "application/json", **(headers or {})}
    return web.Response(body=json.dumps(body).encode(), status=status, headers=headers)


@dataclass
class Discord:
    """Takes calls down and answers them with a message, or as a test wants."""

    calls: list[tuple[str, str, Body]] = field(default_factory=list)
    files: list[tuple[str, str, bytes]] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)
    history: list[Body] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/api/v10")
        if path == "/users/@me":
            return reply(person(OWN_ID))
        if path == "/oauth2/applications/@me":
            return reply(APPLICATION)
        self.calls.append((request.method, path, await self._body(request)))
        if self.answers:
            return self.answers.pop(0)
        if request.method == "GET":
            return reply(self.history[::-1])
        return reply(message(id=901))

    async def _body(self, request: web.Request) -> Body:
        if request.content_type != "multipart/form-data":
            return dict(await request.json()) if request.can_read_body else {}
        body: Body = {}
        async for part in await request.multipart():
            assert not isinstance(part, list)
            if part.name == "payload_json":
                body = json.loads(await part.text())
            else:
                self.files.append((part.filename, part.headers["Content-Type"], await part.read()))
        return body

    def answer(self, status: int, code: int = 0, **headers: str) -> None:
        body = {"code": code, "message": "no"}
        self.answers.append(reply(body, status=status, headers=headers))


def message(**fields: object) -> Body:
    return {
        "id": "901",
        "channel_id": "70",
        "author": person(OWN_ID),
        "content": "",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
        "type": 0,
        **{key: str(value) if key == "id" else value for key, value in fields.items()},
    }


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Discord]:
    made = Discord()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    async with TestServer(app) as running:
        monkeypatch.setattr(Route, "BASE", str(running.make_url("/api/v10")))
        yield made


@pytest.fixture
async def sender(server: Discord, tmp_path: Path) -> AsyncIterator[Sender]:
    client = discord.Client(intents=discord.Intents.default())
    async with client:
        await client.login("token")
        yield Sender(client, tmp_path)


async def test_a_voice_message_is_what_discord_calls_one(
    sender: Sender, server: Discord, tmp_path: Path
) -> None:
    (tmp_path / "spoken").write_bytes(b"OggS")
    file = File("speech.ogg", "audio/ogg", spool_path="spoken", description="A greeting")
    sent = await sender.post(70, VoiceMessage(file, 12.34567, b"\x00\xff"), nonce="job.1")
    assert sent == 901
    [(method, path, body)] = server.calls
    assert (method, path) == ("POST", "/channels/70/messages")
    assert body["flags"] == 1 << 13
    assert "content" not in body
    assert (body["nonce"], body["enforce_nonce"]) == ("job.1", True)
    assert body["allowed_mentions"]["parse"] == []
    assert body["attachments"] == [
        {
            "id": 0,
            "filename": "speech.ogg",
            "description": "A greeting",
            "duration_secs": 12.346,
            "waveform": base64.b64encode(b"\x00\xff").decode(),
        }
    ]
    assert server.files == [("speech.ogg", "audio/ogg", b"OggS")]


async def test_a_message_carries_its_nonce_and_pings_nobody(
    sender: Sender, server: Discord
) -> None:
    part = ChannelMessage("two", (File("a.md", "text/markdown", text="ä"),))
    await sender.post(70, part, nonce="job.1")
    [(_, _, body)] = server.calls
    assert body["content"] == "two"
    assert (body["nonce"], body["enforce_nonce"]) == ("job.1", True)
    assert body["allowed_mentions"] == {"parse": []}
    assert server.files[0][2] == "ä".encode()


async def test_a_late_answer_may_ping_its_owner_alone(sender: Sender, server: Discord) -> None:
    await sender.post(70, ChannelMessage("<@7>", mention_user_id=7), nonce="job.0")
    allowed = server.calls[0][2]["allowed_mentions"]
    assert (allowed["parse"], [int(user) for user in allowed["users"]]) == ([], [7])


@pytest.mark.parametrize(
    ("anchor", "path"),
    [(BY_TOKEN, "/webhooks/5/secret/messages/900"), (BY_BOT, "/channels/70/messages/900")],
)
async def test_an_anchor_is_brought_into_a_state(
    sender: Sender, server: Discord, anchor: Anchor, path: str
) -> None:
    await sender.edit_anchor(anchor, "one", [Button("sx1:stop:x", "Stop", "danger")], [])
    [(method, called, body)] = server.calls
    assert (method, called) == ("PATCH", path)
    assert body["content"] == "one"
    assert body["attachments"] == []
    assert body["allowed_mentions"]["parse"] == []
    [button] = body["components"][0]["components"]
    assert (button["custom_id"], button["label"], button["style"]) == ("sx1:stop:x", "Stop", 4)


async def test_a_live_edit_leaves_the_files_alone(sender: Sender, server: Discord) -> None:
    await sender.edit_anchor(BY_TOKEN, "one")
    assert "attachments" not in server.calls[0][2]
    assert server.calls[0][2]["components"] == []


async def test_views_of_answers_do_not_pile_up(sender: Sender, server: Discord) -> None:
    buttons = (Button("sx1:stop:x", "Stop"),)
    await sender.edit_anchor(BY_TOKEN, "one", buttons)
    await sender.edit_anchor(BY_BOT, "one", buttons)
    await sender.post(70, ChannelMessage("two", buttons=buttons), nonce="n")
    assert sender._client.persistent_views == []


@pytest.mark.parametrize(
    ("status", "code", "fault"),
    [
        (400, 50035, Refused),
        (401, 0, Transient),
        (403, 50013, Barred),
        (404, 10008, Gone),
        (404, 10003, Gone),
        (413, 40005, Refused),
        (429, 0, Transient),
        (503, 0, Transient),
    ],
)
async def test_refusals_are_told_apart(
    sender: Sender, server: Discord, status: int, code: int, fault: type[DeliveryFault]
) -> None:
    server.answer(status, code)
    with pytest.raises(fault):
        await sender.post(70, ChannelMessage("two"), nonce="n")
    server.answer(status, code)
    with pytest.raises(fault):
        await sender.edit_anchor(BY_BOT, "one")


async def test_a_rate_limit_says_how_long_to_wait(sender: Sender, server: Discord) -> None:
    server.answer(429, **{"Retry-After": "7.5"})
    with pytest.raises(Transient) as raised:
        await sender.edit_anchor(BY_TOKEN, "one")
    assert raised.value.retry_after_s == 7.5


@pytest.mark.parametrize(("status", "code"), [(401, 50027), (404, 10015), (403, 50001)])
async def test_a_token_that_is_over_gives_way_to_the_bots_own(
    sender: Sender, server: Discord, status: int, code: int
) -> None:
    server.answer(status, code)
    await sender.edit_anchor(BY_TOKEN, "one")
    assert [path for _, path, _ in server.calls] == [
        "/webhooks/5/secret/messages/900",
        "/channels/70/messages/900",
    ]


async def test_a_private_answer_never_takes_the_bots_own_token(
    sender: Sender, server: Discord
) -> None:
    server.answer(401, 50027)
    with pytest.raises(Barred):
        await sender.edit_anchor(replace(BY_TOKEN, ephemeral=True), "one")
    with pytest.raises(Barred):
        await sender.edit_anchor(replace(BY_TOKEN, ephemeral=True, token_expires_at=1.0), "one")
    assert len(server.calls) == 1


async def test_a_line_that_breaks_is_worth_another_try(
    sender: Sender, server: Discord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Route, "BASE", "http://127.0.0.1:9/api/v10")
    with pytest.raises(Transient):
        await sender.edit_anchor(BY_TOKEN, "one")
    with pytest.raises(Transient):
        await sender.post(70, ChannelMessage("two"), nonce="n")


async def test_a_missing_file_is_no_reason_to_try_again(sender: Sender, server: Discord) -> None:
    lost = File("x.ogg", "audio/ogg", spool_path="gone")
    with pytest.raises(Refused):
        await sender.post(70, VoiceMessage(lost, 1.0, b"\x00"), nonce="n")
    with pytest.raises(Refused):
        await sender.edit_anchor(BY_TOKEN, "one", (), [lost])
    assert server.calls == []


async def test_a_part_is_found_by_its_nonce_or_by_its_looks(
    sender: Sender, server: Discord
) -> None:
    attachment = {"id": "1", "filename": "a.md", "size": 1, "url": "x", "proxy_url": "x"}
    server.history = [
        message(id=902, content="two", author=person(6)),
        message(id=903, content="other"),
        message(id=904, content="two "),
        message(id=905, content="two", attachments=[attachment]),
        message(id=906, content="edited since", nonce="job.1"),
    ]
    found = await sender.find(70, 900, ChannelMessage(" two"), nonce="job.1")
    assert found == [904, 906]
    with_file = ChannelMessage("two", (File("a.md", "text/markdown", text="x"),))
    assert await sender.find(70, 900, with_file, nonce="job.2") == [905]


async def test_a_direct_message_goes_to_the_members_own_channel(
    sender: Sender, server: Discord
) -> None:
    server.answers.append(reply({"id": "77", "type": 1, "recipients": []}))
    assert await sender.direct_channel(7) == 77
    assert server.calls == [("POST", "/users/@me/channels", {"recipient_id": 7})]
