import json

import pytest

from bot.delivery.parts import (
    AnchorEdit,
    ChannelMessage,
    Part,
    Pointer,
    VoiceMessage,
    dump_part,
    load_part,
)
from bot.delivery.present import parts_of, present
from bot.delivery.splitter import MESSAGE_LIMIT, units
from bot.engine.job import Job, JobState, Outcome
from bot.views import ids
from models.contracts import Result
from models.errors import InvalidMedia, JobCancelled, WorkerCrashed
from tests.delivery.jobs import (
    JOB_ID,
    MEDIA,
    RECIPE_ID,
    USER_ID,
    job,
    private,
    speech_job,
    speech_result,
    text_result,
    transcript,
    transcription_job,
)

PARAGRAPH = "Lorem ipsum dolor sit amet. " * 30
AGAIN = ids.again_id(USER_ID, RECIPE_ID)
DELETE = ids.delete_id(USER_ID, JOB_ID)


def done(of: Job, result: Result, *notices: str) -> list[Part]:
    return parts_of(of, Outcome(JobState.DONE, result, notices=notices))


def contents(parts: list[Part]) -> list[str]:
    return [part.content for part in parts if not isinstance(part, VoiceMessage)]


def only(parts: list[Part]) -> AnchorEdit:
    [part] = parts
    assert isinstance(part, AnchorEdit)
    return part


def pressed_ids(part: Part) -> list[str]:
    return [] if isinstance(part, VoiceMessage | Pointer) else [b.custom_id for b in part.buttons]


# --------------------------------------------------------------------------- text


def test_a_short_answer_is_the_anchor_with_its_buttons() -> None:
    part = only(done(job(recipe=RECIPE_ID), text_result("Paris.")))
    assert part.content == "Paris."
    assert pressed_ids(part) == [AGAIN, DELETE]
    assert part.files == ()


def test_a_long_answer_goes_on_in_the_channel_and_ends_with_the_buttons() -> None:
    text = "\n\n".join([PARAGRAPH] * 8)
    parts = done(job(recipe=RECIPE_ID), text_result(text))
    assert [type(part) for part in parts] == [AnchorEdit, *[ChannelMessage] * (len(parts) - 1)]
    assert 1 < len(parts) <= 5
    assert "".join(contents(parts)).replace("\n", "").replace(" ", "") == text.replace(
        "\n", ""
    ).replace(" ", "")
    assert [pressed_ids(part) for part in parts] == [*[[]] * (len(parts) - 1), [AGAIN, DELETE]]


def test_a_very_long_answer_is_its_beginning_and_a_file_with_all_of_it() -> None:
    text = "\n\n".join(f"{n} {PARAGRAPH}" for n in range(40))
    part = only(done(job(notice=True), text_result(text)))
    [file] = part.files
    assert file.filename == "answer.md"
    assert file.text == text
    assert part.content.startswith("0 Lorem ipsum")
    assert f"{len(text):,} characters" in part.content
    assert "Check facts" in part.content
    assert units(part.content) <= MESSAGE_LIMIT


def test_a_private_answer_never_spills_into_the_channel() -> None:
    text = "\n\n".join([PARAGRAPH] * 4)
    part = only(done(job(anchor=private(), recipe=RECIPE_ID), text_result(text)))
    assert part.files[0].text == text
    assert pressed_ids(part) == [AGAIN]


def test_reasoning_is_folded_into_a_file() -> None:
    part = only(done(job(), text_result("Four.", reasoning="Two and two …")))
    assert part.files[0].filename == "reasoning.md"
    assert part.files[0].text == "Two and two …"
    assert "Two and two" not in part.content
    assert "\n-# 💭" in part.content


def test_a_cut_answer_says_so_and_so_do_notices() -> None:
    part = only(
        done(job(), text_result("And then", finish_reason="length"), "Two turns were left out.")
    )
    assert "\n-# ✂️ The answer was cut off at its limit of 12 tokens." in part.content
    assert "\n-# Two turns were left out." in part.content


def test_notes_of_the_command_come_first() -> None:
    noted = {"notes": ["b.png was left out."]}
    part = only(done(transcription_job(**noted), transcript("Hello."), "One window was silent."))
    below = part.content.split("\n> Hello.\n")[1]
    assert below == "-# b.png was left out.\n-# One window was silent."
    failed = Outcome(JobState.FAILED, error=InvalidMedia())
    assert "b.png was left out" in only(parts_of(job(**noted), failed)).content


