"""From a server's bill to Discord: the real backend for OpenAI's API, and a loopback server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from bot.engine.attempt import Attempt
from bot.engine.inline import InlinePort
from bot.engine.protocol import Shutdown
from bot.engine.worker import installed_backend
from bot.settings import HostedSettings, Settings
from models.catalog import EndpointSource
from models.errors import LimitReached
from tests.conftest import Run, World
from tests.fakes import FakeWeights, fake_catalog, fake_model, text_request
from tests.models.loopback import refuses
from tests.models.text.chat_server import ChatServer, Said, says
from tests.scripted import Stage

PRICES = {"text_input": 100, "output": 1000}
"""A tenth of a thousandth of a dollar for a token that is read, a thousandth for one written."""

ANSWER_MICRO_USD = 11 * 100 + 5 * 1000
"""What the server's usual answer costs: it counts 11 tokens read and 5 written."""


class Served(Stage):
    """Inline workers that load the backends which are installed."""

    def start_worker(self, lane: str) -> InlinePort:
        port = InlinePort(installed_backend, self._spool)
        self.ports.append(port)
        return port

    def close(self) -> None:
        """Let the backends go, which a process would take with it."""
        for port in self.ports:
            port._worker.handle(Shutdown())


@pytest.fixture
def server() -> Iterator[ChatServer]:
    server = ChatServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def run(
    server: ChatServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Run]:
    """The bot, whose only model is the server's."""
    monkeypatch.setattr(FakeWeights, "locate", lambda _self, spec: spec.source.url)
    source = EndpointSource(url=f"{server.url}/v1", model="m")
    row = fake_model("paid", backend="openai", source=source, prices=PRICES, context_tokens=600)
    hosted = HostedSettings(usd_per_server_month=1)
    run = Run(settings.model_copy(update={"hosted": hosted}), fake_catalog(row))
    run.stage = stage = Served(settings.spool_dir)
    await run.open()
    yield run
    await run.close()
    stage.close()


async def ask(world: World, prompt: str = "Hello there.") -> str:
    result = await world.member.slash(world.channel, "ask", prompt=prompt)
    return str(result.response.content)


async def spent(world: World) -> int:
    """Return what the log and the budget say, in millionths of a dollar."""
    rows = await world.services.jobs.of_member(world.member.id)
    logged = sum(row.micro_usd or 0 for row in rows)
    assert world.services.budget.standing(world.guild.id).spent.micro_usd == logged
    return logged


async def running(world: World) -> Attempt:
    """Wait until a job runs: the server's time is that of the wall."""
    attempts = world.services.engine._runs.live
    while not attempts:
        await asyncio.sleep(0)
    [attempt] = attempts.values()
    return attempt


async def test_the_servers_count_is_what_is_logged(world: World, server: ChatServer) -> None:
    server.script = [says("Hi", " there")]
    assert (await ask(world)).startswith("> Hello there.\nHi there")
    assert await spent(world) == ANSWER_MICRO_USD
    assert world.services.budget.standing(world.guild.id).held == 0


async def test_a_refusal_is_logged_as_free(world: World, server: ChatServer) -> None:
    server.script = [refuses(429)]
    assert "too busy" in await ask(world)
    assert await spent(world) == 0


async def test_an_answer_that_breaks_the_rules_is_paid(world: World, server: ChatServer) -> None:
    server.script = [says("Hm", finish_reason="content_filter")]
    assert "content rules" in await ask(world)
    assert await spent(world) == ANSWER_MICRO_USD


async def test_a_stop_in_mid_stream_is_paid_so_far(world: World, server: ChatServer) -> None:
    server.script = [Said([{"content": "one "}, {"content": "two "}, 60.0])]
    asking = asyncio.create_task(ask(world))
    attempt = await running(world)
    while not (read := attempt.micro_usd):
        await asyncio.sleep(0)
    while attempt.micro_usd != read + 2 * 1000:
        await asyncio.sleep(0)
    await world.services.engine.cancel(attempt.job.id)
    assert "one" in await asking
    assert await spent(world) == read + 2 * 1000
    assert 0 < read < 100 * 100
    assert server.left.wait(60)


async def test_of_two_at_once_near_the_cap_one_is_let_in(world: World, server: ChatServer) -> None:
    go_on = threading.Event()
    server.script = [Said([{"content": "Hi"}, go_on])]
    asking = asyncio.create_task(ask(world))
    await running(world)
    budget, paid = world.services.budget, world.services.catalog.get("paid")
    with pytest.raises(LimitReached, match=r"held back for jobs under way, .* could cost \$0\.5"):
        budget.check(world.guild.id, paid, text_request("Me too."))
    go_on.set()
    assert "Hi" in await asking
    budget.check(world.guild.id, paid, text_request("Me too."))
    assert await spent(world) == ANSWER_MICRO_USD
