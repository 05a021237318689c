import logging
from typing import Any

import pytest
from sqlalchemy import event

from bot.db.session import Database
from bot.db.settings import SettingRepository
from bot.services.server_settings import ServerSettings
from bot.services.setting_registry import SETTINGS, Value
from models.errors import InvalidRequest, ModelUnavailable
from tests.fakes import fake_catalog

GUILD, CHANNEL, OTHER, MODERATOR = 10, 100, 101, 7
CATALOG = fake_catalog()


@pytest.fixture
async def settings(database: Database) -> ServerSettings:
    return await _load(database)


async def _load(database: Database) -> ServerSettings:
    settings = ServerSettings(SettingRepository(database), CATALOG)
    await settings.load()
    return settings


async def _set(
    settings: ServerSettings, key: str, text: str, channel_id: int = 0, user_id: int = MODERATOR
) -> None:
    await settings.set(key, text, guild_id=GUILD, channel_id=channel_id, user_id=user_id)


async def test_a_channel_beats_its_server_which_beats_the_default(settings: ServerSettings) -> None:
    await _set(settings, "text.temperature", "0.2")
    await _set(settings, "text.temperature", "1.5", CHANNEL)
    assert settings.get("text.temperature", GUILD, CHANNEL) == 1.5
    assert settings.get("text.temperature", GUILD, OTHER) == 0.2
    assert settings.get("text.temperature", GUILD) == 0.2
    assert settings.get("text.temperature", GUILD + 1, CHANNEL) == 0.7
    assert settings.get("text.temperature", 0, CHANNEL) == 0.7


async def test_a_change_to_the_default_counts_against_the_server(settings: ServerSettings) -> None:
    await _set(settings, "transcription.automatic", "on")
    await _set(settings, "transcription.automatic", "off", CHANNEL)
    assert settings.get("transcription.automatic", GUILD, CHANNEL) is False
    assert settings.get("transcription.automatic", GUILD, OTHER) is True


async def test_everything_is_there_after_a_restart(
    settings: ServerSettings, database: Database
) -> None:
    await _set(settings, "text.enabled", "off")
    await _set(settings, "text.system_prompt", "Say “nein”. 🙂", CHANNEL)
    await _set(settings, "speech.model", "fake-speech")
    again = await _load(database)
    assert again.get("text.enabled", GUILD, OTHER) is False
    assert again.get("text.system_prompt", GUILD, CHANNEL) == "Say “nein”. 🙂"
    assert again.get("speech.model", GUILD) == "fake-speech"


