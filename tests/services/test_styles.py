from pathlib import Path

import pytest

from bot.services.styles import Style, default_styles
from bot.settings import CONFIG_FOLDER
from models.catalog import CatalogError


def test_the_styles_that_come_along_say_something_and_fit() -> None:
    styles = default_styles(CONFIG_FOLDER / "styles.toml")
    assert len(styles) >= 5
    for name, style in styles.items():
        assert 1 <= len(name) <= 30
        assert 1 <= len(style.prompt) <= 1000


def test_a_style_is_put_behind_what_was_written() -> None:
    assert Style("ink", "photo").apply("a door,", "") == ("a door, ink", "photo")
    assert Style("ink").apply("a door", "people") == ("a door, ink", "people")
    assert Style("").apply("a door", "") == ("a door", "")


def test_no_file_means_no_styles(tmp_path: Path) -> None:
    assert default_styles(tmp_path / "styles.toml") == {}


@pytest.mark.parametrize("text", ["[noir", "[noir]\ncolour = 1", "noir = 3"])
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "styles.toml"
    file.write_text(text)
    with pytest.raises(CatalogError, match=r"styles\.toml"):
        default_styles(file)
