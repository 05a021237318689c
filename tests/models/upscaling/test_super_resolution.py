"""The transformers-upscaler backend on a tiny checkpoint of the real architecture."""

from __future__ import annotations

import io
import json
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.catalog import Catalog, HubSource
from models.contracts import (
    Finished,
    HandlerEvent,
    MediaInput,
    Modality,
    Progress,
    UpscalingRequest,
    UpscalingResult,
)
from models.errors import (
    BackendError,
    InvalidMedia,
    ModelLoadFailed,
    OutOfMemory,
    UnsupportedOption,
)
from models.image.pictures import encode_png, said_by
from models.image.safety import SafetyClassifier
from models.pickles import convert_pickles
from models.upscaling import super_resolution
from models.upscaling.super_resolution import UpscalingHandler, load
from tests.models.checkpoints_upscaling import write_upscaler
from tests.models.control import ScratchControl, notices, spec_of, stages

Load = Callable[..., UpscalingHandler]

SMALL = {"tile_px": 48, "overlap_px": 8}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of a tiny model, which is not worth more than one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield write_upscaler(tmp_path_factory.mktemp("swin2sr"))
    torch.set_num_threads(threads)


@pytest.fixture
def loaded(checkpoint: Path) -> Iterator[Load]:
    handlers: list[UpscalingHandler] = []

    def make(folder: Path = checkpoint, **options: Any) -> UpscalingHandler:
        spec = spec_of("transformers-upscaler", "upscaling", options={**SMALL, **options})
        handlers.append(load(spec, str(folder), "cpu"))
        return handlers[-1]

    yield make
    for handler in handlers:
        handler.close()


@pytest.fixture
def control(tmp_path: Path) -> ScratchControl:
    return ScratchControl(tmp_path)


def picture(control: ScratchControl, size: tuple[int, int] = (80, 50), **said: str) -> MediaInput:
    """Store a picture of soft random colours."""
    random = np.random.default_rng(1).integers(0, 255, (5, 8, 3), np.uint8)
    image = Image.fromarray(random).resize(size, Image.Resampling.BICUBIC)
    return control.store(encode_png(image, said), "picture-7.png", "image/png")


def enlarge(
    handler: UpscalingHandler, control: ScratchControl, media: MediaInput, **options: Any
) -> tuple[list[HandlerEvent], UpscalingResult]:
    events = list(handler.run(UpscalingRequest(media, **options), control))
    last = events[-1]
    assert isinstance(last, Finished)
    assert isinstance(last.result, UpscalingResult)
    return events, last.result


def pixels(result: UpscalingResult, control: ScratchControl) -> Any:
    with Image.open(io.BytesIO(control.open(result.picture.media).read_bytes())) as image:
        return np.asarray(image).astype(int)


def test_a_picture_is_enlarged_tile_by_tile(loaded: Load, control: ScratchControl) -> None:
    events, result = enlarge(loaded(), control, picture(control), alt_text="A door.")
    assert (result.picture.width_px, result.picture.height_px) == (160, 100)
    assert (result.from_width_px, result.from_height_px) == (80, 50)
    assert pixels(result, control).shape == (100, 160, 3)
    assert (result.picture.alt_text, result.picture.seed) == ("A door.", None)
    assert (result.usage.amount, result.usage.unit) == (1, "pictures")
    assert stages(events) == [*(f"part {n} of 6" for n in range(1, 7)), "writing the picture"]
    fractions = [event.fraction for event in events if isinstance(event, Progress)]
    assert fractions == sorted(fractions)
    assert notices(events) == []


def test_seams_do_not_show(loaded: Load, control: ScratchControl) -> None:
    media = picture(control)
    _, whole = enlarge(loaded(tile_px=128), control, media)
    _, tiled = enlarge(loaded(tile_px=72, overlap_px=24), control, media)
    assert np.abs(pixels(whole, control) - pixels(tiled, control)).max() <= 1
    _, cut = enlarge(loaded(tile_px=32, overlap_px=0), control, media)
    assert np.abs(pixels(whole, control) - pixels(cut, control)).max() > 20


def test_it_is_what_the_library_makes(
    loaded: Load, control: ScratchControl, checkpoint: Path
) -> None:
    import torch
    from transformers import AutoModelForImageToImage

    media = picture(control, (40, 32))
    with Image.open(control.open(media)) as image:
        seen = torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1)[None]
    model = AutoModelForImageToImage.from_pretrained(checkpoint).eval()
    with torch.inference_mode():
        wanted = model(pixel_values=seen).reconstruction[0].clamp(0, 1) * 255
    _, result = enlarge(loaded(), control, media, factor=4)
    assert pixels(result, control).std() > 5
    assert np.abs(pixels(result, control) - wanted.permute(1, 2, 0).numpy()).max() <= 0.51


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (50, 7)])
def test_small_and_odd_pictures_are_enlarged(
    size: tuple[int, int], loaded: Load, control: ScratchControl
) -> None:
    _, result = enlarge(loaded(), control, picture(control, size))
    assert pixels(result, control).shape == (2 * size[1], 2 * size[0], 3)


def test_a_model_that_doubles_doubles(
    loaded: Load, control: ScratchControl, tmp_path: Path
) -> None:
    handler = loaded(write_upscaler(tmp_path / "x2", 2))
    _, result = enlarge(handler, control, picture(control))
    assert (result.picture.width_px, result.picture.height_px) == (160, 100)
    with pytest.raises(UnsupportedOption, match="2 times as wide at most"):
        enlarge(handler, control, picture(control), factor=3)


