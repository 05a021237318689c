"""A short run of the code that makes the captioner, and the rules that read its captions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.catalog import ModelSpec, PathSource
from models.contracts import Modality, VisionRequest, VisionResult
from models.vision.image_text import load
from tests.models.control import ScratchControl, media_of, result_of
from training import captioner
from training.caption_model import (
    CELLS,
    UNKNOWN,
    new_captioner,
    new_tokenizer,
    save_captioner,
)
from training.captions import caption, full_caption
from training.claims import claims_of, same_relation, same_things, truth_of
from training.drawing import draw
from training.lessons import NONE, Mixture, lesson
from training.running import Run, optimizer_for
from training.scenes import Colour, Ground, Kind, Relation, Split, Time, Weather, scene_of
from training.unknown import HELD_OUT, KINDS, unknown_picture


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# --------------------------------------------------------------------------- learning


def test_the_captioner_learns_and_its_files_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.running._WARM_UP", 4)
    monkeypatch.setattr(captioner, "MIXTURE", Mixture(4, 2, 2))
    torch.manual_seed(0)
    modules = {"captioner": new_captioner(), "hints": captioner.new_hints()}
    run = Run(tmp_path / "captioner.pt", modules, optimizer_for(modules, 1e-3, 0.0))
    losses = [words for words, _ in captioner.train(14, run, modules)]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])

    save_captioner(tmp_path / "model", run.averaged("captioner"))
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 10e6
    draw(scene_of(Split.TRAIN, 1)).image.resize((512, 512)).save(tmp_path / "scene.png")
    spec = ModelSpec(
        id="short",
        name="Short",
        modality=Modality.VISION,
        backend="transformers-vision",
        source=PathSource(path=str(tmp_path / "model")),
        licence="MIT",
        commercial_use=True,
        memory_mb=1,
        load_s=1,
        capabilities=frozenset({"caption"}),
    )
    handler = load(spec, str(tmp_path / "model"), "cpu")
    request = VisionRequest((media_of(tmp_path / "scene.png", "image/png"),), "caption")
    result = result_of(handler.run(request, ScratchControl(tmp_path)))
    handler.close()
    assert isinstance(result, VisionResult)
    assert set(result.answers[0].text.lower().replace(",", " ").split()) <= set(
        new_tokenizer().get_vocab()
    )


def test_the_rate_falls_twice() -> None:
    rates = [captioner._rate_at(step, captioner.STEPS) for step in range(captioner.STEPS)]
    first, second = rates[:5000], rates[5000:]
    assert max(first) == captioner.PEAK_RATE
    assert max(first) > max(second) > 10 * max(first[-1], second[-1])


def test_a_lesson_tells_the_truth_about_mirrored_pictures() -> None:
    given = lesson(Split.TRAIN, random.Random(5), Mixture(24, 3, 2))
    assert given.pixels.shape == (29, 3, 128, 128)
    assert given.words.shape[0] == 27
    assert given.known.tolist() == [1.0] * 24 + [0.0] * 3
    tokenizer = new_tokenizer()
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in given.words]
    assert texts[24:] == [UNKNOWN] * 3
    assert bool((given.kinds[24:27] == len(Kind)).all())
    assert bool((given.surroundings[24:27] == NONE).all())
    kinds, columns = tuple(Kind), np.arange(CELLS)
    compared = 0
    for number, text in enumerate(texts[:24]):
        said = claims_of(text)
        if said.relation not in (Relation.LEFT, Relation.RIGHT):
            continue
        middles = []
        for kind, _ in said.things:
            cells = (given.kinds[number] == kinds.index(kind)).reshape(CELLS, CELLS).sum(dim=0)
            middles.append(float((cells.numpy() * columns).sum() / cells.sum()))
        if said.things[0][0] is said.things[1][0]:
            continue
        assert (middles[0] < middles[1]) == (said.relation is Relation.LEFT)
        compared += 1
    assert compared > 3
    crowded = given.kinds[27]
    assert int((crowded != len(Kind)).sum()) > 12


# --------------------------------------------------------------------------- unknown pictures


@pytest.mark.parametrize("kind", sorted(KINDS | HELD_OUT))
def test_pictures_of_each_kind_differ_and_can_be_made_again(kind: str) -> None:
    make = (KINDS | HELD_OUT)[kind]
    first, again, other = (make(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_training_never_sees_the_kinds_that_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in HELD_OUT:
        monkeypatch.setitem(HELD_OUT, name, lambda _: pytest.fail("it was seen"))
    for number in range(150):
        assert unknown_picture(Split.TRAIN, number).size in ((64, 64), (128, 128))


# --------------------------------------------------------------------------- claims


def test_a_full_caption_claims_what_is_in_the_scene() -> None:
    for number in range(300):
        scene = scene_of(Split.TRAIN, number)
        said, true = claims_of(full_caption(scene)), truth_of(scene)
        assert said.relation is not Relation.RIGHT
        assert same_things(said, true)
        assert same_relation(said, true)
        apart = {"things": (), "relation": None}
        assert replace(said, **apart) == replace(true, **apart)


def test_other_wordings_of_things_are_read_too() -> None:
    chance = random.Random(3)
    for number in range(200):
        scene = scene_of(Split.TRAIN, number)
        said = claims_of(caption(scene, chance))
        kinds = sorted(kind for kind, _ in said.things)
        assert kinds == sorted(thing.kind for thing in scene.things)


def test_claims_are_taken_apart() -> None:
    said = claims_of(
        "A big red house to the left of a white cat on the snow at night, in falling snow, "
        "with mountains."
    )
    assert said.things == ((Kind.HOUSE, Colour.RED), (Kind.CAT, Colour.WHITE))
    assert (said.relation, said.time) == (Relation.LEFT, Time.NIGHT)
    assert (said.ground, said.weather) == (Ground.SNOW, Weather.SNOW)
    assert said.extras == {"mountains"}
    nothing = claims_of(UNKNOWN)
    assert (nothing.things, nothing.time, nothing.ground) == ((), None, None)


def test_the_same_may_be_said_from_the_other_side() -> None:
    first = claims_of("a red cat to the left of a blue car on the road by day")
    turned = claims_of("a blue car to the right of a red cat on the road by day")
    wrong = claims_of("a red cat to the right of a blue car on the road by day")
    other = claims_of("a red cat to the left of a green car on the road by day")
    assert same_relation(first, turned)
    assert same_things(first, turned)
    assert not same_relation(first, wrong)
    assert not same_things(first, other)
    above = claims_of("a red kite above a blue car on the road by day")
    assert not same_relation(above, first)
