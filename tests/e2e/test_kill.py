"""Bot and workers killed by SIGKILL at any moment: each job ends, and is answered, exactly once.

The seed is printed, so that a failure can be had again: ``SEXTANT_KILL_SEED=… pytest …``.
``SEXTANT_KILLS`` says how often to kill with each database (``make chaos``: 200 times).
"""

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.chaos import (
    LONG,
    TROUBLE,
    Count,
    Killer,
    Members,
    a_moment,
    jobs_of,
    settle_in,
    spooled,
    undelivered,
    unfinished,
)
from tests.e2e.harness import Bot, Wire, encoded
from tests.e2e.looking import BOT, VOICE_MESSAGE, Json, of_bot, saying, voices, whole_answer

SEED = int(os.environ.get("SEXTANT_KILL_SEED") or random.SystemRandom().randrange(10**6))

pytestmark = [pytest.mark.slow]


def kills(usual: int) -> int:
    return int(os.environ.get("SEXTANT_KILLS", usual))


DATABASES = [
    pytest.param("sqlite", kills(10), id="sqlite"),
    pytest.param("postgres", kills(4), marks=pytest.mark.xdist_group("postgres"), id="postgres"),
]


@pytest.mark.timeout(180 + 20 * kills(10))
@pytest.mark.parametrize(("database", "times"), DATABASES)
async def test_every_answer_stands_there_once_whatever_is_killed(
    wire: Wire, tmp_path: Path, request: pytest.FixtureRequest, database: str, times: int
) -> None:
    print(f"\nSEXTANT_KILL_SEED={SEED}, {times} kills with {database}")
    environment = {}
    if database == "postgres":
        environment["SEXTANT_DATABASE_URL"] = request.getfixturevalue("postgres").empty()
    bot = Bot(wire, tmp_path, **environment)
    rng = random.Random(SEED)
    members, killer, moments = Members(wire, rng), Killer(bot, rng), Counter[str]()
    await settle_in(wire, bot)
    for _ in range(times):
        if not bot.alive:
            await bot.start()
        before = jobs_of(bot)
        await wire.fault(**rng.choice(TROUBLE))
        for _ in range(rng.randint(1, 4)):
            await members.ask_for_something()
        if rng.random() < 0.3:
            await members.change_their_minds()
        moments[await a_moment(rng, wire, bot, before)] += 1
        await killer.strike()
        # Every other time, nonces are forgotten, as Discord does after some minutes.
        await wire.set(**rng.choice(({}, {"nonces": {}})))
    if not bot.alive:
        await bot.start()
    await wire.until(lambda _: not unfinished(bot), within_s=120, bot=bot)
    await killer.kill_bot()
    await bot.start()  # this sweeps what killed workers left
    await wire.until(lambda _: not spooled(bot), bot=bot)
    count = Count(bot, members, await wire.state())
    await count.listen()
    ended = count.check()
    assert ended.total() >= times - moments["any"]
    assert not await killer.outlived()
    print(f"killed: {dict(killer.victims)}, at: {dict(moments)}")
    print(f"of {len(members.owed)} requests these became jobs, each with one answer: {dict(ended)}")


# --------------------------------------------------------------------------- the worst moments

WAYS = [
    pytest.param("ask", {"prompt": f"#x chars={LONG}"}, whole_answer("#x", LONG), id="long text"),
    pytest.param("speak", {"text": "#x"}, voices, id="voice"),
]


@pytest.mark.timeout(300)
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


@pytest.mark.timeout(300)
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


@pytest.mark.timeout(300)
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
