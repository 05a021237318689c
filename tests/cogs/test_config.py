import asyncio
from typing import Any

import pytest

from bot.db.settings import SettingRepository
from bot.services.setting_registry import SETTINGS
from tests.conftest import World


async def _config(world: World, command: str, **options: Any) -> str:
    result = await world.moderator.slash(world.channel, f"config {command}", **options)
    assert result.response.ephemeral
    return str(result.response.content)


async def test_show_has_every_setting_with_its_value_and_origin(world: World) -> None:
    await _config(world, "set", key="text.enabled", value="off")
    await _config(world, "set", key="text.chat", value="off", channel=world.channel)
    result = await world.moderator.slash(world.channel, "config show", channel=world.channel)
    [embed] = result.response.embeds
    text = "\n".join(field.value for field in embed.fields)
    assert all(f"`{key}`" in text for key in SETTINGS)
    assert "`text.enabled` **off** (server)" in text
    assert "`text.chat` **off** (channel)" in text
    assert "`speech.enabled` **on** (default)" in text


async def test_show_fits_discord_whatever_is_set(world: World) -> None:
    await _config(world, "set", key="text.system_prompt", value="*" * 2000)
    result = await world.moderator.slash(world.channel, "config show")
    [embed] = result.response.embeds
    assert all(len(field.value) <= 1024 for field in embed.fields)
    assert len(embed) <= 6000


async def test_a_change_is_in_force_at_once_and_recorded(world: World) -> None:
    said = await _config(world, "set", key="text.temperature", value="0.1", channel=world.channel)
    assert "`text.temperature` **0.1** (channel)" in said
    assert world.channel.mention in said
    settings = world.services.server_settings
    assert settings.get("text.temperature", world.guild.id, world.channel.id) == 0.1
    said = await _config(world, "reset", key="text.temperature", channel=world.channel)
    assert "`text.temperature` **0.7** (default)" in said
    history = (await _config(world, "history")).splitlines()
    assert len(history) == 2
    assert "from **0.1** to **not set**" in history[0]
    assert f"<@{world.moderator.id}>" in history[1]
    assert f"<#{world.channel.id}>" in history[1]
    assert "from **not set** to **0.1**" in history[1]


async def test_a_change_outlives_a_restart(world: World) -> None:
    await _config(world, "set", key="speech.enabled", value="off")
    await world.restart()
    assert world.services.server_settings.get("speech.enabled", world.guild.id) is False


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"key": "no.such", "value": "1"}, "no setting called `no.such`"),
        ({"key": "text.enabled", "value": "perhaps"}, "either `on` or `off`"),
        ({"key": "text.temperature", "value": "3"}, "from 0 to 2"),
        ({"key": "text.model", "value": "nobody"}, "no model called `nobody`"),
        ({"key": "text.model", "value": "fake-speech"}, "needs a text one"),
    ],
)
async def test_what_does_not_fit_is_refused(
    world: World, options: dict[str, str], part: str
) -> None:
    assert part in await _config(world, "set", **options)
    assert "Nobody has changed" in await _config(world, "history")


async def test_a_setting_of_the_server_cannot_be_set_for_a_channel(world: World) -> None:
    said = await _config(world, "set", key="limits.jobs_at_once", value="2", channel=world.channel)
    assert "counts for the whole server" in said


async def test_nothing_to_reset_is_said(world: World) -> None:
    assert "not set for this server" in await _config(world, "reset", key="text.chat")


async def test_keys_and_values_complete_while_typing(world: World) -> None:
    async def offered(command: str, option: str, typed: str = "", **filled: Any) -> list[str]:
        found = await world.moderator.autocomplete(
            world.channel, f"config {command}", option, typed, **filled
        )
        return [choice["value"] for choice in found]

    assert await offered("set", "key") == list(SETTINGS)[:25]  # Discord takes no more at once
    for key in SETTINGS:
        assert key in await offered("set", "key", key)
    assert await offered("set", "key", "limits.jobs") == ["limits.jobs_at_once", "limits.jobs_hour"]
    assert "limits.jobs_at_once" not in await offered("set", "key", channel=world.channel)
    assert await offered("set", "value", key="text.enabled") == ["on", "off"]
    assert await offered("set", "value", key="speech.model") == ["fake-speech"]
    assert await offered("set", "value", "", key="safety.pictures") == [
        *("block", "spoiler", "age_restricted"),
    ]
    assert await offered("set", "value", key="text.temperature") == ["0.7"]
    assert await offered("set", "value", key="nonsense") == []
    assert await offered("reset", "key") == []
    await _config(world, "set", key="text.chat", value="off")
    assert await offered("reset", "key") == ["text.chat"]


async def test_members_may_not_change_settings_even_if_discord_lets_them_through(
    world: World,
) -> None:
    stored = world.env.backend.commands[None]["config", 1]
    stored["default_member_permissions"] = None  # a server may override who is offered a command
    result = await world.member.slash(world.channel, "config set", key="text.enabled", value="off")
    assert result.response.ephemeral
    assert "“Manage Server”" in result.response.content
    assert world.services.server_settings.get("text.enabled", world.guild.id) is True
    assert [type(error).__name__ for error in world.env.errors] == ["MissingPermissions"]


async def test_a_locked_database_delays_the_change_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = SettingRepository.write

    async def after_ten_seconds(*args: Any, **kwargs: Any) -> None:
        await asyncio.sleep(10)
        await write(*args, **kwargs)

    monkeypatch.setattr(SettingRepository, "write", after_ten_seconds)
    result = await world.moderator.slash(
        world.channel, "config set", key="text.enabled", value="off"
    )
    assert result.acknowledged
    assert world.services.server_settings.get("text.enabled", world.guild.id) is True
    await world.env.advance_time(10)
    assert "`text.enabled` **off**" in result.response.content
    assert world.services.server_settings.get("text.enabled", world.guild.id) is False
