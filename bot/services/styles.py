"""Styles: presets that a member picks by name, and what they add to a prompt.

This module owns which styles a server has: those of ``config/styles.toml``, changed and completed
by its moderators. They are kept beside the settings, so that every change is recorded as theirs is.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bot.db.settings import SettingRepository
from models.catalog import CatalogError
from models.errors import InvalidRequest, UnsupportedOption

PREFIX = "style."
"""What the keys of styles begin with in the table of the settings."""

MOST_STYLES = 100

_NAME = re.compile(r"[\w][\w -]{0,29}")
_HIDDEN = "null"


@dataclass(frozen=True, slots=True)
class Style:
    """What a style adds.

    Attributes:
        prompt: Put behind the member's prompt.
        negative_prompt: Put behind the member's negative prompt.
    """

    prompt: str
    negative_prompt: str = ""

    def apply(self, prompt: str, negative_prompt: str) -> tuple[str, str]:
        """Return a prompt and a negative prompt in this style."""
        return _joined(prompt, self.prompt), _joined(negative_prompt, self.negative_prompt)


class Styles:
    """The styles of every server, in memory, and the only way to change them."""

    def __init__(self, repository: SettingRepository, defaults: Mapping[str, Style]) -> None:
        self._repository = repository
        self._defaults = dict(defaults)
        self._own: dict[int, dict[str, Style | None]] = {}

    async def load(self) -> None:
        """Read what servers have changed."""
        self._own.clear()
        for row in await self._repository.all():
            if row.key.startswith(PREFIX):
                value = json.loads(row.value)
                style = Style(**value) if value else None
                self._own.setdefault(row.guild_id, {})[row.key.removeprefix(PREFIX)] = style

    def of(self, guild_id: int) -> dict[str, Style]:
        """Return the styles of a server by name, in their order; of 0 those that all have."""
        changed = self._defaults | self._own.get(guild_id, {})
        return {name: style for name, style in sorted(changed.items()) if style is not None}

    def get(self, guild_id: int, name: str) -> Style:
        """Return a style.

        Raises:
            UnsupportedOption: The server has none of that name.
        """
        styles = self.of(guild_id)
        if name not in styles:
            raise UnsupportedOption(
                f"There is no style called “{name[:40]}” here. Pick one from the list."
            )
        return styles[name]

    async def set(self, guild_id: int, name: str, style: Style, *, user_id: int) -> None:
        """Give a server a style, or change one.

        Raises:
            InvalidRequest: The name does not do, or there are too many.
        """
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                "A style's name has 1 to 30 letters, digits, spaces or hyphens, like `oil paint`."
            )
        if name not in self.of(guild_id) and len(self.of(guild_id)) >= MOST_STYLES:
            raise InvalidRequest(f"There are {MOST_STYLES} styles already. Remove one first.")
        await self._write(guild_id, name, json.dumps(asdict(style)), user_id)
        self._own.setdefault(guild_id, {})[name] = style

    async def remove(self, guild_id: int, name: str, *, user_id: int) -> None:
        """Take a style away from a server, also one that all have.

        Raises:
            UnsupportedOption: The server has none of that name.
        """
        self.get(guild_id, name)
        is_default = name in self._defaults
        await self._write(guild_id, name, _HIDDEN if is_default else None, user_id)
        own = self._own.setdefault(guild_id, {})
        if is_default:
            own[name] = None
        else:
            del own[name]

    async def _write(self, guild_id: int, name: str, value: str | None, user_id: int) -> None:
        await self._repository.write(
            f"{PREFIX}{name}", value, guild_id=guild_id, channel_id=0, user_id=user_id
        )


def default_styles(file: Path) -> dict[str, Style]:
    """Read the styles that every server begins with; none where there is no such file.

    Raises:
        CatalogError: The file is not TOML, or a style has other fields.
    """
    try:
        rows = tomllib.loads(file.read_text("utf-8"))
        return {name: Style(**row) for name, row in rows.items()}
    except FileNotFoundError:
        return {}
    except (OSError, TypeError, tomllib.TOMLDecodeError) as error:
        raise CatalogError(f"{file}: {error}") from error


def _joined(*texts: str) -> str:
    return ", ".join(text.strip().rstrip(",") for text in texts if text.strip())
