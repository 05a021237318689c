"""Live views in the simulated Discord, whose time these tests move."""

import discord
import pytest

from bot.delivery.live import TAIL_LIMIT, Picture
from bot.delivery.parts import AnchorEdit
from bot.delivery.splitter import units
from bot.engine.job import Ended, GivesWay, JobState, LoadingModel, Outcome, Restarted, Waiting
from bot.views import ids
from models.contracts import MediaInput, Notice, Preview, Progress, TextDelta
from tests.delivery.conftest import Stage
from tests.delivery.jobs import JOB_ID

EDITS = "/webhooks/*/messages/*"
ENDED = Ended(Outcome(JobState.DONE))


def seen(stage: Stage) -> str:
    return stage.messages()[0].content


def look(letter: str) -> MediaInput:
    return MediaInput(letter * 32, "preview.jpg", "image/jpeg", 4, "0" * 64)


def buttons(stage: Stage) -> list[str | None]:
    return [
        button.custom_id
        for row in stage.messages()[0].components
        if isinstance(row, discord.ActionRow)
        for button in row.children
        if isinstance(button, discord.Button)
    ]


async def close(stage: Stage) -> None:
    with stage.env.time_context():
        await stage.bot.live.close()


# --------------------------------------------------------------------------- the picture


def test_waiting_shows_place_and_expected_wait() -> None:
    picture = Picture(JOB_ID)
    picture.see(Waiting(3, 80.0))
    assert picture.content() == "⏳ Place 3 in line · about 1 min 20 s"
    picture.see(Waiting(1, None))
    assert picture.content() == "⏳ Place 1 in line"
    assert [button.custom_id for button in picture.buttons()] == [ids.stop_id(JOB_ID)]


def test_who_waits_reads_that_the_server_is_paused() -> None:
    picture = Picture(JOB_ID)
    picture.see(Waiting(3, None, paused=True))
    assert picture.content() == "⏸️ Place 3 in line · paused by the moderators"
    assert picture.waiting


def test_loading_says_how_long_it_takes() -> None:
    picture = Picture(JOB_ID)
    picture.see(LoadingModel("SmolLM2 135M", 30.0))
    assert picture.content() == "📦 Loading SmolLM2 135M, about 30 s …"


def test_a_job_that_rests_says_why_and_keeps_what_it_has() -> None:
    picture = Picture(JOB_ID)
    picture.see(TextDelta("So far."))
    picture.see(GivesWay())
    assert picture.content() == "So far.\n-# ⏸️ Gives way to a short job …"
    assert not picture.waiting
    picture.see(Progress("transcribing", 0.5))
    assert "transcribing" in picture.content()


def test_progress_has_a_bar_where_it_is_known() -> None:
    picture = Picture(JOB_ID)
    picture.see(Progress("speaking", 0.5))
    assert picture.content() == "⚙️ speaking `██████░░░░░░` 50%"
    picture.see(Progress("decoding"))
    assert picture.content() == "⚙️ decoding"


def test_text_grows_above_the_progress_and_keeps_the_limit() -> None:
    picture = Picture(JOB_ID)
    picture.see(TextDelta("Hello "))
    picture.see(TextDelta("there."))
    picture.see(Progress("transcribing", 0.25))
    assert picture.content() == "Hello there.\n-# ⚙️ transcribing `███░░░░░░░░░` 25%"
    picture.see(TextDelta("\n\n```python\n" + "x = '😀'\n" * 2000))
    assert units(picture.content()) <= 2000
    assert picture.content().startswith("…\n```python\n")
    assert TAIL_LIMIT < 2000


def test_reasoning_is_counted_and_not_shown() -> None:
    picture = Picture(JOB_ID)
    picture.see(TextDelta("secret", channel="reasoning"))
    picture.see(Notice("Two turns were left out."))
    assert picture.content() == "💭 Thinking … (6 characters)"


def test_a_new_attempt_forgets_what_was_streamed() -> None:
    picture = Picture(JOB_ID)
    picture.see(TextDelta("Once"))
    picture.see(Restarted(2))
    assert picture.content() == "🔁 Starting again …"


def test_progress_tells_the_rest_once_it_can_be_known() -> None:
    now = [100.0]
    picture = Picture(JOB_ID, clock=lambda: now[0])
    picture.see(Progress("step 1 of 20", 0.05))
    assert "left" not in picture.content()
    now[0] += 30
    picture.see(Progress("step 5 of 20", 0.25))
    assert picture.content().endswith(" 25% · about 1 min 30 s left")
    picture.see(Progress("developing the picture", 1.0))
    assert picture.content().endswith(" 100%")
    picture.see(Restarted(2))
    picture.see(Progress("step 1 of 20", 0.05))
    assert "left" not in picture.content()


def test_a_preview_is_sent_once_and_taken_back_by_a_new_attempt() -> None:
    picture = Picture(JOB_ID)
    assert picture.files() is None
    picture.see(Preview(look("a")))
    picture.see(Preview(look("b")))
    [file] = picture.files() or []
    assert file.spool_path == "b" * 32
    assert file.description
    picture.shown(picture.preview)
    assert picture.files() is None
    picture.see(Restarted(2))
    assert picture.files() == []


