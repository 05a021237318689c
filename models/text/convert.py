"""Convert weights in a process of its own: GGUF to safetensors, anything to int4 ONNX.

This module is a program, ``python -m models.text.convert``, and the function that runs it. The
memory and the modules that a conversion takes (torch, transformers, the model builder) are gone
when it ends, so that the worker stays small. It must not decide when to convert: see ``cache``.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final, Literal

from models.errors import ModelLoadFailed

_LOG = logging.getLogger(__name__)

Form = Literal["safetensors", "onnx"]

BUILDER_OPTIONS: Final = (
    # Asymmetric, with eight bits where it hurts most: measured on the embedded model, plain int4
    # loses a third in perplexity, this loses 9 % and a sixth of the speed.
    "algo_config=rtn",
    "is_symmetric=false",
    "matmul_mixed_precision=last_matmul:int8,mixed_layers:int8",
    "prune_lm_head=true",  # logits of the last token alone: a long prompt is read faster
    "hf_token=false",
)

_REPO = Path(__file__).resolve().parents[2]


def convert(source: Path, target: Path, form: Form) -> None:
    """Convert ``source``, a GGUF file or a folder of safetensors, into the folder ``target``.

    Raises:
        ModelLoadFailed: With what the program said last, for the log.
    """
    command = [sys.executable, "-m", "models.text.convert", str(source), str(target), form]
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1"}
    with tempfile.TemporaryFile() as log:
        # The pipe is never written: its end tells the program that this process has died.
        child = subprocess.Popen(  # noqa: S603 - our own program
            command,
            cwd=_REPO,
            env=os.environ | offline,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        with child:
            code = child.wait()
        log.seek(0)
        lines = log.read().decode(errors="replace").splitlines()
    said = "\n".join(line for line in lines if not line.startswith("Progress: "))[-4000:]
    if code:
        raise ModelLoadFailed from RuntimeError(f"conversion to {form} ended with {code}: {said}")
    _LOG.debug("conversion to %s: %s", form, said)


def main() -> None:
    """Run one conversion."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("form", choices=["safetensors", "onnx"])
    arguments = parser.parse_args()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    source, target = arguments.source, arguments.target
    if arguments.form == "safetensors":
        _unpack_gguf(source, target)
        return
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        if source.is_file():
            unpacked = Path(scratch) / "unpacked"
            _unpack_gguf(source, unpacked)
            source = unpacked
        _build_onnx(source, target, Path(scratch) / "builder")


def _end_with_parent() -> None:
    os.read(0, 1)  # not sys.stdin: a thread that waits in it makes a clean exit fatal
    os._exit(1)


def _unpack_gguf(file: Path, target: Path) -> None:
    """De-quantise a GGUF file into a checkpoint that loads in seconds instead of half a minute."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"gguf_file": file.name, "local_files_only": True}
    quantised = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float16, **where)
    config = quantised.config
    # A model that came from GGUF refuses to be saved, even now that its weights are plain.
    del config.quantization_config
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.float16)
    plain.load_state_dict(quantised.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = quantised.generation_config
    plain.save_pretrained(target)
    AutoTokenizer.from_pretrained(file.parent, **where).save_pretrained(target)


def _build_onnx(source: Path, target: Path, scratch: Path) -> None:
    from onnxruntime_genai.models.builder import create_model, parse_extra_options

    place = ("", str(source), str(target), "int4", "cpu", str(scratch))
    create_model(*place, **parse_extra_options(*place, list(BUILDER_OPTIONS)))


if __name__ == "__main__":
    main()
