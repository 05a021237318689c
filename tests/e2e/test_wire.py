"""The bot as a process against Discord's gateway and REST, as far as a simulation skips them."""

from __future__ import annotations

import base64

import pytest

from tests.e2e.fake_backend import answer
from tests.e2e.harness import AMIR, CHANNEL, Bot, Wire, encoded, wav
from tests.e2e.looking import (
    BOT,
    anchor,
    answer_of,
    calls,
    final,
    labels,
    of_bot,
    saying,
    voices,
    whole_answer,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEND_VOICE = 1 << 46


# --------------------------------------------------------------------------- gateway


async def test_a_dropped_connection_is_resumed_and_nothing_is_missed(wire: Wire, bot: Bot) -> None:
    await bot.start()
    await wire.command("ask", prompt="#running held")
    await wire.until(saying("tick0 "), bot=bot)
    await wire.gateway("drop")
    await wire.say(f"<@{BOT}> #away")
    bot.let_go()
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
    await wire.command("ask", prompt="#asked held")
    await wire.repeat("INTERACTION_CREATE")
    bot.let_go()
    await wire.until(final("#asked"), bot=bot)
    await wire.repeat("INTERACTION_CREATE")
    await wire.command("ask", prompt="#last")
    await wire.until(final("#last"), bot=bot)
    assert bot.job_states() == ["done"] * 3
    assert len(of_bot(await wire.state())) == 3


async def test_a_deleted_question_is_answered_no_more(wire: Wire, bot: Bot) -> None:
    await bot.start()
    question = await wire.say(f"<@{BOT}> #gone held")
    await wire.until(saying("tick0 "), bot=bot)
    await wire.delete(question)
    await wire.until(lambda _: bot.job_states() == ["cancelled"], bot=bot)


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
    assert bot.job_states() == ["done", "done"]


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
