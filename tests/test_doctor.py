"""What the doctor finds on machines of several kinds. What it asks Discord is in tests/e2e."""

import socket
import sqlite3
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from bot import doctor
from bot.doctor import Level
from bot.hardware import Hardware, read_hardware
from bot.settings import CONFIG_FOLDER, EngineSettings, RaySettings, Settings, WebSettings
from models.catalog import BACKEND_GROUP, Catalog
from models.weights import WeightStore
from tests.ports import silent_port


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.read(CONFIG_FOLDER)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    return Settings(data_dir=tmp_path / "data")


@pytest.mark.parametrize(
    ("hardware", "proposed"),
    [
        (Hardware(2, 4_000, ()), "embedded"),
        (Hardware(2, 64_000, ()), "embedded"),
        (Hardware(8, 16_000, ()), "cpu"),
        (Hardware(8, 16_000, (("GT 710", 2_000),)), "cpu"),
        (Hardware(2, 8_000, (("RTX 4060", 8_588),)), "gpu-8gb"),
        (Hardware(2, 8_000, (("GT 710", 2_000), ("RTX 4090", 24_000))), "gpu-24gb"),
        (Hardware(2, 8_000, (("RTX 4080", 17_171),)), "gpu-8gb"),
    ],
)
def test_the_profile_suits_the_machine(catalog: Catalog, hardware: Hardware, proposed: str) -> None:
    assert doctor.propose(hardware, catalog.profiles) == proposed


def test_another_profile_is_proposed_with_its_setting(catalog: Catalog) -> None:
    found = list(doctor.check_hardware(Hardware(8, 32_000, ()), catalog, "embedded"))
    assert "`cpu`: SEXTANT_PROFILE" in found[-1].remedy
    assert found[-1].level is Level.OK


def test_too_little_memory_is_a_warning(catalog: Catalog) -> None:
    found = list(doctor.check_hardware(Hardware(8, 4_000, ()), catalog, "cpu"))
    assert found[-1].level is Level.WARN
    assert "6000 MB" in found[-1].finding


def test_gpus_are_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA RTX 4060, 8188'\necho 'broken'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert read_hardware().gpus == (("NVIDIA RTX 4060", 8585),)


def test_a_driver_that_fails_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert read_hardware().gpus == ()


def test_missing_models_block_and_name_their_remedy(catalog: Catalog, tmp_path: Path) -> None:
    [check] = doctor.check_models([catalog.get("hibari")], WeightStore(tmp_path))
    assert check.level is Level.FAIL
    assert check.remedy == "python -m bot models pull hibari"


def test_a_gated_model_says_what_its_hub_wants_first(catalog: Catalog, tmp_path: Path) -> None:
    [check] = doctor.check_models([catalog.get("flux-schnell")], WeightStore(tmp_path))
    assert check.remedy.startswith("black-forest-labs/FLUX.1-schnell is gated: accept its licence")
    assert check.remedy.endswith("set HF_TOKEN. Then: python -m bot models pull flux-schnell")


def test_without_the_classifier_of_pictures_the_bot_still_serves(
    catalog: Catalog, tmp_path: Path
) -> None:
    [check] = doctor.check_models([catalog.tools["safety"]], WeightStore(tmp_path))
    assert check.level is Level.WARN
    assert check.remedy == "python -m bot models pull open-nsfw"


def test_a_hosted_model_without_prices_is_named(catalog: Catalog) -> None:
    ids = ["hibari", "gpt-image", "own-speech-server", "openai-compatible"]
    [check] = doctor.check_prices([catalog.get(model_id) for model_id in ids])
    assert (check.level, check.finding.split()[0]) == (Level.WARN, "openai-compatible")
    assert "[model.prices]" in check.remedy


def test_a_hosted_model_without_its_key_names_the_variable(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    [check] = doctor.check_models([catalog.get("gpt-image")], WeightStore(tmp_path))
    assert (check.level, check.remedy) == (Level.WARN, "Set OPENAI_API_KEY.")


def test_missing_libraries_name_their_extra(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "TTS" else object())
    *_, check = doctor.check_libraries([catalog.get("xtts-v2"), catalog.get("hibari")])
    assert check.level is Level.FAIL
    assert check.finding == "xtts-v2 needs TTS"
    assert check.remedy == "pip install -e '.[speech]'"


def test_every_backend_says_what_it_imports(catalog: Catalog) -> None:
    ours = {
        entry.name
        for entry in entry_points(group=BACKEND_GROUP)
        if entry.value.startswith("models.")
    }
    assert {spec.backend for spec in catalog.all()} <= ours == set(doctor._LIBRARIES)


def test_a_full_disk_blocks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = doctor.shutil.disk_usage("/")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=5_000_000))
    [check] = doctor.check_disk(settings, 0)
    assert check.level is Level.FAIL
    assert "5 MB free" in check.finding
    assert not settings.data_dir.exists()


def test_what_has_yet_to_be_fetched_counts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = doctor.shutil.disk_usage("/")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=2_000_000_000))
    assert [check.level for check in doctor.check_disk(settings, 0)] == [Level.OK]
    [check] = doctor.check_disk(settings, 3000)
    assert check.level is Level.WARN
    assert "3000 MB to fetch" in check.finding


