"""Tokens a second of the embedded text model, beside llama.cpp with the same weights.

This module measures one answer, ``text_eight`` eight at once. Both answer the same conversation
greedily, with one thread, in turns; the best round of each counts, since other work on the machine
can only slow a round down.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks import production, text_eight
from benchmarks.report import Measurement
from bot.engine.spool import Spool
from models.contracts import ChatMessage, TextRequest, TextResult

ROUNDS = 6
NEW_TOKENS = 256
PEER_PYTHON = Path(__file__).parent.parent / ".venv-peers" / "bin" / "python"
PEER = Path(__file__).parent / "peers" / "llama.py"

_SYSTEM = ChatMessage("system", "You are a helpful assistant.")
_QUESTION = "Tell me a long story about a lighthouse keeper and the sea."
_LONG_QUESTION = "Sum up: " + "The sea was calm, and the lamp burned with a steady light. " * 60


@dataclass(frozen=True, slots=True)
class Answer:
    """How one answer came about."""

    seconds: float
    tokens: int
    prompt_tokens: int


class Answers(Protocol):
    """Something that answers greedily."""

    def __call__(self, question: str, max_tokens: int) -> Answer: ...


def run() -> list[Measurement]:
    """Measure an answer, and the wait for its first token after a long prompt."""
    with tempfile.TemporaryDirectory() as folder, _llama() as llama:
        model = production.Model(production.TEXT, Spool(Path(folder)))

        def ours(question: str, max_tokens: int) -> Answer:
            request = TextRequest(
                (_SYSTEM, ChatMessage("user", question)), 0.0, max_new_tokens=max_tokens
            )
            began = time.perf_counter()
            result = model.finish(request).result
            seconds = time.perf_counter() - began
            assert isinstance(result, TextResult)
            return Answer(seconds, int(result.usage.amount), result.prompt_tokens)

        story_s, peer_story_s = _in_turns(ours, llama, _QUESTION, NEW_TOKENS)
        first_s, peer_first_s = _in_turns(ours, llama, _LONG_QUESTION, 1)
        model.close()
    peer = "llama.cpp" if llama else "`make bench-peers` installs llama.cpp"
    return [
        Measurement(
            "text.tokens_per_second",
            NEW_TOKENS / story_s,
            "tok/s",
            "higher",
            goal=1.0,
            goal_of="ratio",
            peer=peer,
            peer_value=NEW_TOKENS / peer_story_s if peer_story_s else None,
        ),
        Measurement("text.first_token", first_s, "s", "lower", peer=peer, peer_value=peer_first_s),
        *text_eight.run(),
    ]


def _in_turns(
    ours: Answers, peer: Answers | None, question: str, max_tokens: int
) -> tuple[float, float | None]:
    """Return the seconds of the best round of each."""
    ours_s, peer_s = [], []
    for _ in range(ROUNDS):
        answer = ours(question, max_tokens)
        assert answer.tokens == max_tokens, f"it ended after {answer.tokens} tokens"
        ours_s.append(answer.seconds)
        if peer is not None:
            other = peer(question, max_tokens)
            assert (other.tokens, other.prompt_tokens) == (answer.tokens, answer.prompt_tokens)
            peer_s.append(other.seconds)
    return min(ours_s), min(peer_s, default=None)


@contextmanager
def _llama() -> Iterator[Answers | None]:
    """Start the peer, if it is installed."""
    if not PEER_PYTHON.exists():
        yield None
        return
    weights = production.location(production.TEXT)
    command = [str(PEER_PYTHON), str(PEER), weights, str(production.THREADS)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        given, said = process.stdin, process.stdout

        def answer(question: str, max_tokens: int) -> Answer:
            messages = [
                {"role": _SYSTEM.role, "content": _SYSTEM.content},
                {"role": "user", "content": question},
            ]
            given.write(json.dumps({"messages": messages, "max_tokens": max_tokens}) + "\n")
            given.flush()
            line = said.readline()
            if not line:
                raise RuntimeError(f"{PEER} ended with {process.wait()}")
            return Answer(**json.loads(line))

        yield answer
        given.close()
