"""What is in clips, and in the words that tell of them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.training.drawn_clips import SCENES, frames
from training.captions import vocabulary
from training.clip_captions import clip_caption, clip_vocabulary
from training.clip_model import new_clip_tokenizer
from training.clip_scenes import clip_scene_of, frames_of, is_sun_moving
from training.motion import FRAMES, GOING, MOVING, STEP_PX
from training.scenes import Kind, Split, Weather
from training.words import COLOURS, KINDS


@pytest.mark.parametrize("kind", Kind)
def test_a_thing_stays_in_the_picture_and_moves_by_whole_pixels(kind: Kind) -> None:
    drawn = [frames_of(s) for s in SCENES if s.things and s.things[0].kind is kind][:4]
    assert drawn
    for drawing in drawn:
        assert len(drawing) == FRAMES
        boxes = np.array([frame.boxes[0] for frame in drawing])
        sizes = boxes[:, 2:] - boxes[:, :2]
        assert np.ptp(sizes, axis=0).max() <= 1  # nothing is cut off, at no time
        steps = np.abs(np.diff(boxes[:, 0]))
        if kind in GOING:
            assert np.abs(steps - STEP_PX).max() <= 1
        assert (np.ptp(boxes, axis=0).max() > 4) == (kind in MOVING)


def test_the_ground_stands_still_unless_the_sky_moves() -> None:
    scene = next(
        s for s in SCENES if s.weather is Weather.CLOUDY and s.things and s.things[0].kind in GOING
    )
    pixels = frames(scene)
    free = np.max([frame.mask for frame in frames_of(scene)], axis=0) == 0
    assert np.ptp(pixels, axis=0)[free].max() == 0


def test_training_never_sees_a_held_out_clip() -> None:
    of_training = {clip_scene_of(Split.TRAIN, number).combination for number in range(1500)}
    assert not of_training & {s.combination for s in SCENES if s.held_out}


def test_words_say_all_that_is_not_as_usual() -> None:
    """What is meant by a caption is then one scene, but for what no caption tells."""
    for number, scene in enumerate(SCENES):
        text = clip_caption(scene, random.Random(number))
        said = f" {' '.join(new_clip_tokenizer().tokenize(text))} "
        for thing in scene.things:
            assert any(f" {word} " in said for word in KINDS[thing.kind]), text
            assert any(f" {word} " in said for word in COLOURS[thing.colour]), text
            if thing.mirrored:
                assert " to the left " in said or "left" in said.replace("from left", ""), text
        if is_sun_moving(scene):
            assert " sun " in said, text
        if scene.weather is Weather.SNOW:
            assert "snow" in said, text


def test_every_word_has_a_number_and_those_of_pictures_keep_theirs() -> None:
    known = clip_vocabulary()
    assert known[: len(vocabulary())] == vocabulary()
    assert len(set(known)) == len(known)
    tokenizer = new_clip_tokenizer()
    for number, scene in enumerate(SCENES):
        for split in Split:
            text = clip_caption(scene, random.Random(number), split)
            assert tokenizer.unk_token_id not in tokenizer(text).input_ids, text
