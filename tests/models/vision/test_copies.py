"""Pictures that are given back with what was said about them."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from models.catalog import ModelSpec, PathSource
from models.contracts import Finished, PictureText, VisionRequest, VisionResult
from models.image.pictures import open_picture
from models.vision.handler import VisionHandler
from tests.models.control import ScratchControl, media_of


class Reader:
    """Says the same of every picture."""

    tasks = frozenset({"caption"})

    def read(self, picture: object, request: object, control: object) -> Iterator[object]:
        yield from ()
        return PictureText("A picture.")

    def close(self) -> None:
        pass


@pytest.fixture
def handler() -> VisionHandler:
    spec = ModelSpec(
        id="reader",
        name="Reader",
        modality="vision",
        backend="fake",
        source=PathSource(path="/nowhere"),
        licence="MIT",
        commercial_use=True,
        memory_mb=1,
        load_s=1,
        capabilities={"caption"},
    )
    return VisionHandler(spec, Reader())  # type: ignore[arg-type]


def photo(size: tuple[int, int]) -> bytes:
    """Return a JPEG that lies on its side, with a place in it."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    exif[0x010E] = "taken at home"
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "JPEG", exif=exif)
    return file.getvalue()


def copied(handler: VisionHandler, folder: Path, size: tuple[int, int]) -> bytes:
    (folder / "photo.jpg").write_bytes(photo(size))
    request = VisionRequest((media_of(folder / "photo.jpg", "image/jpeg"),))
    control = ScratchControl(folder)
    *_, plain = handler.run(request, control)
    assert isinstance(plain, Finished)
    assert isinstance(plain.result, VisionResult)
    assert plain.result.answers[0].copy is None
    *_, finished = handler.run(replace(request, copies=True), control)
    assert isinstance(finished, Finished)
    assert isinstance(finished.result, VisionResult)
    copy = finished.result.answers[0].copy
    assert copy is not None
    return control.open(copy).read_bytes()


def test_a_copy_is_upright_and_says_nothing_of_where_it_was_taken(
    handler: VisionHandler, tmp_path: Path
) -> None:
    data = copied(handler, tmp_path, (80, 40))
    assert open_picture(data).size == (40, 80)
    assert b"taken at home" not in data
    assert b"Exif" not in data


def test_a_copy_is_of_a_size_that_can_be_shown(handler: VisionHandler, tmp_path: Path) -> None:
    assert open_picture(copied(handler, tmp_path, (5000, 2500))).size == (1024, 2048)
