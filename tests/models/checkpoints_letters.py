"""A tiny Wav2Vec 2.0 that was taught, in seconds, to write down tones as letters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.models.sounds import Samples, silence, tone

LETTER_S = 0.2
_HERTZ = {"H": 300.0, "I": 900.0, "O": 2700.0}
_TOKENS = ["<pad>", "<s>", "</s>", "<unk>", "|", *_HERTZ]
_FRAME = 320
_STEPS = 250


def sung(text: str) -> Samples:
    """Return a text as tones; a space is silence as long as a letter, and so are its ends."""
    pieces = [silence(LETTER_S) if c == " " else tone(LETTER_S, hertz=_HERTZ[c]) for c in text]
    return np.concatenate([silence(LETTER_S), *pieces, silence(LETTER_S)])


def write_wav2vec2(folder: Path) -> Path:
    """Write the checkpoint in the files that the published ones have."""
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
    )

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: n for n, t in enumerate(_TOKENS)}))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor()
    extractor.save_pretrained(folder)
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(_TOKENS),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            conv_dim=(16,) * 7,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            feat_proj_dropout=0.0,
            final_dropout=0.0,
            layerdrop=0.0,
            mask_time_prob=0.0,
            apply_spec_augment=False,
        )
    )
    _teach(model, extractor)
    model.save_pretrained(folder)
    return folder


def _teach(model, extractor) -> None:
    import torch

    chance = np.random.default_rng(0)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for _ in range(_STEPS):
        text = "".join(chance.choice([*_HERTZ, " "], 12))
        samples = sung(text)
        inputs = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values
        logits = model(inputs).logits[0]
        middle = (np.arange(len(logits)) * _FRAME + 200) / 16_000
        heard = [f" {text} "[min(int(second / LETTER_S), len(text) + 1)] for second in middle]
        wanted = torch.tensor([_TOKENS.index("|" if c == " " else c) for c in heard])
        loss = torch.nn.functional.cross_entropy(logits, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
