"""What tests of picture models share: specs, tiny checkpoints, the real safety classifier."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.catalog import HubSource, ModelSpec
from models.contracts import Finished, HandlerEvent, ImageRequest, ImageResult, Modality, Picture
from models.image.diffusion import DiffusionHandler, load
from tests.models.checkpoints_pictures import write_pipeline
from tests.models.control import ScratchControl, media_of

REVISION = "0123456789abcdef0123456789abcdef01234567"
TINY = {"min_pixels": 64, "num_inference_steps": 3}
Checkpoint = Callable[[str], Path]
MakeSpec = Callable[..., ModelSpec]
Load = Callable[..., DiffusionHandler]


@pytest.fixture(scope="session")
def checkpoint(
    tmp_path_factory: pytest.TempPathFactory, diffusers_imported: None
) -> Iterator[Callable[..., Path]]:
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


@pytest.fixture(scope="module")
def loaded(checkpoint: Checkpoint, spec: MakeSpec) -> Iterator[Load]:
    """Return a function that loads a family; a test that changes what it loads wants it fresh."""
    handlers: dict[str, DiffusionHandler] = {}

    def make(family: str = "sd15", *, fresh: bool = False, **options: Any) -> DiffusionHandler:
        key = f"{family} {options}" + (f" {len(handlers)}" if fresh else "")
        if key not in handlers:
            handlers[key] = load(spec(**{**TINY, **options}), str(checkpoint(family)), "cpu")
        return handlers[key]

    yield make
    for handler in handlers.values():
        handler.close()


def ask(prompt: str = "a photo of a cat", **options: Any) -> ImageRequest:
    """Return a request for a small picture."""
    return ImageRequest(**{"prompt": prompt, "width_px": 64, "height_px": 64, "seed": 7, **options})


def opened(picture: Picture, control: ScratchControl) -> Image.Image:
    """Return a picture as it is in the spool, loaded."""
    with Image.open(io.BytesIO(control.open(picture.media).read_bytes())) as image:
        image.load()
    return image


def draw(
    handler: DiffusionHandler, control: ScratchControl, **options: Any
) -> tuple[list[HandlerEvent], ImageResult]:
    events = list(handler.run(ask(**options), control))
    last = events[-1]
    assert isinstance(last, Finished)
    assert isinstance(last.result, ImageResult)
    return events, last.result


def pixels(result: ImageResult, control: ScratchControl) -> list[bytes]:
    return [opened(picture, control).tobytes() for picture in result.pictures]


def stored(control: ScratchControl, image: Image.Image, format_: str = "PNG") -> Any:
    file = io.BytesIO()
    image.save(file, format_)
    media = control.store(file.getvalue(), "reference", f"image/{format_.lower()}")
    return media_of(control.folder / media.path, media.content_type)


def recipe_of(picture: Picture, control: ScratchControl) -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads(opened(picture, control).text["recipe"])
    return recipe