def test_the_fact_notice_is_shown_where_the_server_wants_it() -> None:
    assert "Check facts" in only(done(job(notice=True), text_result("Paris."))).content
    assert "Check facts" not in only(done(job(notice=False), text_result("Paris."))).content


def test_notes_stay_outside_of_a_code_block_that_was_cut() -> None:
    part = only(done(job(), text_result("```python\nx = 1", finish_reason="length")))
    assert part.content.startswith("```python\nx = 1\n```\n-# ✂️")


def test_an_empty_answer_is_told() -> None:
    assert only(done(job(), text_result(" \n"))).content == "*(no answer)*"


def test_what_was_asked_is_quoted_in_one_line() -> None:
    part = only(done(job(quote="What is\nthe capital?"), text_result("Paris.")))
    assert part.content == "> What is the capital?\nParis."


@pytest.mark.parametrize(
    "text", ["@everyone look", "שלום \u200bעולם", "👩‍👩‍👧‍👦 🇩🇪 ||x||", "\u200b"]
)
def test_generated_text_is_left_as_it_is(text: str) -> None:
    assert only(done(job(), text_result(text))).content == text


def test_a_stopped_answer_keeps_what_there_was() -> None:
    stopped = Outcome(JobState.CANCELLED, error=JobCancelled(), partial_text="Once upon")
    part = only(parts_of(job(recipe=RECIPE_ID), stopped))
    assert part.content == "Once upon\n-# ⏹️ Stopped."
    assert pressed_ids(part) == [AGAIN, DELETE]


def test_a_job_that_was_stopped_before_it_began_says_so() -> None:
    assert (
        only(parts_of(job(), Outcome(JobState.CANCELLED, error=JobCancelled()))).content
        == "⏹️ Stopped."
    )


# --------------------------------------------------------------------------- speech


def test_speech_is_a_voice_message_below_its_control_message() -> None:
    control, voice = done(speech_job(recipe=RECIPE_ID), speech_result(), "A line was skipped.")
    assert isinstance(control, AnchorEdit)
    assert control.content == "> Hello there\n🔊 **Ada** · 12 s\n-# A line was skipped."
    assert pressed_ids(control) == [AGAIN, DELETE]
    assert isinstance(voice, VoiceMessage)
    assert voice.file.spool_path == MEDIA.path
    assert voice.file.filename == f"speech-{JOB_ID}.ogg"
    assert voice.file.content_type == "audio/ogg"
    assert voice.duration_s == 12.3
    assert voice.waveform == bytes(range(64))


def test_private_speech_is_a_file_in_the_private_answer() -> None:
    part = only(done(speech_job(anchor=private()), speech_result()))
    assert part.files[0].spool_path == MEDIA.path
    assert part.files[0].description


# --------------------------------------------------------------------------- transcription


def test_a_short_transcript_is_quoted() -> None:
    part = only(done(transcription_job(title="memo.ogg"), transcript("Hello.", "Good bye.")))
    assert part.content == "📝 **memo.ogg** · en · 8.0 s\n> Hello.\n> \n> Good bye."
    assert part.files == ()


@pytest.mark.parametrize("format_", ["srt", "vtt", "json"])
def test_another_format_is_a_file_beside_the_quote(format_: str) -> None:
    part = only(done(transcription_job(title="my memo.ogg", format=format_), transcript("Hello.")))
    [file] = part.files
    assert file.filename == f"my-memo.{format_}"
    assert "Hello." in file.text
    assert "> Hello." in part.content


def test_a_long_transcript_is_a_file_with_its_beginning_shown() -> None:
    sentences = [f"This is sentence number {n} of many." for n in range(200)]
    part = only(done(transcription_job(format="txt"), transcript(*sentences)))
    [file] = part.files
    assert file.filename == "transcript.txt"
    assert all(sentence in file.text for sentence in sentences)
    assert "> This is sentence number 0" in part.content
    assert "\n-# 📄 The whole transcript" in part.content
    assert units(part.content) <= MESSAGE_LIMIT


