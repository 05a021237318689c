"""Rows of the embedded model, with its real weights: eight at once are eight alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.catalog import ModelSpec
from models.errors import BackendError, ModelLoadFailed, OutOfMemory
from models.text.batch import TextStepper
from models.text.onnx_genai import load
from models.text.onnx_rows import OnnxRows, _translated, can_share
from models.text.sampling import Scores
from tests.models.control import ScratchControl
from tests.models.text.driving import Driven, ask, text_of

pytestmark = pytest.mark.slow

Packaged = Callable[[str], tuple[ModelSpec, str]]

PROMPTS = [[(17 * n + 31 * k) % 40_000 + 20 for k in range(3 + 7 * n)] for n in range(8)]
STEPS = 5


@pytest.fixture(scope="module")
def batch(packaged: Packaged) -> Iterator[TextStepper]:
    spec, location = packaged("smollm2-135m")
    loaded = load(spec, location, "cpu")
    assert isinstance(loaded, TextStepper)
    yield loaded
    loaded.close()


@pytest.fixture
def rows(batch: TextStepper) -> Iterator[OnnxRows]:
    model: Any = batch._model
    yield model
    for row in range(model.rows):
        model.clear(row)


def alone(rows: OnnxRows, prompt: list[int]) -> list[Scores]:
    """Return the scores after a prompt and after each of the next tokens, in row 0."""
    lines = [rows.read(0, prompt).copy()]
    for _ in range(STEPS):
        lines.append(rows.advance([int(lines[-1].argmax())])[0].copy())
    rows.clear(0)
    return lines


def test_a_row_is_bit_for_bit_what_it_is_alone(rows: OnnxRows) -> None:
    assert rows.exact
    expected = [alone(rows, prompt) for prompt in PROMPTS]
    last = []
    for row, prompt in enumerate(PROMPTS):
        scores = rows.read(row, prompt)
        np.testing.assert_array_equal(scores, expected[row][0])
        last.append(int(scores.argmax()))
    for step in range(1, STEPS + 1):
        lines = rows.advance(last).copy()
        for row, line in enumerate(lines):
            np.testing.assert_array_equal(line, expected[row][step])
        last = [int(line.argmax()) for line in lines]


def test_rows_change_places_and_one_that_was_cleared_begins_anew(rows: OnnxRows) -> None:
    short, long = (alone(rows, PROMPTS[n]) for n in (1, 6))
    rows.read(0, PROMPTS[1])
    rows.read(1, PROMPTS[6])
    rows.swap(0, 1)
    lines = rows.advance([int(long[0].argmax()), int(short[0].argmax())])
    np.testing.assert_array_equal(lines, [long[1], short[1]])
    rows.clear(0)
    rows.swap(0, 1)
    np.testing.assert_array_equal(rows.advance([int(short[1].argmax())])[0], short[2])
    np.testing.assert_array_equal(rows.read(1, PROMPTS[6]), long[0])


def test_jobs_beside_each_other_say_what_they_say_alone(
    batch: TextStepper, control: ScratchControl
) -> None:
    requests = {
        "greedy": ask("Name three rivers.", max_new_tokens=8),
        "seeded": ask("Tell me of the sea.", temperature=1.2, seed=7, max_new_tokens=12),
        "other": ask("Tell me of the sea.", temperature=1.2, seed=8, max_new_tokens=10),
        "long": ask("The lamp burned. " * 20, temperature=0.7, seed=9, max_new_tokens=4),
    }
    driven = Driven(batch)
    happened = driven.together(requests, control)
    texts = {name: text_of(events) for name, events in happened.items()}
    for name, request in requests.items():
        assert texts[name] == text_of(list(driven.run(request, control))), name
    assert texts["seeded"] != texts["other"]


def test_a_row_that_grows_too_long_is_an_error_not_a_crash(rows: OnnxRows) -> None:
    rows.read(0, PROMPTS[2])
    with pytest.raises(BackendError):
        rows.read(0, [5] * rows.context_tokens)
    rows.advance([5])


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (MemoryError(), OutOfMemory),
        (Exception("Failed to allocate memory for requested buffer of size 4096"), OutOfMemory),
        (Exception("Non-zero status code returned while running MatMulNBits node"), BackendError),
        (OutOfMemory(), OutOfMemory),
    ],
)
def test_failures_of_the_library_are_translated(raised: Exception, told: type[Exception]) -> None:
    with pytest.raises(told), _translated(BackendError):
        raise raised


@pytest.mark.parametrize("shared", [True, False])
def test_a_graph_says_whether_its_caches_have_places(shared: bool, tmp_path: Path) -> None:
    _describe(tmp_path, {"search": {"past_present_share_buffer": shared}})
    assert can_share(tmp_path) is shared


@pytest.mark.parametrize("about", [{}, {"model": {"decoder": {"filename": "none.onnx"}}}])
def test_what_is_no_model_fails_to_load(about: Mapping[str, Any], tmp_path: Path) -> None:
    _describe(tmp_path, about)
    with pytest.raises(ModelLoadFailed):
        OnnxRows(tmp_path, 2, 100)


def _describe(folder: Path, about: Mapping[str, Any]) -> None:
    (folder / "genai_config.json").write_text(json.dumps(about))
