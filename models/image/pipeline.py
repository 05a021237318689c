"""A text-to-image pipeline of diffusers in memory: Stable Diffusion 1.5 to 3.5, SDXL, Flux, kin.

This module owns what such a pipeline can do, and how it is called. It knows nothing of requests.

Source: https://huggingface.co/docs/diffusers/api/pipelines/auto_pipeline
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.diffusers_pipeline import DiffusersPipeline, OnStep, default_of, parameters_of
from models.errors import BackendError, ModelLoadFailed
from models.image.latents import LatentColours
from models.image.options import DiffusionOptions
from models.image.plan import Abilities, Plan
from models.torch_errors import translated

if TYPE_CHECKING:
    from PIL import Image

_FALLBACK_STEPS = 30
_FALLBACK_GUIDANCE = 5.0


class ImagePipeline(DiffusersPipeline):
    """One model, used by one job at a time."""

    def __init__(self, folder: Path, device: str, options: DiffusionOptions) -> None:
        """Load it.

        Raises:
            ModelLoadFailed: The folder holds no pipeline of safetensors that makes pictures.
            OutOfMemory: The device has not enough memory.
        """
        with translated(ModelLoadFailed):
            super().__init__(folder, device, options)
            if "prompt" not in parameters_of(self._pipe) or not getattr(self._pipe, "vae", None):
                raise ModelLoadFailed("This model makes no pictures from words. Tell the owner.")
            self._pipe.vae.to(device)
            self.colours = LatentColours.fit(self._pipe.vae)
            self._pipe.vae.to("cpu")  # where what places the pipeline wants it
            self._from_picture = _image_to_image(self._pipe)
            self.abilities = _abilities(self._pipe, options, self._from_picture is not None)
            self._enlarged = options.enlarged
            self._place(device)

    def draw(
        self, prompt: str, plan: Plan, seed: int, reference: Image.Image | None, on_step: OnStep
    ) -> Image.Image:
        """Draw one picture; see ``_call``."""
        wished: dict[str, Any] = {
            "prompt": prompt,
            "num_inference_steps": plan.num_inference_steps,
            "guidance_scale": plan.guidance_scale,
            "width": plan.width_px // self._enlarged,
            "height": plan.height_px // self._enlarged,
            "output_type": "pil",
        }
        if plan.negative_prompt:
            wished["negative_prompt"] = plan.negative_prompt
        if self._options.max_sequence_length:
            wished["max_sequence_length"] = self._options.max_sequence_length
        pipe = self._pipe
        if reference is not None:
            pipe = self._from_picture
            small = reference.reduce(self._enlarged) if self._enlarged > 1 else reference
            wished |= {"image": small, "strength": plan.strength}
        with translated(BackendError):
            image: Image.Image = self._call(pipe, seed, on_step, wished).images[0]
        return self._shown(image, plan)

    def _shown(self, image: Image.Image, plan: Plan) -> Image.Image:
        from PIL import Image

        if self._enlarged == 1:
            return image
        return image.resize((plan.width_px, plan.height_px), Image.Resampling.LANCZOS)

    def close(self) -> None:
        """Free the memory."""
        self._from_picture = self.colours = None
        super().close()


def _image_to_image(pipe: Any) -> Any:
    """Return the pipeline that starts from a picture, over the same weights; None without one."""
    from diffusers import AutoPipelineForImage2Image

    try:
        made = AutoPipelineForImage2Image.from_pipe(pipe)
    except ValueError:  # this family has none
        return None
    made.set_progress_bar_config(disable=True)
    return made


def _abilities(pipe: Any, options: DiffusionOptions, takes_reference: bool) -> Abilities:  # noqa: FBT001
    accepted = parameters_of(pipe)
    denoiser = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
    config = getattr(denoiser, "config", {})
    # Flux dev and latent consistency models get the guidance as an input: one pass, no negative.
    embeds = config.get("guidance_embeds")
    single_pass = embeds is not None or config.get("time_cond_proj_dim") is not None
    guided = "guidance_scale" in accepted and embeds is not False and not options.distilled
    return Abilities(
        num_inference_steps=int(default_of(accepted, "num_inference_steps") or _FALLBACK_STEPS),
        guidance_scale=float(default_of(accepted, "guidance_scale") or _FALLBACK_GUIDANCE),
        multiple_px=options.multiple_px or options.enlarged * _multiple(pipe, config),
        takes_guidance=guided,
        takes_negative=guided and not single_pass and "negative_prompt" in accepted,
        takes_reference=takes_reference,
    )


def _multiple(pipe: Any, config: Any) -> int:
    """Return what the sides must be multiples of: the VAE's factor times the transformer's."""
    factor = int(getattr(pipe, "vae_scale_factor", 8))
    patch = config.get("patch_size") or 1
    processor = getattr(pipe, "image_processor", None)
    wanted = processor.config.vae_scale_factor if processor is not None else factor
    return max(int(wanted), factor * (patch if isinstance(patch, int) else patch[-1]))
