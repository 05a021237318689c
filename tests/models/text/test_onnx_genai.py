"""The onnxruntime-genai backend on a tiny Llama, converted as in production.

With rows it is plain onnxruntime that runs the graph, with one row the library that wrote it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from models.catalog import ModelSpec
from models.contracts import ChatMessage, TextDelta, TextRequest, TextResult
from models.errors import BackendError, InputTooLong, ModelLoadFailed, OutOfMemory
from models.text import batch, local, onnx_genai
from models.text.batch import TextStepper
from models.text.local import LocalTextHandler
from models.text.onnx_genai import OnnxModel, _translated, load
from models.text.sampling import Sampling
from tests.models.control import ScratchControl, notices, result_of, stages, streamed
from tests.models.text.conftest import PARROT_LINE
from tests.models.text.driving import Driven, ask

MakeSpec = Callable[..., ModelSpec]


@pytest.fixture(scope="session")
def checkpoint(parrot: Callable[..., Path]) -> Path:
    return parrot("llama", [*PARROT_LINE, "<|eot_id|>"])


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(params=[1, 8])
def rows(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def handler(rows: int, spec: MakeSpec, checkpoint: Path, cache: Path) -> Driven:
    loaded = load(spec(cache_dir=str(cache), rows=rows), str(checkpoint), "cpu")
    assert isinstance(loaded, LocalTextHandler if rows == 1 else TextStepper)
    return Driven(loaded)


def test_streams_whole_characters(handler: Driven, control: ScratchControl) -> None:
    events = list(handler.run(ask(), control))
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(deltas) == "Paris! 🦜"
    assert not any("\ufffd" in delta for delta in deltas)
    result = result_of(events)
    assert isinstance(result, TextResult)
    assert (result.text, result.finish_reason) == ("Paris! 🦜", "stop")


def test_a_long_prompt_is_read_in_chunks(
    rows: int, handler: Driven, control: ScratchControl
) -> None:
    events = list(handler.run(ask("parrot " * 120), control))
    result = result_of(events)
    assert isinstance(result, TextResult)
    chunk = local.PROMPT_CHUNK if rows == 1 else batch.PROMPT_CHUNK
    assert len(stages(events)) == (result.prompt_tokens - 1) // chunk > 2
    assert streamed(events) == "Paris! 🦜"


def test_a_seed_repeats(handler: Driven, control: ScratchControl) -> None:
    def sample(seed: int | None) -> str:
        request = ask(temperature=2, seed=seed, max_new_tokens=30)
        return streamed(handler.run(request, control))

    assert sample(7) == sample(7)
    assert sample(7) != sample(8)
    assert sample(None) != sample(None)
    assert sample(2**32 - 1)


def test_stops_at_max_new_tokens(handler: Driven, control: ScratchControl) -> None:
    result = result_of(handler.run(ask(max_new_tokens=2), control))
    assert isinstance(result, TextResult)
    assert (result.finish_reason, result.usage.amount) == ("length", 2)


@pytest.mark.parametrize("after", ["the first chunk", "the first token"])
def test_a_cancel_is_heard_within_a_step(
    after: str, handler: Driven, control: ScratchControl
) -> None:
    job = handler.run(ask("parrot " * 120, temperature=2, max_new_tokens=200), control)
    for event in job:
        if isinstance(event, TextDelta) or after == "the first chunk":
            control.cancelled = True
            break
    assert list(job) == []


def test_long_conversations_lose_their_oldest_turns(
    rows: int, spec: MakeSpec, checkpoint: Path, cache: Path, control: ScratchControl
) -> None:
    row = spec(cache_dir=str(cache), context_tokens=600, rows=rows)
    handler = Driven(load(row, str(checkpoint), "cpu"))
    turns = [ChatMessage("user" if n % 2 == 0 else "assistant", "parrot " * 20) for n in range(9)]
    events = list(handler.run(TextRequest(messages=tuple(turns), temperature=0), control))
    assert "messages were left out" in notices(events)[0]
    assert streamed(events) == "Paris! 🦜"


def test_a_question_that_cannot_fit_is_refused(handler: Driven, control: ScratchControl) -> None:
    with pytest.raises(InputTooLong):
        list(handler.run(ask("🦜" * 2500), control))


def test_a_closed_model_answers_nothing(handler: Driven, control: ScratchControl) -> None:
    handler.stepper.close()
    with pytest.raises(BackendError):
        list(handler.run(ask(), control))


def test_a_damaged_cache_is_mended(
    spec: MakeSpec,
    checkpoint: Path,
    handler: Driven,
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


def test_a_prompt_beyond_its_bound_is_an_error_not_a_crash(handler: Driven, cache: Path) -> None:
    decoding = OnnxModel(cache / "form").begin(Sampling(0, 1, 1, 1, 0), max_tokens=4)
    with pytest.raises(BackendError):
        decoding.read([1] * 8)


def test_a_graph_whose_caches_move_is_left_to_the_library(
    spec: MakeSpec, checkpoint: Path, handler: Driven, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_genai, "can_share", lambda folder: False)
    loaded = load(spec(cache_dir=str(cache), rows=8), str(checkpoint), "cpu")
    assert isinstance(loaded, LocalTextHandler)