def test_a_file_in_the_way_of_the_data_blocks(settings: Settings) -> None:
    settings.data_dir.write_text("not a folder")
    assert [check.level for check in doctor.check_disk(settings, 0)] == [Level.FAIL]


def test_weights_are_looked_for_room_on_the_disk_where_they_go(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small disk for the database and a large one for the weights are as they should be."""
    small, large = tmp_path / "small", tmp_path / "large"
    large.mkdir()
    settings = settings.model_copy(update={"data_dir": small, "weights_dir": large / "weights"})
    usage = doctor.shutil.disk_usage("/")
    monkeypatch.setattr(doctor, "_filesystem", lambda folder: int(folder.is_relative_to(large)))
    monkeypatch.setattr(
        doctor.shutil,
        "disk_usage",
        lambda place: usage._replace(free=50_000_000_000 if place == large else 2_000_000_000),
    )
    assert [check.level for check in doctor.check_disk(settings, 20_000)] == [Level.OK] * 2
    data, weights = doctor.check_disk(settings, 60_000)
    assert (data.level, weights.level) == (Level.OK, Level.WARN)
    assert "SEXTANT_WEIGHTS_DIR" in weights.remedy


def test_a_folder_for_weights_that_cannot_be_written_blocks(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings = settings.model_copy(update={"weights_dir": tmp_path / "file" / "weights"})
    *_, check = doctor.check_disk(settings, 0)
    assert check.level is Level.FAIL
    assert "SEXTANT_WEIGHTS_DIR" in check.remedy


def test_the_database_is_looked_at(settings: Settings) -> None:
    assert doctor.check_database(settings).finding == "made at the first start"
    settings.data_dir.mkdir()
    file = settings.data_dir / "sextant.db"
    file.write_text("this is no database" * 100)
    assert doctor.check_database(settings).level is Level.FAIL
    file.unlink()
    sqlite3.connect(file).close()
    check = doctor.check_database(settings)
    assert check.level is Level.WARN
    assert check.remedy == "python -m bot db upgrade"


def in_a_cluster(settings: Settings, address: str = "auto") -> Settings:
    engine, ray = EngineSettings(backend="ray"), RaySettings(address=address)
    return settings.model_copy(update={"engine": engine, "ray": ray})


def test_a_cluster_is_looked_at_where_workers_are_in_one(settings: Settings) -> None:
    assert not list(doctor.check_cluster(settings))
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        [check] = doctor.check_cluster(in_a_cluster(settings, address))
        assert (check.level, address in check.finding) == (Level.OK, True)
    [check] = doctor.check_cluster(in_a_cluster(settings, address))
    assert (check.level, f"{address} does not answer" in check.finding) == (Level.FAIL, True)


def test_a_machine_in_no_cluster_is_told_how_to_join(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    [check] = doctor.check_cluster(in_a_cluster(settings))
    assert (check.level, check.remedy.split()[:2]) == (Level.FAIL, ["ray", "start"])
    (tmp_path / "ray").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as head:
        (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{head.getsockname()[1]}")
        [check] = doctor.check_cluster(in_a_cluster(settings))
    assert check.level is Level.OK


def test_a_cluster_without_ray_is_pointed_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    [check] = doctor.check_cluster(in_a_cluster(settings))
    assert (check.level, check.remedy) == (Level.FAIL, "pip install -e '.[cluster]'")


def test_no_page_is_no_fault() -> None:
    [check] = doctor.check_page(WebSettings())
    assert (check.level, check.remedy) == (Level.OK, "")


def test_a_page_that_others_reach_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    port = silent_port()
    [check] = doctor.check_page(WebSettings(port=port))
    assert (check.level, check.finding.split()[-1]) == (Level.OK, f"http://127.0.0.1:{port}")
    monkeypatch.setattr(doctor, "troubles", lambda settings: None)
    _, check = doctor.check_page(WebSettings(port=port, host="0.0.0.0"))
    assert check.level is Level.WARN
    assert "firewall" in check.remedy


def test_a_port_that_something_else_holds_is_named() -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        [check] = doctor.check_page(WebSettings(port=server.server_port))
        server.shutdown()
        serving.join()
    assert (check.level, "SEXTANT_WEB__PORT" in check.remedy) == (Level.WARN, True)


def test_a_missing_token_blocks_and_says_where_to_get_one(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.main(settings) == 1
    shown = capsys.readouterr().out
    assert "DISCORD_TOKEN is not set" in shown
    assert "discord.com/developers" in shown
    assert "to mend first" in shown


def test_the_doctor_imports_no_heavy_library(tmp_path: Path) -> None:
    script = (
        "import sys; from bot.__main__ import main; main(['doctor'])\n"
        "heavy = {'torch', 'ray', 'transformers', 'TTS', 'faster_whisper', 'onnxruntime'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    environment = {"SEXTANT_DATA_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [doctor.sys.executable, "-W", "ignore", "-c", script],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
