"""The bot killed by SIGKILL at any moment: every job ends once, every answer stands there once.

The seed is printed, so that a failure can be had again: ``SEXTANT_KILL_SEED=… pytest …``.
``SEXTANT_KILLS`` says how often to kill (``make chaos``: 200 times).
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.harness import AMIR, BEATE, OLGA, Bot, Wire, encoded
from tests.e2e.looking import BOT, VOICE_MESSAGE, Json, of_bot, saying, voices, whole_answer

KILLS = int(os.environ.get("SEXTANT_KILLS", "10"))
SEED = int(os.environ.get("SEXTANT_KILL_SEED") or random.SystemRandom().randrange(10**6))
LONG = 4500
UNLIMITED = {"messages": (1000, 1.0), "webhooks": (1000, 1.0), "callback": (1000, 1.0)}

POSTS, EDITS = "/channels/.*/messages$", "/webhooks/|/messages/"
TROUBLE: list[Json] = [
    {"method": "GET", "path": "/nothing", "status": 500},
    {"method": "POST", "path": POSTS, "status": 500, "when": "after"},
    {"method": "POST", "path": POSTS, "status": 500, "when": "drop"},
    {"method": "POST", "path": POSTS, "status": 503},
    {"method": "POST", "path": POSTS, "status": 429, "times": 2},
    {"method": "PATCH", "path": EDITS, "status": 503, "times": 2},
    {"method": "PATCH", "path": EDITS, "status": 500, "when": "drop"},
]
"""What Discord does to a run of the bot beside its being killed."""

pytestmark = [pytest.mark.slow]


def unfinished(bot: Bot) -> Any:
    """Rows of jobs that have yet to end, and of parts that have yet to arrive."""
    return bot.rows(
        "select id, state from jobs where state in ('queued', 'running') "
        "union select job_id, state from outbox where state = 'pending'"
    )


def undelivered(bot: Bot) -> Any:
    """Parts of jobs that have ended, and have yet to arrive."""
    return bot.rows("select id from outbox where state = 'pending'")


@dataclass
class Members:
    """People who ask for things, and what each of them is owed."""

    wire: Wire
    random: random.Random
    owed: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By source id: the tag and length of a text, or -1 for a voice."""

    async def ask_for_something(self) -> None:
        tag = f"#k{len(self.owed)}."
        pace = f"ticks={self.random.randint(1, 4)} tick_s=0.05"
        user = self.random.choice((OLGA, AMIR, BEATE))
        match self.random.randrange(5):
            case 0:
                made = await self.wire.command("ask", user=user, prompt=f"{tag} {pace}")
                length = 0
            case 1:
                prompt = f"{tag} {pace} chars={LONG}"
                made, length = await self.wire.command("ask", user=user, prompt=prompt), LONG
            case 2:
                prompt = f"{tag} {pace}"
                made = await self.wire.command("ask", user=user, prompt=prompt, private=True)
                length = 0
            case 3:
                made, length = await self.wire.command("speak", user=user, text=tag), -1
            case _:
                made = await self.wire.say(f"<@{BOT}> {tag} {pace}", user=user)
                length = 0
        self.owed[str(made["id"])] = (tag, length)


async def a_moment(rng: random.Random, wire: Wire, bot: Bot) -> str:
    """Wait for the moment of a kill: any, or one at which a loss would hurt most."""
    kind = rng.choice(("any", "any", "result committed", "part posted"))
    longest_s = rng.uniform(0.0, 2.0)
    end = time.monotonic() + (20.0 if kind == "result committed" else longest_s)
    posted = len(of_bot(await wire.state()))
    while time.monotonic() < end:
        if kind == "result committed" and undelivered(bot):
            return kind
        if kind == "part posted" and len(of_bot(await wire.state())) > posted + 2:
            return kind
        await asyncio.sleep(0.005)
    return "any"


@pytest.mark.timeout(120 + 15 * KILLS)
async def test_every_answer_stands_there_once_however_often_the_bot_is_killed(
    wire: Wire, bot: Bot
) -> None:
    print(f"\nSEXTANT_KILL_SEED={SEED}, {KILLS} kills")
    rng = random.Random(SEED)
    members = Members(wire, rng)
    moments: Counter[str] = Counter()
    await wire.set(limits=UNLIMITED)
    for _ in range(KILLS):
        await bot.start(ready_s=60)
        await wire.fault(**rng.choice(TROUBLE))
        for _ in range(rng.randint(1, 4)):
            await members.ask_for_something()
        moments[await a_moment(rng, wire, bot)] += 1
        await bot.kill()
        # Every other time, nonces are forgotten, as Discord does after some minutes.
        await wire.set(**rng.choice(({}, {"nonces": {}})))
    await bot.start(ready_s=60)
    await wire.until(lambda _: not unfinished(bot), within_s=60, bot=bot)
    print(f"killed at: {dict(moments)}")
    await check(wire, bot, members)


