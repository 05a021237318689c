"""Long text in pieces that Discord takes: cut at paragraphs and code fences, losing nothing.

This module owns where a text is cut and how a code block goes on in the next message. It is pure
and knows nothing of jobs. Code is what Discord takes for code: everything between two ``` marks,
wherever on a line they stand.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

MESSAGE_LIMIT = 2000
"""Discord's limit of a message.

Its server counts code points, some of its clients UTF-16 units. The latter are never
fewer, so those are counted here.
"""

_MARK = "```"
_FENCE = re.compile(r"```(?:([A-Za-z0-9_+\-.#]{1,20})(?=\n))?")
_CLOSING = f"\n{_MARK}"
_SENTENCE_END = re.compile(r"[.!?…](?:\s)|[。！？](?=.)", re.DOTALL)
_SPACE = re.compile(r"\s(?=\S)")
_WELL_FILLED = 0.4
"""A border is worth cutting at when the message is filled to this share."""
_ZERO_WIDTH_JOINER = "\u200d"
_LONGEST_CLUSTER = 64


@dataclass(frozen=True, slots=True)
class Chunk:
    """A slice of a text.

    Attributes:
        text: The slice, unchanged.
        opened: Language of the code block that is open at its start ("" for none named), None
            outside of code.
        left_open: The same at its end.
    """

    text: str
    opened: str | None
    left_open: str | None

    def render(self) -> str:
        """Return the slice with its code block opened again and closed."""
        body = self.text.strip("\n") if self.opened is None else self.text.rstrip("\n")
        if self.opened is not None:
            body = f"{_MARK}{self.opened}\n{body}"
        return body + _CLOSING if self.left_open is not None else body


def units(text: str) -> int:
    """Return the length of a text as Discord may count it, in UTF-16 units."""
    return len(text) + sum(char > "\uffff" for char in text)


def open_fence(text: str, language: str | None = None) -> str | None:
    """Return the language of the code block that a text leaves open, None outside of code.

    Args:
        text: The text.
        language: The block that is open at its start, if any.
    """
    for match in _FENCE.finditer(text):
        language = (match[1] or "") if language is None else None
    return language


def split(text: str, limit: int = MESSAGE_LIMIT) -> list[str]:
    """Return a text as messages of at most ``limit`` units; blank ones are left out."""
    return [chunk.render() for chunk in chunks(text, limit) if chunk.text.strip()]


def tail(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return the end of a text that is still being written, with code blocks in order."""
    if units(text) <= limit - len(_CLOSING):
        return Chunk(text, None, open_fence(text)).render()
    room = limit - len(f"…\n{_MARK}{'x' * 20}\n") - len(_CLOSING)
    start = len(text) - _fitting(text[::-1], 0, room)
    start += _beginning(text[start:])
    language = open_fence(text[:start])
    return "…\n" + Chunk(text[start:], language, open_fence(text[start:], language)).render()


def chunks(text: str, limit: int = MESSAGE_LIMIT) -> Iterator[Chunk]:
    """Yield the slices of a text; joined they are the text again."""
    start, language = 0, None
    while start < len(text):
        opening = 0 if language is None else len(f"{_MARK}{language}\n")
        end = _cut(text, start, limit - opening - len(_CLOSING), in_code=language is not None)
        left_open = open_fence(text[start:end], language)
        yield Chunk(text[start:end], language, left_open)
        start, language = end, left_open


def _cut(text: str, start: int, room: int, *, in_code: bool) -> int:
    end = _fitting(text, start, room)
    if end == len(text):
        return end
    window = text[start:end]
    paragraph, line = _line_borders(window, in_code=in_code)
    enough = int(len(window) * _WELL_FILLED)
    for border in (paragraph, line, _last(_SENTENCE_END, window), _last(_SPACE, window)):
        if border > enough:
            return start + border
    return _between_clusters(text, start, end)


def _line_borders(window: str, *, in_code: bool) -> tuple[int, int]:
    """Return the last places where a paragraph or code block, and where a line, begins."""
    paragraph = line = 0
    for match in re.finditer(r"```|\n", window):
        if match[0] == _MARK:
            in_code = not in_code
            continue
        line = match.end()
        blank_before = window.endswith("\n", 0, match.start())
        code_before = window.endswith(_MARK, 0, match.start())
        if not in_code and (blank_before or code_before or window.startswith(_MARK, line)):
            paragraph = line
    return paragraph, line


def _last(pattern: re.Pattern[str], window: str) -> int:
    return max((match.end() for match in pattern.finditer(window)), default=0)


def _fitting(text: str, start: int, room: int) -> int:
    """Return the farthest end of a slice of at most ``room`` units."""
    end = min(len(text), start + room)
    while (excess := units(text[start:end]) - room) > 0:
        end -= (excess + 1) // 2
    return end


def _beginning(text: str) -> int:
    """Return where the tail of a text begins well: at a line if one is near, else at a word."""
    near = text[: len(text) // 3]
    for border in (near.find("\n"), near.find(" ")):
        if border >= 0:
            return border + 1
    return 0


def _between_clusters(text: str, start: int, end: int) -> int:
    """Move a cut back to where it parts no accent, emoji, flag or fence."""
    for place in range(end, max(start + 1, end - _LONGEST_CLUSTER), -1):
        if not _belong_together(text, place):
            return place
    return end


def _belong_together(text: str, place: int) -> bool:
    before, after = text[place - 1], text[place]
    if before == after == "`" or _ZERO_WIDTH_JOINER in (before, after):
        return True
    if _is_flag_letter(before) and _is_flag_letter(after):
        run = 1
        while place - 1 - run >= 0 and _is_flag_letter(text[place - 1 - run]):
            run += 1
        return run % 2 == 1
    return unicodedata.category(after).startswith("M") or "\U0001f3fb" <= after <= "\U0001f3ff"


def _is_flag_letter(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
