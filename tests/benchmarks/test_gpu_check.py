"""The check for a GPU: loud where there is none, and right about what models make."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_check
from models.catalog import Catalog
from models.contracts import Segment, TextResult, TranscriptionResult, Usage
from models.weights import WeightStore

ROOT = Path(__file__).parents[2]
CATALOG = Catalog.read(ROOT / "config")


def _without_a_gpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_check", *arguments],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_gpu_it_says_so_loudly_and_fails() -> None:
    done = _without_a_gpu()
    assert done.returncode == gpu_check.NO_GPU
    assert "NO GPU HERE. NOTHING WAS CHECKED." in done.stderr
    assert "fine" not in done.stdout


@pytest.mark.parametrize("model_id", ["smollm2-135m", "hibari", "whisper-tiny-en", "rapidocr"])
def test_the_checks_hold_for_real_models(model_id: str) -> None:
    """On the processor, with the weights that packages carry."""
    said = gpu_check._check(CATALOG, CATALOG.get(model_id), "cpu")
    assert "failed" not in said
    assert ("8 at once" in said["judged"]) == (model_id == "smollm2-135m")


def test_what_is_wrong_is_found_out() -> None:
    with pytest.raises(gpu_check._Unfit, match="capital of France"):
        gpu_check._names_paris(TextResult("It is Lyon.", Usage(3, "tokens")))
    heard = TranscriptionResult((Segment(0, 1, "Good night."),), "en", 1, Usage(1, "seconds"))
    with pytest.raises(gpu_check._Unfit, match="it heard 'Good night"):
        gpu_check._reads_the_sentence(heard)


def test_the_report_fails_with_any_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: dict[str, Any] = {"judged": "5 tokens", "load_s": 1.0, "run_s": 2.0, "memory_mb": 900}
    monkeypatch.setattr(WeightStore, "is_installed", lambda _, spec: spec.id != "sdxl")
    monkeypatch.setattr(gpu_check, "_in_a_process", lambda spec, device: said)
    rows = [CATALOG.get(name) for name in ("llama-3.1-8b", "sdxl", "gpt-image")]
    assert gpu_check._report(rows, WeightStore(tmp_path), "cuda:0") == gpu_check.FAILED
    llama, sdxl, hosted, *_ = capsys.readouterr().out.splitlines()
    assert "fine: 5 tokens; loaded in 1 s, answered in 2.0 s, 900 MB of the GPU" in llama
    assert "FAILED: The owner gets it with `python -m bot models pull sdxl`" in sdxl
    assert "skipped" in hosted
    assert gpu_check._report(rows[:1], WeightStore(tmp_path), "cuda:0") == gpu_check.OK


def test_a_process_that_dies_is_one_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Done:
        returncode, stdout, stderr = -9, "", "killed for its memory"

    monkeypatch.setattr(gpu_check.subprocess, "run", lambda *_, **__: Done)
    said = gpu_check._in_a_process(CATALOG.get("sdxl"), "cuda:0")
    assert "killed for its memory" in said["failed"]
    monkeypatch.setattr(Done, "stdout", "noise\n" + json.dumps({"judged": "x"}))
    assert gpu_check._in_a_process(CATALOG.get("sdxl"), "cuda:0") == {"judged": "x"}
