"""A backend that says a question backwards, word by word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from models.catalog import ModelSpec
from models.contracts import Control, Finished, TextDelta, TextRequest, TextResult, Usage
from models.errors import InputTooLong, ModelLoadFailed


def load(spec: ModelSpec, location: str, device: str) -> EchoHandler:
    """Load the model: here its file says what stands between two words."""
    # Heavy libraries are imported here, in the worker; the bot itself never sees them.
    try:
        separator = Path(location).read_text("utf-8")
    except OSError as error:
        raise ModelLoadFailed from error
    return EchoHandler(separator, int(spec.options.get("most_words", 500)))


class EchoHandler:
    """Answers one request at a time."""

    def __init__(self, separator: str, most_words: int) -> None:
        self._separator, self._most_words = separator, most_words

    def run(self, request: TextRequest, control: Control) -> Iterator[TextDelta | Finished]:
        """Yield the answer as it is made; the last event is ``Finished``."""
        words = request.messages[-1].content.split()[::-1]
        if len(words) > self._most_words:
            raise InputTooLong(f"That is more than {self._most_words} words. Please shorten it.")
        for word in words:
            if control.cancelled:
                return
            yield TextDelta(word + self._separator)
        yield Finished(TextResult(self._separator.join(words), Usage(len(words), "tokens")))

    def close(self) -> None:
        """Free what the model holds."""
