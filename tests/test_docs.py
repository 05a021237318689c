"""The documents say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from discord import app_commands

from bot import __main__ as cli
from bot.services.setting_registry import SETTINGS, Setting
from bot.settings import CONFIG_FOLDER, Settings
from models.catalog import Catalog

ROOT = Path(__file__).parent.parent


def _row(setting: Setting) -> str:
    where = "server, channel" if setting.channel_scope else "server"
    default = setting.show(setting.default).replace("|", "\\|")
    return f"| `{setting.key}` | {default} | {where} | {setting.description} |"


def test_the_moderators_table_lists_every_setting() -> None:
    wanted = "\n".join(
        ["| key | default | for | what it is |", "|---|---|---|---|", *map(_row, SETTINGS.values())]
    )
    text = (ROOT / "docs" / "moderators.md").read_text("utf-8")
    found = text.partition("<!-- settings:begin -->\n")[2].partition("\n<!-- settings:end -->")[0]
    assert found == wanted, f"docs/moderators.md wants this table:\n{wanted}"


async def test_the_readme_names_every_command(world: Any) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for command in world.bot.tree.walk_commands():
        if isinstance(command, app_commands.Command) and command.parent is None:
            assert f"`/{command.name}`" in text
        elif isinstance(command, app_commands.Group):
            assert f"/{command.name}" in text


def test_the_readme_names_settings_that_exist() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.*?) \| `(SEXTANT_[A-Z_]+)`", text, re.MULTILINE)
    assert len(rows) >= 10
    for key, _, variable in rows:
        fields = Settings.model_fields
        for part in key.split("."):
            assert part in fields, key
            fields = getattr(fields[part].annotation, "model_fields", {})
        assert variable == "SEXTANT_" + key.upper().replace(".", "__")


def test_the_page_of_models_is_that_of_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "table"]) == 0
    page = (ROOT / "docs" / "models.md").read_text("utf-8")
    assert page == capsys.readouterr().out, "python -m bot models table > docs/models.md"
    for spec in Catalog.read(CONFIG_FOLDER).everything():
        assert f"`{spec.id}`" in page


def test_what_the_page_of_models_recommends_exists() -> None:
    catalog = Catalog.read(CONFIG_FOLDER)
    page = (ROOT / "docs" / "models.md").read_text("utf-8")
    _, _, prose = page.partition("## Not here")
    named = set(re.findall(r"`([a-z0-9][a-z0-9.-]+)`", prose))
    assert len(named) > 5
    for name in named:
        catalog.get(name)


def test_the_default_settings_are_those_of_the_code() -> None:
    values = tomllib.loads((ROOT / "config" / "default.toml").read_text("utf-8"))
    assert Settings.model_validate(values) == Settings.model_construct(
        **{name: field.get_default() for name, field in Settings.model_fields.items()}
    )


def test_make_knows_what_the_documents_ask_of_it() -> None:
    for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in set(re.findall(r"(?:^    |`)make ([a-z-]+)", file.read_text("utf-8"), re.M)):
            done = subprocess.run(
                ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{file.name}: make {target}: {done.stderr}"


@pytest.mark.parametrize("command", ["--help", "models list", "models --help", "db --help"])
def test_the_command_line_answers(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot", *command.split()],
        env={"SEXTANT_DATA_DIR": str(tmp_path), "PATH": "/usr/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_links_between_the_documents_lead_somewhere() -> None:
    for file in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text("utf-8")):
            assert (file.parent / target).exists(), f"{file.name} links to {target}"


def test_the_extras_that_are_named_exist() -> None:
    """Pip only warns of one that does not, and installs nothing."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), ROOT / "bot" / "doctor.py"]
    named = {
        name
        for page in pages
        for group in re.findall(r"\.\[([a-z,]+)\]", page.read_text("utf-8"))
        for name in group.split(",")
    }
    assert {"models", "postgres", "video"} <= named <= set(extras)
    modalities = {spec.modality.value for spec in Catalog.read(CONFIG_FOLDER).all()}
    assert modalities <= set(extras)  # the doctor names them so
