"""A written text as sentences that can be spoken.

This module owns what is left out or read differently (Markdown, addresses, emoji, code, Discord's
own marks) and where a text is cut. It is pure, and knows nothing of voices.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from models.errors import EmptyInput
from models.punctuation import CLAUSE_ENDS, ends_sentence

# Quantifiers are bounded, so that no text takes time that grows with its square.
_CODE_BLOCK = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_INLINE_CODE = re.compile(r"(`{1,2})([^\n]{1,300}?)\1")
_LINK = re.compile(
    r"!?\[([^\]\n]{0,300})\]"
    r"\((?:[^()\s]|\([^()\s]{0,300}\)){1,1000}(?: [^)\n]{0,300})?\)"
)
_ADDRESS = re.compile(r"<?\b(?:https?://|www\.)[^\s<>]+>?", re.IGNORECASE)
_DISCORD_MARK = re.compile(
    r"<(?:a?:\w{2,32}:\d+|@[!&]?\d+|#\d+|t:\d+(?::\w)?|/[^:>\n]{1,100}:\d+|id:\w+)>"
)
_LINE_MARK = re.compile(
    r"[ \t]*(?:#{1,6}[ \t]+|-#[ \t]+|>+[ \t]*|[-*+•][ \t]+(?:\[[ xX]\][ \t]+)?)"
)
_RULE = re.compile(r"[ \t]*[|:*_=\- \t]+")
_STRONG = re.compile(r"(\*{1,3}|~~|\|\||__)(?=\S)([^\n]{1,500}?)(?<=\S)\1")
_ITALIC = re.compile(r"(?<!\w)_(?=\S)([^\n]{1,500}?)(?<=\S)_(?!\w)")
_WIDE_END = re.compile(r"(?<=[。！？])(?=[^\s」』）])")
_SPACES = re.compile(r"[ \t\u00a0_]+")
_KEPT_SYMBOLS = "°℃℉№©®™"

_SKIPPED_CODE = "Code blocks are not read out; {count} {were} left out."
_NOTHING = "There is nothing to say: the text has no words."


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece of speech.

    Attributes:
        text: What is said.
        ends_paragraph: Whether a longer pause fits after it.
    """

    text: str
    ends_paragraph: bool


@dataclass(frozen=True, slots=True)
class Script:
    """A text made ready for a voice.

    Attributes:
        sentences: At least one.
        notices: What was left out, in sentences for the member.
    """

    sentences: tuple[Sentence, ...]
    notices: tuple[str, ...]

    @property
    def characters(self) -> int:
        """Characters that are spoken."""
        return sum(len(sentence.text) for sentence in self.sentences)


def script_of(text: str, max_chars: int) -> Script:
    """Make a text ready for a voice.

    Args:
        text: As a member or a model wrote it.
        max_chars: Longest sentence that the voice takes; longer ones are cut at clauses.

    Raises:
        EmptyInput: Nothing of it can be spoken.
    """
    text, blocks = _CODE_BLOCK.subn("\n\n", text)
    sentences: list[Sentence] = []
    for paragraph in _paragraphs(plain(text)):
        parts = list(_sentences(paragraph, max_chars))
        sentences += (Sentence(part, ends_paragraph=part is parts[-1]) for part in parts)
    if not sentences:
        raise EmptyInput(_NOTHING)
    skipped = _SKIPPED_CODE.format(count=blocks, were="was" if blocks == 1 else "were")
    return Script(tuple(sentences), (skipped,) if blocks else ())


def plain(text: str) -> str:
    """Return a text without Markdown, Discord's marks, emoji and invisible characters."""
    text = _INLINE_CODE.sub(r"\2", text)
    text = _LINK.sub(r"\1", text)
    text = _ADDRESS.sub(lambda match: _host(match.group()), text)
    text = _DISCORD_MARK.sub("", text)
    text = "\n".join(_plain_line(line) for line in text.splitlines())
    for _ in range(2):  # one may stand inside the other
        text = _ITALIC.sub(r"\1", _STRONG.sub(r"\2", text))
    return "".join(c for c in unicodedata.normalize("NFC", text) if _is_spoken(c))


def _plain_line(line: str) -> str:
    if _RULE.fullmatch(line):
        return ""
    while (mark := _LINE_MARK.match(line)) is not None:
        line = line[mark.end() :]
    if line.lstrip().startswith("|") and line.rstrip().endswith("|") and "||" not in line:
        line = ", ".join(cell.strip() for cell in line.split("|") if cell.strip())
    return line


def _host(address: str) -> str:
    """Return the part of a web address that is bearable to hear, with the punctuation after it."""
    inside = address.strip("<>")
    bare = inside.rstrip(".,;:!?)'\"")
    try:
        host = urlsplit(bare if "://" in bare else f"//{bare}").hostname or ""
    except ValueError:
        host = ""
    return host.removeprefix("www.") + inside[len(bare) :]


def _is_spoken(character: str) -> bool:
    if character in "\n\t" or character in _KEPT_SYMBOLS:
        return True
    if "\ufe00" <= character <= "\ufe0f" or character == "\u20e3":
        return False  # they colour emoji and box digits
    # Control and zero-width characters, emoji, skin tones, private use.
    return unicodedata.category(character) not in ("Cc", "Cf", "So", "Sk", "Co", "Cn", "Cs")


# --------------------------------------------------------------------------- cutting


def _paragraphs(text: str) -> Iterator[str]:
    for line in text.splitlines():
        paragraph = _SPACES.sub(" ", line).strip()
        if _has_words(paragraph):
            yield paragraph


def _sentences(paragraph: str, max_chars: int) -> Iterator[str]:
    """Yield the sentences of a paragraph, each at most ``max_chars`` long."""
    words = _WIDE_END.sub(" ", paragraph).split(" ")
    held: list[str] = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        held.append(word)
        if not following or ends_sentence(word, following):
            yield from filter(_has_words, _shortened(" ".join(held), max_chars))
            held = []


def _shortened(sentence: str, max_chars: int) -> Iterator[str]:
    while len(sentence) > max_chars:
        place = _place_to_cut(sentence, max_chars)
        yield sentence[:place].strip()
        sentence = sentence[place:].strip()
    yield sentence


def _place_to_cut(sentence: str, max_chars: int) -> int:
    """Return the last end of a clause, else the last space, else the limit."""
    earliest = max_chars // 3
    clause = max(sentence.rfind(end, earliest, max_chars) for end in CLAUSE_ENDS)
    if clause >= 0:
        return clause + 1
    space = sentence.rfind(" ", earliest, max_chars + 1)
    return space if space >= 0 else max_chars


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)
