"""The command line: every subcommand that needs no Discord."""

import subprocess
import sys
from pathlib import Path

import pytest

from bot import __main__ as cli
from bot.settings import Settings
from models import weights
from models.catalog import ModelSpec
from models.errors import ModelLoadFailed
from models.hub import PullFailed
from models.weights import WeightStore


@pytest.fixture(autouse=True)
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEXTANT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("SEXTANT_PROFILE", raising=False)
    return tmp_path


def test_models_list_marks_the_profiles_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    starred = {line.split()[2] for line in lines if line.startswith("* ") and "fetched" not in line}
    assert starred == {
        "smollm2-135m",
        "drawings",
        "rapidocr",
        "hibari",
        "whisper-tiny-en",
        "drawings-in-motion",
        "hibari-phonemes",
        "open-nsfw",
        "ge2e-voices",
    }


def test_pull_without_an_id_fetches_the_profiles_defaults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(WeightStore, "pull", lambda _, spec, progress: progress(f"got {spec.id}"))
    assert cli.main(["models", "pull"]) == 0
    got = capsys.readouterr().out.replace("got ", "").split()
    assert got == [
        "smollm2-135m",
        "drawings",
        "rapidocr",
        "hibari",
        "whisper-tiny-en",
        "drawings-in-motion",
        "hibari-phonemes",
        "open-nsfw",
        "ge2e-voices",
    ]
    assert cli.main(["models", "pull", "xtts-v2"]) == 0
    assert capsys.readouterr().out == "got xtts-v2\n"


def test_a_pull_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise PullFailed("no network")

    monkeypatch.setattr(WeightStore, "pull", fail)
    assert cli.main(["models", "pull", "hibari"]) == 1
    assert capsys.readouterr().err == "no network\n"


def test_a_hub_out_of_reach_is_a_sentence(installation: Path) -> None:
    environment = {"SEXTANT_DATA_DIR": str(installation), "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "bot", "models", "pull", "sdxl"],
        cwd=Path(__file__).parent.parent,
        env={**environment, "PATH": "/usr/bin", "HOME": str(installation)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "could not be fetched from the hub" in done.stderr
    assert "Traceback" not in done.stderr


def test_prepare_loads_each_model_with_its_cache(
    installation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded: list[str] = []

    class Backend:
        def load(self) -> object:
            return self

        def __call__(self, spec: ModelSpec, location: str, device: str) -> object:
            assert (location, device) == ("http://127.0.0.1:8080/v1", "cpu")
            loaded.append(spec.options["cache_dir"])
            return self

        def close(self) -> None:
            loaded.append("closed")

    monkeypatch.setattr(cli, "backend_entry_point", lambda _: Backend())
    assert cli.main(["models", "prepare", "openai-compatible"]) == 0
    assert loaded[0].startswith(str(installation / "data" / "models" / "converted"))
    assert loaded[1] == "closed"
    assert "ready" in capsys.readouterr().out


def test_prepare_says_why_a_model_does_not_load(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Backend:
        def load(self) -> object:
            return self

        def __call__(self, *_: object) -> object:
            raise ModelLoadFailed from OSError("broken file")

    monkeypatch.setattr(cli, "backend_entry_point", lambda _: Backend())
    assert cli.main(["models", "prepare", "openai-compatible"]) == 1
    assert "broken file" in capsys.readouterr().err
    assert cli.main(["models", "prepare", "hibari"]) == 78
    assert "models pull hibari" in capsys.readouterr().err


def test_verify_names_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "verify", "hibari"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("hibari: not installed.")
    assert "models pull hibari" in said
    assert "damaged" not in said
    assert cli.main(["models", "verify"]) == 0


def test_remove_removes(installation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = installation / "data" / "models" / "packages" / "hibari-tts-0.2.1"
    folder.mkdir(parents=True)
    assert cli.main(["models", "remove", "hibari"]) == 0
    assert not folder.exists()
    assert capsys.readouterr().out == "hibari: removed\n"
    assert cli.main(["models", "remove", "hibari", "rapidocr"]) == 0
    assert capsys.readouterr().out.count("nothing here to remove") == 2


def test_what_cannot_be_removed_is_told(
    installation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (installation / "data" / "models" / "packages" / "hibari-tts-0.2.1").mkdir(parents=True)

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(weights.shutil, "rmtree", refuse)
    assert cli.main(["models", "remove", "hibari"]) == 1
    assert capsys.readouterr().err == "hibari cannot be removed: Permission denied\n"


def test_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEXTANT_WEIGHTS_DIR", str(tmp_path / "file" / "models"))
    assert cli.main(["models", "pull", "hibari"]) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert "cannot be written" in said
    assert "SEXTANT_WEIGHTS_DIR" in said


def test_a_pull_that_is_stopped_says_that_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(WeightStore, "pull", stopped)
    assert cli.main(["models", "pull"]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_models_list_says_what_each_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()

    def below(model_id: str) -> str:
        [number] = [i for i, line in enumerate(lines) if f" {model_id} " in line]
        return lines[number + 1]

    assert below("sdxl").startswith("    8.0 GB of memory. ")
    assert "not for commercial use" in below("flux-dev")
    assert "Runs elsewhere" in below("gpt-image")


@pytest.mark.parametrize("arguments", [["models", "pull", "gpt-9"], ["models", "remove", "gpt-9"]])
def test_an_unknown_model_is_one_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 78
    assert "no model called `gpt-9`" in capsys.readouterr().err


def test_wrong_settings_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEXTANT_ENGINE__LANES", "none")
    assert cli.main(["models", "list"]) == 78
    assert "engine.lanes" in capsys.readouterr().err


def test_an_unknown_profile_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEXTANT_PROFILE", "mainframe")
    assert cli.main(["models", "list"]) == 78
    assert "no profile `mainframe`" in capsys.readouterr().err


def test_the_database_is_checked_and_upgraded(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["db", "check"]) == 1
    assert "db upgrade" in capsys.readouterr().err
    assert cli.main(["db", "upgrade"]) == 0
    assert cli.main(["db", "check"]) == 0


def test_a_database_out_of_reach_is_one_sentence(
    installation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (installation / "data").write_text("in the way")
    assert cli.main(["db", "upgrade"]) == 1
    assert "cannot be opened" in capsys.readouterr().err


def test_run_without_a_token_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bot.run.set_up", lambda _: None)
    monkeypatch.setenv("DISCORD_TOKEN", "")
    assert cli.main(["run"]) == 78
    assert "DISCORD_TOKEN is not set" in caplog.text


def test_demo_is_handed_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def demo(settings: Settings, **options: object) -> int:
        seen.update(options)
        return 7

    monkeypatch.setattr("bot.demo.run.main", demo)
    assert cli.main(["demo", "--once", "--port", "9999"]) == 7
    assert seen == {"once": True, "port": 9999, "output": Path("demo-output")}


def test_each_command_has_help() -> None:
    for command in ([], ["run"], ["demo"], ["doctor"], ["models"], ["models", "pull"], ["db"]):
        with pytest.raises(SystemExit) as ended:
            cli.main([*command, "--help"])
        assert ended.value.code == 0


def test_commands_import_what_they_need_alone() -> None:
    """That makes them fast on any machine."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bot", "models", "list"],
        cwd=Path(__file__).parent.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"bot.settings", "models.catalog"} <= imported
    assert not {"discord", "sqlalchemy", "aiohttp", "numpy", "torch"} & imported
