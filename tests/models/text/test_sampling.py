"""Draws from scores, against what transformers would do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from models.errors import BackendError
from models.text.options import TextOptions
from models.text.sampling import Sampler, Sampling, Scores
from tests.models.text.driving import ask

VOCABULARY = 300


def sampling(**changes: Any) -> Sampling:
    usual = {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.0, "seed": 1}
    return Sampling(**{**usual, **changes})


def scores(seed: int = 0, size: int = VOCABULARY) -> Scores:
    return np.random.default_rng(seed).normal(0, 2, size).astype(np.float32)


@pytest.mark.parametrize("size", [300, 128 * 90 + 5])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("top_k", "top_p", "temperature"), [(40, 0.9, 0.7), (1000, 0.5, 1.5), (3, 1, 0.2), (1, 0.1, 2)]
)
def test_chances_are_those_of_transformers(
    size: int, seed: int, top_k: int, top_p: float, temperature: float
) -> None:
    import torch
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    theirs = torch.from_numpy(scores(seed, size))[None]
    for warper in (
        TemperatureLogitsWarper(float(temperature)),
        TopKLogitsWarper(top_k),
        TopPLogitsWarper(float(top_p)),
    ):
        theirs = warper(None, theirs)
    expected = theirs.softmax(-1)[0].numpy()
    sampler = Sampler(sampling(top_k=top_k, top_p=top_p, temperature=temperature), size)
    tokens, chances = sampler.chances(scores(seed, size))
    assert set(tokens) == set(np.flatnonzero(expected))
    np.testing.assert_allclose(chances, expected[tokens], rtol=1e-4)


def test_repetition_is_penalised_as_in_transformers() -> None:
    import torch
    from transformers import RepetitionPenaltyLogitsProcessor

    said = [5, 7, 7, 250]
    processor = RepetitionPenaltyLogitsProcessor(1.3)
    expected = processor(torch.tensor([said]), torch.from_numpy(scores())[None])[0].numpy()
    sampler = Sampler(sampling(repetition_penalty=1.3), VOCABULARY)
    sampler.read(said)
    np.testing.assert_allclose(sampler.penalised(scores()), expected, rtol=1e-6)


def test_what_was_drawn_counts_as_said() -> None:
    sampler = Sampler(sampling(temperature=0, repetition_penalty=100.0), 3)
    line = np.array([3, 2, 1], np.float32)
    assert [sampler.draw(line) for _ in range(3)] == [0, 1, 2]
    assert line.tolist() == [3, 2, 1], "the model's own scores are left alone"


def test_draws_follow_the_chances() -> None:
    sampler = Sampler(sampling(temperature=1, top_p=1, top_k=3), 3)
    line = np.log(np.array([0.6, 0.3, 0.1], np.float32))
    drawn = Counter(sampler.draw(line) for _ in range(4000))
    assert [drawn[token] / 4000 for token in range(3)] == pytest.approx([0.6, 0.3, 0.1], abs=0.04)


def test_a_seed_repeats_and_another_does_not() -> None:
    def drawn(seed: int) -> list[int]:
        sampler = Sampler(sampling(temperature=2, seed=seed), VOCABULARY)
        return [sampler.draw(scores(each)) for each in range(20)]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert len(drawn(2**32 - 1)) == 20


def test_without_a_temperature_the_best_is_taken_whatever_the_seed() -> None:
    best = int(scores().argmax())
    assert {
        Sampler(sampling(temperature=0, seed=n), VOCABULARY).draw(scores()) for n in (1, 2)
    } == {best}


@pytest.mark.parametrize("temperature", [0, 0.7])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_an_error(temperature: float, wrong: float) -> None:
    line = scores()
    line[3] = wrong
    with pytest.raises(BackendError):
        Sampler(sampling(temperature=temperature), VOCABULARY).draw(line)


def test_the_catalogue_and_the_member_choose_together() -> None:
    options = TextOptions(temperature_scale=0.5, top_k=7, top_p=0.3, repetition_penalty=1.2)
    chosen = Sampling.of(ask(temperature=1.0, seed=9), options)
    assert chosen == Sampling(0.5, 0.3, 7, 1.2, 9)
    assert Sampling.of(ask(), options).seed != Sampling.of(ask(), options).seed
