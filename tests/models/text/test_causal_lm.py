"""The transformers backend on tiny checkpoints of the real architectures."""

from __future__ import annotations

import pickle
import re
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from models.catalog import ModelSpec
from models.contracts import ChatMessage, Finished, TextDelta, TextRequest, TextResult
from models.errors import BackendError, InputTooLong, ModelLoadFailed, OutOfMemory
from models.text.causal_lm import CausalModel, _read_weights, load
from models.text.local import LocalTextHandler
from models.text.options import TextOptions
from tests.models.checkpoints import FAMILIES
from tests.models.control import ScratchControl, notices, result_of, stages, streamed
from tests.models.text.conftest import PARROT_LINE
from tests.models.text.driving import ask

pytestmark = pytest.mark.usefixtures("one_thread")

Checkpoint = Callable[[str], Path]
MakeSpec = Callable[..., ModelSpec]
MakeParrot = Callable[..., Path]


@pytest.fixture
def llama(random_checkpoint: Checkpoint, spec: MakeSpec) -> LocalTextHandler:
    return load(spec(), str(random_checkpoint("llama")), "cpu")


@pytest.mark.parametrize("family", FAMILIES)
def test_decodes_as_generate_does(
    family: str, random_checkpoint: Checkpoint, spec: MakeSpec, control: ScratchControl
) -> None:
    """A prompt of several chunks, then each token from the cache, as the library would."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = random_checkpoint(family)
    handler = load(spec(repetition_penalty=1), str(folder), "cpu")
    text = "Once upon a time there was a parrot. " * 20
    result = result_of(handler.run(ask(text, max_new_tokens=24), control))

    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt"
    )
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    expected = output[0, inputs["input_ids"].shape[1] :]
    assert isinstance(result, TextResult)
    assert result.prompt_tokens == inputs["input_ids"].shape[1] > 128
    assert result.usage.amount == len(expected)
    written = result.text or result.reasoning
    assert written
    assert _printable(written) == _printable(tokenizer.decode(expected, skip_special_tokens=True))


def _printable(text: str) -> str:
    """Drop what differs at the ends: white space, and bytes that never became a character."""
    return "".join(char for char in text if char.isprintable() and char not in " \ufffd")


def test_streams_whole_characters(
    parrot: MakeParrot, spec: MakeSpec, control: ScratchControl
) -> None:
    folder = parrot("llama", [*PARROT_LINE, "<|eot_id|>"])
    events = list(load(spec(), str(folder), "cpu").run(ask(), control))
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(deltas) == "Paris! 🦜"
    assert "\ufffd" not in "".join(deltas)
    result = result_of(events)
    assert isinstance(result, TextResult)
    assert (result.text, result.finish_reason) == ("Paris! 🦜", "stop")


@pytest.mark.parametrize(
    ("template_opens", "special"), [(True, False), (True, True), (False, False), (False, True)]
)
def test_reasoning_is_told_apart(
    template_opens: bool,
    special: bool,
    parrot: MakeParrot,
    spec: MakeSpec,
    control: ScratchControl,
) -> None:
    """The tags may be special tokens or not, and the template may open the thoughts itself."""
    family = FAMILIES["deepseek-distill"]
    changes: dict[str, object] = {}
    recital = ["Hm", "</think>", *PARROT_LINE, "<|end|>"]
    if not template_opens:
        changes["template"] = family.template.replace("<think>\n", "")
        recital.insert(0, "<think>")
    if special:
        begin, *others = family.special
        changes |= {"special": (begin, "<think>", "</think>", *others), "plain": ()}
    handler = load(spec(), str(parrot("deepseek-distill", recital, **changes)), "cpu")
    events = list(handler.run(ask(), control))
    result = result_of(events)
    assert isinstance(result, TextResult)
    assert (result.reasoning, result.text) == ("Hm", "Paris! 🦜")
    thoughts = [e.text for e in events if isinstance(e, TextDelta) and e.channel == "reasoning"]
    assert "".join(thoughts) == "Hm"


def test_a_seed_repeats(llama: LocalTextHandler, control: ScratchControl) -> None:
    def sample(seed: int | None) -> str:
        return streamed(llama.run(ask(temperature=2, seed=seed, max_new_tokens=30), control))

    assert sample(7) == sample(7)
    assert sample(7) != sample(8)
    assert sample(None) != sample(None)
    assert sample(2**32 - 1)


def test_a_seed_repeats_whatever_runs_between(
    llama: LocalTextHandler, control: ScratchControl
) -> None:
    import torch

    request = ask(temperature=2, seed=7, max_new_tokens=30)
    alone = streamed(llama.run(request, control))
    torch.manual_seed(99)
    events = []
    for event in llama.run(request, control):
        torch.rand(10)
        events.append(event)
    assert streamed(events) == alone


def test_stops_at_max_new_tokens(
    parrot: MakeParrot, spec: MakeSpec, control: ScratchControl
) -> None:
    handler = load(spec(), str(parrot("llama", [*PARROT_LINE, "<|eot_id|>"])), "cpu")
    result = result_of(handler.run(ask(max_new_tokens=2), control))
    assert isinstance(result, TextResult)
    assert result.finish_reason == "length"
    assert result.usage.amount == 2


@pytest.mark.parametrize("after", ["the first chunk", "the first token"])
def test_a_cancel_is_heard_within_a_step(
    after: str, llama: LocalTextHandler, control: ScratchControl
) -> None:
    text = "Once upon a time there was a parrot. " * 20
    job = llama.run(ask(text, max_new_tokens=200), control)
    for event in job:
        if isinstance(event, TextDelta) or after == "the first chunk":
            control.cancelled = True
            break
    assert list(job) == []


def test_close_frees_the_model(random_checkpoint: Checkpoint) -> None:
    model = CausalModel(_read_weights(random_checkpoint("llama"), TextOptions(), "cpu"))
    weights = weakref.ref(model._model)
    assert weights() is not None
    model.close()
    assert weights() is None


def test_long_conversations_lose_their_oldest_turns(
    random_checkpoint: Checkpoint, spec: MakeSpec, control: ScratchControl
) -> None:
    handler = load(spec(context_tokens=600), str(random_checkpoint("llama")), "cpu")
    turns = [
        ChatMessage("user" if n % 2 == 0 else "assistant", f"turn {n} " + "parrot " * 20)
        for n in range(9)
    ]
    request = TextRequest(messages=tuple(turns), temperature=0, max_new_tokens=20)
    events = list(handler.run(request, control))
    (notice,) = notices(events)
    assert re.search(r"its oldest [246] messages were left out", notice)
    result = result_of(events)
    assert isinstance(result, TextResult)
    assert 300 < result.prompt_tokens <= 580


def test_a_question_that_cannot_fit_is_refused(
    random_checkpoint: Checkpoint, spec: MakeSpec, control: ScratchControl
) -> None:
    """The context of the weights counts, whatever the catalogue says."""
    handler = load(spec(context_tokens=100_000), str(random_checkpoint("llama")), "cpu")
    with pytest.raises(InputTooLong, match=r"10,0\d\d tokens"):
        list(handler.run(ask("🦜" * 2500), control))


def test_a_long_prompt_reports_progress(llama: LocalTextHandler, control: ScratchControl) -> None:
    events = list(llama.run(ask("parrot " * 200, max_new_tokens=1), control))
    assert set(stages(events)) == {"reading the conversation"}
    assert isinstance(events[-1], Finished)


def test_pickled_weights_are_refused(
    random_checkpoint: Checkpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    for file in random_checkpoint("llama").iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(ModelLoadFailed):
        load(spec(), str(tmp_path), "cpu")


def test_code_beside_the_weights_is_not_run(
    random_checkpoint: Checkpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    for file in random_checkpoint("llama").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = (tmp_path / "config.json").read_text()
    auto = '{"auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"},'
    own = config.replace("{", auto, 1).replace('"llama"', '"its-own"')
    (tmp_path / "config.json").write_text(own)
    (tmp_path / "own.py").write_text("raise SystemExit('this ran')")
    with pytest.raises(ModelLoadFailed):
        load(spec(), str(tmp_path), "cpu")


@pytest.mark.parametrize("location", ["nowhere", "empty", "garbage.gguf"])
def test_what_is_not_a_checkpoint_fails_to_load(
    location: str, spec: MakeSpec, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelLoadFailed):
        load(spec(cache_dir=str(tmp_path / "cache")), str(tmp_path / location), "cpu")


def test_unknown_options_fail_to_load(random_checkpoint: Checkpoint, spec: MakeSpec) -> None:
    with pytest.raises(ModelLoadFailed, match="options of `tiny`"):
        load(spec(top_q=1), str(random_checkpoint("llama")), "cpu")


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), OutOfMemory),
        (MemoryError(), OutOfMemory),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), BackendError),
    ],
)
def test_failures_of_torch_are_translated(
    raised: Exception,
    told: type[Exception],
    llama: LocalTextHandler,
    control: ScratchControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import LlamaForCausalLM

    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(LlamaForCausalLM, "forward", fail)
    with pytest.raises(told):
        list(llama.run(ask(), control))