# --------------------------------------------------------------------------- in Discord


async def test_a_job_is_shown_until_it_ends(stage: Stage) -> None:
    job = await stage.follow()
    await stage.show(Waiting(2, 10.0), after_s=1.5)
    assert seen(stage) == "⏳ Place 2 in line · about 10 s"
    assert buttons(stage) == [ids.stop_id(job.id)]
    await stage.show(TextDelta("Par"), after_s=2)
    assert seen(stage).startswith("Par\n-# ")
    await stage.show(TextDelta("is."), ENDED, after_s=5)
    assert seen(stage).startswith("Par\n-# ")


async def test_a_wait_is_told_anew_while_nothing_else_happens(stage: Stage) -> None:
    await stage.follow()
    await stage.show(Waiting(2, 80.0), after_s=2)
    assert seen(stage) == "⏳ Place 2 in line · about 1 min 20 s"
    await stage.show(Waiting(2, 70.0), after_s=2)
    assert seen(stage) == "⏳ Place 2 in line · about 1 min 10 s"


async def test_a_job_that_ends_at_once_is_shown_by_its_answer_alone(stage: Stage) -> None:
    job = await stage.follow()
    await stage.show(Waiting(1, None), TextDelta("Paris."), after_s=0.5)
    await stage.show(ENDED)
    await stage.deliver(job.submission.anchor, AnchorEdit("Paris."))
    await stage.env.advance_time(10)
    assert seen(stage) == "Paris."
    assert stage.calls("PATCH", EDITS) == 1


async def test_edits_keep_their_distance_whatever_comes(stage: Stage) -> None:
    await stage.follow()
    for _ in range(50):
        await stage.show(TextDelta("word "), after_s=0.1)
    assert 2 <= stage.calls("PATCH", EDITS) <= 4


async def test_an_old_job_is_edited_rarely(stage: Stage) -> None:
    await stage.follow(age_s=4000)
    for number in range(6):
        await stage.show(Progress("working", number / 10), after_s=10)
    assert stage.calls("PATCH", EDITS) == 1


async def test_nothing_is_shown_after_the_answer(stage: Stage) -> None:
    job = await stage.follow()
    await stage.show(TextDelta("Par"), after_s=2)
    await stage.deliver(job.submission.anchor, AnchorEdit("Paris."))
    await stage.show(TextDelta("is."), after_s=5)
    assert seen(stage) == "Paris."


@pytest.mark.parametrize("status", [429, 500, 403, 404])
async def test_edits_that_fail_harm_nothing(stage: Stage, status: int) -> None:
    job = await stage.follow()
    stage.env.inject_error("PATCH", EDITS, status=status, times=1)
    await stage.show(TextDelta("Par"), after_s=2)
    await stage.show(TextDelta("is."), after_s=2)
    await stage.show(ENDED)
    await stage.deliver(job.submission.anchor, AnchorEdit("Paris."))
    assert seen(stage) == "Paris."


async def test_a_deleted_anchor_is_edited_no_more(stage: Stage) -> None:
    job = await stage.follow()
    anchor = job.submission.anchor
    stage.env.backend.delete_message(anchor.channel_id, anchor.message_id)
    for _ in range(5):
        await stage.show(TextDelta("word "), after_s=2)
    assert stage.calls("PATCH", EDITS) == 1


async def test_who_waits_at_a_restart_is_told(stage: Stage) -> None:
    await stage.follow()
    await stage.show(Waiting(2, 10.0), after_s=2)
    await close(stage)
    assert "being restarted" in seen(stage)
    assert buttons(stage) == []


async def test_who_is_served_at_a_restart_keeps_what_there_is(stage: Stage) -> None:
    await stage.follow()
    await stage.show(TextDelta("Par"), after_s=2)
    await close(stage)
    assert seen(stage).startswith("Par\n")


async def test_previews_come_one_after_the_other_and_stay_until_the_answer(stage: Stage) -> None:
    folder = stage.bot.spool.folder
    folder.mkdir(parents=True)
    for letter in "ab":
        (folder / (letter * 32)).write_bytes(letter.encode())
    job = await stage.follow()
    await stage.show(Preview(look("a")), after_s=2)
    await stage.show(Preview(look("b")), after_s=2)
    await stage.show(Progress("step 9 of 20", 0.45), after_s=2)
    [file] = stage.messages()[0].attachments
    assert await file.read() == b"b"
    await stage.show(ENDED)
    await stage.deliver(job.submission.anchor, AnchorEdit("Done."))
    assert stage.messages()[0].attachments == []


async def test_a_preview_that_is_gone_harms_nothing(stage: Stage) -> None:
    await stage.follow()
    await stage.show(Preview(look("a")), after_s=2)
    await stage.show(Progress("step 9 of 20", 0.45), after_s=2)
    assert stage.messages()[0].attachments == []
    assert "step 9 of 20" in seen(stage)
