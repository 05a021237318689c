"""What tests of picture models share: specs, tiny checkpoints, the real safety classifier."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.catalog import HubSource, ModelSpec
from models.contracts import ImageRequest, Modality, Picture
from tests.models.checkpoints_pictures import write_pipeline
from tests.models.control import ScratchControl

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Return a function: family -> folder of a tiny checkpoint, made once.

    Tiny models are not worth more than one thread, which others may be using.
    """
    import torch

    made: dict[str, Path] = {}

    def get(family: str, variant: str | None = None) -> Path:
        key = f"{family}-{variant}"
        if key not in made:
            made[key] = write_pipeline(tmp_path_factory.mktemp(key), family, variant)
        return made[key]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield get
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def spec() -> Callable[..., ModelSpec]:
    """Return a function that makes a row of the catalogue: options as keywords."""

    def make(*, source: Any = None, prices: Any = None, **options: Any) -> ModelSpec:
        return ModelSpec(
            id="tiny",
            name="Tiny",
            modality=Modality.IMAGE,
            backend="diffusers",
            source=source or HubSource(repo="tiny/tiny", revision=REVISION),
            licence="MIT",
            commercial_use=True,
            memory_mb=1,
            load_s=1,
            options=options,
            prices=prices,
        )

    return make


def ask(prompt: str = "a photo of a cat", **options: Any) -> ImageRequest:
    """Return a request for a small picture."""
    return ImageRequest(**{"prompt": prompt, "width_px": 64, "height_px": 64, "seed": 7, **options})


def opened(picture: Picture, control: ScratchControl) -> Image.Image:
    """Return a picture as it is in the spool, loaded."""
    with Image.open(io.BytesIO(control.open(picture.media).read_bytes())) as image:
        image.load()
    return image
