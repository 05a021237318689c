"""What does not fit is told in the words of the commands, never in those of a library."""

from __future__ import annotations

from typing import Any

import pytest

from models.contracts import ImageRequest, SpeechRequest, make_request
from models.contracts.codec import amended
from models.errors import InvalidRequest


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"width_px": 5}, "`width` is at least 16."),
        ({"height_px": 99_999}, "`height` is at most 4096."),
        ({"guidance_scale": 31}, "`guidance` is at most 30.0."),
        ({"num_inference_steps": 0}, "`steps` is at least 1."),
        ({"strength": 0}, "`strength` is more than 0.0."),
        ({"prompt": "x" * 4001}, "`prompt` has at most 4,000 characters."),
        ({"prompt": ""}, "`prompt` is empty."),
        ({"seed": "soon"}, "`seed` can't be that."),
        ({"count": 5, "width_px": 5}, "`width` is at least 16; `count` is at most 4."),
    ],
)
def test_a_bound_is_named(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        make_request(ImageRequest, **{"prompt": "a lighthouse", **fields})
    assert refused.value.user_message == f"That does not fit: {says}"


def test_so_it_is_when_a_request_is_changed() -> None:
    with pytest.raises(InvalidRequest, match="`pause` is at most 3"):
        amended(make_request(SpeechRequest, text="hi"), pause_s=9.0)
