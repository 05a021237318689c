"""The bot as a process against Discord's gateway and REST, as far as a simulation skips them."""

import asyncio
import base64
import contextlib
from pathlib import Path
from typing import Any

import pytest

from models.errors import error_of_kind
from tests.e2e.fake_backend import answer
from tests.e2e.harness import (
    AMIR,
    BOT,
    CHANNEL,
    OLGA,
    Bot,
    Wire,
    answer_of,
    calls,
    encoded,
    labels,
    of_bot,
    saying,
    voices,
    whole_answer,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

READY_BUDGET_S = 2.0
MEMORY_BUDGET_MB = 150
SEND_VOICE, SEND_MESSAGES = 1 << 46, 1 << 11


def final(tag: str) -> Any:
    """What finds the delivered answer to a prompt with this tag."""
    return saying(f"answer {tag} part0")


def job_states(bot: Bot) -> list[str]:
    return [state for (state,) in bot.rows("select state from jobs order by created_at")]


# --------------------------------------------------------------------------- start


async def test_ready_in_time_and_small_and_without_torch(wire: Wire, bot: Bot) -> None:
    """Time is the processor's: what other tests take of it says nothing (`make bench` has both)."""
    await bot.start()  # the first start makes the database and syncs the commands
    await bot.kill()
    await bot.start()
    assert bot.cpu_s() <= READY_BUDGET_S
    await wire.command("ask", prompt="#a")
    await wire.until(final("#a"), bot=bot)
    assert bot.memory_mb() < MEMORY_BUDGET_MB
    mapped = bot.mapped()
    assert not [name for name in ("/torch/", "onnxruntime", "ctranslate2") if name in mapped]


async def test_commands_are_synced_only_when_their_definition_changed(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await bot.kill()
    await bot.start()
    state = await wire.state()
    assert len(calls(state, "PUT", "/commands")) == 1
    assert {"ask", "speak", "transcribe", "config"} <= {c["name"] for c in state["commands"]}
    await bot.kill()
    change = bot.rows("select key from instance where key like 'commands%'")
    assert len(change) == 1
    bot.write("update instance set value = 'of another version' where key like 'commands%'")
    await bot.start()
    assert len(calls(await wire.state(), "PUT", "/commands")) == 2


@pytest.mark.parametrize(
    ("environment", "flags", "says"),
    [
        ({"DISCORD_TOKEN": ""}, 1 << 18, "DISCORD_TOKEN is not set"),
        ({"DISCORD_TOKEN": "wrong"}, 1 << 18, "Discord refused the token"),
        ({}, 0, "Message Content Intent"),
        ({"SEXTANT_PROFILE": "none"}, 1 << 18, "no profile `none`"),
        ({"SEXTANT_ENGINE__LANES": "-1"}, 1 << 18, "engine.lanes"),
    ],
)
async def test_what_the_owner_must_mend_is_one_sentence(
    wire: Wire, tmp_path: Path, environment: dict[str, str], flags: int, says: str
) -> None:
    await wire.set(flags=flags)
    bot = Bot(wire, tmp_path, **environment)
    await bot.launch()
    assert await bot.wait() == 78
    log = bot.log.read_text()
    assert says in log
    assert "Traceback" not in log


async def test_discord_out_of_reach_is_worth_another_try(wire: Wire, bot: Bot) -> None:
    await wire.fault("GET", "/users/@me", 503, times=99)
    await bot.launch()
    assert await bot.wait() == 75
    assert "Discord cannot be reached" in bot.log.read_text()


async def test_a_second_bot_on_the_same_database_refuses(wire: Wire, bot: Bot) -> None:
    await bot.start()
    second = Bot(wire, bot.folder)
    second.log = bot.folder / "second.log"
    await second.launch()
    assert await second.wait() == 78
    assert "Traceback" not in second.log.read_text()
    assert "already" in second.log.read_text()
    await wire.command("ask", prompt="#still")
    await wire.until(final("#still"), bot=bot)


async def test_the_doctor_asks_discord(wire: Wire, bot: Bot) -> None:
    await bot.launch("doctor")
    assert await bot.wait() == 0, bot.log.read_text()
    found = bot.log.read_text()
    assert "belongs to Sextant" in found
    assert "client_id=1000" in found
    assert "Ready: `python -m bot run`" in found


@pytest.mark.parametrize(
    ("set_up", "environment", "code", "says"),
    [
        ({}, {"DISCORD_TOKEN": "wrong"}, 1, "Discord refuses it"),
        ({"flags": 0}, {}, 1, "Switch on Message Content Intent"),
        ({"denied": SEND_VOICE}, {}, 0, "Wire does not grant: send voice messages"),
    ],
)
async def test_the_doctor_finds_what_is_wrong_at_discord(
    wire: Wire,
    tmp_path: Path,
    set_up: dict[str, int],
    environment: dict[str, str],
    code: int,
    says: str,
) -> None:
    await wire.set(**set_up)
    bot = Bot(wire, tmp_path, **environment)
    await bot.launch("doctor")
    assert await bot.wait() == code
    assert says in bot.log.read_text()


# --------------------------------------------------------------------------- gateway


async def test_a_dropped_connection_is_resumed_and_nothing_is_missed(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.command("ask", prompt="#running ticks=20 tick_s=0.1")
    await asyncio.sleep(0.5)
    await wire.gateway("drop")
    await wire.say(f"<@{BOT}> #away")
    await wire.until(final("#running"), bot=bot)
    await wire.until(final("#away"), bot=bot)
    gateway = (await wire.state())["gateway"]
    assert gateway["resumed"] == 1
    assert gateway["op 2"] == 1


@pytest.mark.parametrize(("action", "identifies"), [("reconnect", 1), ("invalidate", 2)])
async def test_the_bot_comes_back(wire: Wire, bot: Bot, action: str, identifies: int) -> None:
    await bot.start()
    before = (await wire.state())["gateway"]["op 2"]
    await wire.gateway(action)
    await wire.until(lambda s: not s["connected"] or s["gateway"].get("resumed"), bot=bot)
    await wire.until(lambda s: s["connected"], bot=bot)
    await wire.command("ask", prompt="#back")
    await wire.until(final("#back"), bot=bot)
    assert (await wire.state())["gateway"]["op 2"] - before + 1 == identifies


async def test_an_event_that_comes_twice_makes_one_job(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.say(f"<@{BOT}> #said")
    await wire.repeat("MESSAGE_CREATE")
    await wire.until(final("#said"), bot=bot)
    await wire.command("ask", prompt="#asked ticks=5 tick_s=0.1")
    await wire.repeat("INTERACTION_CREATE")
    await wire.until(final("#asked"), bot=bot)
    await wire.repeat("INTERACTION_CREATE")
    await asyncio.sleep(0.5)
    assert job_states(bot) == ["done", "done"]
    assert len(of_bot(await wire.state())) == 2


async def test_a_deleted_question_is_answered_no_more(wire: Wire, bot: Bot) -> None:
    await bot.start()
    question = await wire.say(f"<@{BOT}> #gone ticks=100 tick_s=0.1")
    await wire.until(saying("tick0 "), bot=bot)
    await wire.delete(question)
    await wire.until(lambda _: job_states(bot) == ["cancelled"], bot=bot)


async def test_a_file_dropped_while_the_bot_was_down_is_caught_up(wire: Wire, bot: Bot) -> None:
    await bot.start()
    place = {"channel": str(CHANNEL)}
    await wire.command("config set", key="transcription.automatic", value="on", **place)
    await wire.until(lambda _: bot.rows("select key from settings"), bot=bot)
    sounds = [wav(seconds=0.5), wav(seconds=0.6)]
    await wire.say(files=[encoded("before.wav", sounds[0], "audio/wav")])
    await wire.until(saying(f"heard {len(sounds[0])} bytes"), bot=bot)
    await bot.kill()
    await wire.say(files=[encoded("while-down.wav", sounds[1], "audio/wav")])
    await bot.start()
    await wire.until(saying(f"heard {len(sounds[1])} bytes"), bot=bot)
    assert job_states(bot) == ["done", "done"]


# --------------------------------------------------------------------------- uploads and downloads


async def test_an_attachment_is_fetched_and_read(wire: Wire, bot: Bot) -> None:
    await bot.start()
    sound = wav(seconds=1)
    await wire.command("transcribe", file=encoded("clip.wav", sound, "audio/wav"))
    [message] = await wire.until(saying(f"heard {len(sound)} bytes"), bot=bot)
    assert message["type"] == 20


async def test_a_very_long_answer_arrives_as_a_file(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.command("ask", prompt="#long chars=30000")
    message = await wire.until(
        lambda s: next((m for m in of_bot(s) if m["attachments"]), None), bot=bot
    )
    [attachment] = message["attachments"]
    text = (await wire.download(attachment["url"])).decode()
    assert answer_of(text, "#long") == answer("#long", 30000)


async def test_a_long_answer_is_several_messages_that_may_be_sent_again(
    wire: Wire, bot: Bot
) -> None:
    await bot.start()
    await wire.command("ask", prompt="#parts chars=6000")
    await wire.until(whole_answer("#parts", 6000), bot=bot)
    posts = [r["body"] for r in calls(await wire.state(), "POST", "/messages")]
    assert len(posts) >= 2
    assert len({body["nonce"] for body in posts}) == len(posts)
    assert all(body["enforce_nonce"] for body in posts)


@pytest.mark.parametrize("nonce_life_s", [300.0, 0.0])
async def test_a_lost_reply_to_a_post_doubles_nothing(
    wire: Wire, bot: Bot, nonce_life_s: float
) -> None:
    """Discord has the message, the bot never heard so: it asks before it sends again."""
    await wire.set(nonce_life_s=nonce_life_s)
    await bot.start()
    await wire.fault("POST", "/channels/.*/messages$", 500, when="drop")
    await wire.command("ask", prompt="#once chars=6000")
    await wire.until(whole_answer("#once", 6000), bot=bot)


async def test_generated_text_pings_nobody(wire: Wire, bot: Bot) -> None:
    await bot.start()
    tag = f"#@everyone<@{AMIR}>"
    await wire.command("ask", prompt=f"{tag} chars=5000")
    await wire.say(f"<@{BOT}> {tag}")
    await wire.until(whole_answer(tag, 5000), bot=bot)
    await wire.until(saying("@everyone@amir part0"), bot=bot)
    for message in of_bot(await wire.state()):
        assert not message["mention_everyone"]
        assert str(AMIR) not in [entry["id"] for entry in message["mentions"]]


# --------------------------------------------------------------------------- voice messages


async def test_speech_is_a_voice_message_with_its_controls(wire: Wire, bot: Bot) -> None:
    await bot.start()
    interaction = await wire.command("speak", text="#voice")
    [voice] = await wire.until(voices, bot=bot)
    assert voice["content"] == ""
    [attachment] = voice["attachments"]
    assert attachment["duration_secs"] == 1.5
    assert base64.b64decode(attachment["waveform"]) == bytes(range(64))
    assert (await wire.download(attachment["url"])).startswith(b"OggS")
    state = await wire.until(lambda s: labels(anchor(s, interaction)) and s, bot=bot)
    assert not anchor(state, interaction)["attachments"]
    assert not state["problems"]


async def test_without_the_permission_the_voice_is_a_file_of_the_answer(
    wire: Wire, bot: Bot
) -> None:
    await wire.set(denied=SEND_VOICE)
    await bot.start()
    interaction = await wire.command("speak", text="#voice")
    message = await wire.until(
        lambda s: anchor(s, interaction)["attachments"] and anchor(s, interaction), bot=bot
    )
    assert (await wire.download(message["attachments"][0]["url"])).startswith(b"OggS")
    assert len(of_bot(await wire.state())) == 1


# --------------------------------------------------------------------------- limits and refusals


async def test_many_jobs_keep_to_the_rate_limits(wire: Wire, bot: Bot) -> None:
    """Ten answers stream into one channel, whose edits share a bucket of five in five seconds."""
    bot.environment["SEXTANT_ENGINE__LANES"] = "2"
    await bot.start()
    tags = [f"#r{number}" for number in range(10)]
    for number, tag in enumerate(tags):
        await wire.say(f"<@{BOT}> {tag} ticks=5 tick_s=0.1", user=(OLGA, AMIR, 4002)[number % 3])
        await asyncio.sleep(0.3)
    for tag in tags:
        await wire.until(final(tag), bot=bot, within_s=60)
    state = await wire.state()
    limited = [r for r in state["requests"] if r["status"] == 429]
    assert len(limited) <= len(state["requests"]) // 10
    assert not state["problems"]


FAULTS = [
    pytest.param("PATCH", "/webhooks/", 429, 3, id="edits are limited"),
    pytest.param("PATCH", "/webhooks/", 500, 2, id="edits meet an error"),
    pytest.param("PATCH", "/webhooks/", 503, 2, id="edits are unavailable"),
    pytest.param("POST", "/channels/.*/messages$", 429, 2, id="posts are limited"),
    pytest.param("POST", "/channels/.*/messages$", 500, 2, id="posts meet an error"),
    pytest.param("POST", "/channels/.*/messages$", 403, 99, id="posts are forbidden"),
    pytest.param("POST", "/channels/.*/messages$", 404, 99, id="the channel is gone"),
]


@pytest.mark.parametrize(("method", "path", "status", "times"), FAULTS)
async def test_an_answer_survives_refusals(
    wire: Wire, bot: Bot, method: str, path: str, status: int, times: int
) -> None:
    await bot.start()
    await wire.fault(method, path, status, times)
    interaction = await wire.command("ask", prompt="#f chars=3000")
    if times == 99:  # the channel is closed: everything goes into the anchor, as a file
        message = await wire.until(
            lambda s: anchor(s, interaction)["attachments"] and anchor(s, interaction), bot=bot
        )
        text = (await wire.download(message["attachments"][0]["url"])).decode()
        assert answer_of(f"{message['content']}\n{text}", "#f") == answer("#f", 3000)
    else:
        await wire.until(whole_answer("#f", 3000), bot=bot)
    assert job_states(bot) == ["done"]
    await wire.command("ask", prompt="#next")
    await wire.until(final("#next"), bot=bot)


@pytest.mark.parametrize("status", [403, 404])
async def test_an_anchor_out_of_reach_loses_nothing_else(wire: Wire, bot: Bot, status: int) -> None:
    await bot.start()
    await wire.fault("PATCH", "/webhooks/|/channels/", status, times=99)
    await wire.command("ask", prompt="#lost")
    await wire.until(lambda _: job_states(bot) == ["done"], bot=bot)
    await wire.until(
        lambda _: not bot.rows("select id from outbox where state = 'pending'"), bot=bot
    )
    await wire.say(f"<@{BOT}> still there?")
    await wire.until(lambda _: job_states(bot) == ["done", "done"], bot=bot)


async def test_a_failed_acknowledgement_is_logged_and_the_next_command_works(
    wire: Wire, bot: Bot
) -> None:
    await bot.start()
    await wire.fault("POST", "/callback", 404, code=10062)
    await wire.command("ask", prompt="#missed")
    await wire.command("ask", prompt="#taken")
    await wire.until(final("#taken"), bot=bot)
    assert sorted(job_states(bot)) == ["done", "failed"]


async def test_an_acknowledgement_whose_reply_is_lost_counts(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.fault("POST", "/callback", 500, when="after")
    await wire.command("ask", prompt="#acknowledged")
    await wire.until(final("#acknowledged"), bot=bot)
    assert len(of_bot(await wire.state())) == 1


async def test_an_expired_token_gives_way_to_the_bots_own(wire: Wire, bot: Bot) -> None:
    await bot.start()
    interaction = await wire.command("ask", prompt="#late ticks=10 tick_s=0.1")
    await wire.until(lambda s: "id" in anchor(s, interaction), bot=bot)
    await wire.expire(interaction)
    [message] = await wire.until(final("#late"), bot=bot)
    assert message["id"] == anchor(await wire.state(), interaction)["id"]


async def test_a_private_answer_whose_time_is_over_comes_by_direct_message(
    wire: Wire, bot: Bot
) -> None:
    await bot.start()
    interaction = await wire.command("ask", prompt="#mine ticks=10 tick_s=0.1", private=True)
    await wire.until(lambda s: "id" in anchor(s, interaction), bot=bot)
    await wire.expire(interaction)
    [message] = await wire.until(final("#mine"), bot=bot)
    assert int(message["channel_id"]) == 900_000 + OLGA


async def test_a_killed_worker_costs_time_and_nothing_else(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.command("ask", prompt="#twice ticks=15 tick_s=0.1")
    await wire.until(saying("tick0 "), bot=bot)
    [worker] = bot.workers()
    worker.kill()
    await wire.until(final("#twice"), bot=bot)
    assert bot.rows("select state, attempt from jobs") == [("done", 2)]
    assert len(of_bot(await wire.state())) == 1


@pytest.mark.parametrize(
    ("prompt", "setting", "value", "ending"),
    [
        ("#x crash", "LANES", "1", ("failed", "worker_crashed")),
        ("#x hang", "EVENT_GAP_DEADLINE_S", "1.5", ("expired", "deadline_exceeded")),
        ("#x eat=400 ticks=9 tick_s=1", "WORKER_MEMORY_MB", "250", ("failed", "out_of_memory")),
    ],
)
async def test_a_job_that_ends_its_worker_fails_alone(
    wire: Wire, tmp_path: Path, prompt: str, setting: str, value: str, ending: tuple[str, str]
) -> None:
    bot = Bot(wire, tmp_path, **{f"SEXTANT_ENGINE__{setting}": value})
    await bot.start()
    await wire.command("ask", prompt=prompt)
    await wire.until(lambda _: bot.rows("select 1 from jobs where state = 'running'"), bot=bot)
    await wire.command("ask", prompt="#next", user=AMIR)
    await wire.until(final("#next"), bot=bot)
    await wire.until(saying(error_of_kind(ending[1], "").user_message), bot=bot)
    states = bot.rows("select state, error_kind from jobs order by created_at")
    assert states == [ending, ("done", None)]
    assert len(of_bot(await wire.state())) == 2


async def test_a_database_locked_for_ten_seconds_is_waited_for(wire: Wire, bot: Bot) -> None:
    await bot.start()
    with bot.locked_database():
        interaction = await wire.command("ask", prompt="#patient")
        await asyncio.sleep(10)
    await wire.until(final("#patient"), bot=bot)
    state = await wire.state()
    [seen] = [i for i in state["interactions"] if i["id"] == interaction["id"]]
    assert seen["ack_s"] < 1
    assert job_states(bot) == ["done"]


# --------------------------------------------------------------------------- stop


async def test_a_stop_lets_running_jobs_finish_and_tells_those_who_wait(
    wire: Wire, bot: Bot
) -> None:
    await bot.start()
    await wire.command("ask", prompt="#runs ticks=30 tick_s=0.1")
    await wire.until(lambda _: job_states(bot) == ["running"], bot=bot)
    waiting = await wire.command("ask", prompt="#waits", user=AMIR)
    await wire.until(saying("tick0 "), bot=bot)
    bot.terminate()
    await wire.until(saying("restart"), bot=bot)
    assert not final("#runs")(await wire.state())
    assert await bot.wait() == 0
    state = await wire.state()
    assert len(final("#runs")(state)) == 1
    assert "restart" in anchor(state, waiting)["content"]
    await bot.start()
    await wire.until(final("#waits"), bot=bot)
    state = await wire.state()
    assert len(final("#waits")(state)) == len(final("#runs")(state)) == 1
    assert job_states(bot) == ["done", "done"]


async def test_a_stop_before_the_login_is_a_stop(wire: Wire, bot: Bot) -> None:
    await wire.fault("GET", "/users/@me", 500, times=99)
    await bot.launch()
    await wire.until(lambda s: calls(s, "GET", "/users/@me"), bot=bot)
    bot.terminate()
    assert await bot.wait(5) == 0


async def test_a_second_signal_ends_it_at_once(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.command("ask", prompt="#runs ticks=200 tick_s=0.1")
    await wire.until(saying("tick0 "), bot=bot)
    bot.terminate()
    await asyncio.sleep(0.5)
    assert bot.alive
    bot.terminate()
    assert await bot.wait(5) == -15


async def test_a_button_works_after_a_restart(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.command("ask", prompt="#again")
    [message] = await wire.until(final("#again"), bot=bot)
    await bot.kill()
    await bot.start()
    again = next(label for label in labels(message) if "gain" in label or "egenerate" in label)
    await wire.press(message, again)
    await wire.until(lambda s: len(final("#again")(s)) == 2, bot=bot)


# --------------------------------------------------------------------------- helpers


def anchor(state: Any, interaction: Any) -> Any:
    """The message that an interaction was answered with, or an empty stand-in."""
    [found] = [i for i in state["interactions"] if i["id"] == interaction["id"]]
    messages = {m["id"]: m for m in state["messages"]}
    return messages.get(str(found["message"]), {"content": "", "attachments": [], "components": []})


def wav(*, seconds: float) -> bytes:
    """A sine as a WAV file."""
    import io
    import math
    import struct
    import wave

    out = io.BytesIO()
    with contextlib.closing(wave.open(out, "wb")) as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        count = int(16000 * seconds)
        file.writeframes(
            b"".join(struct.pack("<h", int(9000 * math.sin(n / 6))) for n in range(count))
        )
    return out.getvalue()
