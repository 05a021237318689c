"""Continuous batching by transformers, on a tiny Llama on the processor."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.contracts import ChatMessage, Finished, Notice, TextRequest, TextResult
from models.errors import BackendError, InputTooLong, OutOfMemory
from models.text import causal_lm
from models.text.causal_lm import CausalModel, _read_tokenizer, _read_weights
from models.text.continuous import ContinuousText, can_share
from models.text.local import LocalTextHandler
from models.text.options import TextOptions
from tests.models.control import ScratchControl
from tests.models.text.conftest import PARROT_LINE
from tests.models.text.driving import Driven, ask, text_of

pytestmark = pytest.mark.usefixtures("one_thread")

CONTEXT = 600
OPTIONS = TextOptions(repetition_penalty=1, cache_tokens=2048)


def loaded(folder: Path, options: TextOptions = OPTIONS) -> ContinuousText:
    weights = _read_weights(folder, options, "cpu")
    model = CausalModel(weights)
    tokenizer = _read_tokenizer(folder, model, options)
    alone = LocalTextHandler(model, tokenizer, CONTEXT, options)
    return ContinuousText(weights, alone, tokenizer, CONTEXT, options)


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> None:
    """Let no collection of garbage look at the library again: closing a model collects."""
    import transformers

    for name in ("AutoModelForCausalLM", "AutoTokenizer", "LlamaForCausalLM"):
        getattr(transformers, name)  # is imported when it is asked for
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def folder(random_checkpoint: Callable[[str], Path]) -> Path:
    return random_checkpoint("llama")


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Driven]:
    stepper = loaded(folder)
    yield Driven(stepper)
    stepper.close()


@pytest.fixture(scope="module")
def alone(folder: Path) -> Driven:
    weights = CausalModel(_read_weights(folder, OPTIONS, "cpu"))
    tokenizer = _read_tokenizer(folder, weights, OPTIONS)
    return Driven(LocalTextHandler(weights, tokenizer, CONTEXT, OPTIONS))


def test_each_of_eight_says_what_it_says_alone(
    shared: Driven, alone: Driven, control: ScratchControl
) -> None:
    """Greedily: prompts of one to three pages, each with a length of its own."""
    requests = {
        f"job {n}": ask("parrot rain " * (2 + 7 * n), max_new_tokens=3 + 2 * n) for n in range(8)
    }
    happened = shared.together(requests, control)
    for name, request in requests.items():
        assert text_of(happened[name]) == text_of(list(alone.run(request, control))), name
        last = happened[name][-1]
        assert isinstance(last, Finished)
        assert isinstance(last.result, TextResult)
        assert last.result.usage.amount == request.max_new_tokens


def test_each_has_its_own_temperature(parrot: Callable[..., Path], control: ScratchControl) -> None:
    """A parrot recites when it is cold and wanders off when it is hot."""
    stepper = loaded(parrot("llama", [*PARROT_LINE, "<|eot_id|>"]))
    requests = {
        f"{temperature} {n}": ask(temperature=temperature, max_new_tokens=12)
        for temperature in (0.0, 0.05, 2.0)
        for n in range(3)
    }
    try:
        happened = Driven(stepper).together(requests, control)
    finally:
        stepper.close()
    texts = {name: text_of(events) for name, events in happened.items()}
    assert {texts[name] for name in requests if not name.startswith("2.0")} == {"Paris! 🦜"}
    assert {texts[name] for name in requests if name.startswith("2.0")} != {"Paris! 🦜"}


def test_a_seed_repeats_whatever_else_runs(
    shared: Driven, alone: Driven, control: ScratchControl
) -> None:
    seeded = ask(temperature=2.0, seed=7, max_new_tokens=12)
    expected = text_of(list(alone.run(seeded, control)))
    greedy = ask("rain", max_new_tokens=20)
    for _ in range(3):
        happened = shared.together({"seeded": seeded, "beside": greedy}, control)
        assert text_of(happened["seeded"]) == expected
    assert text_of(happened["beside"]) == text_of(list(alone.run(greedy, control)))
    assert not shared.stepper.exact, "so the engine has them run alone"


def test_a_cancel_leaves_the_others_untouched(
    shared: Driven, alone: Driven, control: ScratchControl
) -> None:
    stepper = shared.stepper
    kept = ask("rain", max_new_tokens=20)
    for name in ("kept", "dropped", "seeded", "unbegun"):
        seed = 7 if name == "seeded" else None
        request = kept if name == "kept" else ask("sea", seed=seed, max_new_tokens=400)
        stepper.admit(name, request, control)
        if name == "seeded":
            while "dropped" not in [each for each, _ in stepper.step()]:
                pass
    for name in ("dropped", "seeded", "unbegun"):
        stepper.cancel(name)
    stepper.admit("dropped", kept, control)
    ended: dict[str, Any] = {}
    while len(ended) < 2:
        happened = list(stepper.step())
        assert {name for name, _ in happened} <= {"kept", "dropped"}
        ended |= {name: [event] for name, event in happened if isinstance(event, Finished)}
    assert {text_of(events) for events in ended.values()} == {
        text_of(list(alone.run(kept, control)))
    }


def test_what_cannot_fit_is_refused_and_what_was_left_out_is_told(
    shared: Driven, control: ScratchControl
) -> None:
    turns = tuple(
        ChatMessage("user" if n % 2 == 0 else "assistant", "parrot " * 20) for n in range(9)
    )
    requests = {
        "refused": ask("🦜" * 2500),
        "cut": TextRequest(turns, temperature=0, max_new_tokens=5),
        "fine": ask(max_new_tokens=5),
    }
    happened = shared.together(requests, control)
    assert [type(event) for event in happened["refused"]] == [InputTooLong]
    assert isinstance(happened["cut"][0], Notice)
    assert text_of(happened["cut"])
    assert text_of(happened["fine"])


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), BackendError),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), OutOfMemory),
    ],
)
def test_when_a_pass_fails_its_jobs_do_and_the_next_are_done(
    raised: Exception,
    told: type[Exception],
    shared: Driven,
    control: ScratchControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import LlamaForCausalLM

    def fail(*_: object, **__: object) -> None:
        raise raised

    with monkeypatch.context() as patched:
        patched.setattr(LlamaForCausalLM, "forward", fail)
        happened = shared.together({"one": ask(), "two": ask("sea")}, control)
    assert {type(events[-1]) for events in happened.values()} == {told}
    assert text_of(shared.together({"one": ask(max_new_tokens=3)}, control)["one"])


def test_close_ends_the_thread_and_frees_the_model(folder: Path, control: ScratchControl) -> None:
    before = threading.active_count()
    stepper = loaded(folder)
    assert threading.active_count() == before + 1
    weights = weakref.ref(stepper._alone._model._model)  # type: ignore[attr-defined]
    stepper.admit("job", ask(max_new_tokens=400), control)
    while not list(stepper.step()):
        pass
    stepper.close()
    assert list(stepper.step()) == []
    assert threading.active_count() == before
    del stepper
    assert weights() is None


@pytest.mark.parametrize(
    ("device", "options", "shares"),
    [
        ("cuda:0", {"repetition_penalty": 1}, True),
        ("cuda:0", {}, False),
        ("cuda:0", {"repetition_penalty": 1, "rows": 1}, False),
        ("cpu", {"repetition_penalty": 1}, False),
    ],
)
def test_jobs_share_a_gpu_unless_the_row_asks_for_more(
    device: str, options: dict[str, Any], shares: bool
) -> None:
    assert can_share(TextOptions(**options), device) is shares


def test_the_backend_loads_it_where_jobs_can_share(
    folder: Path, spec: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, control: ScratchControl
) -> None:
    monkeypatch.setattr(causal_lm, "can_share", lambda options, device: True)
    stepper = causal_lm.load(spec(repetition_penalty=1, rows=3), str(folder), "cpu")
    assert isinstance(stepper, ContinuousText)
    assert (stepper.slots, stepper.joins, stepper.exact) == (3, "anytime", False)
    assert text_of(list(Driven(stepper).run(ask(max_new_tokens=4), control)))
    stepper.close()
