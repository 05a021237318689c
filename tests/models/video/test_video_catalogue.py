"""The rows of the catalogue that make clips: each is what its family turns out to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.catalog import BundledSource, Catalog, EndpointSource, HubSource, ModelSpec
from models.contracts import Modality, VideoRequest
from models.video.diffusion_video import load
from tests.models.control import ScratchControl, notices
from tests.models.video.conftest import result_of

ROWS = {
    row.id: row
    for row in Catalog.read(Path(__file__).resolve().parents[3] / "config").of(Modality.VIDEO)
}
FAMILY_OF = {
    "cogvideox-2b": "cogvideox",
    "wan-2.1-1.3b": "wan",
    "ltx-video": "ltx",
    "wan-2.2-5b": "wan-2.2",
}
HOSTED = {row.id: row for row in ROWS.values() if isinstance(row.source, EndpointSource)}


def test_every_row_is_tested() -> None:
    bundled = {row.id for row in ROWS.values() if isinstance(row.source, BundledSource)}
    assert bundled == {"drawings-in-motion"}  # test_embedded.py, with its real weights
    assert {*FAMILY_OF, *HOSTED, *bundled, "own-video"} == set(ROWS)


@pytest.mark.parametrize("model_id", FAMILY_OF)
def test_a_row_declares_what_its_model_can_do(
    model_id: str, checkpoint: Callable[[str], Path], control: ScratchControl
) -> None:
    row = ROWS[model_id]
    spec = row.model_copy(update={"options": {**row.options, "min_pixels": 64}})
    handler = load(spec, str(checkpoint(FAMILY_OF[model_id])), "cpu")
    able = handler._pipeline.abilities
    frames = next(n for n in range(9, 99, 8) if n / row.options["fps"] >= 0.5)
    request = VideoRequest(
        prompt="a gate creaks open",
        negative_prompt="blur",
        seconds=frames / row.options["fps"],
        width_px=64,
        height_px=64,
        num_inference_steps=2,
        guidance_scale=2.5,
        seed=1,
    )
    events = list(handler.run(request, control))
    assert notices(events) == []
    assert result_of(events).frames == frames
    assert {"seed", "steps", "guidance", "negative_prompt"} <= row.capabilities
    assert able.still.takes_guidance
    assert able.still.takes_negative
    assert (able.first_frame == "may") == ("first_frame" in row.capabilities)
    handler.close()


@pytest.mark.parametrize("model_id", FAMILY_OF)
def test_the_longest_clip_is_one_that_the_model_makes(model_id: str) -> None:
    step = 8 if model_id in ("ltx-video", "cogvideox-2b") else 4
    assert (ROWS[model_id].options["max_frames"] - 1) % step == 0


@pytest.mark.parametrize("row", HOSTED.values(), ids=lambda row: row.id)
def test_a_hosted_row_has_a_price_and_a_key(row: ModelSpec) -> None:
    assert isinstance(row.source, EndpointSource)
    assert row.source.api_key_env
    assert row.prices
    assert row.prices.second > 0


def test_licences_are_told_apart() -> None:
    free = {row.id for row in ROWS.values() if row.licence == "Apache-2.0"}
    assert free == {"cogvideox-2b", "wan-2.1-1.3b", "wan-2.2-5b"}
    assert {row.id for row in ROWS.values() if not row.commercial_use} == {"ltx-video", "own-video"}


def test_no_pickle_is_ever_fetched() -> None:
    for row in ROWS.values():
        if isinstance(row.source, HubSource):
            weights = [name for name in row.source.files if "transformer" in name or "*/*" in name]
            assert weights
            assert all(name.endswith((".json", ".safetensors")) for name in weights)
