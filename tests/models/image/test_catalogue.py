"""The rows of the catalogue that draw: each is what its family's checkpoint turns out to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.catalog import BundledSource, Catalog, EndpointSource, HubSource, ModelSpec
from models.contracts import Finished, ImageResult, Modality
from models.image.diffusion import load
from tests.models.control import ScratchControl, notices
from tests.models.image.conftest import ask

ROWS = {
    row.id: row
    for row in Catalog.read(Path(__file__).resolve().parents[3] / "config").of(Modality.IMAGE)
}
FAMILY_OF = {
    "sd-1.5": "sd15",
    "sdxl": "sdxl",
    "sd-3.5-medium": "sd3",
    "sd-3.5-large": "sd3",
    "sd-3.5-large-turbo": "sd3",
    "flux-schnell": "flux-schnell",
    "flux-dev": "flux-dev",
    "z-image-turbo": "z-image",
    "own-diffusion": "sd15",
}


HOSTED = {row.id for row in ROWS.values() if isinstance(row.source, EndpointSource)}


def test_every_row_is_tested() -> None:
    bundled = {row.id for row in ROWS.values() if isinstance(row.source, BundledSource)}
    assert bundled == {"drawings"}  # test_embedded.py, with its real weights
    assert set(FAMILY_OF) | HOSTED | bundled == set(ROWS)
    assert not set(FAMILY_OF) & HOSTED


@pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if row.id in FAMILY_OF], ids=lambda row: row.id
)
def test_a_row_declares_what_its_model_can_do(
    row: ModelSpec, checkpoint: Callable[..., Path], control: ScratchControl
) -> None:
    folder = checkpoint(FAMILY_OF[row.id], row.options.get("variant"))
    spec = row.model_copy(update={"options": {**row.options, "min_pixels": 64}})
    handler = load(spec, str(folder), "cpu")
    request = ask(
        num_inference_steps=2 if "steps" in row.capabilities else None,
        guidance_scale=2.5 if "guidance" in row.capabilities else None,
        negative_prompt="blur" if "negative_prompt" in row.capabilities else "",
    )
    events = list(handler.run(request, control))
    assert notices(events) == []
    last = events[-1]
    assert isinstance(last, Finished)
    assert isinstance(last.result, ImageResult)
    able = handler._pipeline.abilities
    assert able.takes_guidance == ("guidance" in row.capabilities)
    assert able.takes_negative == ("negative_prompt" in row.capabilities)
    assert able.takes_reference == ("reference" in row.capabilities)
    handler.close()


@pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if row.id in HOSTED], ids=lambda row: row.id
)
def test_a_hosted_row_has_a_price(row: ModelSpec) -> None:
    assert isinstance(row.source, EndpointSource)
    assert row.source.api_key_env == "OPENAI_API_KEY"
    assert row.prices
    assert row.prices.output > 0


def test_licences_that_forbid_commercial_use_say_so() -> None:
    forbidden = {row.id for row in ROWS.values() if not row.commercial_use}
    assert forbidden == {"flux-dev", "own-diffusion"}
    named = {row.id for row in ROWS.values() if "Non-Commercial" in row.licence}
    assert named == {"flux-dev"}


def test_no_pickle_is_ever_fetched() -> None:
    for row in ROWS.values():
        if isinstance(row.source, HubSource):
            assert row.source.files
            assert not [
                name for name in row.source.files if name.endswith((".bin", ".ckpt", "*.*"))
            ]
