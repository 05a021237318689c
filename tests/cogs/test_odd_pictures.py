"""/describe with the models that come along, and files of odd kinds, as a member meets them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from bot.settings import Settings
from models.catalog import Catalog
from models.vision.image_text import load
from models.weights import WeightStore
from tests.cogs.test_real_pictures import RealStage
from tests.conftest import Run, World
from tests.fakes import FakeWeights
from tests.models.image.picture_files import layered, png_of_size, saved
from training.claims import claims_of, same_relation, truth_of
from training.drawing import draw
from training.scenes import Split, scene_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Leave the models room, one after the other."""
    roomier = settings.engine.model_copy(update={"memory_mb": 2000})
    return settings.model_copy(update={"engine": roomier})


@pytest.fixture
async def run(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Run]:
    catalog = Catalog.read(ROOT / "config")
    bundled = WeightStore(tmp_path / "none")
    monkeypatch.setattr(FakeWeights, "locate", lambda _, spec: bundled.locate(spec))
    monkeypatch.setattr(FakeWeights, "is_installed", lambda _, spec: bundled.is_installed(spec))
    run = Run(settings, catalog)
    run.stage = RealStage(settings.spool_dir)  # type: ignore[assignment]
    await run.open()
    yield run
    await run.close()


def page(mode: str = "RGB", ground: Any = "white", ink: Any = "black") -> Image.Image:
    image = Image.new("RGBA", (420, 90), ground)
    font = ImageFont.load_default(40)
    ImageDraw.Draw(image).text((20, 20), "Harbour 1893", font=font, fill=ink)
    return image.convert(mode)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(page().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)


def animated() -> bytes:
    later = Image.new("RGB", (420, 90), "red")
    return saved(page(), "GIF", save_all=True, append_images=[later] * 199, duration=40)


SIGN = ("Closed on Monday", "We open at nine")


def sign() -> bytes:
    image = Image.new("RGB", (640, 360), (250, 250, 245))
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(SIGN):
        pen.text((40, 80 + 100 * number), line, (20, 20, 20), ImageFont.load_default(56))
    return saved(image, "PNG")


ODD = {
    "cmyk.jpg": lambda: saved(page("CMYK"), "JPEG"),
    "white-on-nothing.png": lambda: saved(page("RGBA", (0, 0, 0, 0), "white"), "PNG"),
    "turned.jpg": turned,
    "film.gif": animated,
    "fax.tif": lambda: saved(page("1"), "TIFF", compression="group4"),
    "photo.avif": lambda: saved(page(), "AVIF"),
    "with-a-zip.png": lambda: saved(page(), "PNG") + b"PK\x03\x04" + bytes(100),
}
BAD = {
    "bomb.png": (lambda: png_of_size(30_000, 30_000, bytes(1000)), "too large"),
    "layers.jpg": (lambda: layered(Image.new("L", (2_000, 2_000)), 500), "layers"),
    "half.png": (lambda: saved(page(), "PNG")[:300], "Please send it again"),
    "half.avif": (lambda: saved(page(), "AVIF")[:40], "Please send it again"),
    "empty.png": (bytes, "is empty"),
    "a.svg": (lambda: b"<svg xmlns='x'/>", "an SVG drawing, not a picture"),
    "a.jxl": (lambda: b"\xff\x0a" + bytes(40), "a JPEG XL picture, not a picture that I can read"),
    "paper.png": (lambda: b"%PDF-1.7\n" + saved(page(), "JPEG"), "a PDF document, not a picture"),
    "page.png": (lambda: b"<!doctype html><script>1</script>", "a web page, not a picture"),
}


async def read(world: World, name: str, data: bytes) -> str:
    result = await world.member.slash(world.channel, "describe", picture=(name, data), task="ocr")
    assert not [path for path in world.run.settings.spool_dir.rglob("*") if path.is_file()]
    return str(result.response.content)


@pytest.mark.slow
async def test_odd_pictures_are_read(world: World) -> None:
    for name, make in ODD.items():
        said = await read(world, name, make())
        assert "Harbour 1893" in said, name
        [file] = world.messages()[-1].attachments
        with Image.open(io.BytesIO(await file.read())) as copy:
            assert (copy.size, copy.mode) == ((420, 90), "RGB"), name
            assert not copy.getexif()


@pytest.mark.slow
async def test_bad_files_get_one_sentence_and_leave_nothing(world: World) -> None:
    for name, (make, says) in BAD.items():
        said = await read(world, name, make())
        assert says in said, name
        assert len(said.splitlines()) == 1, said
    assert all(not message.attachments for message in world.messages())


@pytest.mark.slow
async def test_a_drawing_is_described_and_a_picture_of_another_kind_is_read(world: World) -> None:
    spec = world.services.catalog.get("drawings-captioner")
    location = world.services.weights.locate(spec)
    load(spec, location, "cpu").close()  # its libraries take longer to import than anybody waits
    scene = scene_of(Split.DEV, 0)
    drawing = draw(scene).image.resize((512, 512), Image.Resampling.LANCZOS)
    result = await world.member.slash(
        world.channel, "describe", picture=("drawing.png", saved(drawing, "PNG"))
    )
    said = str(result.response.content)
    assert said.startswith("👁️ A ")
    assert same_relation(claims_of(said), truth_of(scene)), said
    [file] = world.messages()[-1].attachments
    assert file.description
    assert file.description in said

    result = await world.member.slash(
        world.channel, "describe", picture=("sign.png", sign()), task="alt_text"
    )
    read = "".join(f"\n> {line}" for line in SIGN)
    assert str(result.response.content) == (
        f"👁️ I do not know this kind of picture. The text in it:{read}\n"
        "-# This model only knows simple drawings. The owner gets one for photos with "
        "`python -m bot models pull smolvlm-256m`."
    )
