"""The embedded model, with its real weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.catalog import ModelSpec, backend_entry_point
from models.contracts import ChatMessage, TextRequest, TextResult
from models.text import causal_lm
from models.text.batch import TextStepper
from tests.models.control import ScratchControl, result_of
from tests.models.text.driving import Driven

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
QUESTION = "What is the capital of France?"

Packaged = Callable[[str], tuple[ModelSpec, str]]


def answer(handler: Driven, control: ScratchControl, **options: object) -> TextResult:
    request = TextRequest(messages=(ChatMessage("user", QUESTION),), **options)
    result = result_of(handler.run(request, control))
    assert isinstance(result, TextResult)
    return result


@pytest.fixture(scope="module")
def smollm(packaged: Packaged) -> Driven:
    spec, location = packaged("smollm2-135m")
    handler = backend_entry_point(spec.backend).load()(spec, location, "cpu")
    assert isinstance(handler, TextStepper)
    return Driven(handler)


def test_it_names_the_capital_of_france(smollm: Driven, control: ScratchControl) -> None:
    result = answer(smollm, control, temperature=0)
    assert "Paris" in result.text
    assert result.finish_reason == "stop"
    assert result.prompt_tokens == 37


def test_it_names_it_more_often_than_not_at_the_usual_temperature(
    smollm: Driven, control: ScratchControl
) -> None:
    answers = [answer(smollm, control, seed=seed, max_new_tokens=16).text for seed in range(5)]
    assert sum("Paris" in text for text in answers) >= 3


def test_a_seed_repeats(smollm: Driven, control: ScratchControl) -> None:
    first, second = (
        answer(smollm, control, temperature=1.5, seed=5, max_new_tokens=24) for _ in range(2)
    )
    assert first == second


@pytest.mark.usefixtures("one_thread")
def test_it_agrees_with_transformers(
    packaged: Packaged, smollm: Driven, control: ScratchControl
) -> None:
    """The same weights through the other engine: the same prompt, and the capital."""
    spec, location = packaged("smollm2-135m-transformers")
    handler = Driven(causal_lm.load(spec, location, "cpu"))
    result = answer(handler, control, temperature=0)
    assert "Paris" in result.text
    assert result.prompt_tokens == answer(smollm, control, temperature=0).prompt_tokens


WORKER = """
import sys, psutil
from models.catalog import ModelSpec
from models.contracts import ChatMessage, TextRequest
from models.text.onnx_genai import load

class Control:
    cancelled = False

def rss():
    return psutil.Process().memory_info().rss

def cycle():
    handler = load(ModelSpec.model_validate_json(sys.argv[1]), sys.argv[2], "cpu")
    request = TextRequest(messages=(ChatMessage("user", "parrot " * 500),), max_new_tokens=4)
    handler.admit("job", request, Control())
    while "finished" not in [event.type for _, event in handler.step()]:
        pass
    loaded = rss()
    handler.close()
    return loaded

cycle()  # now the libraries are in
before = rss()
print(cycle() - before, rss() - before, sorted({"torch", "transformers"} & set(sys.modules)))
"""


def test_a_worker_stays_small(packaged: Packaged, smollm: object) -> None:
    """It gives the model's memory back, and never imports torch."""
    spec, location = packaged("smollm2-135m")
    done = subprocess.run(
        [sys.executable, "-c", WORKER, spec.model_dump_json(), location],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    taken, kept, heavy = done.stdout.split(maxsplit=2)
    assert int(taken) > 120e6
    assert int(kept) < 0.2 * int(taken)
    assert heavy == "[]\n"
