"""``make demo ONCE=1``: the whole way with the real models, and what it leaves behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bot.settings import CONFIG_FOLDER, Settings
from models.catalog import Catalog
from models.media import probe_audio
from models.weights import WeightStore


def demo_once(output: Path, weights: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot", "demo", "--once", "--output", output],
        env={**os.environ, "SEXTANT_WEIGHTS_DIR": str(weights), "SEXTANT_PROFILE": "embedded"},
        capture_output=True,
        text=True,
        timeout=170,
    )


@pytest.mark.slow
def test_the_tour_succeeds_and_is_written_down(embedded: Settings, tmp_path: Path) -> None:
    output = tmp_path / "demo-output"
    ended = demo_once(output, embedded.models_dir)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "FAILED" not in ended.stdout

    table = ended.stdout[ended.stdout.index("command ") :]
    for command, model in (
        ("/ask", "smollm2-135m"),
        ("/speak", "hibari"),
        ("(a file dropped)", "whisper-tiny-en"),
    ):
        assert re.search(rf"^{re.escape(command)} +{re.escape(model)} +\d+\.\d  ", table, re.M)

    transcript = (output / "transcript.md").read_text("utf-8")
    assert "Paris" in transcript
    assert "the horizon and a star" in transcript.lower()
    (voice,) = (output / "files").glob("*.ogg")
    assert f"](files/{voice.name})" in transcript
    assert probe_audio(voice).codec == "opus"
    assert 2 < probe_audio(voice).duration_s < 10


def test_a_failed_step_shows_in_the_table_and_the_exit_code(tmp_path: Path) -> None:
    catalog, store = Catalog.read(CONFIG_FOLDER), WeightStore(tmp_path / "weights")
    for model_id in catalog.profile("embedded").defaults.values():
        store._place(catalog.get(model_id)).mkdir(parents=True)  # there, and nothing in it
    ended = demo_once(tmp_path / "demo-output", store.folder)
    assert ended.returncode == 1
    assert ended.stdout.count("FAILED: ") == 3
    assert "The model could not be loaded" in ended.stdout


def test_without_weights_it_says_how_to_get_them(tmp_path: Path) -> None:
    ended = demo_once(tmp_path / "demo-output", tmp_path / "nothing")
    assert ended.returncode == 1
    assert "smollm2-135m, hibari, whisper-tiny-en are missing" in ended.stdout
    assert "python -m bot models pull" in ended.stdout
