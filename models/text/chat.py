"""Turn a conversation into tokens and tokens back into text, as the model's own files say.

This module owns chat templates and special tokens, for every backend that runs a model in this
process. It reads ``tokenizer.json`` with the tokenizers library and renders the template with a
sandboxed Jinja, which is what transformers does, without the seconds that importing it takes. It
must not load a model.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from models.contracts import ChatMessage
from models.errors import ModelLoadFailed
from models.text.reasoning import TAGS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Turn = dict[str, str]

PLAIN_TEMPLATE: Final = (
    "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}\n"
    "{% endfor %}Assistant:"
)
"""For a model that never saw a chat: a dialogue in plain words."""

TURN_ENDS: Final = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<turn|>")
"""Tokens that end a turn. Some checkpoints name only the end of a document as their end."""

_GENERATION_TAG: Final = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
"""Marks the answer for training; Jinja doesn't know it."""


class _TemplateRefused(Exception):
    """The template does not take such a conversation."""


@dataclass(frozen=True)
class Prompt:
    """A conversation as the model reads it."""

    text: str
    tokens: list[int]


@dataclass(frozen=True)
class ChatFormat:
    """What the files beside a checkpoint say about conversations.

    Attributes:
        template: Jinja source; empty for a model that has none.
        special: Names such as ``bos_token`` that a template may use, with their text.
        eos_ids: Tokens that end an answer.
        options: More variables for the template, such as ``enable_thinking``.
    """

    template: str = ""
    special: Mapping[str, str] = field(default_factory=dict)
    eos_ids: frozenset[int] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)


class ChatTokenizer:
    """Reads and writes a model's tokens."""

    def __init__(self, tokenizer: Tokenizer, form: ChatFormat) -> None:
        self._tokenizer = tokenizer
        self._form = form
        self._template = _compile(form.template or PLAIN_TEMPLATE)
        added = tokenizer.get_added_tokens_decoder()
        special = {number: token.content for number, token in added.items() if token.special}
        ends = {n for n, text in special.items() if text in TURN_ENDS and text in form.template}
        self.eos_ids = form.eos_ids | ends
        thoughts = {tag for pair in TAGS for tag in pair}
        self._hidden = {n for n, text in special.items() if text not in thoughts}
        self._control = _alternatives(text for text in special.values() if len(text) > 1)

    @classmethod
    def from_folder(cls, folder: Path, options: Mapping[str, Any]) -> ChatTokenizer:
        """Read the tokenizer of a checkpoint.

        Raises:
            ModelLoadFailed: A file is missing or damaged.
        """
        from tokenizers import Tokenizer

        try:
            # The library raises plain exceptions for whatever is wrong with the file.
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:
            raise ModelLoadFailed from error
        return cls(tokenizer, read_format(folder, tokenizer, options))

    def prompt(self, messages: Sequence[ChatMessage]) -> Prompt:
        """Render a conversation. Control tokens that members typed are taken apart."""
        turns: list[Turn] = [
            {"role": message.role, "content": self._defuse(message.content)} for message in messages
        ]
        try:
            text = self._render(turns)
        except _TemplateRefused:
            text = self._render(_strictly_alternating(turns))
        encoded = self._tokenizer.encode(text, add_special_tokens=not self._form.template)
        return Prompt(text, encoded.ids)

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """Return the length of a conversation in tokens."""
        return len(self.prompt(messages).tokens)

    def writer(self) -> TokenWriter:
        """Begin to write an answer."""
        return TokenWriter(self._tokenizer, self._hidden)

    def _render(self, turns: list[Turn]) -> str:
        variables = {**self._form.special, **self._form.options}
        rendered: str = self._template.render(
            messages=turns, add_generation_prompt=True, **variables
        )
        return rendered

    def _defuse(self, content: str) -> str:
        if self._control is None:
            return content
        return self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", content)


class TokenWriter:
    """Turns one answer's tokens into text; holds back what is not a whole character yet."""

    def __init__(self, tokenizer: Tokenizer, hidden: Collection[int]) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer
        self._hidden = hidden
        self._stream = DecodeStream(skip_special_tokens=False)

    def push(self, token: int) -> str:
        """Return the text that the token completes."""
        if token in self._hidden:
            return ""
        return self._stream.step(self._tokenizer, token) or ""


def read_format(folder: Path, tokenizer: Tokenizer, options: Mapping[str, Any]) -> ChatFormat:
    """Gather the chat template and the end tokens from the files of a checkpoint."""
    config = _json(folder / "tokenizer_config.json")
    special = {
        name: text
        for name in ("bos_token", "eos_token", "pad_token", "unk_token")
        if (text := _token_text(config.get(name)))
    }
    ids = {tokenizer.token_to_id(special["eos_token"])} if "eos_token" in special else set()
    for name in ("generation_config.json", "config.json"):
        ids |= _as_set(_json(folder / name).get("eos_token_id"))
    ids |= _as_set(_json(folder / "genai_config.json").get("model", {}).get("eos_token_id"))
    file = folder / "chat_template.jinja"
    template = file.read_text("utf-8") if file.exists() else named_template(config)
    return ChatFormat(
        template=template,
        special=special,
        eos_ids=frozenset(number for number in ids if number is not None),
        options=options,
    )


def named_template(config: Mapping[str, Any]) -> str:
    """Return the default of the templates in a tokenizer's configuration, or an empty text."""
    template = config.get("chat_template") or ""
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}
    if isinstance(template, dict):
        template = template.get("default", "")
    return str(template)


def _compile(source: str) -> Any:
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(
        value, ensure_ascii=False, **options
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: dt.datetime.now().astimezone().strftime(form)
    try:
        return environment.from_string(_GENERATION_TAG.sub("", source))
    except TemplateError as error:
        raise ModelLoadFailed from error


def _refuse(message: str) -> NoReturn:
    raise _TemplateRefused(message)


def _strictly_alternating(turns: Iterable[Turn]) -> list[Turn]:
    """Make user and assistant take turns, the user first, as some templates insist on.

    What the system says becomes the beginning of what the user says next.
    """
    result: list[Turn] = []
    for turn in turns:
        role = "assistant" if turn["role"] == "assistant" else "user"
        if result and result[-1]["role"] == role:
            result[-1]["content"] += "\n\n" + turn["content"]
        elif result or role == "user":
            result.append({"role": role, "content": turn["content"]})
    return result


def _alternatives(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _json(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text("utf-8"))) if file.exists() else {}
    except ValueError as error:
        raise ModelLoadFailed from error


def _token_text(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _as_set(value: object) -> set[int | None]:
    if isinstance(value, list):
        return set(value)
    return {value} if isinstance(value, int) else set()
