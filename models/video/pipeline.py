"""A text-to-video pipeline of diffusers in memory: Wan, LTX, CogVideoX, AnimateDiff, Latte, kin.

This module owns what such a pipeline can do, and how it is called. It knows nothing of requests.

Source: https://huggingface.co/docs/diffusers/using-diffusers/text-img2vid
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from models.diffusers_pipeline import DiffusersPipeline, OnStep, default_of, parameters_of
from models.errors import BackendError, ModelLoadFailed
from models.image.plan import Abilities
from models.torch_errors import translated
from models.video.latents import ClipColours
from models.video.options import ClipOptions
from models.video.plan import ClipAbilities, ClipPlan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

_FALLBACK_STEPS = 50
_FALLBACK_GUIDANCE = 5.0
_LENGTHS: Final = frozenset({"num_frames", "video_length"})
"""How pipelines call the number of frames."""

_FROM_PICTURE: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "LTXPipeline": ("LTXImageToVideoPipeline", lambda _: True),
    # Only those whose every frame has a time of its own; others have weights of their own for it.
    "WanPipeline": ("WanImageToVideoPipeline", lambda pipe: pipe.config.expand_timesteps),
}
"""Pipelines that begin with a picture over the same weights, and which weights those are."""


class ClipPipeline(DiffusersPipeline):
    """One model, used by one job at a time."""

    def __init__(self, folder: Path, device: str, options: ClipOptions) -> None:
        """Load it.

        Raises:
            ModelLoadFailed: The folder holds no pipeline of safetensors that makes clips.
            OutOfMemory: The device has not enough memory.
        """
        with translated(ModelLoadFailed):
            super().__init__(folder, device, options)
            accepted = parameters_of(self._pipe).keys()
            if "prompt" not in accepted or not accepted & _LENGTHS:
                raise ModelLoadFailed("This model makes no clips from words. Tell the owner.")
            self._pipe.vae.to(device)
            self.colours = ClipColours.fit(self._pipe, _latent_px(self._pipe))
            self._pipe.vae.to("cpu")  # where what places the pipeline wants it
            self._from_picture = _image_to_video(self._pipe)
            self.abilities = _abilities(self._pipe, options, self._from_picture)
            self._place(device)

    def draw(
        self, prompt: str, plan: ClipPlan, seed: int, first: Image.Image | None, on_step: OnStep
    ) -> NDArray[np.uint8]:
        """Make one clip; see ``_call``. Returns frames x height x width x 3."""
        import numpy as np

        wished: dict[str, Any] = {
            "prompt": prompt,
            "num_inference_steps": plan.still.num_inference_steps,
            "guidance_scale": plan.still.guidance_scale,
            "width": plan.still.width_px // self._options.enlarged,
            "height": plan.still.height_px // self._options.enlarged,
            **dict.fromkeys(_LENGTHS, plan.frames),
            "frame_rate": plan.fps,
            "output_type": "np",
            "clean_caption": False,  # it would need libraries that this machine may lack
        }
        if plan.still.negative_prompt:
            wished["negative_prompt"] = plan.still.negative_prompt
        if self._options.max_sequence_length:
            wished["max_sequence_length"] = self._options.max_sequence_length
        pipe = self._pipe
        if first is not None:
            pipe = self._from_picture
            wished["image"] = first
        with translated(BackendError):
            made = self._call(pipe, seed, on_step, wished).frames[0]
            frames: NDArray[np.uint8] = np.rint(made * 255.0).clip(0, 255).astype(np.uint8)
        return self._shown(frames, plan)

    def _shown(self, frames: NDArray[np.uint8], plan: ClipPlan) -> NDArray[np.uint8]:
        """Return small frames in the size that was asked for."""
        import numpy as np
        from PIL import Image

        if self._options.enlarged == 1:
            return frames
        size = plan.still.width_px, plan.still.height_px
        lanczos = Image.Resampling.LANCZOS
        larger = (Image.fromarray(frame).resize(size, lanczos) for frame in frames)
        return np.stack([np.asarray(frame) for frame in larger])

    def close(self) -> None:
        """Free the memory."""
        self._from_picture = self.colours = None
        super().close()


def _image_to_video(pipe: Any) -> Any:
    """Return the pipeline that begins with a picture, over the same weights; None without one."""
    import diffusers

    if "image" in parameters_of(pipe):
        return pipe
    name, suits = _FROM_PICTURE.get(type(pipe).__name__, ("", lambda _: False))
    if not suits(pipe):
        return None
    made = getattr(diffusers, name).from_pipe(pipe)
    made.set_progress_bar_config(disable=True)
    return made


def _abilities(pipe: Any, options: ClipOptions, from_picture: Any) -> ClipAbilities:
    accepted = parameters_of(pipe)
    denoiser = getattr(pipe, "transformer", None) or pipe.unet
    guided = "guidance_scale" in accepted and not options.distilled
    still = Abilities(
        num_inference_steps=int(default_of(accepted, "num_inference_steps") or _FALLBACK_STEPS),
        guidance_scale=float(default_of(accepted, "guidance_scale") or _FALLBACK_GUIDANCE),
        multiple_px=options.multiple_px or options.enlarged * _multiple(pipe, denoiser.config),
        takes_guidance=guided,
        takes_negative=guided and "negative_prompt" in accepted,
        takes_reference=False,
    )
    first_frame: Literal["no", "may", "must"] = "no" if from_picture is None else "may"
    if "ImageToVideo" in type(pipe).__name__:
        first_frame = "must"
    step = _named(pipe, "vae_scale_factor_temporal", "vae_temporal_compression_ratio") or 1
    if type(pipe.vae).__name__ == "AutoencoderKLCogVideoX":
        step *= 2  # it decodes latents in pairs, and gives other counts than asked for in between
    return ClipAbilities(still, step, denoiser.config.get("motion_max_seq_length"), first_frame)


def _multiple(pipe: Any, config: Any) -> int:
    """Return what the sides must be multiples of: the VAE's factor times the transformer's."""
    patch = config.get("patch_size") or 1
    return _latent_px(pipe) * (patch if isinstance(patch, int) else int(patch[-1]))


def _latent_px(pipe: Any) -> int:
    """Return how many pixels of a row are one latent."""
    names = ("vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_scale_factor")
    return _named(pipe, *names) or 8


def _named(pipe: Any, *names: str) -> int | None:
    return next((int(getattr(pipe, name)) for name in names if hasattr(pipe, name)), None)
