"""What a lane's jobs take of it."""

from __future__ import annotations

import pytest

from bot.engine.job import Job, new_job_id
from bot.engine.residency import LaneState
from tests.fakes import submission


def a_job() -> Job:
    return Job(new_job_id(), submission("x"))


def test_jobs_share_the_time_in_which_they_run_side_by_side() -> None:
    lane, first, second, third = LaneState("cpu-0"), a_job(), a_job(), a_job()
    lane.begin(first, 100.0)
    lane.begin(second, 104.0)
    lane.end(first, 110.0)
    lane.begin(third, 112.0)
    lane.end(third, 112.0)
    lane.end(second, 115.0)
    assert (first.device_s, second.device_s, third.device_s) == (7.0, 8.0, 0.0)


def test_an_idle_lane_counts_for_nobody() -> None:
    lane, job = LaneState("cpu-0"), a_job()
    lane.end(job, 50.0)
    lane.begin(job, 1000.0)
    lane.end(job, 1002.0)
    lane.begin(job, 5000.0)
    lane.end(job, 5000.5)
    assert job.device_s == pytest.approx(2.5)
