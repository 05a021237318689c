"""What is expected to take how long, from what was measured."""

from __future__ import annotations

import pytest

from bot.engine.durations import UNKNOWN_COST_S, Durations, usual_steps
from bot.engine.job import Job, Measured
from models.contracts import (
    ImageRequest,
    MediaInput,
    Modality,
    SpeechRequest,
    TranscriptionRequest,
    Usage,
    VideoRequest,
    VisionRequest,
)
from tests.fakes import fake_catalog, fake_model, submission, text_request


def job(request, model: str = "m") -> Job:
    return Job("j", submission(request, model))


def sound(kilobytes: int, content_type: str = "audio/ogg") -> Job:
    media = MediaInput("0" * 32, "a", content_type, kilobytes * 1000, "0" * 64)
    return job(TranscriptionRequest(media))


def test_durations_grow_with_the_work():
    durations = Durations()
    short, long = job(SpeechRequest("x" * 100)), job(SpeechRequest("x" * 1000))
    assert durations.run_s(short) is None
    assert durations.cost_s(short) == UNKNOWN_COST_S
    durations.ran(short, 2.0)
    assert durations.run_s(long) == pytest.approx(20.0)
    durations.ran(short, 4.0)
    assert 2.0 < durations.run_s(short) < 4.0


@pytest.mark.parametrize(
    ("small", "large", "times"),
    [
        (ImageRequest("a", count=1), ImageRequest("a", count=4), 4),
        (
            ImageRequest("a", width_px=512, height_px=512),
            ImageRequest("a", width_px=1024, height_px=1024, num_inference_steps=60),
            8,
        ),
        (VideoRequest("a", seconds=2.0), VideoRequest("a", seconds=6.0), 3),
        (
            VisionRequest((MediaInput("0" * 32, "a", "image/png", 9, "0" * 64),)),
            VisionRequest((MediaInput("0" * 32, "a", "image/png", 9, "0" * 64),) * 5),
            5,
        ),
    ],
)
def test_pictures_and_clips_count_by_what_is_computed(small, large, times):
    durations = Durations()
    durations.ran(job(small), 3.0)
    assert durations.run_s(job(large)) == pytest.approx(3.0 * times)


def test_steps_that_nobody_gave_are_the_models_own():
    rows = [fake_model("turbo", Modality.IMAGE, options={"num_inference_steps": 4}), fake_model()]
    durations = Durations(usual_steps(fake_catalog(*rows)))
    durations.ran(job(ImageRequest("a"), "turbo"), 2.0)
    longer = job(ImageRequest("a", num_inference_steps=8), "turbo")
    assert durations.run_s(longer) == pytest.approx(4.0)


def test_an_answers_length_is_expected_from_those_before():
    durations = Durations()
    for _ in range(30):
        durations.ran(job(text_request("")), 5.0, Usage(100, "tokens"))
    assert durations.run_s(job(text_request("", max_new_tokens=4000))) == pytest.approx(5.0)
    assert durations.run_s(job(text_request("", max_new_tokens=20))) == pytest.approx(1.0)
    assert durations.run_s(job(text_request("x" * 2000))) == pytest.approx(10.0)


def test_a_done_job_has_its_true_size():
    answered = job(text_request("", max_new_tokens=4000))
    answered.work = 200.0
    Durations().ran(answered, 5.0, Usage(37, "tokens"))
    assert answered.work == 37.0


def test_a_sound_counts_by_its_seconds_and_those_by_the_bytes_of_its_kind():
    durations = Durations()
    heard = sound(60)
    durations.ran(heard, 3.0, Usage(30, "seconds"))
    assert heard.work == 30
    durations.ran(sound(3200, "audio/wav"), 10.0, Usage(100, "seconds"))
    assert durations.run_s(sound(120)) == pytest.approx(6.0)
    assert durations.run_s(sound(3200, "audio/wav")) == pytest.approx(10.0)
    assert durations.run_s(sound(80, "audio/unheard-of")) == pytest.approx(1.0)


def test_a_model_that_never_ran_is_like_the_others_of_its_kind():
    durations = Durations()
    for model, seconds in (("fast", 2.0), ("usual", 5.0), ("slow", 60.0)):
        durations.ran(job(text_request("a"), model), seconds)
    assert durations.run_s(job(text_request("a"), "new")) == 5.0
    assert durations.cost_s(job(text_request("a"), "new")) == 5.0
    assert durations.run_s(job(SpeechRequest("a"), "new")) is None


def test_the_share_counts_what_was_a_jobs_own_and_the_wait_what_passed():
    durations = Durations()
    beside_others = job(SpeechRequest("x"))
    beside_others.device_s = 2.0
    durations.ran(beside_others, 8.0)
    assert durations.run_s(beside_others) == pytest.approx(8.0)
    assert durations.cost_s(beside_others) == pytest.approx(2.0)


def test_earlier_runs_of_the_bot_are_remembered():
    durations = Durations()
    row = Measured("m", Modality.SPEECH, work=10.0, run_s=4.0, device_s=1.0, load_s=7.0)
    nothing = Measured("other", Modality.SPEECH, work=0.0, run_s=1.0, device_s=1.0)
    durations.recall([row, nothing])
    asked = job(SpeechRequest("x" * 20))
    assert durations.run_s(asked) == pytest.approx(8.0)
    assert durations.cost_s(asked) == pytest.approx(2.0)
    assert durations.load_s(fake_model("m")) == 7.0
    assert durations.load_s(fake_model("other")) == 0.1
