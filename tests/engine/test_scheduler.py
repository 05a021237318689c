"""Which job runs where and when: memory, patience, batches."""

from __future__ import annotations

from bot.engine.durations import Durations
from bot.engine.fair_queue import FairQueue
from bot.engine.job import Job
from bot.engine.residency import LaneState, Residency, Resident
from bot.engine.scheduler import PATIENCE_S, Scheduler
from models.contracts import ImageRequest, MediaInput, Modality, TranscriptionRequest
from tests.fakes import fake_catalog, fake_model, submission, text_request

NOW = 1000.0


class Desk:
    """A scheduler over some lanes, with shorthands."""

    def __init__(self, *models, lanes: int = 1, budget_mb: int = 1000, gpus: int = 0) -> None:
        self.catalog = fake_catalog(*models)
        self.lanes = [LaneState(f"cpu/{number}") for number in range(lanes)]
        self.gpus = [LaneState(f"cuda:{n}/0", "gpu", f"cuda:{n}") for n in range(gpus)]
        self.net = LaneState("net/0", "net", "net")
        budgets = {"ram": budget_mb} | {lane.pool: budget_mb for lane in self.gpus}
        self.residency = Residency([*self.lanes, *self.gpus, self.net], budgets)
        self.durations = Durations()
        self.scheduler = Scheduler(self.catalog, self.residency, self.durations)

    def make(self, name: str, model: str, *, at=NOW, guild=1, user=1, **fields) -> Job:
        request = _request(self.catalog.get(model).modality, name, **fields)
        asked = submission(request, model, guild=guild, user=user)
        return Job(name, asked, created_at=at)

    def ask(self, name: str, model: str, **fields) -> Job:
        job = self.make(name, model, **fields)
        self.scheduler.queue.add(job)
        return job

    def load(self, model: str, lane: int = 0, *, last_used: float = 0.0, **batch) -> None:
        resident = self.resident(model, last_used=last_used, **batch)
        state = self.net if resident.spec.is_hosted else self.lanes[lane]
        state.residents[model] = resident

    def resident(self, model: str, *, last_used: float = 0.0, **batch) -> Resident:
        spec = self.catalog.get(model)
        return Resident(spec, self.residency.memory_mb(spec), last_used, **batch)

    def start(self, now: float = NOW):
        """Take the next placement and enter it as running."""
        placement = self.scheduler.next(now)
        for job in (placement.job, *placement.together) if placement else ():
            job.started_at = now
            placement.lane.jobs[job.id] = job
        return placement

    def line(self, name: str = "cpu") -> FairQueue:
        return dict(self.scheduler.queue.named())[name]


def _request(modality: Modality, name: str, **fields):
    match modality:
        case Modality.IMAGE:
            return ImageRequest(name, **fields)
        case Modality.TRANSCRIPTION:
            return TranscriptionRequest(MediaInput("0" * 32, "a.ogg", "audio/ogg", 9, "0" * 64))
    return text_request(name, **fields)


SMALL, BIG = fake_model("small", memory_mb=300), fake_model("big", memory_mb=800)
DRAWS = fake_model("draws", Modality.IMAGE, memory_mb=300)


def test_nothing_waits_nothing_starts():
    assert Desk(SMALL).scheduler.next(NOW) is None


def test_a_loaded_model_needs_no_load():
    desk = Desk(SMALL)
    desk.load("small")
    desk.ask("a", "small")
    assert desk.start().evictions is None


def test_a_model_that_fits_is_loaded_without_an_eviction():
    desk = Desk(SMALL)
    desk.ask("a", "small")
    assert desk.start().evictions == ()


def test_a_lane_works_on_one_job_at_a_time():
    desk = Desk(SMALL)
    desk.load("small")
    desk.ask("a", "small")
    desk.ask("b", "small")
    assert desk.start().job.id == "a"
    assert desk.start() is None


def test_the_lane_that_has_the_model_gets_the_job():
    desk = Desk(SMALL, lanes=2)
    desk.load("small", lane=1)
    desk.ask("a", "small")
    assert desk.start().lane is desk.lanes[1]


def test_what_was_used_least_recently_goes_first():
    other = fake_model("other", memory_mb=300)
    desk = Desk(SMALL, other, fake_model("third", memory_mb=500))
    desk.load("small", last_used=20.0)
    desk.load("other", last_used=10.0)
    desk.ask("a", "third", at=NOW - PATIENCE_S)
    assert desk.start().evictions == ((desk.lanes[0], "other"),)


def test_jobs_of_models_at_hand_go_first_until_patience_ends():
    desk = Desk(SMALL, BIG)
    desk.load("small")
    desk.ask("needs room", "big", at=NOW, guild=1)
    desk.ask("at hand", "small", at=NOW, guild=2)
    assert desk.scheduler.next(NOW + 1).job.id == "at hand"
    desk.ask("at hand again", "small", at=NOW, guild=2)
    late = desk.scheduler.next(NOW + PATIENCE_S)
    assert late.job.id == "needs room"
    assert late.evictions == ((desk.lanes[0], "small"),)


