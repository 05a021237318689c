"""Tiny checkpoints of models that look at pictures, written as their authors publish them.

BLIP and TrOCR are trained for some seconds on a handful of drawings, so that their answers are
right only if the whole way from a file to words is.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image


_CORPUS = [
    "A red square on white paper. What colour is the square? It is red and blue.",
    "Describe this picture in one short sentence. There is no text in it.",
    "User: Assistant: user assistant picture text line by line exactly as it stands there",
]
_MOST_STEPS = 400
_LEARNT = 0.012
COLOURS = ("red", "blue")
SHAPES = ("square", "circle")
LINES = ("First line of all", "and then another", "finally the third")
"""What the tiny TrOCR can read."""


# --------------------------------------------------------------------------- BLIP


def drawing(colour: str, shape: str, side_px: int = 64) -> Image.Image:
    """Draw what the tiny BLIPs know."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (side_px, side_px), "white")
    box = (side_px // 4, side_px // 4, 3 * side_px // 4, 3 * side_px // 4)
    pen = ImageDraw.Draw(picture)
    (pen.rectangle if shape == "square" else pen.ellipse)(box, fill=colour)
    return picture


def write_captioner(folder: Path) -> Path:
    """Write a BLIP that captions a drawing: "a red circle"."""
    from transformers import BlipForConditionalGeneration

    processor = _blip_processor()
    model = _seeded(BlipForConditionalGeneration, _blip_config(processor.tokenizer))
    pairs = list(itertools.product(COLOURS, SHAPES))
    batch = processor(
        images=[drawing(*pair) for pair in pairs],
        text=[f"a {colour} {shape}" for colour, shape in pairs],
        padding=True,
        return_tensors="pt",
    )
    batch["input_ids"][:, 0] = processor.tokenizer.bos_token_id
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    _train(model, {**batch, "labels": labels})
    return _save(folder, model, processor)


def write_answerer(folder: Path) -> Path:
    """Write a BLIP that knows "what colour is it?" and "what shape is it?"."""
    from transformers import BlipForQuestionAnswering

    processor = _blip_processor()
    model = _seeded(BlipForQuestionAnswering, _blip_config(processor.tokenizer))
    cases = [
        (drawing(colour, shape), f"what {kind} is it?", answer)
        for colour, shape in itertools.product(COLOURS, SHAPES)
        for kind, answer in (("colour", colour), ("shape", shape))
    ]
    pictures, questions, answers = zip(*cases, strict=True)
    batch = processor(images=list(pictures), text=list(questions), return_tensors="pt")
    labels = processor.tokenizer(list(answers), return_tensors="pt").input_ids
    labels[:, 0] = processor.tokenizer.bos_token_id
    _train(model, {**batch, "labels": labels})
    return _save(folder, model, processor)


def _blip_processor() -> Any:
    from transformers import BlipImageProcessor, BlipProcessor

    return BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), _word_pieces())


def _blip_config(tokenizer: Any) -> Any:
    from transformers import BlipConfig

    common = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "projection_dim": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    text = {
        "vocab_size": len(tokenizer),
        "encoder_hidden_size": 64,
        "max_position_embeddings": 64,
        "bos_token_id": tokenizer.bos_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return BlipConfig(
        text_config={**common, **text},
        vision_config={**common, "image_size": 32, "patch_size": 8},
        projection_dim=16,
        image_text_hidden_size=16,
    )


# --------------------------------------------------------------------------- TrOCR


def written(lines: Sequence[str], size_px: int = 28, margin_px: int = 24) -> Image.Image:
    """Write lines below each other, black on white."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=size_px)
    width = max(int(font.getlength(line)) for line in lines) + 2 * margin_px
    picture = Image.new("RGB", (width, round(len(lines) * 2 * size_px) + 2 * margin_px), "white")
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        pen.text((margin_px, margin_px + number * 2 * size_px), line, font=font, fill="black")
    return picture


def write_trocr(folder: Path) -> Path:
    """Write a TrOCR that knows ``LINES``."""
    from transformers import (
        TrOCRConfig,
        TrOCRProcessor,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTImageProcessor,
    )

    tokenizer = _byte_pairs(("<s>", "<pad>", "</s>"))
    processor = TrOCRProcessor(ViTImageProcessor(size={"height": 32, "width": 32}), tokenizer)
    encoder = ViTConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    )
    decoder = TrOCRConfig(
        vocab_size=len(tokenizer),
        d_model=64,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=128,
        dropout=0.0,
        cross_attention_hidden_size=64,
        max_position_embeddings=32,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id = tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    model = _seeded(VisionEncoderDecoderModel, config)
    margins = [(0, 0), (2, 4), (6, 2), (4, 6), (8, 8), (3, 10)]
    strips = [(_strip(line, margin), line) for line in LINES for margin in margins]
    labels = tokenizer([line + "</s>" for _, line in strips], padding=True, return_tensors="pt")
    ids = labels.input_ids.masked_fill(labels.attention_mask == 0, -100)
    pixels = processor([strip for strip, _ in strips], return_tensors="pt").pixel_values
    _train(model, {"pixel_values": pixels, "labels": ids}, learning_rate=2e-3)
    for name in ("decoder_start_token_id", "eos_token_id"):
        setattr(model.generation_config, name, tokenizer.eos_token_id)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return _save(folder, model, processor)


def _strip(line: str, margin_px: tuple[int, int]) -> Image.Image:
    """Cut a line out, with some paper around it."""
    from PIL import ImageChops, ImageOps

    picture = written([line])
    left, top, right, bottom = ImageChops.invert(picture).getbbox() or (0, 0, 1, 1)
    return ImageOps.expand(picture.crop((left, top, right, bottom)), margin_px, "white")


# --------------------------------------------------------------------------- parts


def _seeded(kind: Any, config: Any) -> Any:
    import torch

    torch.manual_seed(0)
    return kind(config)


def _train(model: Any, batch: Mapping[str, Any], learning_rate: float = 1e-3) -> None:
    """Learn a handful of examples by heart."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several collapse on a busy machine
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    model.train()
    for _ in range(_MOST_STEPS):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < _LEARNT:
            break
    model.eval()
    torch.set_num_threads(threads)


def _save(folder: Path, model: Any, processor: Any) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _word_pieces() -> Any:
    from transformers import BertTokenizerFast

    words = ["a", "it", "is", "what", "colour", "shape", *COLOURS, *SHAPES, "?"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate([*special, *words])})
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    return tokenizer


def _byte_pairs(special: tuple[str, ...], template: str | None = None) -> Any:
    """Return a tokenizer; the first of its control tokens begins, the last ends a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    pad = "<pad>" if "<pad>" in special else special[-1]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=special[0],
        eos_token=special[-1],
        pad_token=pad,
        chat_template=template,
    )
