"""What members with a role may have, instead of what the server's members may.

This module owns the limits of roles. They are kept beside the settings, so that every change is
recorded as theirs is. It must not count anything: ``bot.services.allowances`` does.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from bot.db.settings import SettingRepository
from bot.services.setting_registry import MEMBER_LIMITS
from models.errors import InvalidRequest

PREFIX = "limits.role."
"""What the keys of roles begin with in the table of the settings."""

MOST = 1_000_000


class RoleLimits:
    """The limits of every server's roles, in memory, and the only way to change them."""

    def __init__(self, repository: SettingRepository) -> None:
        self._repository = repository
        self._limits: dict[tuple[int, str], dict[int, int]] = {}

    async def load(self) -> None:
        """Read what servers have set."""
        self._limits.clear()
        for row in await self._repository.all():
            if row.key.startswith(PREFIX):
                role_id, _, name = row.key.removeprefix(PREFIX).partition(".")
                self._of(row.guild_id, name)[int(role_id)] = json.loads(row.value)

    def of(self, guild_id: int, name: str) -> Mapping[int, int]:
        """Return a limit by role, such as of ``jobs_hour``; 0 is none."""
        return dict(self._limits.get((guild_id, name), {}))

    def most_generous(self, guild_id: int, name: str, roles: Collection[int]) -> int | None:
        """Return the limit of somebody with some roles, None where no role has one; 0 is none."""
        limits = self._limits.get((guild_id, name), {})
        found = [limits[role] for role in roles if role in limits]
        return (0 if 0 in found else max(found)) if found else None

    async def set(
        self, guild_id: int, role_id: int, name: str, limit: int | None, *, user_id: int
    ) -> None:
        """Give a role a limit, or take it back with None.

        Raises:
            InvalidRequest: There is no such limit, it does not fit, or there is none to take back.
        """
        if name not in MEMBER_LIMITS:
            raise InvalidRequest("Pick a limit from the list.")
        if limit is not None and not 0 <= limit <= MOST:
            raise InvalidRequest(f"A limit is a whole number from 0, which is none, to {MOST:,}.")
        limits = self._of(guild_id, name)
        if limit is None and role_id not in limits:
            raise InvalidRequest("That role has no such limit, so nothing has changed.")
        await self._repository.write(
            f"{PREFIX}{role_id}.{name}",
            None if limit is None else json.dumps(limit),
            guild_id=guild_id,
            channel_id=0,
            user_id=user_id,
        )
        if limit is None:
            limits.pop(role_id, None)
        else:
            limits[role_id] = limit

    def _of(self, guild_id: int, name: str) -> dict[int, int]:
        return self._limits.setdefault((guild_id, name), {})
