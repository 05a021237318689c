"""The guide for backends: its example is installed as a package, found and run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bot.engine.stepper import as_stepper
from models.catalog import Catalog, ModelSpec, backend_entry_point
from models.contracts import ChatMessage, Finished, HandlerEvent, TextRequest
from models.errors import HandlerError, InputTooLong, ModelLoadFailed, ModelUnavailable
from models.weights import WeightStore
from tests.models.control import ScratchControl, streamed

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "tests" / "plugin_example"
GUIDE = (ROOT / "docs" / "backends.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the example, away from its source."""
    folder = tmp_path_factory.mktemp("plugin")
    target, source = folder / "site", folder / "source"
    source.mkdir()
    for file in EXAMPLE.rglob("*"):
        if file.suffix in (".py", ".toml"):
            copy = source / file.relative_to(EXAMPLE)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(file.read_bytes())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([*command, str(source)], check=True)
    return target


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    """The guide's row, read by the catalogue."""
    (tmp_path / "models").mkdir()
    weights = tmp_path / "echo.txt"
    weights.write_text("~")
    row = blocks("toml")[1].replace("~/sextant-models/echo.txt", str(weights))
    (tmp_path / "models" / "echo.toml").write_text(row)
    (tmp_path / "profiles.toml").write_text("")
    return Catalog.read(tmp_path).get("echo")


def test_the_guide_shows_the_example_as_it_is() -> None:
    assert blocks("toml")[0] == (EXAMPLE / "pyproject.toml").read_text("utf-8")
    (code,) = blocks("python")
    assert code == (EXAMPLE / "sextant_echo" / "backend.py").read_text("utf-8")
    assert len(code.splitlines()) <= 45


def test_without_the_package_the_backend_is_one_clear_sentence() -> None:
    with pytest.raises(ModelUnavailable, match="`echo` is not installed"):
        backend_entry_point("echo")


def test_the_installed_package_answers(
    site: Path, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(site))
    load = backend_entry_point(spec.backend).load()
    assert Path(sys.modules[load.__module__].__file__ or "").is_relative_to(site)
    location = WeightStore(tmp_path / "weights").locate(spec)
    stepper = as_stepper(load(spec, location, "cpu"))
    control = ScratchControl(tmp_path)

    def run(text: str) -> list[HandlerEvent | Exception]:
        request = TextRequest((ChatMessage("user", text),))
        stepper.admit("job", request, control)
        events: list[HandlerEvent | Exception] = []
        while not (events and isinstance(events[-1], Finished | Exception)):
            events += [event for _, event in stepper.step()]
        return events

    events = run("how are you")
    assert streamed(events) == "you~are~how~"  # type: ignore[arg-type]
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.result.text, last.result.usage.amount) == ("you~are~how", 3)  # type: ignore[union-attr]
    assert isinstance(run("word " * 101)[-1], InputTooLong)
    stepper.admit("job", TextRequest((ChatMessage("user", "one two three"),)), control)
    assert len(list(stepper.step())) == 1
    control.cancelled = True
    assert list(stepper.step()) == []
    stepper.close()
    with pytest.raises(ModelLoadFailed) as failed:
        load(spec, str(tmp_path / "nowhere"), "cpu")
    assert isinstance(failed.value, HandlerError)
    for name in [name for name in sys.modules if name.startswith("sextant_echo")]:
        del sys.modules[name]
