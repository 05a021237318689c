"""Pictures to words with transformers: BLIP, encoders with decoders, and models that talk.

This module owns the backend ``transformers-vision``: which architecture a folder holds, and how it
is loaded. How each is used stands in ``blip``, ``trocr`` and ``chat``.

Source: https://huggingface.co/docs/transformers/model_doc/auto
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from models.catalog import ModelSpec
from models.dtypes import weights_dtype
from models.errors import ModelLoadFailed
from models.torch_errors import translated
from models.vision.blip import Answerer, Captioner
from models.vision.chat import Talker
from models.vision.handler import Reader, VisionHandler
from models.vision.options import VisionOptions
from models.vision.trocr import LineReader

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_PAIR: Final = "vision-encoder-decoder"

MakeReader: TypeAlias = Callable[["PreTrainedModel", Any, VisionOptions], Reader]


def load(spec: ModelSpec, location: str, device: str) -> VisionHandler:
    """Load a model that writes about pictures.

    Args:
        spec: Row of the catalogue.
        location: Folder with safetensors. Pickled weights are refused.
        device: ``cpu``, ``cuda:0``, ...

    Raises:
        ModelLoadFailed: The files are not of such a model.
        OutOfMemory: The device has not enough memory.
    """
    from safetensors import SafetensorError

    options = VisionOptions.of(spec)
    try:
        with translated(ModelLoadFailed):
            reader = reader_of(Path(location), options, device)
    except SafetensorError as error:  # a child of Exception alone
        raise ModelLoadFailed from error
    return VisionHandler(spec, reader, options.safety_dir)


def reader_of(folder: Path, options: VisionOptions, device: str) -> Reader:
    """Load a folder; see ``load``. What is wrong is told in the words of the libraries."""
    from transformers import AutoConfig, AutoProcessor
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(folder, **local)
    auto, make = _kind(config)
    model = auto.from_pretrained(
        folder,
        config=config,
        use_safetensors=True,
        dtype=weights_dtype(options.dtype, config.dtype, device),
        device_map={"": device},
        **local,
    ).eval()
    if config.model_type == _PAIR:
        model.encoder.register_forward_hook(_plain)
    processor = AutoProcessor.from_pretrained(folder, **local, **options.processor)
    return make(model, processor, options)


def _kind(config: PretrainedConfig) -> tuple[Any, MakeReader]:
    """Return the class that loads an architecture, and what uses it."""
    from transformers import AutoModelForImageTextToText, AutoModelForVisualQuestionAnswering

    if "BlipForQuestionAnswering" in (config.architectures or ()):
        return AutoModelForVisualQuestionAnswering, Answerer
    if config.model_type == "blip":
        return AutoModelForImageTextToText, Captioner
    if config.model_type == _PAIR:
        reads_lines = config.decoder.model_type == "trocr"
        return AutoModelForImageTextToText, LineReader if reads_lines else Captioner
    return AutoModelForImageTextToText, Talker


def _plain(_: object, __: object, output: Any) -> Any:
    """Return what an encoder saw and nothing else.

    The pair asks for the attentions of its encoder, and fails where convolutions have none to tell.
    """
    from transformers.modeling_outputs import BaseModelOutput

    return BaseModelOutput(last_hidden_state=output[0])
