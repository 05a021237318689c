"""Deficit round robin: whose turn it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.engine.fair_queue import QUANTUM_S, FairQueue
from bot.engine.job import Job
from tests.fakes import submission


def job(name: str, guild: int = 1, user: int = 1) -> Job:
    return Job(name, submission(name, guild=guild, user=user))


def queue_of(*jobs: Job, cost_s: float = 5.0) -> FairQueue:
    queue = FairQueue(lambda job: cost_s)
    for each in jobs:
        queue.add(each)
    return queue


def names(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]


def test_one_members_jobs_keep_their_order():
    assert names(queue_of(job("a"), job("b"), job("c")).order()) == ["a", "b", "c"]


def test_a_server_with_one_job_does_not_wait_for_a_server_with_many():
    flood = [job(f"flood{number}", guild=1) for number in range(20)]
    order = names(queue_of(*flood, job("single", guild=2)).order())
    assert order.index("single") <= QUANTUM_S / 5.0


def test_members_of_one_server_take_turns():
    flood = [job(f"flood{number}", user=1) for number in range(20)]
    order = names(queue_of(*flood, job("single", user=2)).order())
    assert order.index("single") <= QUANTUM_S / 5.0


def test_direct_messages_of_two_members_are_two_servers():
    flood = [job(f"flood{number}", guild=0, user=1) for number in range(20)]
    queue = queue_of(*flood, job("single", guild=0, user=2), cost_s=QUANTUM_S)
    assert names(queue.order())[:2] == ["flood0", "single"]


def test_costly_jobs_wait_for_as_much_cheap_work_of_others():
    queue = FairQueue(lambda job: 60.0 if job.id.startswith("hour") else 5.0)
    for number in range(2):
        queue.add(job(f"hour{number}", guild=1))
    for number in range(40):
        queue.add(job(f"short{number}", guild=2))
    order = names(queue.order())
    cheap_before_second = order.index("hour1") - 1
    assert 20 <= cheap_before_second <= 30, "two hours cost as much as 24 short ones"


def test_peek_does_not_take_and_take_does():
    queue = queue_of(job("a"), job("b"))
    assert queue.peek().id == queue.peek().id == "a"
    queue.take(queue.peek())
    assert queue.peek().id == "b"
    assert len(queue) == 1
    assert "a" not in queue


def test_only_eligible_jobs_are_seen():
    queue = queue_of(job("a"), job("b", guild=2), job("c", guild=2))
    assert queue.peek(lambda job: job.id == "c").id == "c"
    assert queue.peek(lambda job: False) is None


def test_a_job_that_is_put_back_comes_first_again():
    queue = queue_of(job("a"), job("b"), cost_s=50.0)
    first = queue.peek()
    queue.take(first)
    queue.put_back(first)
    assert names(queue.order()) == ["a", "b"]


def test_removing_a_job_twice_is_harmless():
    queue = queue_of(job("a"))
    assert queue.remove("a").id == "a"
    assert queue.remove("a") is None
    assert queue.peek() is None


def test_looking_at_the_order_changes_nothing():
    jobs = [job(f"{guild}-{number}", guild=guild) for guild in (1, 2, 3) for number in range(4)]
    queue = queue_of(*jobs, cost_s=7.0)
    assert names(queue.order()) == names(queue.order())


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.floats(0.5, 90.0)),
        min_size=1,
        max_size=30,
    )
)
def test_every_job_gets_its_turn_and_no_backlogged_server_falls_behind(asked):
    costs = {f"job{number}": cost for number, (_, _, cost) in enumerate(asked)}
    queue = FairQueue(lambda job: costs[job.id])
    for number, (guild, user, _) in enumerate(asked):
        queue.add(job(f"job{number}", guild=guild, user=user))
    foreseen = names(queue.order())
    served: dict[int, float] = {guild: 0.0 for guild, _, _ in asked}
    left = {guild: sum(g == guild for g, _, _ in asked) for guild in served}
    taken = []
    while current := queue.peek():
        queue.take(current)
        taken.append(current.id)
        guild = current.submission.requester.guild_id
        served[guild] += costs[current.id]
        left[guild] -= 1
        waiting = [served[other] for other in served if left[other]]
        if left[guild] and waiting:
            assert served[guild] - min(waiting) <= max(costs.values()) + 2 * QUANTUM_S
    assert sorted(taken) == sorted(costs)
    assert taken == foreseen
