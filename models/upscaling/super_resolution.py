"""Enlarging pictures with transformers: the backend ``transformers-upscaler``.

This module owns the course of a job: the tiles, one a step, and the file at the end. Tiles keep the
memory level, whatever the size of the picture.

Source: https://huggingface.co/docs/transformers/model_doc/swin2sr
"""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.catalog import ModelSpec
from models.contracts import (
    Control,
    Finished,
    HandlerEvent,
    Notice,
    Picture,
    Progress,
    UpscalingRequest,
    UpscalingResult,
    Usage,
)
from models.errors import BackendError, ModelLoadFailed, UnsupportedOption
from models.image.pictures import PNG, encode_png, read_picture, said_by
from models.image.provenance import revision_of
from models.image.safety import SafetyClassifier
from models.less_memory import with_less_memory
from models.torch_errors import free_memory, translated
from models.upscaling.options import UpscalingOptions
from models.upscaling.plan import Tiling, enlarged_metadata, enlarged_size, tiles_of

if TYPE_CHECKING:
    from PIL import Image

_TILE_PX: Final = 256
_TILE_ON_CPU_PX: Final = 96
"""Four seconds of one core for a model of 12 million weights."""

_ALT_TEXT: Final = "An enlarged picture"


def load(spec: ModelSpec, location: str, device: str) -> UpscalingHandler:
    """Load a super-resolution model.

    Args:
        spec: Row of the catalogue.
        location: Folder with ``config.json`` and safetensors. Pickles are refused.
        device: ``cpu``, ``cuda:0``, ...

    Raises:
        ModelLoadFailed: The files are not of a model that enlarges pictures.
        OutOfMemory: The device has not enough memory.
    """
    options = UpscalingOptions.of(spec)
    safety = SafetyClassifier.load(options.safety_dir)
    return UpscalingHandler(spec, _Enlarger(Path(location), device), options, safety, device)


class _Enlarger:
    """The network: a small picture in, a larger one out."""

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import AutoModelForImageToImage

        with translated(ModelLoadFailed):
            model = AutoModelForImageToImage.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, trust_remote_code=False
            )
            self._model: Any = model.to(device).eval()
            self.factor = int(model.config.upscale)
            self.window_px = int(model.config.window_size)
        if self.factor < 2:
            raise ModelLoadFailed("This model mends pictures and enlarges none. Tell the owner.")

    def enlarge(self, image: Image.Image) -> Image.Image:
        """Return a picture at ``factor`` times its size.

        Raises:
            BackendError: The model failed.
            OutOfMemory: There was not enough memory.
        """
        import numpy as np
        import torch
        from PIL import Image

        width, height = image.size
        # The model pads by reflection, for which a picture may be too small.
        padding = ((0, -height % self.window_px), (0, -width % self.window_px), (0, 0))
        pixels = np.pad(np.asarray(image, np.float32) / 255.0, padding, mode="symmetric")
        with translated(BackendError), torch.inference_mode():
            seen = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self._model.device)
            made = self._model(pixel_values=seen).reconstruction[0].clamp(0, 1)
            rows = (made * 255.0).round().byte().permute(1, 2, 0).cpu().numpy()
        return Image.fromarray(rows[: height * self.factor, : width * self.factor])

    def close(self) -> None:
        self._model = None
        free_memory()


@dataclass(frozen=True, slots=True)
class _Job:
    """A request under way. ``size`` is that of the picture to come."""

    request: UpscalingRequest
    control: Control
    image: Image.Image
    size: tuple[int, int]


class UpscalingHandler:
    """Enlarges with one model. See ``models.contracts.Handler``."""

    def __init__(
        self,
        spec: ModelSpec,
        enlarger: _Enlarger,
        options: UpscalingOptions,
        safety: SafetyClassifier | None,
        device: str,
    ) -> None:
        self._spec = spec
        self._enlarger = enlarger
        side_px = options.tile_px or (_TILE_ON_CPU_PX if device == "cpu" else _TILE_PX)
        self._tiling = Tiling(side_px, options.overlap_px, enlarger.window_px)
        self._safety = safety

    def run(self, request: UpscalingRequest, control: Control) -> Iterator[HandlerEvent]:
        """Enlarge a picture tile by tile; see ``models.contracts.Handler.run``."""
        if request.factor > self._enlarger.factor:
            raise UnsupportedOption(
                f"{self._spec.name} makes pictures {self._enlarger.factor} times as wide at most."
            )
        read = read_picture(control.open(request.picture))
        yield from (Notice(sentence) for sentence in read.notices)
        size = enlarged_size(read.image.size, request.factor)
        job = _Job(request, control, read.image, size)
        attempt = functools.partial(self._attempt, job)
        larger = yield from with_less_memory(attempt, self._economise, lambda: None)
        if larger is None or control.cancelled:
            return
        yield Progress("writing the picture", 1.0)
        if not control.cancelled:
            yield Finished(self._result(job, larger))

    def close(self) -> None:
        """Free the memory of the model."""
        self._enlarger.close()
        self._safety = None

    def _attempt(self, job: _Job) -> Generator[HandlerEvent, None, Image.Image | None]:
        """Yield the progress of each tile; the value is the picture, None once it is cancelled."""
        from PIL import Image

        factor = job.request.factor
        larger = Image.new("RGB", job.size)
        tiles = tiles_of(job.image.size, self._tiling)
        for number, tile in enumerate(tiles):
            yield Progress(f"part {number + 1} of {len(tiles)}", number / len(tiles))
            if job.control.cancelled:
                return None
            seen = job.image.crop(tile.seen)
            made = self._enlarger.enlarge(seen)
            if self._enlarger.factor != factor:
                wanted = (seen.width * factor, seen.height * factor)
                made = made.resize(wanted, Image.Resampling.LANCZOS)
            corner = (tile.kept[0] * factor, tile.kept[1] * factor)
            larger.paste(made.crop(tile.kept_of_enlarged(factor)), corner)
        return larger

    def _economise(self) -> bool:
        """See less at once from now on; False where that would be too little."""
        free_memory()
        smaller = self._tiling.smaller()
        if smaller is not None:
            self._tiling = smaller
        return smaller is not None

    def _result(self, job: _Job, larger: Image.Image) -> UpscalingResult:
        request, control = job.request, job.control
        how: dict[str, str | int] = {
            "factor": request.factor,
            "revision": revision_of(self._spec),
            "tile_px": self._tiling.side_px,
            "overlap_px": self._tiling.overlap_px,
        }
        said = said_by(control.open(request.picture))
        metadata = enlarged_metadata(said, self._spec.id, job.image.size, how)
        stem = request.picture.filename.rpartition(".")[0] or "picture"
        name = f"{stem}-x{request.factor}.png"
        picture = Picture(
            media=control.store(encode_png(larger, metadata), name, PNG),
            width_px=larger.width,
            height_px=larger.height,
            seed=None,
            alt_text=request.alt_text or _ALT_TEXT,
            unsafe_score=self._safety.score(larger) if self._safety else None,
        )
        return UpscalingResult(picture, *job.image.size, usage=Usage(1, "pictures"))
