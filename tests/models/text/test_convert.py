"""The program that converts weights: it dies with who started it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_it_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "models.text.convert", "nowhere.gguf", str(tmp_path), "onnx"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin
        child.stdin.close()
        assert child.wait(timeout=100) == 1
        assert child.stderr
        assert child.stderr.read() == b""
