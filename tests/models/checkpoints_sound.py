"""Tiny checkpoints of the real architectures, with random weights: they speak and hear gibberish.

They are written in the files and formats that the real ones come in, so that the production path
loads them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LANGUAGES = ["en", "de", "fr", "ja"]
SPEAKERS = ["Ada Tiny", "Bo Small"]
_TEXT = ["the quick brown fox jumps over the lazy dog", "hello world how are you today"]


def write_whisper(folder: Path, mel_bands: int = 80) -> Path:
    """Write a multilingual Whisper, converted for CTranslate2, with its tokenizer."""
    import ctranslate2
    import torch
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperForConditionalGeneration,
    )

    tokenizer = _whisper_tokenizer()
    source = folder / "source"
    torch.manual_seed(2)  # one that has something to say
    config = WhisperConfig(
        vocab_size=tokenizer.get_vocab_size(),
        num_mel_bins=mel_bands,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        bos_token_id=tokenizer.token_to_id("<|endoftext|>"),
        eos_token_id=tokenizer.token_to_id("<|endoftext|>"),
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
        decoder_start_token_id=tokenizer.token_to_id("<|startoftranscript|>"),
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        lang_to_id={f"<|{name}|>": tokenizer.token_to_id(f"<|{name}|>") for name in LANGUAGES}
    )
    model.save_pretrained(source)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(source)
    converter = ctranslate2.converters.TransformersConverter(
        str(source), copy_files=["tokenizer.json"]
    )
    converter.convert(str(folder / "model"))
    # CTranslate2 takes a model for multilingual when its vocabulary has an empty token.
    vocabulary = folder / "model" / "vocabulary.json"
    tokens = json.loads(vocabulary.read_text("utf-8"))
    vocabulary.write_text(json.dumps(["", *tokens[1:]]), "utf-8")
    return folder / "model"


def _whisper_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        _TEXT, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet)
    )
    marks = ["endoftext", "startoftranscript", *LANGUAGES, "translate", "transcribe"]
    marks += ["startoflm", "startofprev", "nospeech", "notimestamps"]
    marks += [f"{step * 0.02:.2f}" for step in range(1501)]
    tokenizer.add_special_tokens([f"<|{mark}|>" for mark in marks])
    return tokenizer


def write_kokoro(folder: Path, voices: Sequence[str]) -> Path:
    """Write a graph with Kokoro's inputs and output, and voices for it.

    For every number it hums 0.1 s at the voice's pitch, shorter at a higher speed; it has none of
    Kokoro's layers.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    def value(name: str, kind: int, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    def constant(name: str, array: Any) -> Any:
        return onnx.numpy_helper.from_array(np.asarray(array), name)

    nodes = [
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["count"]),
        helper.make_node("Cast", ["count"], ["count_f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["count_f", "samples"], ["slow"]),
        helper.make_node("Div", ["slow", "speed"], ["length"]),
        helper.make_node("Squeeze", ["length", "zeros"], ["end"]),
        helper.make_node("Range", ["zero", "end", "step"], ["times"]),
        helper.make_node("Gather", ["style", "first"], ["pitch"], axis=1),
        helper.make_node("Squeeze", ["pitch", "both"], ["pitch_s"]),
        helper.make_node("Mul", ["times", "pitch_s"], ["phase"]),
        helper.make_node("Sin", ["phase"], ["wave"]),
        helper.make_node("Mul", ["wave", "loudness"], ["quiet"]),
        helper.make_node("Unsqueeze", ["quiet", "zeros"], ["waveform"]),
    ]
    constants = [
        constant("one", np.array([1])),
        constant("zeros", np.array([0])),
        constant("both", np.array([0, 1])),
        constant("first", np.array([0])),
        constant("zero", np.float32(0)),
        constant("step", np.float32(1)),
        constant("samples", np.array([2400], np.float32)),
        constant("loudness", np.float32(0.3)),
    ]
    inputs = [
        value("input_ids", TensorProto.INT64, [1, "n"]),
        value("style", TensorProto.FLOAT, [1, 256]),
        value("speed", TensorProto.FLOAT, [1]),
    ]
    outputs = [value("waveform", TensorProto.FLOAT, [1, "samples_out"])]
    graph = helper.make_graph(nodes, "kokoro", inputs, outputs, constants)
    opset = [helper.make_opsetid("", 17)]
    (folder / "onnx").mkdir(parents=True)
    (folder / "voices").mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=opset, ir_version=9),
        str(folder / "onnx" / "model_quantized.onnx"),
    )
    for number, name in enumerate(voices, start=1):
        styles = np.full((510, 256), 0.05 * number, np.float32)
        styles.tofile(folder / "voices" / f"{name}.bin")
    return folder


