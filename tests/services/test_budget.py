"""What hosted models may cost: held back before, counted after, by server and month."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from typing import Any, cast

import pytest

from bot.db.journal import JobJournal
from bot.db.session import Database
from bot.db.settings import SettingRepository
from bot.db.spending import Cost, SpendingRepository, add_spending
from bot.engine.job import Job, JobState, Outcome, new_job_id
from bot.services.budget import Budget
from bot.services.server_settings import ServerSettings
from bot.services.setting_registry import MONTHLY_CAP, SETTINGS, settings_under
from bot.settings import HostedSettings, LimitSettings
from models.contracts import Modality, TextResult, Usage
from models.errors import InvalidRequest, LimitReached
from tests.fakes import FakeWeights, fake_catalog, fake_model, submission, text_request

SERVER = {"kind": "endpoint", "url": "https://example.org/v1", "model": "m"}
PAID = fake_model("paid", source=SERVER, prices={"output": 1000})
"""A thousandth of a dollar for a token."""
CATALOG = fake_catalog(
    PAID,
    fake_model("local"),
    fake_model("other-local"),
    fake_model("unpriced", source=SERVER),
    fake_model("own", source=SERVER, prices={"output": 0}),
    fake_model("voice", Modality.SPEECH, source=SERVER, prices={"characters": 1_000_000}),
)
DONE = Outcome(JobState.DONE, TextResult("fine", Usage(1, "tokens")))


class Live:
    """An engine that has the jobs that a test put there."""

    def __init__(self) -> None:
        self.live: list[Job] = []

    def jobs(self) -> Sequence[Job]:
        return self.live


class Clock:
    def __init__(self) -> None:
        self.now: float = calendar.timegm((2026, 11, 24, 10, 0, 0))

    def __call__(self) -> float:
        return self.now


class Bench:
    """A budget with its database, and what an engine and an intake do with it."""

    def __init__(self, database: Database, hosted: HostedSettings) -> None:
        self.clock, self.engine = Clock(), Live()
        self.journal = JobJournal(database, at_end=[add_spending])
        registry = settings_under(hosted, LimitSettings())
        self.settings = ServerSettings(SettingRepository(database), CATALOG, registry)
        self.budget = Budget(
            settings=hosted,
            spending=SpendingRepository(database),
            engine=cast("Any", self.engine),
            server_settings=self.settings,
            catalog=CATALOG,
            weights=cast("Any", FakeWeights()),
            clock=self.clock,
        )

    async def take(self, tokens: int, model: str = "paid", **who: Any) -> Job:
        request = text_request("x", max_new_tokens=tokens)
        submitted = submission(request, model, **who)
        with self.budget.holding(submitted):
            job = await self.journal.create(Job(new_job_id(), submitted))
            self.engine.live.append(job)
        return job

    async def end(self, job: Job, tokens: int | None) -> None:
        job.micro_usd = None if tokens is None else 1000 * tokens
        job.finished_at = self.clock()
        await self.journal.finished(job, DONE, [])
        self.engine.live.remove(job)
        await self.budget.ended(job, DONE)

    def left(self, guild: int = 10) -> int:
        """Return what may still be spent, in tokens."""
        standing = self.budget.standing(guild)
        return (standing.cap - standing.spent.micro_usd - standing.held) // 1000


@pytest.fixture
def hosted() -> HostedSettings:
    return HostedSettings(usd_per_server_month=1, usd_per_month=3)


@pytest.fixture
async def bench(database: Database, hosted: HostedSettings) -> Bench:
    bench = Bench(database, hosted)
    await bench.budget.load()
    return bench


async def test_what_a_job_may_cost_is_held_until_it_has_cost_less(bench: Bench) -> None:
    job = await bench.take(400)
    assert bench.left() == 600
    await bench.end(job, 150)
    assert bench.left() == 850
    assert bench.budget.standing(10).spent == Cost(150_000)


async def test_jobs_side_by_side_cannot_overshoot(bench: Bench) -> None:
    first = await bench.take(600)
    with pytest.raises(LimitReached) as refused:
        await bench.take(401)
    assert refused.value.user_message == (
        "This server has used $0.00 of the $1.00 that hosted models may cost here in a month, "
        "$0.60 is held back for jobs under way, and this could cost $0.40: there is room again "
        "when those have ended. Models of this machine cost nothing: pick `local` or `other-local`."
    )
    second = await bench.take(400)
    assert bench.left() == 0
    await bench.end(first, 100)
    await bench.end(second, 100)
    assert bench.left() == 800


async def test_the_refusal_says_all_that_one_can_do(bench: Bench) -> None:
    await bench.end(await bench.take(990), 990)
    with pytest.raises(LimitReached) as refused:
        await bench.take(40)
    assert refused.value.user_message == (
        "This server has used $0.99 of the $1.00 that hosted models may cost here in a month, "
        "and this could cost $0.04: there is room again on 1 December (UTC). Models of this "
        "machine cost nothing: pick `local` or `other-local`."
    )


async def test_what_could_never_be_paid_is_told(bench: Bench) -> None:
    with pytest.raises(LimitReached, match=r"more than the \$1\.00 that hosted models may cost"):
        await bench.take(1001)


async def test_where_no_model_is_here_none_is_named(bench: Bench) -> None:
    voice = CATALOG.get("voice")
    await bench.end(await bench.take(1000), 1000)
    with pytest.raises(LimitReached, match=r"used \$1\.00 .* No model of this machine does the"):
        bench.budget.check(10, voice, None)


async def test_a_request_that_is_still_fetched_needs_a_budget_that_is_not_used_up(
    bench: Bench,
) -> None:
    bench.budget.check(10, PAID, None)
    await bench.end(await bench.take(1000), 1000)
    with pytest.raises(LimitReached):
        bench.budget.check(10, PAID, None)


@pytest.mark.parametrize("model", ["local", "unpriced", "own"])
async def test_what_has_no_price_needs_no_budget(bench: Bench, model: str) -> None:
    await bench.end(await bench.take(1000), 1000)
    bench.budget.check(10, CATALOG.get(model), None)
    job = await bench.take(8000, model)
    assert bench.budget.standing(10).held == 0
    await bench.end(job, None if model == "unpriced" else 0)
    assert bench.budget.standing(10).spent == Cost(1_000_000, int(model == "unpriced"))


async def test_servers_have_budgets_of_their_own_and_one_together(bench: Bench) -> None:
    for guild in (10, 20, 0):
        await bench.take(900, guild=guild)
    await bench.take(300, guild=30)
    with pytest.raises(LimitReached, match=r"Of the \$3\.00 .* in all servers together"):
        await bench.take(1, guild=30)


async def test_direct_messages_have_one_together(bench: Bench) -> None:
    await bench.take(900, guild=0)
    with pytest.raises(LimitReached, match=r"^Direct messages have used \$0\.00 of the \$1\.00"):
        await bench.take(200, guild=0, user=2)


async def test_a_new_month_begins_at_nought(bench: Bench) -> None:
    await bench.end(await bench.take(1000), 1000)
    bench.clock.now = calendar.timegm((2026, 11, 30, 23, 59, 59))
    with pytest.raises(LimitReached):
        await bench.take(1)
    bench.clock.now += 1
    standing = bench.budget.standing(10)
    assert (standing.spent, standing.month, standing.ends) == (Cost(), "December", "1 January")
    assert bench.budget.month_began == bench.clock.now
    await bench.take(1000)


async def test_a_job_counts_in_the_month_in_which_it_ends(bench: Bench) -> None:
    job = await bench.take(500)
    bench.clock.now = calendar.timegm((2026, 12, 1, 0, 0, 9))
    assert bench.left() == 500
    await bench.end(job, 300)
    assert bench.left() == 700


async def test_a_restart_keeps_the_months_sum_and_holds_for_what_is_left(
    bench: Bench, database: Database, hosted: HostedSettings
) -> None:
    await bench.end(await bench.take(200), 200)
    job = await bench.take(300)
    job.charge(50_000)  # by an attempt that was lost
    again = Bench(database, hosted)
    again.engine.live.append(job)
    await again.budget.load()
    again.budget.resume()
    assert again.left() == 1000 - 200 - 300 - 50
    await again.end(job, 350)
    assert again.left() == 1000 - 200 - 350


async def test_a_job_that_runs_again_may_cost_as_much_once_more(bench: Bench) -> None:
    job = await bench.take(300)
    job.charge(250_000)
    assert bench.left() == 450


async def test_what_becomes_no_job_holds_nothing_back(bench: Bench) -> None:
    submitted = submission(text_request("x", max_new_tokens=300), "paid")
    with pytest.raises(LimitReached, match="queue"), bench.budget.holding(submitted):
        raise LimitReached("the queue is full")
    assert bench.left() == 1000
    with bench.budget.holding(submitted):
        pass  # its job ended in a former run
    assert bench.left() == 1000


async def test_what_is_submitted_twice_is_held_back_once(bench: Bench) -> None:
    job = await bench.take(600)
    with bench.budget.holding(job.submission):
        assert bench.left() == 400
    assert bench.left() == 400


async def test_moderators_may_lower_the_cap_and_not_raise_it(bench: Bench) -> None:
    who = {"guild_id": 10, "user_id": 1}
    await bench.settings.set(MONTHLY_CAP, "0.25", **who)
    with pytest.raises(LimitReached):
        await bench.take(251)
    await bench.take(250)
    with pytest.raises(InvalidRequest, match="from 0 to 1"):
        await bench.settings.set(MONTHLY_CAP, "1.01", **who)
    with pytest.raises(InvalidRequest, match="whole server"):
        await bench.settings.set(MONTHLY_CAP, "0.1", channel_id=5, **who)


async def test_a_cap_that_the_owner_lowered_beats_that_of_the_moderators(
    bench: Bench, database: Database
) -> None:
    await bench.settings.set(MONTHLY_CAP, "0.9", guild_id=10, user_id=1)
    stricter = Bench(database, HostedSettings(usd_per_server_month=0.5))
    await stricter.settings.load()
    assert stricter.left() == 500


async def test_nothing_may_be_spent_where_the_cap_is_nought(bench: Bench) -> None:
    await bench.settings.set(MONTHLY_CAP, "0", guild_id=10, user_id=1)
    with pytest.raises(LimitReached, match=r"This could cost more than the \$0\.00"):
        bench.budget.check(10, PAID, None)


def test_what_ships_agrees_with_the_owners_settings() -> None:
    shipped = settings_under(HostedSettings(), LimitSettings())
    assert shipped == SETTINGS
    raised = settings_under(HostedSettings(usd_per_server_month=99), LimitSettings())
    assert raised[MONTHLY_CAP].maximum == 99