async def check(wire: Wire, bot: Bot, members: Members) -> None:
    """Compare what stands in the channels with what is owed."""
    states = dict(bot.rows("select source_key, state from jobs"))
    assert Counter(states.values()).keys() == {"done"}
    used = "select kind, sum(jobs) from allowances group by kind"
    assert set(bot.rows(used)) == {(k, len(states)) for k in ("member", "channel", "server")}
    accepted = {key.partition(":")[0] for key in states}
    assert len(accepted) >= KILLS // 2, "most kills came before anything was accepted"
    state = await wire.state()
    assert not state["problems"]
    spoken = Counter([await wire.download(m["attachments"][0]["url"]) for m in voices(state)])
    for source_id, (tag, length) in members.owed.items():
        there = source_id in accepted
        if length < 0:
            assert spoken[b"OggS" + tag.encode() * 50] == there, (SEED, tag)
        else:
            assert whole_answer(tag, length)(state) == there, (SEED, tag)
    print(f"{len(accepted)} of {len(members.owed)} requests were accepted, and answered once each")


# --------------------------------------------------------------------------- the worst moments

WAYS = [
    pytest.param("ask", {"prompt": f"#x chars={LONG}"}, whole_answer("#x", LONG), id="long text"),
    pytest.param("speak", {"text": "#x"}, voices, id="voice"),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("command", "options", "stands"), WAYS)
async def test_killed_between_result_and_delivery(
    wire: Wire, bot: Bot, command: str, options: Json, stands: Callable[[Json], Any]
) -> None:
    await bot.start()
    await wire.fault("*", "/webhooks/|/channels/", 503, times=1000)
    await wire.command(command, **options)
    await wire.until(lambda _: undelivered(bot), bot=bot)
    await bot.kill()
    assert bot.rows("select state from jobs") == [("done",)]
    await wire.set()
    await bot.start()
    await wire.until(stands, bot=bot)
    await wire.until(lambda _: not undelivered(bot), bot=bot)
    state = await wire.state()
    assert stands(state) is True or len(stands(state)) == 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("nonce_life_s", [300.0, 0.0])
@pytest.mark.parametrize(("command", "options", "stands"), WAYS)
async def test_killed_when_discord_has_the_message_and_the_bot_does_not_know(
    wire: Wire,
    bot: Bot,
    command: str,
    options: Json,
    stands: Callable[[Json], Any],
    nonce_life_s: float,
) -> None:
    await wire.set(nonce_life_s=nonce_life_s)
    await bot.start()
    await wire.fault("POST", "/channels/.*/messages$", 500, when="hold")
    await wire.command(command, **options)
    await wire.until(lambda s: len(of_bot(s)) == 2, bot=bot)
    await bot.kill()
    await bot.start()
    await wire.until(stands, bot=bot)
    await wire.until(lambda _: not undelivered(bot), bot=bot)
    state = await wire.state()
    assert stands(state) is True or len(stands(state)) == 1


@pytest.mark.timeout(120)
async def test_killed_between_what_was_heard_and_its_answer(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.say(f"<@{BOT}> #first")
    [first] = await wire.until(saying("answer #first"), bot=bot)
    await wire.fault("GET", r"/channels/\d+/messages/\d+$", 503, times=1000)
    file = encoded("voice-message.ogg", b"OggS" + bytes(500), "audio/ogg")
    await wire.say(flags=VOICE_MESSAGE, files=[file], reply_to=first["id"])
    await wire.until(saying("heard 504 bytes"), bot=bot)
    await bot.kill()
    done = "select modality, state from jobs order by created_at"
    assert bot.rows(done) == [("text", "done"), ("transcription", "done")]
    await wire.set()
    for _ in range(2):  # the second start finds nothing left to do
        await bot.start()
        await wire.until(lambda _: len(bot.rows(done)) == 3 and not unfinished(bot), bot=bot)
        assert not bot.rows("select job_id from job_payloads")
        await bot.kill()
    assert len(saying("answer #none")(await wire.state())) == 1
