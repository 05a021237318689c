"""/config: what moderators set inside Discord.

This cog owns how settings are shown and typed. Which there are, and what fits them, is
``bot.services.setting_registry``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.delivery.replies import reply
from bot.delivery.wording import one_line
from bot.services.choices import choices, model_options
from bot.services.container import Services
from bot.services.role_limits import MOST, PREFIX
from bot.services.server_settings import SettingInForce, ShownChange
from bot.services.setting_registry import MEMBER_LIMITS
from models.errors import InvalidRequest

if TYPE_CHECKING:
    from bot.client import Sextant

# A thread has the settings of its channel, so it cannot be picked.
Channel = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.ForumChannel

_VALUE_CHARS = 60
_CHANGES_SHOWN = 12
_ROLES_SHOWN = 14
"""A line has at most 60 characters, and Discord takes 1024."""

_may_configure = app_commands.checks.has_permissions(manage_guild=True)
"""Discord offers the commands to nobody else, unless a server has overridden just that."""


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
class Config(commands.GroupCog, name="config"):
    """Change how the bot behaves in this server."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services

    @app_commands.command()
    @_may_configure
    async def show(self, interaction: discord.Interaction, channel: Channel | None = None) -> None:
        """Show every setting, its value, and where the value comes from.

        Args:
            channel: Show what counts in this channel instead of the whole server.
        """
        rows = self._services.server_settings.overview(*_place(interaction, channel))
        embed = discord.Embed(
            title="Settings",
            description=f"What counts in {_name(channel)}; `/config set` changes it.",
        )
        for group in dict.fromkeys(_group(row) for row in rows):
            lines = [_line(row) for row in rows if _group(row) == group]
            embed.add_field(name=group.capitalize(), value="\n".join(lines), inline=False)
        if roles := self._role_lines(interaction):
            embed.add_field(name="Limits of roles", value=_fitting(roles), inline=False)
        await reply(interaction, "", embed=embed)

    @app_commands.command(name="set")
    @_may_configure
    async def change(
        self,
        interaction: discord.Interaction,
        key: str,
        value: app_commands.Range[str, 1, 2000],
        channel: Channel | None = None,
    ) -> None:
        """Change a setting of the server, or of one channel. It counts at once.

        Args:
            key: Which setting.
            value: Its new value.
            channel: Change it for this channel alone.
        """
        await interaction.response.defer(ephemeral=True)
        guild_id, channel_id = _place(interaction, channel)
        row = await self._services.server_settings.set(
            key, value, guild_id=guild_id, channel_id=channel_id, user_id=interaction.user.id
        )
        await reply(interaction, f"{_line(row)}\nThis counts in {_name(channel)} from now on.")

    @app_commands.command()
    @_may_configure
    async def reset(
        self, interaction: discord.Interaction, key: str, channel: Channel | None = None
    ) -> None:
        """Take a setting of the server, or of one channel, back.

        Args:
            key: Which setting.
            channel: Take back what is set for this channel alone.
        """
        await interaction.response.defer(ephemeral=True)
        guild_id, channel_id = _place(interaction, channel)
        row = await self._services.server_settings.reset(
            key, guild_id=guild_id, channel_id=channel_id, user_id=interaction.user.id
        )
        await reply(interaction, f"{_line(row)}\nThis counts in {_name(channel)} from now on.")

    @app_commands.command()
    @app_commands.choices(limit=[app_commands.Choice(name=n, value=n) for n in MEMBER_LIMITS])
    @_may_configure
    async def role(
        self,
        interaction: discord.Interaction,
        role: discord.Role,
        limit: str,
        value: app_commands.Range[int, 0, MOST] | None = None,
    ) -> None:
        """Set a limit for the members with a role, instead of the one for all members.

        Args:
            role: Whose limit it is; the most generous of somebody's roles counts.
            limit: Which one.
            value: Its new value, 0 for no limit. Leave it out to take the role's limit back.
        """
        await interaction.response.defer(ephemeral=True)
        await self._services.role_limits.set(
            role.guild.id, role.id, limit, value, user_id=interaction.user.id
        )
        if value is None:
            said = f"`{limit}` of {role.mention} is that of all members from now on."
        else:
            said = f"{_role_limit(role, limit, value)}\nThis counts from now on."
        await reply(interaction, said)

    @app_commands.command()
    @_may_configure
    async def history(self, interaction: discord.Interaction) -> None:
        """See who changed which setting, when, from what to what."""
        await interaction.response.defer(ephemeral=True)
        changes = await self._services.server_settings.changes(
            interaction.guild_id or 0, _CHANGES_SHOWN
        )
        if not changes:
            raise InvalidRequest("Nobody has changed a setting here yet.")
        await reply(interaction, "\n".join(map(_change, changes)))

    def _role_lines(self, interaction: discord.Interaction) -> list[str]:
        """Return the limits of the roles that the server still has, the highest role first."""
        guild, limits = interaction.guild, self._services.role_limits
        return [
            _role_limit(role, name, found[role.id])
            for role in reversed(guild.roles if guild else ())
            for name in MEMBER_LIMITS
            if role.id in (found := limits.of(role.guild.id, name))
        ]

    @change.autocomplete("key")
    async def _complete_key(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        for_channel = interaction.namespace.channel is not None
        return choices(
            (
                (f"{setting.key}: {setting.description}", setting.key)
                for setting in self._services.server_settings.registry.values()
                if setting.channel_scope or not for_channel
            ),
            current,
        )

    @reset.autocomplete("key")
    async def _complete_set_key(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        channel = interaction.namespace.channel
        rows = self._services.server_settings.overview(*_place(interaction, channel))
        origin = "channel" if channel else "server"
        return choices(
            (
                (f"{row.setting.key}: {row.shown}", row.setting.key)
                for row in rows
                if row.origin == origin
            ),
            current,
        )

    @change.autocomplete("value")
    async def _complete_value(
        self, interaction: discord.Interaction, current: str
    ) -> list[app_commands.Choice[str]]:
        return choices(self._values_of(interaction.namespace.key), current)

    def _values_of(self, key: str) -> Iterable[tuple[str, str]]:
        setting = self._services.server_settings.registry.get(key)
        if setting is None:
            return []
        if setting.kind == "bool":
            return [("on", "on"), ("off", "off")]
        if setting.choices:
            return [(choice, choice) for choice in setting.choices]
        if setting.modality is not None:
            return model_options(self._services, setting.modality, installed_only=False)
        default = setting.show(setting.default)
        return [(f"{default} (the default)", default)]


def _place(
    interaction: discord.Interaction, channel: discord.abc.Snowflake | None
) -> tuple[int, int]:
    return interaction.guild_id or 0, channel.id if channel else 0


def _name(channel: Channel | None) -> str:
    return channel.mention if channel else "this server"


def _group(row: SettingInForce) -> str:
    return row.setting.key.partition(".")[0]


def _line(row: SettingInForce) -> str:
    return f"`{row.setting.key}` **{_clipped(row.shown)}** ({row.origin})"


def _role_limit(role: discord.Role, name: str, value: int) -> str:
    return f"{role.mention} `{name}` **{value:,}**{'' if value else ' (no limit)'}"


def _fitting(lines: list[str]) -> str:
    """Return the lines, as many as a field holds, and how many are left."""
    left = len(lines) - _ROLES_SHOWN
    return "\n".join(lines[:_ROLES_SHOWN] + [f"… and {left} more"] * (left > 0))


def _change(change: ShownChange) -> str:
    key, place = change.key, f" in <#{change.channel_id}>" if change.channel_id else ""
    if key.startswith(PREFIX):
        role_id, _, key = key.removeprefix(PREFIX).partition(".")
        place = f" of <@&{role_id}>"
    return (
        f"<t:{change.changed_at:.0f}:f> <@{change.user_id}>: `{key}`{place} "
        f"from **{_clipped(change.old)}** to **{_clipped(change.new)}**"
    )


def _clipped(value: str) -> str:
    return discord.utils.escape_markdown(one_line(value, _VALUE_CHARS))


async def setup(bot: Sextant) -> None:
    """Add the cog."""
    await bot.add_cog(Config(bot.services))
