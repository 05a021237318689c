"""Fair shares: whose turn it is."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.fair_queue import FairQueue
from bot.engine.job import Job
from bot.engine.kinds import Kind
from tests.fakes import submission


def job(name: str, guild: int = 1, user: int = 1, model: str = "any") -> Job:
    return Job(name, submission(name, model, guild=guild, user=user))


def kind_of(job: Job) -> Kind:
    return Kind(job.submission.model_id, "")


def queue_of(*jobs: Job, cost_s: float = 5.0) -> FairQueue:
    queue = FairQueue(lambda job: cost_s, kind_of)
    for each in jobs:
        queue.add(each)
    return queue


def copy_of(queue: FairQueue) -> FairQueue:
    copying = queue.snapshot()
    try:
        while True:
            next(copying)
    except StopIteration as done:
        return done.value


def order(queue: FairQueue) -> list[str]:
    return [job.id for job in copy_of(queue).turns()]


def start(queue: FairQueue) -> Job:
    job = queue.peek()
    queue.take(job)
    return job


def flood(number: int = 20, guild: int = 1, user: int = 1) -> list[Job]:
    return [job(f"flood{each}", guild, user) for each in range(number)]


def test_one_members_jobs_keep_their_order():
    assert order(queue_of(job("a"), job("b"), job("c"))) == ["a", "b", "c"]


def test_a_server_with_one_job_does_not_wait_for_a_server_with_many():
    assert order(queue_of(*flood(guild=1), job("single", guild=2))).index("single") == 1


def test_members_of_one_server_take_turns():
    queue = queue_of(*flood(user=1), job("a", user=2), job("b", user=2))
    assert order(queue)[:4] == ["flood0", "a", "flood1", "b"]


def test_direct_messages_of_two_members_are_two_servers():
    queue = queue_of(*flood(guild=0, user=1), job("single", guild=0, user=2))
    assert order(queue)[:2] == ["flood0", "single"]


def test_costly_jobs_wait_for_as_much_cheap_work_of_others():
    queue = FairQueue(lambda job: 60.0 if job.id.startswith("hour") else 5.0, kind_of)
    for number in range(2):
        queue.add(job(f"hour{number}", guild=1))
    for number in range(40):
        queue.add(job(f"short{number}", guild=2))
    cheap_before_second = order(queue).index("hour1") - 1
    assert 11 <= cheap_before_second <= 13, "an hour costs as much as 12 short ones"


def test_peek_does_not_take_and_take_does():
    queue = queue_of(job("a"), job("b"))
    assert queue.peek().id == queue.peek().id == "a"
    queue.take(queue.peek())
    assert queue.peek().id == "b"
    assert len(queue) == 1
    assert "a" not in queue


def test_a_peek_can_ask_for_kinds_and_for_models():
    queue = queue_of(job("a"), job("b", guild=2, model="big"), job("c", guild=2, model="big"))
    assert queue.peek([Kind("big", "")]).id == "b"
    assert queue.peek(models={"big", "unknown"}).id == "b"
    assert queue.peek([Kind("big", None)]) is None
    assert queue.peek(models=()) is None


def test_a_job_that_is_put_back_comes_first_again_and_is_not_paid_for():
    queue = queue_of(job("a"), job("b"), job("c", user=2), job("d", user=2), cost_s=50.0)
    first, second = start(queue), start(queue)
    assert (first.id, second.id) == ("a", "c")
    queue.put_back(first)
    assert order(queue) == ["a", "d", "b"]


def test_removing_a_job_twice_is_harmless():
    queue = queue_of(job("a"))
    assert queue.remove("a").id == "a"
    assert queue.remove("a") is None
    assert queue.peek() is None


def test_looking_at_the_order_changes_nothing():
    jobs = [job(f"{guild}-{number}", guild=guild) for guild in (1, 2, 3) for number in range(4)]
    queue = queue_of(*jobs, cost_s=7.0)
    assert order(queue) == order(queue)
    assert [start(queue).id for _ in jobs] == order(queue_of(*jobs, cost_s=7.0))


# --------------------------------------------------------------------------- newcomers and debts


@settings(deadline=None)
@given(
    costs=st.lists(st.floats(0.1, 600.0), min_size=54, max_size=54),
    servers=st.integers(1, 4),
    served=st.integers(0, 40),
    where=st.integers(1, 4),
)
def test_a_newcomer_is_next_whatever_others_hold(costs, servers, served, where):
    spent = {f"flood{number}": costs[number] for number in range(50)}
    spent |= {f"other{guild}": costs[49 + guild] for guild in range(1, 5)}
    queue = FairQueue(lambda job: spent.get(job.id, 10.0), kind_of)
    for each in flood(50):
        queue.add(each)
    for guild in range(2, servers + 1):
        for number in range(20):
            queue.add(
                job(f"other{guild}", guild=guild, user=guild)
                if not number
                else job(f"more{guild}-{number}", guild=guild, user=guild)
            )
    for _ in range(servers + served):  # the others' first jobs among them
        start(queue)
    queue.add(job("newcomer", guild=where, user=99))
    assert queue.peek().id == "newcomer"


def test_newcomers_come_in_the_order_in_which_they_asked():
    queue = queue_of(*flood(), job("a", user=2), job("b", user=3), job("c", user=4))
    assert order(queue)[:5] == ["flood0", "a", "b", "c", "flood1"]


def test_a_newcomer_comes_before_the_second_job_of_whoever_runs_one():
    queue = queue_of(job("first"))
    start(queue)  # nobody else waits
    queue.add(job("second"))
    queue.add(job("newcomer", user=2))
    assert queue.peek().id == "newcomer"


def test_newcomers_without_end_leave_another_server_its_turns():
    queue = queue_of(job("a", guild=2, user=1), job("b", guild=2, user=1))
    started = []
    for user in range(100, 120):
        queue.add(job(f"new{user}", guild=1, user=user))
        queue.add(job(f"new{user}+", guild=1, user=user + 1000))
        started.append(start(queue).id)
    assert {"a", "b"} <= set(started[:6])


def test_measured_cost_replaces_the_expected():
    queue = queue_of(job("a1"), job("a2"), job("b1", user=2), job("b2", user=2), job("b3", user=2))
    first, second = start(queue), start(queue)
    assert (first.id, second.id) == ("a1", "b1")
    queue.settle(first, 12.0)
    queue.settle(second, 5.0)
    assert order(queue) == ["b2", "b3", "a2"]


def test_what_failed_costs_nothing():
    queue = queue_of(*(job(f"{user}{number}", user=user) for user in (1, 2) for number in (1, 2)))
    first, second = start(queue), start(queue)
    queue.settle(second, 5.0)
    queue.settle(first, 0.0)
    assert order(queue) == ["12", "22"]
    queue.settle(first, 99.0)
    assert order(queue) == ["12", "22"], "a job is settled once"


def test_debts_survive_an_absence():
    queue = queue_of(job("long"), *flood(9, user=2))
    queue.settle(start(queue), 22.0)  # others wait, five seconds each
    assert order(queue)[0] == "flood0"
    start(queue)
    queue.add(job("again"))
    assert order(queue).index("again") == 4
    queue.remove("again")
    for _ in range(6):
        start(queue)
    assert queue.peek().id == "flood7"
    queue.add(job("forgiven"))
    assert queue.peek().id == "forgiven"


def test_what_nobody_else_wanted_is_no_debt():
    queue = queue_of(*flood(5))
    for _ in range(5):
        queue.settle(start(queue), 100.0)
    queue.add(job("a", user=1))
    queue.add(job("b", user=2))
    assert order(queue) == ["a", "b"]


def test_who_owes_nothing_is_forgotten():
    queue = queue_of(*(job(f"of{user}", user=user) for user in range(2000)))
    for _ in range(2000):
        queue.settle(start(queue), 5.0)
    queue.add(job("last"))
    queue.take(queue.peek())
    members = queue._servers.parties[1].members
    assert len(members.parties) <= 2
    assert len(members._resting) <= 2


# --------------------------------------------------------------------------- paused servers


def test_a_held_server_starts_nothing_and_keeps_its_order():
    paused = [job("a"), job("b"), job("c", user=2), job("d", user=2)]
    queue = queue_of(*paused, job("x", guild=2), job("y", guild=2))
    before = [name for name in order(queue) if name in "abcd"]
    queue.hold(1, held=True)
    assert order(queue) == ["x", "y"]
    queue.add(job("e"))
    assert len(queue) == 7
    assert queue.is_held(paused[0])
    assert [start(queue).id, start(queue).id] == ["x", "y"]
    assert queue.peek() is None
    queue.hold(1, held=False)
    assert order(queue) == [*before, "e"]


def test_a_pause_earns_no_turns():
    queue = queue_of(*flood(guild=1), *(job(f"x{n}", guild=2) for n in range(20)))
    queue.hold(1, held=True)
    for _ in range(10):
        start(queue)
    queue.hold(1, held=False)
    assert [name[0] for name in order(queue)[:6]].count("f") <= 4


def test_a_server_can_be_held_before_it_asks():
    queue = queue_of()
    queue.hold(1, held=True)
    queue.add(job("a"))
    assert queue.peek() is None


def test_the_turns_of_a_held_server_can_be_foreseen():
    queue = queue_of(*flood(3), job("single", user=2), job("x", guild=2))
    queue.hold(1, held=True)
    twin = copy_of(queue)
    twin.hold(1, held=False)
    assert [job.id for job in twin.turns(1)] == ["flood0", "single", "flood1", "flood2"]


# --------------------------------------------------------------------------- much at once


def test_a_peek_for_a_kind_scans_nobody():
    asked = []

    def cost(job: Job) -> float:
        asked.append(job)
        return 5.0

    queue = FairQueue(cost, lambda job: asked.append(job) or kind_of(job))
    for number in range(10_000):
        queue.add(job(f"job{number}", user=number))
    asked.clear()
    looked: list[object] = []
    for of_server in queue._servers.parties.values():
        of_server.members.parties = _Counting(of_server.members.parties, looked)
    for _ in range(100):
        assert queue.peek([Kind("nobody's", "")]) is None
        assert queue.peek([Kind("any", "")]).id == "job0"
    assert asked == []
    assert len(looked) <= 400


class _Counting(dict):
    """Notes who is looked up."""

    def __init__(self, parties, looked) -> None:
        super().__init__(parties)
        self._looked = looked

    def get(self, key, default=None):
        self._looked.append(key)
        return super().get(key, default)

    def __getitem__(self, key):
        self._looked.append(key)
        return super().__getitem__(key)


def test_what_comes_and_goes_leaves_nothing_behind():
    queue = queue_of(job("stays"))
    for number in range(5000):
        queue.add(job(f"job{number}", user=2))
        queue.remove(f"job{number}")
    members = queue._servers.parties[1].members
    assert sum(map(len, members._lines.values())) < 200
    assert len(members.parties) == 1


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.floats(0.5, 90.0)),
        min_size=1,
        max_size=30,
    ),
    st.randoms(use_true_random=False),
)
def test_every_job_gets_its_turn_and_no_backlogged_server_falls_behind(asked, chance):
    costs = {f"job{number}": cost for number, (_, _, cost) in enumerate(asked)}
    queue = FairQueue(lambda job: costs[job.id], kind_of)
    for number, (guild, user, _) in enumerate(asked):
        queue.add(job(f"job{number}", guild=guild, user=user))
    foreseen = order(queue)
    served: dict[int, float] = {guild: 0.0 for guild, _, _ in asked}
    left = {guild: sum(g == guild for g, _, _ in asked) for guild in served}
    taken = []
    while current := queue.peek():
        queue.take(current)
        if chance.random() < 0.5:
            queue.settle(current, costs[current.id])
        taken.append(current.id)
        guild = current.submission.requester.guild_id
        served[guild] += costs[current.id]
        left[guild] -= 1
        waiting = [served[other] for other in served if left[other]]
        if left[guild] and waiting:  # one job, and one that a newcomer brought forward
            assert served[guild] - min(waiting) <= 2 * max(costs.values()) + 1e-6
    assert sorted(taken) == sorted(costs)
    assert taken == foreseen


def test_members_who_always_wait_get_equal_shares_whatever_their_jobs_cost():
    chance = random.Random(7)
    queue = FairQueue(lambda job: 10.0, kind_of)  # expected alike, and measured anew each time
    typical = {1: 1.0, 2: 5.0, 3: 40.0}
    took = dict.fromkeys(typical, 0.0)
    for user in typical:
        for number in range(3000):
            queue.add(job(f"{user}-{number}", user=user))
    while sum(took.values()) < 5000.0:
        current = start(queue)
        user = current.submission.requester.user_id
        seconds = chance.uniform(0.5, 1.5) * typical[user]
        took[user] += seconds
        queue.settle(current, seconds)
    assert max(took.values()) - min(took.values()) <= 2 * 60.0
