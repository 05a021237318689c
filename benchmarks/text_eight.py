"""Eight answers at once, beside llama.cpp's server with eight slots and the same weights.

Ours go through the engine: database, worker, stream. The server is asked over HTTP by the same
process. Both compute with one thread of a worker's priority and take turns; the best round of each
counts, since other work on the machine can only slow a round down.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks import production
from benchmarks.report import Measurement
from bot.engine.job import Ended, JobState
from bot.engine.process import NICENESS
from models.contracts import ChatMessage, TextDelta, TextRequest, TextResult

ROUNDS = 3
NEW_TOKENS = 128
SERVER = Path(__file__).parent.parent / ".venv-peers" / "bin" / "llama-server"
_START_S = 60.0
_SYSTEM = "You are a helpful assistant."
_QUESTIONS = (
    "Tell me a long story about a lighthouse keeper and the sea.",
    "Why is the sky blue? Explain it in detail.",
    "Write a long letter to a friend about your garden.",
    "How do I cook rice, and what goes well with it?",
    "Describe a day in the life of a baker, from dawn to dusk.",
    "What should I see on a journey through Italy?",
    "Explain in detail how a steam engine works.",
    "Tell me about the history of paper.",
)


@dataclass(frozen=True, slots=True)
class _Answer:
    """When an answer's first words came, since it was asked for, and how long it got."""

    first_words_s: float
    tokens: int


@dataclass(frozen=True, slots=True)
class _Round:
    """Eight answers."""

    seconds: float
    answers: tuple[_Answer, ...]

    @property
    def tokens_per_second(self) -> float:
        return sum(answer.tokens for answer in self.answers) / self.seconds

    @property
    def first_words_s(self) -> float:
        """Return the longest wait for first words."""
        return max(answer.first_words_s for answer in self.answers)


Ask = Callable[[str], Awaitable[_Answer]]


def run() -> list[Measurement]:
    """Measure eight at once and one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Measurement]:
    together, apart, theirs = list[_Round](), list[_Round](), list[_Round]()
    async with production.rig(folder) as rig, _server() as server:

        async def ours(question: str) -> _Answer:
            return await _through_the_engine(rig, question)

        await ours(_QUESTIONS[0])  # loads the model
        for _ in range(ROUNDS):
            together.append(await _together(ours))
            if server is not None:
                theirs.append(await _together(server))
            apart.append(await _one_by_one(ours))
    best, alone = max(map(_speed, together)), max(map(_speed, apart))
    peer = "llama.cpp's server" if theirs else "`make bench-peers` builds llama.cpp's server"
    return [
        Measurement(
            "text.eight_tokens_per_second",
            best,
            "tok/s",
            "higher",
            goal=1.0,
            goal_of="ratio",
            peer=peer,
            peer_value=max(map(_speed, theirs), default=None),
        ),
        Measurement(
            "text.eight_gain",
            best,
            "tok/s",
            "higher",
            goal=1.8,
            goal_of="ratio",
            peer="one after the other",
            peer_value=alone,
        ),
        Measurement(
            "text.eight_first_words",
            min(each.first_words_s for each in together),
            "s",
            "lower",
            goal=2.0,
            peer=peer,
            peer_value=min((each.first_words_s for each in theirs), default=None),
        ),
    ]


def _speed(each: _Round) -> float:
    return each.tokens_per_second


async def _together(ask: Ask) -> _Round:
    began = time.perf_counter()
    answers = await asyncio.gather(*map(ask, _QUESTIONS))
    return _Round(time.perf_counter() - began, tuple(answers))


async def _one_by_one(ask: Ask) -> _Round:
    began = time.perf_counter()
    answers = [await ask(question) for question in _QUESTIONS]
    return _Round(time.perf_counter() - began, tuple(answers))


async def _through_the_engine(rig: production.Rig, question: str) -> _Answer:
    messages = (ChatMessage("system", _SYSTEM), ChatMessage("user", question))
    request = TextRequest(messages, temperature=0.0, max_new_tokens=NEW_TOKENS)
    began, first_s = time.perf_counter(), 0.0
    async for at, sight in rig.follow(await rig.submit(production.TEXT, request)):
        if isinstance(sight, TextDelta) and not first_s:
            first_s = at - began
        if isinstance(sight, Ended):
            assert sight.outcome.state is JobState.DONE, sight.outcome.error
            assert isinstance(sight.outcome.result, TextResult)
            return _Answer(first_s, int(sight.outcome.result.usage.amount))
    raise AssertionError("the job did not end")


@asynccontextmanager
async def _server() -> AsyncIterator[Ask | None]:
    """Start the peer, if it was built."""
    if not SERVER.exists():
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    slots, threads = len(_QUESTIONS), str(production.THREADS)
    command = [
        *("nice", "-n", str(NICENESS), str(SERVER)),
        *("--model", production.location(production.TEXT), "--no-warmup", "--offline"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--parallel", str(slots), "--ctx-size", str(slots * 512)),
        *("--threads", threads, "--threads-batch", threads),
    ]
    with subprocess.Popen(
        command, env=production.worker_environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                await _until_up(session)
                yield lambda question: _over_http(session, question)
        finally:
            process.terminate()


async def _until_up(session: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(_START_S):
        while True:
            try:
                async with session.get("/health") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)


async def _over_http(session: aiohttp.ClientSession, question: str) -> _Answer:
    body = {
        "messages": [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": question},
        ],
        "max_tokens": NEW_TOKENS,
        "temperature": 0,
        "cache_prompt": False,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began, first_s, tokens = time.perf_counter(), 0.0, 0
    async with session.post("/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line.removeprefix(b"data: "))
            if any(choice["delta"].get("content") for choice in chunk["choices"]) and not first_s:
                first_s = time.perf_counter() - began
            if chunk.get("usage"):
                tokens = chunk["usage"]["completion_tokens"]
    return _Answer(first_s, tokens)