async def test_reading_touches_memory_alone(settings: ServerSettings, database: Database) -> None:
    await _set(settings, "text.enabled", "off")
    statements: list[str] = []
    engine = database._engine.sync_engine

    @event.listens_for(engine, "before_cursor_execute")
    def executed(_: Any, __: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    assert settings.get("text.enabled", GUILD, CHANNEL) is False
    assert len(settings.overview(GUILD, CHANNEL)) == len(SETTINGS)
    assert statements == []


async def test_a_reset_gives_back_what_counts_below(settings: ServerSettings) -> None:
    await _set(settings, "limits.jobs_at_once", "9")
    row = await settings.reset("limits.jobs_at_once", guild_id=GUILD, user_id=MODERATOR)
    assert (row.value, row.origin) == (3, "default")
    assert settings.get("limits.jobs_at_once", GUILD) == 3


async def test_a_channels_reset_gives_back_the_servers_value(settings: ServerSettings) -> None:
    await _set(settings, "text.chat", "off")
    await _set(settings, "text.chat", "on", CHANNEL)
    row = await settings.reset("text.chat", guild_id=GUILD, channel_id=CHANNEL, user_id=MODERATOR)
    assert (row.value, row.origin) == (False, "server")


async def test_there_is_nothing_to_reset_where_nothing_is_set(settings: ServerSettings) -> None:
    with pytest.raises(InvalidRequest, match="not set for this channel"):
        await settings.reset("text.chat", guild_id=GUILD, channel_id=CHANNEL, user_id=MODERATOR)
    assert await settings.changes(GUILD) == []


async def test_every_change_is_recorded(settings: ServerSettings) -> None:
    await _set(settings, "text.enabled", "off")
    await _set(settings, "text.enabled", "on", user_id=8)
    await _set(settings, "text.model", "fake-text", CHANNEL)
    await settings.reset("text.enabled", guild_id=GUILD, user_id=9)
    seen = [
        (change.key, change.user_id, change.channel_id, change.old, change.new)
        for change in await settings.changes(GUILD)
    ]
    assert seen == [
        ("text.enabled", 9, 0, "on", "not set"),
        ("text.model", MODERATOR, CHANNEL, "not set", "fake-text"),
        ("text.enabled", 8, 0, "off", "on"),
        ("text.enabled", MODERATOR, 0, "not set", "off"),
    ]
    assert len(await settings.changes(GUILD, limit=2)) == 2
    assert await settings.changes(GUILD + 1) == []


async def test_when_a_setting_changed_is_known_for_a_channel_and_its_server(
    settings: ServerSettings,
) -> None:
    assert await settings.changed_at("transcription.automatic", GUILD, CHANNEL) is None
    await _set(settings, "transcription.automatic", "on")
    server = await settings.changed_at("transcription.automatic", GUILD, CHANNEL)
    await _set(settings, "transcription.automatic", "on", CHANNEL)
    channel = await settings.changed_at("transcription.automatic", GUILD, CHANNEL)
    assert server is not None
    assert channel is not None
    assert channel > server
    assert await settings.changed_at("transcription.automatic", GUILD, OTHER) == server


@pytest.mark.parametrize(
    ("key", "text", "guild_id", "channel_id", "error"),
    [
        ("no.such", "on", GUILD, 0, InvalidRequest),
        ("text.enabled", "on", 0, CHANNEL, InvalidRequest),
        ("limits.jobs_at_once", "2", GUILD, CHANNEL, InvalidRequest),
        ("text.temperature", "hot", GUILD, 0, InvalidRequest),
        ("text.model", "fake-speech", GUILD, 0, InvalidRequest),
        ("text.model", "nobody", GUILD, 0, ModelUnavailable),
    ],
)
async def test_what_is_refused_changes_and_records_nothing(
    settings: ServerSettings,
    key: str,
    text: str,
    guild_id: int,
    channel_id: int,
    error: type[Exception],
) -> None:
    before = settings.overview(GUILD, CHANNEL)
    with pytest.raises(error):
        await settings.set(key, text, guild_id=guild_id, channel_id=channel_id, user_id=MODERATOR)
    assert settings.overview(GUILD, CHANNEL) == before
    assert await settings.changes(GUILD) == []


async def test_a_stored_value_that_no_longer_fits_is_left_out(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    repository = SettingRepository(database)
    for key, value in [("text.temperature", "99"), ("gone.setting", "1"), ("text.model", '"gone"')]:
        await repository.write(key, value, guild_id=GUILD, channel_id=0, user_id=MODERATOR)
    with caplog.at_level(logging.WARNING):
        settings = await _load(database)
    assert settings.get("text.temperature", GUILD) == 0.7
    assert settings.get("text.model", GUILD) == ""
    assert len(caplog.records) == 3


async def test_what_cannot_be_stored_does_not_count(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(SettingRepository, "write", refuse)
    with pytest.raises(OSError, match="disk full"):
        await _set(settings, "text.enabled", "off")
    assert settings.get("text.enabled", GUILD) is True


async def test_a_watcher_is_told_what_is_set_and_what_changes(settings: ServerSettings) -> None:
    await _set(settings, "queue.paused", "on")
    told: list[tuple[int, Value]] = []
    settings.watch("queue.paused", lambda *change: told.append(change))
    assert told == [(GUILD, True)]
    await settings.set("queue.paused", "on", guild_id=GUILD + 1, user_id=MODERATOR)
    await _set(settings, "text.chat", "off")
    await settings.reset("queue.paused", guild_id=GUILD, user_id=MODERATOR)
    assert told[1:] == [(GUILD + 1, True), (GUILD, False)]