def test_an_eviction_does_not_wait_for_nobody():
    desk = Desk(SMALL, BIG)
    desk.load("small")
    desk.ask("needs room", "big")
    assert desk.start().job.id == "needs room"


def test_a_working_model_is_never_evicted_and_a_large_one_not_overtaken():
    desk = Desk(SMALL, BIG, lanes=2)
    desk.load("small")
    desk.ask("works", "small")
    assert desk.start().job.id == "works"
    desk.ask("too large now", "big", guild=3)
    desk.ask("would fit", "small", guild=2)
    assert desk.start() is None
    del desk.lanes[0].jobs["works"]
    assert desk.start(NOW + PATIENCE_S).job.id == "too large now"


def test_a_changing_lane_takes_no_job():
    desk = Desk(SMALL)
    desk.load("small")
    desk.lanes[0].changing = True
    desk.ask("a", "small")
    assert desk.start() is None


def test_free_slots_of_a_model_at_work_are_filled():
    desk = Desk(SMALL)
    desk.load("small", slots=2)
    for name in "abc":
        desk.ask(name, "small")
    assert [desk.start().job.id, desk.start().job.id] == ["a", "b"]
    assert desk.start() is None


def test_a_seeded_job_runs_alone():
    desk = Desk(SMALL)
    desk.load("small", slots=4)
    desk.ask("seeded", "small", seed=7)
    desk.ask("plain", "small")
    assert desk.start().job.id == "seeded"
    assert desk.start() is None
    desk.lanes[0].jobs.clear()
    assert desk.start().job.id == "plain"
    desk.ask("seeded too", "small", seed=7)
    assert desk.start() is None


def test_seeded_jobs_share_an_exact_batch():
    desk = Desk(SMALL)
    desk.load("small", slots=4, exact=True)
    desk.ask("seeded", "small", seed=7, at=NOW - 3)
    desk.ask("plain", "small", at=NOW - 2)
    desk.ask("seeded too", "small", seed=8, at=NOW - 1)
    assert [desk.start().job.id for _ in range(3)] == ["seeded", "plain", "seeded too"]


def studio(*models, slots: int = 4, **batch) -> Desk:
    """Return a desk whose lane has a model that draws several pictures at once."""
    desk = Desk(DRAWS, *models)
    desk.load("draws", slots=slots, joins="start", **batch)
    return desk


def names(placement) -> list[str]:
    return [job.id for job in (placement.job, *placement.together)]


def test_pictures_of_one_size_start_together():
    desk = studio()
    for user in range(6):
        desk.ask(f"square{user}", "draws", user=user)
    desk.ask("wide", "draws", user=6, width_px=1536)
    assert names(desk.start()) == ["square0", "square1", "square2", "square3"]
    assert desk.start() is None, "nobody comes in once they have begun"
    desk.lanes[0].jobs.clear()
    assert names(desk.start()) == ["square4", "square5"]
    desk.lanes[0].jobs.clear()
    assert names(desk.start()) == ["wide"]
    assert len(desk.scheduler.queue) == 0


def test_all_who_start_together_are_charged():
    desk = studio(slots=2)
    for user in (1, 2):
        for number in range(2):
            desk.ask(f"{user}-{number}", "draws", user=user)
    desk.ask("late", "draws", user=3)
    assert names(desk.start()) == ["1-0", "2-0"]
    desk.lanes[0].jobs.clear()
    assert names(desk.start()) == ["late", "1-1"], "whoever had none yet, then whoever had least"


def test_a_batch_passes_who_waits_with_one_job_of_each_member():
    desk = studio(SMALL, slots=8)
    for number in range(3):
        desk.ask(f"ada{number}", "draws", user=1, at=NOW - 1)
    desk.ask("other model", "small", user=2)
    desk.ask("grace", "draws", user=3)
    assert names(desk.start()) == ["ada0", "grace"]
    desk.lanes[0].jobs.clear()
    assert names(desk.start()) == ["other model"]


def test_a_batch_passes_nobody_who_has_waited_long():
    desk = studio(SMALL)
    desk.ask("ada", "draws", user=1, at=NOW - 1 - PATIENCE_S)
    desk.ask("other model", "small", user=2, at=NOW - PATIENCE_S)
    desk.ask("grace", "draws", user=3)
    assert names(desk.start()) == ["ada"]


def test_a_seeded_picture_starts_alone_unless_its_batch_is_exact():
    for exact, together in ((False, ["seeded"]), (True, ["seeded", "plain"])):
        desk = studio(exact=exact)
        desk.ask("seeded", "draws", user=1, seed=7)
        desk.ask("plain", "draws", user=2)
        assert names(desk.start()) == together


