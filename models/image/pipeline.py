"""A text-to-image pipeline of diffusers in memory: Stable Diffusion 1.5 to 3.5, SDXL, Flux, kin.

This module owns diffusers for pictures: loading a folder of safetensors, one picture at a time with
a callback at each step, and the ways to do with less memory. It knows nothing of requests.

Source: https://huggingface.co/docs/diffusers/api/pipelines/auto_pipeline
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import BackendError, ModelLoadFailed
from models.image.latents import LatentColours
from models.image.options import DiffusionOptions
from models.image.plan import Abilities, Plan
from models.torch_errors import free_memory, lacks_memory, translated

if TYPE_CHECKING:
    import torch
    from PIL import Image

OnStep = Callable[[int, int, "torch.Tensor"], None]
"""Called after each step: its number from 1, how many there are, the latents."""

_FALLBACK_STEPS = 30
_FALLBACK_GUIDANCE = 5.0


class ImagePipeline:
    """One model, used by one job at a time."""

    def __init__(self, folder: Path, device: str, options: DiffusionOptions) -> None:
        """Load it.

        Raises:
            ModelLoadFailed: The folder holds no pipeline of safetensors that makes pictures.
            OutOfMemory: The device has not enough memory.
        """
        self._options = options
        self._device = device
        with translated(ModelLoadFailed):
            self._pipe: Any = _read(folder, device, options)
            if "prompt" not in _parameters(self._pipe) or getattr(self._pipe, "vae", None) is None:
                raise ModelLoadFailed("This model makes no pictures from words. Tell the owner.")
            self.dtype = str(self._pipe.dtype).removeprefix("torch.")
            self.scheduler = type(self._pipe.scheduler).__name__
            self._pipe.vae.to(device)
            self.colours = LatentColours.fit(self._pipe.vae)
            self._from_picture = _image_to_image(self._pipe)
            self.abilities = _abilities(self._pipe, options, self._from_picture is not None)
            self._economies = _economies(self._pipe, device, options)
            self._place(device)

    def draw(
        self, prompt: str, plan: Plan, seed: int, reference: Image.Image | None, on_step: OnStep
    ) -> Image.Image:
        """Draw one picture. ``Stopped`` from ``on_step`` ends it, and comes out as it is.

        Raises:
            BackendError: The pipeline failed.
            OutOfMemory: There was not enough memory; ``economise`` may help.
        """
        import torch

        pipe = self._pipe if reference is None else self._from_picture

        def step_ended(
            used: Any, index: int, _time: Any, tensors: dict[str, Any]
        ) -> dict[str, Any]:
            on_step(index + 1, used.num_timesteps, tensors["latents"])
            return {}

        # On the processor whatever the device, so that the numbers are the same everywhere.
        generator = torch.Generator("cpu").manual_seed(seed)
        arguments = self._arguments(prompt, plan, reference)
        try:
            with translated(BackendError):
                done = pipe(generator=generator, callback_on_step_end=step_ended, **arguments)
                image: Image.Image = done.images[0]
        finally:
            self._pipe.maybe_free_model_hooks()  # a call that was stopped leaves that out
        return image

    def left_out(self, prompt: str) -> str:
        """Return the end of a prompt that no text encoder reads; "" when it is read whole."""
        tokenizer, limit = max(self._tokenizers(), key=lambda pair: pair[1], default=(None, 0))
        if tokenizer is None:
            return ""
        ids = tokenizer(prompt, truncation=False, verbose=False).input_ids
        if len(ids) <= limit:
            return ""
        text: str = tokenizer.decode(ids[limit - 1 : -1], skip_special_tokens=True)
        return text.strip()

    def economise(self) -> bool:
        """Do with less memory, slower, from now on; False when all ways are used up."""
        free_memory()
        if not self._economies:
            return False
        self._economies.pop(0)()
        return True

    def close(self) -> None:
        """Free the memory."""
        if self._pipe is not None:
            self._pipe.remove_all_hooks()
        self._pipe = self._from_picture = self.colours = None
        self._economies = []
        free_memory()

    def _place(self, device: str) -> None:
        if device != "cpu" and self._options.offload == "model":
            self._pipe.enable_model_cpu_offload(device=device)
        elif device != "cpu" and self._options.offload == "sequential":
            self._pipe.enable_sequential_cpu_offload(device=device)
        else:
            try:
                self._pipe.to(device)
            except Exception as error:
                if self._options.offload == "none" or not lacks_memory(error) or device == "cpu":
                    raise
                self._pipe.to("cpu")
                while self.economise():
                    pass

    def _arguments(self, prompt: str, plan: Plan, reference: Image.Image | None) -> dict[str, Any]:
        pipe = self._pipe if reference is None else self._from_picture
        accepted = _parameters(pipe)
        wished: dict[str, Any] = {
            "prompt": prompt,
            "num_inference_steps": plan.num_inference_steps,
            "guidance_scale": plan.guidance_scale,
            "width": plan.width_px,
            "height": plan.height_px,
            "output_type": "pil",
        }
        if plan.negative_prompt:
            wished["negative_prompt"] = plan.negative_prompt
        if self._options.max_sequence_length:
            wished["max_sequence_length"] = self._options.max_sequence_length
        if reference is not None:
            wished |= {"image": reference, "strength": plan.strength}
        return {name: value for name, value in wished.items() if name in accepted}

    def _tokenizers(self) -> list[tuple[Any, int]]:
        """Return the tokenizers in use, each with the tokens that its encoder reads."""
        default = _parameters(self._pipe).get("max_sequence_length")
        longest = self._options.max_sequence_length or (default.default if default else 0)
        found = []
        for end in ("", "_2", "_3"):
            tokenizer = getattr(self._pipe, f"tokenizer{end}", None)
            encoder = getattr(self._pipe, f"text_encoder{end}", None)
            if tokenizer is None or encoder is None:
                continue
            clip = str(encoder.config.model_type).startswith("clip")
            found.append((tokenizer, longest if longest and not clip else _own_limit(tokenizer)))
        return found


def _read(folder: Path, device: str, options: DiffusionOptions) -> Any:
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for log in (diffusers_logging, transformers_logging):
        log.set_verbosity_error()  # they write prompts into the log when they cut them
        log.disable_progress_bar()
    # The classifier of the first Stable Diffusions is left out: ours looks at every picture.
    left_out: dict[str, Any] = {}
    index = DiffusionPipeline.load_config(folder, local_files_only=True)
    if "safety_checker" in index:
        left_out = {
            "safety_checker": None,
            "feature_extractor": None,
            "requires_safety_checker": False,
        }
    pipe = DiffusionPipeline.from_pretrained(
        folder,
        dtype=_dtype(options.dtype, device),
        variant=options.variant,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        **left_out,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _dtype(wanted: str, device: str) -> torch.dtype:
    """Choose the type of the weights: half of it on a GPU, unless the catalogue says otherwise."""
    import torch

    if wanted != "auto":
        chosen: torch.dtype = getattr(torch, wanted)
        return chosen if device != "cpu" else torch.float32
    if device == "cpu":
        return torch.float32
    bfloat16 = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if bfloat16 else torch.float16


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
    accepted = _parameters(pipe)
    denoiser = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
    config = getattr(denoiser, "config", {})
    # Flux dev and latent consistency models get the guidance as an input: one pass, no negative.
    embeds = config.get("guidance_embeds")
    single_pass = embeds is not None or config.get("time_cond_proj_dim") is not None
    guided = "guidance_scale" in accepted and embeds is not False and not options.distilled
    return Abilities(
        num_inference_steps=int(_default(accepted, "num_inference_steps") or _FALLBACK_STEPS),
        guidance_scale=float(_default(accepted, "guidance_scale") or _FALLBACK_GUIDANCE),
        multiple_px=_multiple(pipe, config),
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


def _economies(pipe: Any, device: str, options: DiffusionOptions) -> list[Callable[[], None]]:
    """Return the ways to save memory, least slowing first."""

    def slice_up() -> None:
        pipe.enable_attention_slicing()
        for name in ("enable_slicing", "enable_tiling"):
            getattr(pipe.vae, name, lambda: None)()

    def offload() -> None:
        pipe.enable_model_cpu_offload(device=device)

    may_move = device != "cpu" and options.offload == "auto"
    return [slice_up, offload] if may_move else [slice_up]


def _parameters(pipe: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(pipe.__call__).parameters)


def _default(parameters: dict[str, inspect.Parameter], name: str) -> Any:
    found = parameters.get(name)
    return None if found is None or found.default is inspect.Parameter.empty else found.default


def _own_limit(tokenizer: Any) -> int:
    return int(min(tokenizer.model_max_length, 4096))  # some say 10 to the 30
