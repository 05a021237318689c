"""The page beside the preview, by its addresses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from bot.demo.page import MAX_FILE_BYTES, SidePage
from bot.demo.preview import LivePreview
from bot.demo.world import World


@pytest.fixture
async def page(plain_world: World) -> AsyncIterator[SidePage]:
    preview = LivePreview(plain_world)
    async with preview, SidePage(plain_world, preview) as page:
        yield page


@pytest.fixture
async def client(page: SidePage) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(base_url=page.url) as client:
        yield client


async def first_state(client: aiohttp.ClientSession) -> dict[str, Any]:
    async with client.get("events") as events:
        return json.loads((await events.content.readline()).removeprefix(b"data: "))


async def drop(
    client: aiohttp.ClientSession, data: bytes, name: str = "clip.ogg", **fields: str
) -> aiohttp.ClientResponse:
    form = aiohttp.FormData(fields)
    form.add_field("file", BytesIO(data), filename=name)
    return await client.post("files", data=form)


@pytest.mark.parametrize("path", ["/", "/wrong/", "/wrong/events", "/wrong/files/1/0"])
async def test_without_the_secret_there_is_nothing(page: SidePage, path: str) -> None:
    origin = page.url.rsplit("/", 2)[0]
    async with aiohttp.ClientSession() as client, client.get(origin + path) as response:
        assert response.status == 404


async def test_another_host_name_is_refused(page: SidePage) -> None:
    async with aiohttp.ClientSession() as client:
        response = await client.get(page.url, headers={"Host": "evil.example"})
        assert response.status == 404


async def test_the_page_allows_nothing_but_its_own_script(client: aiohttp.ClientSession) -> None:
    response = await client.get("")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    nonce = policy.split("script-src 'nonce-")[1].split("'")[0]
    assert (await response.text()).count(f'nonce="{nonce}"') == 2


async def test_a_dropped_file_reaches_the_bot(
    client: aiohttp.ClientSession, plain_world: World
) -> None:
    response = await drop(client, b"12345", content="listen")
    assert response.status == 200
    await plain_world.until(lambda: len(plain_world.view.messages()) == 2 or None, 60)
    state = await first_state(client)
    dropped, answer = state["messages"]
    assert dropped["files"][0]["name"] == "clip.ogg"
    assert answer["content"] == "listen [5]"
    assert answer["reply_to"] == dropped["id"]


async def test_files_can_be_read_in_parts(client: aiohttp.ClientSession) -> None:
    sent = await (await drop(client, b"0123456789")).json()
    path = f"files/{sent['message']}/0"
    response = await client.get(path, headers={"Range": "bytes=2-5"})
    assert (response.status, await response.read()) == (206, b"2345")
    assert response.headers["Content-Range"] == "bytes 2-5/10"
    assert await (await client.get(path)).read() == b"0123456789"
    assert (await client.get(f"files/{sent['message']}/7")).status == 404


@pytest.mark.parametrize(
    ("name", "content_type", "shown"),
    [
        ("drawn.png", "image/png", True),
        ("clip.mp4", "video/mp4", True),
        ("script.svg", "application/octet-stream", False),
        ("page.html", "application/octet-stream", False),
    ],
)
async def test_a_browser_shows_what_runs_nothing(
    client: aiohttp.ClientSession, name: str, content_type: str, *, shown: bool
) -> None:
    sent = await (await drop(client, b"0123456789", name)).json()
    response = await client.get(f"files/{sent['message']}/0")
    assert response.headers["Content-Type"] == content_type
    assert response.headers["Content-Disposition"].startswith("inline" if shown else "attachment")
    assert response.headers["Content-Security-Policy"] == "sandbox"


async def test_a_file_may_answer_a_message(
    client: aiohttp.ClientSession, plain_world: World
) -> None:
    message = await plain_world.env.act(plain_world.member.send(plain_world.channel, "hello"))
    sent = await (await drop(client, b"1", reply_to=str(message.id))).json()
    assert plain_world.view.message(sent["message"]).reply_to == str(message.id)


async def test_a_file_beyond_discords_limit_is_refused(
    client: aiohttp.ClientSession, plain_world: World
) -> None:
    response = await drop(client, b"0" * (MAX_FILE_BYTES + 1))
    assert response.status == 413
    assert "clip.ogg is too much" in (await response.json())["error"]
    assert plain_world.view.messages() == []


async def test_a_message_command_answers_for_the_viewers_eyes(
    client: aiohttp.ClientSession, plain_world: World
) -> None:
    sent = await (await drop(client, b"1")).json()
    assert (await first_state(client))["menu"] == ["Name files"]
    await client.post("menu", json={"message": sent["message"], "command": "Name files"})
    last = plain_world.view.messages()[-1]
    assert (last.content, last.private) == ("It holds clip.ogg", True)


async def test_a_button_can_be_pressed(client: aiohttp.ClientSession, plain_world: World) -> None:
    world = plain_world
    await world.env.act(world.member.slash(world.channel, "count"))
    counting = await world.until(
        lambda: next((m for m in world.view.messages() if m.buttons), None), 60
    )
    body = {"message": counting.id, "custom_id": counting.buttons[0].custom_id}
    assert await (await client.post("click", json=body)).json() == {"acknowledged": True}
    assert world.view.message(counting.id).content == "stopped"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("menu", {"message": "1", "command": "Name files"}, 404),
        ("click", {}, 400),
        ("menu", "no object", 400),
    ],
)
async def test_nonsense_gets_a_sentence(
    client: aiohttp.ClientSession, path: str, body: object, status: int
) -> None:
    assert (await client.post(path, json=body)).status == status