def test_nothing_starts_beside_a_model_that_is_yet_to_be_loaded():
    desk = Desk(DRAWS)
    for user in (1, 2):
        desk.ask(f"picture{user}", "draws", user=user)
    assert names(desk.start()) == ["picture1"]


def test_a_suspect_runs_alone_until_it_is_forgotten():
    desk = Desk(SMALL)
    desk.load("small", slots=4)
    suspect = desk.make("suspect", "small")
    desk.scheduler.run_alone(suspect)
    desk.scheduler.queue.add(suspect)
    desk.ask("plain", "small")
    assert desk.start().job.id == "suspect"
    assert desk.start() is None
    desk.scheduler.forget(suspect)
    assert desk.start().job.id == "plain"


def test_a_batch_is_not_joined_past_somebody_who_has_waited_long():
    desk = Desk(SMALL, BIG)
    desk.load("small", slots=4)
    desk.ask("works", "small")
    desk.start()
    desk.ask("other model", "big", at=NOW, guild=1, user=2)
    desk.ask("joins", "small", at=NOW, guild=2, user=3)
    assert desk.scheduler.next(NOW + PATIENCE_S) is None
    assert desk.scheduler.next(NOW + 1).job.id == "joins"


def test_each_member_overtakes_a_waiting_job_once():
    desk = Desk(SMALL, BIG)
    desk.load("small", slots=8)
    desk.ask("works", "small", user=1)
    desk.start()
    desk.ask("has its turn", "big", user=2)
    for user in (3, 4):
        for number in range(2):
            desk.ask(f"{user}-{number}", "small", user=user)
    assert [desk.start().job.id for _ in range(2)] == ["3-0", "4-0"]
    assert desk.start() is None
    desk.lanes[0].jobs.clear()
    assert desk.start(NOW + PATIENCE_S).job.id == "has its turn"


def test_fifty_jobs_delay_anothers_first_by_the_one_that_runs():
    desk = Desk(SMALL, BIG)
    desk.load("small", slots=4)
    for number in range(50):
        desk.ask(f"ada{number}", "small", user=1)
    assert [desk.start().job.id for _ in range(4)] == ["ada0", "ada1", "ada2", "ada3"]
    desk.ask("grace", "big", user=2)
    while desk.lanes[0].jobs:  # they end one after the other, and nothing of ada's joins
        del desk.lanes[0].jobs[next(iter(desk.lanes[0].jobs))]
        if desk.lanes[0].jobs:
            assert desk.start() is None
    assert desk.start(NOW + 1).job.id == "ada4", "its model is at hand: once"
    desk.lanes[0].jobs.clear()
    assert desk.start(NOW + 2).job.id == "grace"


def test_each_member_delays_an_eviction_once():
    desk = Desk(SMALL, BIG)
    desk.load("small")
    desk.ask("needs room", "big", user=1)
    for user in (2, 3):
        for number in range(2):
            desk.ask(f"{user}-{number}", "small", user=user)
    started = []
    for _ in range(3):
        started.append(desk.start().job.id)
        desk.lanes[0].jobs.clear()
    assert started == ["2-0", "3-0", "needs room"]


def test_the_head_itself_joins_its_model_at_work():
    desk = Desk(SMALL)
    desk.load("small", slots=3)
    for name in "abc":
        desk.ask(name, "small", user=1)
    assert [desk.start().job.id for _ in range(3)] == ["a", "b", "c"]


def test_what_was_noted_of_a_job_goes_with_it():
    desk = Desk(SMALL, BIG)
    desk.load("small", slots=4)
    desk.ask("works", "small", user=1)
    desk.start()
    head = desk.ask("has its turn", "big", user=2)
    desk.ask("passes", "small", user=3)
    desk.start()
    assert desk.scheduler._passed
    desk.scheduler.queue.remove(head.id)
    desk.scheduler.forget(head)
    assert not desk.scheduler._passed


def test_measured_memory_counts_when_it_is_more_than_declared():
    desk = Desk(SMALL, BIG)
    desk.load("small")
    desk.residency.measured(desk.lanes[0], "small", 450 << 20)
    assert desk.lanes[0].used_mb == 450
    assert desk.residency.memory_mb(SMALL) == 450
    desk.residency.measured(desk.lanes[0], "small", 100 << 20)
    assert desk.residency.memory_mb(SMALL) == 300


def test_idle_models_are_found_by_their_last_use():
    desk = Desk(SMALL, BIG)
    desk.load("small", last_used=10.0)
    assert desk.residency.oldest_use() == 10.0
    assert desk.residency.unused_since(9.0) == []
    assert desk.residency.unused_since(10.0) == [(desk.lanes[0], "small")]
    desk.lanes[0].changing = True
    assert desk.residency.unused_since(10.0) == []