def write_vits(folder: Path) -> Path:
    """Write a VITS voice of one English speaker; returns the checkpoint."""
    import torch
    from TTS.tts.configs.vits_config import VitsConfig
    from TTS.tts.models.vits import Vits, VitsArgs

    torch.manual_seed(0)
    config = VitsConfig(
        model_args=VitsArgs(
            init_discriminator=False,
            hidden_channels=16,
            hidden_channels_ffn_text_encoder=16,
            num_heads_text_encoder=2,
            num_layers_text_encoder=1,
            num_layers_posterior_encoder=1,
            num_layers_flow=1,
            upsample_initial_channel_decoder=16,
            upsample_rates_decoder=[8, 8, 4],
            upsample_kernel_sizes_decoder=[16, 16, 8],
            resblock_kernel_sizes_decoder=[3],
            resblock_dilation_sizes_decoder=[[1, 3, 5]],
        ),
        text_cleaner="english_cleaners",
    )
    folder.mkdir(parents=True, exist_ok=True)
    config.save_json(str(folder / "config.json"))
    torch.save({"model": Vits(config).state_dict()}, folder / "model_file.pth")
    return folder / "model_file.pth"


def write_xtts(folder: Path, *, old: bool = False) -> Path:
    """Write an XTTS with two built-in speakers; returns its folder.

    Its decoder and speaker encoder have a fixed size of 90 MB: each tensor is saved as one row that
    is repeated, which makes the file small.

    Args:
        folder: Where to.
        old: Put the configuration into the checkpoint as an object, as the published one has it.
    """
    import torch
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.models import xtts
    from TTS.tts.models.xtts import Xtts, XttsArgs

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    tokenizer = _xtts_tokenizer()
    tokenizer.save(str(folder / "vocab.json"))
    config = XttsConfig(
        model_args=XttsArgs(
            gpt_layers=2,
            gpt_n_model_channels=64,
            gpt_n_heads=4,
            gpt_num_audio_tokens=1026,
            gpt_start_audio_token=1024,
            gpt_stop_audio_token=1025,
            gpt_max_audio_tokens=8,
            gpt_max_text_tokens=200,
            gpt_max_prompt_tokens=20,
            gpt_use_perceiver_resampler=True,
            decoder_input_dim=64,
        ),
        languages=LANGUAGES,
    )
    model = Xtts(config)
    model.tokenizer.tokenizer = tokenizer
    model.init_models()
    state = model.state_dict()
    for name, tensor in state.items():
        if name.startswith("hifigan_decoder.") and tensor.ndim:
            state[name] = tensor[:1].clone().expand_as(tensor)
    config.save_json(str(folder / "config.json"))
    if old:
        with xtts._legacy_safe_globals():  # the names that its classes had
            torch.save({"model": state, "config": config}, folder / "model.pth")
    else:
        torch.save({"model": state}, folder / "model.pth")
    speakers = {
        name: {
            "gpt_cond_latent": torch.randn(1, 8, 64),
            "speaker_embedding": torch.randn(1, 512, 1),
        }
        for name in SPEAKERS
    }
    torch.save(speakers, folder / "speakers_xtts.pth")
    return folder


def _xtts_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[STOP]", "[UNK]", "[SPACE]", "[START]", *(f"[{name}]" for name in LANGUAGES)]
    tokenizer.train_from_iterator(
        _TEXT, trainers.BpeTrainer(special_tokens=special, vocab_size=120)
    )
    return tokenizer