def test_a_cancel_is_heard_at_the_next_tile(loaded: Load, control: ScratchControl) -> None:
    handler = loaded()
    _, before = enlarge(handler, control, picture(control))
    seen: list[HandlerEvent] = []
    for event in handler.run(UpscalingRequest(picture(control)), control):
        seen.append(event)
        control.cancelled = True
    assert len(seen) == 1
    control.cancelled = False
    _, after = enlarge(handler, control, picture(control))
    assert np.array_equal(pixels(after, control), pixels(before, control))


def test_the_file_says_what_made_it_and_what_enlarged_it(
    loaded: Load, control: ScratchControl
) -> None:
    media = picture(control, model="sdxl", recipe='{"seed": 7}')
    _, result = enlarge(loaded(), control, media)
    assert result.picture.media.filename.endswith("picture-7-x2.png")
    said = said_by(control.open(result.picture.media))
    assert (said["model"], said["upscaler"]) == ("sdxl", "test-transformers-upscaler")
    assert json.loads(said["recipe"]) == {
        "seed": 7,
        "upscaling": {
            "upscaler": "test-transformers-upscaler",
            "from": "80x50",
            "factor": 2,
            "revision": "",
            "tile_px": 48,
            "overlap_px": 8,
        },
    }


def test_what_is_made_is_looked_at(
    loaded: Load, control: ScratchControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strict(SafetyClassifier):
        def __init__(self) -> None: ...
        def score(self, image: Image.Image) -> float:
            assert image.size == (160, 100)
            return 0.9

    monkeypatch.setattr(SafetyClassifier, "load", lambda _location: Strict())
    _, result = enlarge(loaded(safety_dir="somewhere"), control, picture(control))
    assert result.picture.unsafe_score == 0.9


# --------------------------------------------------------------------------- what goes wrong


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function: what the next calls of the network raise."""
    from transformers import Swin2SRForImageSuperResolution

    forward = Swin2SRForImageSuperResolution.forward

    def install(*script: Exception) -> None:
        waiting = list(script)

        def scripted(model: Any, **options: Any) -> Any:
            if waiting:
                raise waiting.pop(0)
            return forward(model, **options)

        monkeypatch.setattr(Swin2SRForImageSuperResolution, "forward", scripted)

    return install


ALLOCATION = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")


def test_out_of_memory_is_tried_in_smaller_tiles(
    loaded: Load, control: ScratchControl, fail: Callable[..., None]
) -> None:
    handler = loaded(tile_px=128)
    fail(ALLOCATION)
    events, result = enlarge(handler, control, picture(control))
    assert notices(events) == ["Memory ran out, so this is drawn in a slower way that needs less."]
    assert stages(events) == ["part 1 of 1", "part 1 of 2", "part 2 of 2", "writing the picture"]
    recipe = json.loads(said_by(control.open(result.picture.media))["recipe"])
    assert recipe["upscaling"]["tile_px"] == 64


def test_and_then_given_up(
    loaded: Load, control: ScratchControl, fail: Callable[..., None]
) -> None:
    handler = loaded(tile_px=128)
    fail(ALLOCATION, MemoryError())
    with pytest.raises(OutOfMemory):
        enlarge(handler, control, picture(control))
    assert enlarge(handler, control, picture(control))


def test_other_failures_are_translated(
    loaded: Load, control: ScratchControl, fail: Callable[..., None]
) -> None:
    fail(RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(BackendError):
        enlarge(loaded(), control, picture(control))


def test_what_is_too_large_or_no_picture_is_refused(loaded: Load, control: ScratchControl) -> None:
    handler = loaded()
    with pytest.raises(UnsupportedOption, match="2100 × 4 pixels; up to 4096"):
        enlarge(handler, control, picture(control, (2100, 4)))
    with pytest.raises(InvalidMedia):
        enlarge(handler, control, control.store(b"no picture", "x.png", "image/png"))


# --------------------------------------------------------------------------- loading


def test_close_frees_the_memory(checkpoint: Path) -> None:
    spec = spec_of("transformers-upscaler", "upscaling")
    handler = load(spec, str(checkpoint), "cpu")
    model = weakref.ref(handler._enlarger._model)
    handler.close()
    assert model() is None


def test_published_weights_are_converted_once(
    loaded: Load, control: ScratchControl, tmp_path: Path
) -> None:
    folder = write_upscaler(tmp_path / "pickled", pickled=True)
    with pytest.raises(ModelLoadFailed):
        loaded(folder)
    convert_pickles(folder)
    _, result = enlarge(loaded(folder), control, picture(control))
    _, same = enlarge(loaded(), control, picture(control))
    assert np.array_equal(pixels(result, control), pixels(same, control))


def test_what_enlarges_nothing_fails_to_load(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelLoadFailed):
        loaded(tmp_path / "empty")
    with pytest.raises(ModelLoadFailed, match="options"):
        loaded(tile_px=40, overlap_px=16)


def test_tiles_suit_the_device(checkpoint: Path) -> None:
    spec = spec_of("transformers-upscaler", "upscaling")
    handler = load(spec, str(checkpoint), "cpu")
    assert handler._tiling.side_px == super_resolution._TILE_ON_CPU_PX
    handler.close()


def test_every_row_is_of_this_backend_and_no_model_draws_and_enlarges() -> None:
    catalog = Catalog.read(Path(__file__).resolve().parents[3] / "config")
    rows = catalog.of(Modality.UPSCALING)
    assert {row.backend for row in rows} == {"transformers-upscaler"}
    assert not {row.id for row in rows} & {row.id for row in catalog.of(Modality.IMAGE)}
    [hub] = [row for row in rows if isinstance(row.source, HubSource)]
    assert hub.source.convert_pickles  # type: ignore[union-attr]
    assert hub.licence == "Apache-2.0"
