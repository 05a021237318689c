"""Converted weights: made once, verified, made again when something is wrong."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from models.errors import DiskFull, ModelLoadFailed
from models.text.cache import converted, versions_of

RECIPE = {"library": "1.0"}


class Converter:
    """Writes the source backwards; counts how often."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.runs = 0
        self.raises: BaseException | None = None

    def __call__(self, target: Path) -> None:
        self.runs += 1
        (target / "deep").mkdir()
        (target / "deep" / "weights").write_text(self.source.read_text()[::-1])
        if self.raises:
            raise self.raises


@pytest.fixture
def convert(tmp_path: Path) -> Converter:
    (tmp_path / "source.gguf").write_text("weights")
    return Converter(tmp_path / "source.gguf")


def run(convert: Converter, **recipe: str) -> str:
    folder = convert.source.parent / "cache"
    form = converted(convert.source, folder, RECIPE | recipe, convert)
    return (form / "deep" / "weights").read_text()


def test_it_is_converted_once(convert: Converter) -> None:
    assert run(convert) == "sthgiew"
    assert run(convert) == "sthgiew"
    assert convert.runs == 1


def test_a_touched_source_is_not_converted_again(convert: Converter) -> None:
    run(convert)
    os.utime(convert.source, (1, 1))
    run(convert)
    assert convert.runs == 1


@pytest.mark.parametrize("content", ["WEIGHTS", "more weights"])
def test_a_changed_source_is_converted_again(convert: Converter, content: str) -> None:
    run(convert)
    convert.source.write_text(content)
    assert run(convert) == content[::-1]


def test_another_version_converts_again(convert: Converter) -> None:
    run(convert)
    run(convert, library="1.1")
    assert convert.runs == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "delete", "no manifest", "odd manifest"])
def test_a_damaged_form_is_made_again(convert: Converter, damage: str) -> None:
    run(convert)
    form = convert.source.parent / "cache" / "form"
    weights, manifest = form / "deep" / "weights", form / "manifest.json"
    match damage:
        case "flip":
            weights.write_text("sthgieW")
        case "cut":
            weights.write_text("sth")
        case "delete":
            weights.unlink()
        case "no manifest":
            manifest.unlink()
        case "odd manifest":
            manifest.write_text("[1, 2")
    assert run(convert) == "sthgiew"
    assert convert.runs == 2


def test_a_failed_conversion_leaves_nothing(convert: Converter) -> None:
    convert.raises = ModelLoadFailed()
    with pytest.raises(ModelLoadFailed):
        run(convert)
    cache = convert.source.parent / "cache"
    assert [entry.name for entry in cache.iterdir()] == ["lock"]


def test_a_failed_conversion_keeps_the_form_of_before(convert: Converter) -> None:
    run(convert)
    convert.raises = ModelLoadFailed()
    with pytest.raises(ModelLoadFailed):
        run(convert, library="1.1")
    convert.raises = None
    assert run(convert) == "sthgiew"
    assert convert.runs == 2


def test_what_a_killed_conversion_left_is_swept(convert: Converter) -> None:
    left = convert.source.parent / "cache" / "making-abc"
    left.mkdir(parents=True)
    (left / "half").write_text("w")
    run(convert)
    assert not left.exists()


@pytest.mark.parametrize(
    ("number", "told"), [(errno.ENOSPC, DiskFull), (errno.EACCES, ModelLoadFailed)]
)
def test_trouble_with_the_disk_is_told(
    convert: Converter, number: int, told: type[Exception]
) -> None:
    convert.raises = OSError(number, os.strerror(number))
    with pytest.raises(told):
        run(convert)


def test_two_processes_convert_once(convert: Converter) -> None:
    threads = [threading.Thread(target=run, args=(convert,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert convert.runs == 1


def test_versions_are_those_installed() -> None:
    assert versions_of("pydantic")["pydantic"].startswith("2.")
