"""Limits of roles: which there are, that they are stored and recorded, and whose counts."""

from __future__ import annotations

import pytest

from bot.db.session import Database
from bot.db.settings import SettingRepository
from bot.services.role_limits import MOST, RoleLimits
from bot.services.server_settings import ServerSettings
from models.errors import InvalidRequest
from tests.fakes import fake_catalog


@pytest.fixture
def repository(database: Database) -> SettingRepository:
    return SettingRepository(database)


@pytest.fixture
def limits(repository: SettingRepository) -> RoleLimits:
    return RoleLimits(repository)


async def test_a_limit_outlives_a_restart_and_belongs_to_one_server(
    limits: RoleLimits, repository: SettingRepository
) -> None:
    await limits.set(10, 71, "jobs_hour", 5, user_id=9)
    await limits.set(10, 71, "jobs_at_once", 0, user_id=9)
    await limits.set(20, 71, "jobs_hour", 6, user_id=9)
    after = RoleLimits(repository)
    await after.load()
    for found in (limits, after):
        assert found.of(10, "jobs_hour") == {71: 5}
        assert found.of(20, "jobs_hour") == {71: 6}
        assert found.most_generous(10, "jobs_at_once", [70, 71]) == 0
        assert found.most_generous(10, "jobs_hour", [70]) is None


async def test_changes_are_recorded_beside_those_of_settings(
    limits: RoleLimits, repository: SettingRepository, caplog: pytest.LogCaptureFixture
) -> None:
    await limits.set(10, 71, "jobs_hour", 5, user_id=9)
    await limits.set(10, 71, "jobs_hour", None, user_id=9)
    settings = ServerSettings(repository, fake_catalog())
    await settings.load()
    assert not caplog.records, "a limit of a role is no setting that is unknown"
    shown = [(change.key, change.old, change.new) for change in await settings.changes(10)]
    assert shown == [
        ("limits.role.71.jobs_hour", "5", "not set"),
        ("limits.role.71.jobs_hour", "not set", "5"),
    ]


@pytest.mark.parametrize(
    ("name", "limit", "sentence"),
    [
        ("usd_month", 1, "Pick a limit from the list"),
        ("jobs_hour", -1, "from 0, which is none"),
        ("jobs_hour", MOST + 1, "from 0, which is none"),
        ("jobs_hour", None, "has no such limit, so nothing has changed"),
    ],
)
async def test_what_does_not_fit_is_refused(
    limits: RoleLimits,
    repository: SettingRepository,
    name: str,
    limit: int | None,
    sentence: str,
) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        await limits.set(10, 71, name, limit, user_id=9)
    assert await repository.changes(10, 5) == []
