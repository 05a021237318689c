"""``make demo``, with ONCE=1 and without: the whole way with the real models."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import aiohttp
import pytest

from bot.settings import CONFIG_FOLDER, Settings
from models.catalog import Catalog, ModelSpec
from models.contracts import Modality
from models.media import probe_audio
from models.weights import WeightStore

COMMANDS = {
    Modality.TEXT: "/ask",
    Modality.IMAGE: "/imagine",
    Modality.VIDEO: "/video",
    Modality.SPEECH: "/speak",
    Modality.TRANSCRIPTION: "(a file dropped)",
    Modality.VISION: "/describe task:ocr",
}
TALKING = (Modality.TEXT, Modality.SPEECH, Modality.TRANSCRIPTION)


def environment(weights: Path) -> dict[str, str]:
    return {**os.environ, "SEXTANT_WEIGHTS_DIR": str(weights), "SEXTANT_PROFILE": "embedded"}


WITH_CONFIG = """
import sys, pathlib, bot.settings
bot.settings.CONFIG_FOLDER = pathlib.Path(sys.argv.pop(1))
from bot.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def demo_once(
    output: Path, weights: Path, config: Path = CONFIG_FOLDER
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITH_CONFIG, config, "demo", "--once", "--output", output],
        env=environment(weights),
        capture_output=True,
        text=True,
        timeout=340,
    )


def _installed(catalog: Catalog, settings: Settings) -> list[ModelSpec]:
    store = WeightStore(settings.models_dir)
    return [spec for spec in catalog.of(Modality.VISION) if store.is_installed(spec)]


@pytest.mark.slow
@pytest.mark.timeout(360)  # weights may have to be converted first
def test_the_tour_succeeds_and_is_written_down(embedded: Settings, tmp_path: Path) -> None:
    output = tmp_path / "demo-output"
    ended = demo_once(output, embedded.models_dir)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "FAILED" not in ended.stdout

    assert "Warning" not in ended.stderr

    table = ended.stdout[ended.stdout.index("command ") :]
    catalog = Catalog.read(CONFIG_FOLDER)
    defaults = catalog.profile("embedded").defaults
    for modality, command in COMMANDS.items():
        if modality in defaults:
            model, outcome = re.escape(defaults[modality]), r"\d+\.\d  (?!left out)"
        else:
            model, outcome = "-", "-  left out: no model of the profile `embedded` "
        assert re.search(rf"^{re.escape(command)} +{model} +{outcome}", table, re.M), command
    describes = any("caption" in spec.capabilities for spec in _installed(catalog, embedded))
    if Modality.IMAGE in defaults and describes:
        assert re.search(r"^\(Describe pressed\) .*“.*\bred\b.*boat", table, re.M)

    transcript = (output / "transcript.md").read_text("utf-8")
    assert "Paris" in transcript
    heard = transcript[transcript.index("📝") :]
    assert "the height of the sun above the sea" in heard
    assert "> Harbour office\n> Open daily from 9 to 17" in transcript
    assert "![picture.png](files/" in transcript
    (voice,) = (output / "files").glob("*.ogg")
    assert f"](files/{voice.name})" in transcript
    assert probe_audio(voice).codec == "opus"
    assert 2 < probe_audio(voice).duration_s < 10


@pytest.fixture
def talking(tmp_path: Path) -> Path:
    """A config folder whose profile draws nothing, which would take its time."""
    config = shutil.copytree(CONFIG_FOLDER, tmp_path / "config")
    defaults = Catalog.read(CONFIG_FOLDER).profile("embedded").defaults
    rows = [f'{modality} = "{defaults[modality]}"' for modality in TALKING]
    head = '[embedded]\ndescription = "talks"\nmemory_mb = 4000\n[embedded.defaults]'
    (config / "profiles.toml").write_text("\n".join((head, *rows)))
    return config


@pytest.fixture
def broken_weights(talking: Path, tmp_path: Path) -> Path:
    """A folder in which every model is there, and empty."""
    catalog, store = Catalog.read(talking), WeightStore(tmp_path / "weights")
    for model_id in catalog.profile("embedded").defaults.values():
        store._place(catalog.get(model_id)).mkdir(parents=True, exist_ok=True)
    return store.folder


def test_a_failed_step_shows_in_the_table_and_the_exit_code(
    talking: Path, broken_weights: Path, tmp_path: Path
) -> None:
    ended = demo_once(tmp_path / "demo-output", broken_weights, talking)
    assert ended.returncode == 1
    table = ended.stdout[ended.stdout.index("command ") :]
    assert table.count("FAILED: ") == 3
    assert "The model could not be loaded" in ended.stdout


def test_without_weights_it_says_how_to_get_them(tmp_path: Path) -> None:
    ended = demo_once(tmp_path / "demo-output", tmp_path / "nothing")
    assert ended.returncode == 1
    assert "smollm2-135m, hibari, whisper-tiny-en are missing" in ended.stdout
    assert "python -m bot models pull" in ended.stdout


async def test_the_pages_stay_until_a_signal(talking: Path, broken_weights: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WITH_CONFIG, str(talking), "demo", "--port", "0",
        env=environment(broken_weights), stdout=PIPE, stderr=DEVNULL,
    )  # fmt: skip
    addresses = []
    while len(addresses) < 2:
        line = (await process.stdout.readline()).decode().strip()
        assert line or not process.stdout.at_eof()
        addresses += [line] if line.startswith("http://127.0.0.1:") else []
    async with aiohttp.ClientSession() as client:
        for address, title in zip(addresses, ("SimCord", "Sextant demo"), strict=True):
            assert title in await (await client.get(address)).text()
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 60) == 0
