"""What the catalogue says of how a row is proven is what a test does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from models.catalog import (
    BundledSource,
    Catalog,
    EndpointSource,
    PackageSource,
    PathSource,
    Weights,
)

ROOT = Path(__file__).resolve().parents[2]
CATALOG = Catalog.read(ROOT / "config")

TEXT = "text/test_causal_lm.py::test_decodes_as_generate_does"
IMAGE = "image/test_catalogue.py::test_a_row_declares_what_its_model_can_do"
ENLARGE = "upscaling/test_super_resolution.py"
VIDEO = "video/test_video_catalogue.py::test_a_row_declares_what_its_model_can_do"
TALK = "vision/test_chat.py::test_decodes_as_the_library_does"
READ = "vision/test_image_text.py"
WHISPER = "transcription/test_whisper.py"

VOICES = "speech/test_openai_speech.py"
EARS = "transcription/test_openai_transcription.py"

PROOFS = {
    "smollm2-135m": "text/test_embedded.py::test_it_names_the_capital_of_france",
    "smollm2-135m-transformers": "text/test_embedded.py::test_it_agrees_with_transformers",
    "qwen2.5-1.5b": "text/test_onnx_genai.py::test_streams_whole_characters[8]",
    "qwen2.5-1.5b-transformers": f"{TEXT}[deepseek-distill]",  # both are Qwen2
    "deepseek-r1-distill-qwen-1.5b": f"{TEXT}[deepseek-distill]",
    "qwen3-4b": f"{TEXT}[qwen3]",
    "phi-4-mini": f"{TEXT}[phi4]",
    "phi-4": f"{TEXT}[phi4]",
    "llama-3.1-8b": f"{TEXT}[llama]",
    "own-gguf": "text/test_causal_lm.py::test_streams_whole_characters",
    "openai-compatible": "text/test_openai_server.py::test_an_answer_streams",
    **{
        model_id: f"{IMAGE}[{model_id}]"
        for model_id in (
            *("sd-1.5", "sdxl", "sd-3.5-medium", "sd-3.5-large", "sd-3.5-large-turbo"),
            *("flux-schnell", "flux-dev", "z-image-turbo", "own-diffusion"),
        )
    },
    "drawings": "image/test_embedded.py::test_it_draws_what_was_asked_for",
    "swin2sr-real-x4": f"{ENLARGE}::test_published_weights_are_converted_once",
    "own-upscaler": f"{ENLARGE}::test_a_model_that_doubles_doubles",
    "gpt-image": "image/test_openai_images.py::test_a_picture_is_drawn_with_previews",
    "gpt-image-sunburst": "image/test_openai_images.py::test_a_reference_is_edited",
    "drawings-captioner": "vision/test_embedded.py::test_it_describes_drawn_scenes",
    "drawings-in-motion": "video/test_embedded.py::test_what_is_named_moves_in_its_way",
    "rapidocr": "vision/test_rapid_ocr.py::test_reads_what_was_written[20]",
    "smolvlm-256m": f"{TALK}[smolvlm]",
    "smolvlm-500m": f"{TALK}[smolvlm]",
    "qwen3-vl-2b": f"{TALK}[qwen3_vl]",
    "qwen2.5-vl-3b": f"{TALK}[qwen2_5_vl]",
    "blip-base": f"{READ}::test_blip_captions_each_picture[caption-3]",
    "blip-large": f"{READ}::test_blip_captions_each_picture[alt_text-3]",
    "blip-vqa": f"{READ}::test_blip_answers_questions[3]",
    "trocr-base-printed": f"{READ}::test_trocr_reads_lines_in_their_order",
    "trocr-base-handwritten": f"{READ}::test_trocr_reads_lines_in_their_order",
    **{
        model_id: f"{VIDEO}[{model_id}]"
        for model_id in ("cogvideox-2b", "wan-2.1-1.3b", "ltx-video", "wan-2.2-5b")
    },
    "own-video": "video/test_diffusion_video.py::test_a_seed_repeats_bit_for_bit[animatediff]",
    "sora-2": "video/test_openai_video.py::test_a_clip_is_ordered_awaited_and_fetched",
    "veo-3.1": "video/test_google_video.py::test_a_clip_is_ordered_and_awaited",
    "hibari": "speech/test_hibari.py::test_it_speaks_with_progress",
    "kokoro": "speech/test_kokoro.py::test_it_speaks_sentence_by_sentence",
    "xtts-v2": "speech/test_coqui.py::test_xtts_speaks_with_its_first_speaker",
    "coqui-vits": "speech/test_coqui.py::test_vits_speaks_from_a_file_and_from_its_folder",
    "whisper-tiny-en": f"{WHISPER}::test_speech_is_written_down_with_its_times",
    **dict.fromkeys(
        (*("whisper-tiny", "whisper-base", "whisper-small", "whisper-medium"), "whisper-large-v2"),
        f"{WHISPER}::test_a_multilingual_model_finds_the_language_out",
    ),
    "whisper-large-v3-turbo": f"{WHISPER}::test_a_model_with_more_mel_bands_is_fed_them",
    "whisper-large-v3": f"{WHISPER}::test_a_model_with_more_mel_bands_is_fed_them",
    "own-whisper": f"{WHISPER}::test_a_multilingual_model_translates_from_a_given_language",
    "wav2vec2-base-960h": "transcription/test_ctc.py::test_letters_become_sentences_with_times",
    "gpt-4o-mini-tts": f"{VOICES}::test_each_sentence_is_asked_for",
    "own-speech-server": f"{VOICES}::test_without_choices_nothing_more_is_sent",
    "gpt-transcribe": f"{EARS}::test_a_model_may_take_its_language_as_a_hint",
    "gpt-4o-transcribe": f"{EARS}::test_a_model_without_times_gives_a_segment_a_window",
    "whisper-1": f"{EARS}::test_words_have_times_when_they_are_asked_for",
    "open-nsfw": "image/test_safety.py::test_scores_as_the_wheel_s_own_code_does",
    "hibari-phonemes": "speech/test_kokoro.py::test_phonemes_are_numbered_as_kokoro_numbers_them",
    "ge2e-voices": "transcription/test_speakers.py::test_two_voices_are_told_apart_in_a_transcript",
}
"""The test of each row, below ``tests/models``."""

SIGNS = {
    "real weights": r"\bpackaged\(|\bPackaged\b|\bpackaged\)|WeightStore\(",
    "tiny checkpoint": r"\b(?:random_)?checkpoint[(:]|\bparrot\(|\btalker\(|\bwrite_\w+\(",
    "stand-in": r"\bwrite_\w+\(",
    "loopback server": r"\w+Server\(\)",
}
"""What the file of a test has in it that proves something in that way."""


def _items() -> list[Weights]:
    return CATALOG.everything()


def test_every_row_has_its_proof() -> None:
    assert {spec.id for spec in _items()} == set(PROOFS)


@pytest.mark.parametrize("spec", _items(), ids=lambda spec: spec.id)
def test_the_proof_is_of_the_kind_that_the_catalogue_says(spec: Weights) -> None:
    assert spec.proven, "say `proven` in its row"
    assert spec.family, "say `family` in its row"
    text = (ROOT / "tests" / "models" / PROOFS[spec.id].partition("::")[0]).read_text("utf-8")
    assert re.search(SIGNS[spec.proven], text)
    match spec.source:
        case EndpointSource():
            assert spec.proven == "loopback server"
        case PackageSource() | BundledSource():
            assert spec.proven == "real weights"
        case PathSource():
            assert spec.proven == "tiny checkpoint"


def test_the_tests_are_there() -> None:
    files = sorted({f"tests/models/{proof.partition('::')[0]}" for proof in PROOFS.values()})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = set(done.stdout.splitlines())
    for model_id, proof in PROOFS.items():
        wanted = f"tests/models/{proof}"
        assert any(line == wanted or line.startswith(f"{wanted}::") for line in found), model_id
