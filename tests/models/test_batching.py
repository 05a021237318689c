"""Which jobs can share a batch."""

from __future__ import annotations

import pytest

from models.batching import batch_key
from models.catalog import EndpointSource
from models.contracts import ImageRequest, MediaInput, Modality, SpeechRequest
from tests.fakes import fake_model, text_request

PHOTO = MediaInput("0" * 32, "a.png", "image/png", 9, "0" * 64)
DRAWS = fake_model("draws", Modality.IMAGE, options={"num_inference_steps": 30})
ASKS = fake_model("asks", Modality.IMAGE, source=EndpointSource(url="http://x/v1", model="y"))


def test_texts_can_always_be_together():
    assert batch_key(fake_model(), text_request("a", max_new_tokens=9, seed=3)) == ""
    assert batch_key(fake_model(), text_request("b", temperature=0.0)) == ""
    assert batch_key(fake_model("s", Modality.SPEECH), SpeechRequest("a")) == ""


def test_pictures_can_be_together_that_one_call_draws():
    plain = batch_key(DRAWS, ImageRequest("a"))
    assert plain == "1024x1024/30/usual"
    assert batch_key(DRAWS, ImageRequest("b", negative_prompt="c", count=4, seed=7)) == plain
    assert batch_key(DRAWS, ImageRequest("a", num_inference_steps=30)) == plain


@pytest.mark.parametrize(
    "other",
    [{"width_px": 512}, {"height_px": 512}, {"num_inference_steps": 8}, {"guidance_scale": 0.0}],
)
def test_pictures_of_another_size_or_course_are_drawn_apart(other):
    assert batch_key(DRAWS, ImageRequest("a", **other)) != batch_key(DRAWS, ImageRequest("a"))


def test_a_picture_that_starts_from_another_is_drawn_alone():
    assert batch_key(DRAWS, ImageRequest("a", reference=PHOTO)) is None


def test_to_a_server_sizes_do_not_matter():
    assert batch_key(ASKS, ImageRequest("a", width_px=512, reference=PHOTO)) == ""
