"""The onnxruntime-genai backend on a tiny Llama, converted as in production."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from models.catalog import ModelSpec
from models.contracts import ChatMessage, TextDelta, TextRequest, TextResult
from models.errors import BackendError, InputTooLong, ModelLoadFailed, OutOfMemory
from models.text import onnx_genai
from models.text.local import LocalTextHandler, Sampling
from models.text.onnx_genai import OnnxDecoding, _translated, load
from tests.models.control import ScratchControl, notices, result_of, stages, streamed
from tests.models.text.conftest import PARROT_LINE

MakeSpec = Callable[..., ModelSpec]


def ask(text: str = "?", **options: object) -> TextRequest:
    return TextRequest(messages=(ChatMessage("user", text),), **{"temperature": 0, **options})


@pytest.fixture(scope="session")
def checkpoint(parrot: Callable[..., Path]) -> Path:
    return parrot("llama", [*PARROT_LINE, "<|eot_id|>"])


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def handler(spec: MakeSpec, checkpoint: Path, cache: Path) -> LocalTextHandler:
    return load(spec(cache_dir=str(cache)), str(checkpoint), "cpu")


def test_streams_whole_characters(handler: LocalTextHandler, control: ScratchControl) -> None:
    events = list(handler.run(ask(), control))
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(deltas) == "Paris! 🦜"
    assert not any("\ufffd" in delta for delta in deltas)
    result = result_of(events)
    assert isinstance(result, TextResult)
    assert (result.text, result.finish_reason) == ("Paris! 🦜", "stop")


def test_a_long_prompt_is_read_in_chunks(
    handler: LocalTextHandler, control: ScratchControl
) -> None:
    events = list(handler.run(ask("parrot " * 120), control))
    assert len(stages(events)) == 3
    assert streamed(events) == "Paris! 🦜"


def test_a_seed_repeats(handler: LocalTextHandler, control: ScratchControl) -> None:
    def sample(seed: int | None) -> str:
        request = ask(temperature=2, seed=seed, max_new_tokens=30)
        return streamed(handler.run(request, control))

    assert sample(7) == sample(7)
    assert sample(7) != sample(8)
    assert sample(None) != sample(None)
    assert sample(2**32 - 1)


def test_stops_at_max_new_tokens(handler: LocalTextHandler, control: ScratchControl) -> None:
    result = result_of(handler.run(ask(max_new_tokens=2), control))
    assert isinstance(result, TextResult)
    assert (result.finish_reason, result.usage.amount) == ("length", 2)


@pytest.mark.parametrize("after", ["the first chunk", "the first token"])
def test_a_cancel_is_heard_within_a_step(
    after: str, handler: LocalTextHandler, control: ScratchControl
) -> None:
    job = handler.run(ask("parrot " * 120, temperature=2, max_new_tokens=200), control)
    for event in job:
        if isinstance(event, TextDelta) or after == "the first chunk":
            control.cancelled = True
            break
    assert list(job) == []


def test_long_conversations_lose_their_oldest_turns(
    spec: MakeSpec, checkpoint: Path, cache: Path, control: ScratchControl
) -> None:
    handler = load(spec(cache_dir=str(cache), context_tokens=600), str(checkpoint), "cpu")
    turns = [ChatMessage("user" if n % 2 == 0 else "assistant", "parrot " * 20) for n in range(9)]
    events = list(handler.run(TextRequest(messages=tuple(turns), temperature=0), control))
    assert "messages were left out" in notices(events)[0]
    assert streamed(events) == "Paris! 🦜"


def test_a_question_that_cannot_fit_is_refused(
    handler: LocalTextHandler, control: ScratchControl
) -> None:
    with pytest.raises(InputTooLong):
        list(handler.run(ask("🦜" * 2500), control))


def test_a_closed_model_answers_nothing(handler: LocalTextHandler, control: ScratchControl) -> None:
    handler.close()
    with pytest.raises(BackendError):
        list(handler.run(ask(), control))


def test_a_damaged_cache_is_mended(
    spec: MakeSpec,
    checkpoint: Path,
    handler: LocalTextHandler,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second conversion is played by a copy of the first: the real one takes a while."""
    good, form = tmp_path / "good", cache / "form"
    shutil.copytree(form, good)

    def convert_again(source: Path, target: Path, kind: str) -> None:
        assert (source, kind) == (checkpoint, "onnx")
        (good / "manifest.json").unlink()
        shutil.copytree(good, target, dirs_exist_ok=True)

    weights = form / "model.onnx.data"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 0xFF
    weights.write_bytes(data)
    monkeypatch.setattr(onnx_genai, "convert", convert_again)
    load(spec(cache_dir=str(cache)), str(checkpoint), "cpu")
    assert weights.read_bytes() == (good / "model.onnx.data").read_bytes()


@pytest.mark.slow
def test_garbage_fails_to_load_and_leaves_nothing(spec: MakeSpec, tmp_path: Path) -> None:
    file = tmp_path / "garbage.gguf"
    file.write_bytes(b"GGUF" + b"\xff" * 100)
    with pytest.raises(ModelLoadFailed) as caught:
        load(spec(cache_dir=str(tmp_path / "cache")), str(file), "cpu")
    assert "Traceback" in str(caught.value.__cause__)
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RuntimeError("std::bad_alloc"), OutOfMemory),
        (MemoryError(), OutOfMemory),
        (RuntimeError("Non-zero status code returned while running node"), BackendError),
    ],
)
def test_failures_of_the_library_are_translated(raised: Exception, told: type[Exception]) -> None:
    with pytest.raises(told), _translated():
        raise raised


def test_a_prompt_beyond_its_bound_is_an_error_not_a_crash(handler: LocalTextHandler) -> None:
    decoding = handler._model.begin(Sampling(0, 1, 1, 1, 0), max_tokens=4)
    assert isinstance(decoding, OnnxDecoding)
    with pytest.raises(BackendError):
        decoding.read([1] * 8)