def test_a_transcript_of_wide_characters_keeps_the_limit() -> None:
    for count in (5, 8, 12, 20):
        part = only(done(transcription_job(), transcript(*["😀" * 90] * count), "y" * 900))
        assert units(part.content) <= MESSAGE_LIMIT


def test_silence_is_told() -> None:
    part = only(done(transcription_job(title="memo.ogg", format="srt"), transcript()))
    assert part.content == "🔇 Nobody spoke in **memo.ogg** (0.0 s)."
    assert part.files == ()


def test_the_name_of_a_file_cannot_leave_its_folder() -> None:
    part = only(done(transcription_job(title="../../etc/passwd", format="srt"), transcript("Hi.")))
    assert part.files[0].filename == "etc-passwd.srt"


# --------------------------------------------------------------------------- the rest


def test_a_failure_is_one_sentence() -> None:
    part = only(parts_of(job(recipe=RECIPE_ID), Outcome(JobState.FAILED, error=WorkerCrashed())))
    assert part.content == f"⚠️ {WorkerCrashed.default_message}"
    assert pressed_ids(part) == [AGAIN, DELETE]


def test_what_the_member_must_mend_first_is_not_offered_again() -> None:
    failed = Outcome(JobState.FAILED, error=InvalidMedia())
    assert pressed_ids(only(parts_of(job(recipe=RECIPE_ID), failed))) == [DELETE]


def test_a_failure_in_mid_answer_keeps_what_there_was() -> None:
    failed = Outcome(JobState.FAILED, error=WorkerCrashed(), partial_text="Once upon")
    assert only(parts_of(job(), failed)).content.startswith("Once upon\n-# ⚠️ ")


def test_a_late_answer_is_a_new_message_that_pings_its_owner_alone() -> None:
    text = "\n\n".join([PARAGRAPH] * 4)
    first, second, pointer = done(job(took_s=4000.0), text_result(text))
    assert isinstance(first, ChannelMessage)
    assert first.mention_user_id == USER_ID
    assert first.content.startswith(f"<@{USER_ID}>\nLorem")
    assert isinstance(second, ChannelMessage)
    assert second.mention_user_id == 0
    assert pointer == Pointer("This took 1 h 6 min, so the answer is a new message:", 50)
    assert all(units(content) <= MESSAGE_LIMIT for content in contents([first, second]))


def test_a_late_private_answer_stays_private() -> None:
    part = only(done(job(anchor=private(), took_s=4000.0), text_result("Paris.")))
    assert part.content == "Paris."


@pytest.mark.parametrize("length", [10, 1990, 1999, 2000, 2001, 5000, 9000, 11000])
@pytest.mark.parametrize("took_s", [3.0, 4000.0])
def test_every_message_keeps_discords_limits(length: int, took_s: float) -> None:
    of = job(took_s=took_s, notice=True, quote="x" * 500, recipe=RECIPE_ID)
    notices = ["y" * 900] * 3
    for text in ("a" * length, "😀" * length, "```\n" + "b\n" * (length // 2)):
        parts = done(of, text_result(text, reasoning="r", finish_reason="length"), *notices)
        assert all(units(content) <= MESSAGE_LIMIT for content in contents(parts))
        stopped = Outcome(JobState.CANCELLED, partial_text=text, notices=tuple(notices))
        assert all(units(c) <= MESSAGE_LIMIT for c in contents(parts_of(of, stopped)))


@pytest.mark.parametrize("took_s", [3.0, 4000.0])
@pytest.mark.parametrize("sentences", [1, 30, 45, 60, 200])
def test_transcripts_and_speech_keep_them_too(sentences: int, took_s: float) -> None:
    text, notes = ["語" * 31] * sentences, ["y" * 290] * 4
    for of, result in (
        (transcription_job(took_s=took_s, notes=notes), transcript(*text)),
        (speech_job(took_s=took_s, notes=notes), speech_result()),
    ):
        parts = done(of, result, *notes)
        assert all(units(content) <= MESSAGE_LIMIT for content in contents(parts))


def test_parts_survive_being_stored() -> None:
    for outcome in (
        Outcome(JobState.DONE, speech_result()),
        Outcome(JobState.DONE, text_result("x")),
    ):
        stored = present(speech_job(took_s=4000.0), outcome)
        assert [dump_part(load_part(part)) for part in stored] == stored
        assert all(json.loads(part)["type"] for part in stored)
