"""What tests of video models share: requests, specs, tiny checkpoints, a loop for steppers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from models.catalog import EndpointSource, HubSource, ModelSpec
from models.contracts import Finished, HandlerEvent, MediaInput, Modality, VideoRequest, VideoResult
from models.video.diffusion_video import DiffusionVideoHandler, load
from tests.models.checkpoints_video import write_pipeline
from tests.models.control import ScratchControl

REVISION = "0123456789abcdef0123456789abcdef01234567"
Checkpoint = Callable[[str], Path]
Load = Callable[..., DiffusionVideoHandler]
TINY = {"min_pixels": 64, "num_inference_steps": 3, "fps": 8}
FROM_PICTURE = ("wan-2.2", "ltx")


@pytest.fixture(scope="session")
def checkpoint(
    tmp_path_factory: pytest.TempPathFactory, diffusers_imported: None
) -> Callable[[str], Path]:
    """Return a function: family -> folder of a tiny checkpoint, made once."""
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = write_pipeline(tmp_path_factory.mktemp(family), family)
        return made[family]

    return get


def spec_for(
    backend: str, *, url: str = "", key: str = "", prices: Any = None, **options: Any
) -> ModelSpec:
    """Return a row of the catalogue: a folder's, or with an address a server's."""
    return ModelSpec(
        id="tiny",
        name="Tiny",
        modality=Modality.VIDEO,
        backend=backend,
        source=EndpointSource(url=url, model="tiny-1", api_key_env=key)
        if url
        else HubSource(repo="tiny/tiny", revision=REVISION),
        licence="MIT",
        commercial_use=True,
        memory_mb=1,
        load_s=1,
        options=options,
        prices=prices,
    )


def result_of(events: list[HandlerEvent]) -> VideoResult:
    last = events[-1]
    assert isinstance(last, Finished)
    assert isinstance(last.result, VideoResult)
    return last.result


def picture(control: ScratchControl, size: tuple[int, int] = (64, 64)) -> MediaInput:
    """Return a reference to a photo with a secret in it."""
    exif = Image.Exif()
    exif[0x010F] = "Camera of ada"
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "JPEG", exif=exif)
    return control.store(file.getvalue(), "first.jpg", "image/jpeg")


def frames_in(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the frames of a clip as they are seen."""
    with av.open(io.BytesIO(data)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def metadata_in(data: bytes) -> dict[str, str]:
    with av.open(io.BytesIO(data)) as container:
        return dict(container.metadata)


@pytest.fixture
def loaded(checkpoint: Checkpoint) -> Iterator[Load]:
    """Return a function that loads a family; what it loaded is closed after the test."""
    handlers: list[DiffusionVideoHandler] = []

    def make(family: str = "ltx", **options: Any) -> DiffusionVideoHandler:
        spec = spec_for("diffusers-video", **{**TINY, **options})
        handlers.append(load(spec, str(checkpoint(family)), "cpu"))
        return handlers[-1]

    yield make
    for handler in handlers:
        handler.close()


def ask(prompt: str = "a gate creaks open", **options: Any) -> VideoRequest:
    """Return a request for nine small frames."""
    wishes = {"prompt": prompt, "width_px": 64, "height_px": 64, "seconds": 1.125, "seed": 7}
    return VideoRequest(**{**wishes, **options})


def draw(
    handler: DiffusionVideoHandler, control: ScratchControl, **options: Any
) -> tuple[list[HandlerEvent], VideoResult]:
    events = list(handler.run(ask(**options), control))
    return events, result_of(events)


def shown(result: VideoResult, control: ScratchControl) -> Any:
    return frames_in(control.open(result.media).read_bytes())
