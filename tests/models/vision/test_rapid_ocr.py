"""RapidOCR with the models of its wheel, on text that was drawn here."""

from __future__ import annotations

import gc
import importlib.util
import shutil
import socket
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFont

from models.catalog import Catalog, ModelSpec
from models.contracts import (
    MediaInput,
    PictureText,
    Progress,
    TextDelta,
    VisionRequest,
    VisionResult,
)
from models.errors import BackendError, ModelLoadFailed, UnsupportedOption
from models.vision.alphabets import ALPHABETS, known
from models.vision.handler import VisionHandler
from models.vision.rapid_ocr import load
from models.vision.text_models import READER
from models.weights import WeightStore
from tests.models.control import ScratchControl, result_of, stages

MakeMedia = Callable[..., MediaInput]
MakeSpec = Callable[..., ModelSpec]
ROOT = Path(__file__).resolve().parents[3]

PARAGRAPH = [
    "The quick brown fox jumps over the lazy dog.",
    "Pack my box with five dozen liquor jugs; 42 of them.",
    "Invoice No. 2026-1107, due on 24 November 2026",
    "Total: $1,284.50 (incl. 19% VAT)",
    "Contact: ada@example.org, +1 555 0100",
    "How vexingly quick daft zebras jump!",
]
LEFT = ["Two columns of text stand", "side by side on this page.", "The left one comes first,"]
RIGHT = ["and the eye goes on here", "when it has been read to", "its very last word there."]


def write(
    picture: Image.Image, lines: list[str], at: tuple[int, int], size: int, ink: str = "black"
) -> Image.Image:
    font = ImageFont.load_default(size=size)
    for number, line in enumerate(lines):
        where = (at[0], at[1] + round(number * size * 1.5))
        ImageDraw.Draw(picture).text(where, line, font=font, fill=ink)
    return picture


def paper(width: int = 1000, height: int = 500, colour: str = "white") -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def character_error_rate(expected: str, read: str) -> float:
    """Levenshtein distance by the length of what stands there."""
    before = list(range(len(read) + 1))
    for i, wanted in enumerate(expected, 1):
        row = [i]
        for j, got in enumerate(read, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (wanted != got)))
        before = row
    return before[-1] / len(expected)


@pytest.fixture(scope="module")
def row() -> tuple[ModelSpec, str]:
    spec = Catalog.read(ROOT / "config").get("rapidocr")
    return spec, WeightStore(Path("unused")).locate(spec)


@pytest.fixture(scope="module")
def handler(row: tuple[ModelSpec, str]) -> Iterator[VisionHandler]:
    handler = load(*row, "cpu")
    yield handler
    handler.close()


@pytest.fixture
def read(
    handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> Callable[..., PictureText]:
    """Return a function: picture -> what stands in it."""

    def read(picture: Image.Image, **options: Any) -> PictureText:
        result = result_of(handler.run(VisionRequest((media(picture),), "ocr", **options), control))
        assert isinstance(result, VisionResult)
        return result.answers[0]

    return read


Read = Callable[..., PictureText]


def test_the_pinned_models_are_the_ones_of_the_wheel(row: tuple[ModelSpec, str]) -> None:
    assert WeightStore(Path("unused")).verify(row[0]) == []


@pytest.mark.parametrize("size", [14, 20, 32, 48])
def test_reads_what_was_written(size: int, read: Read) -> None:
    picture = write(paper(1400, 560), PARAGRAPH, (40, 30), size)
    expected = "\n".join(PARAGRAPH)
    assert character_error_rate(expected, read(picture).text) <= 0.02


def test_reads_light_on_dark(read: Read) -> None:
    picture = write(paper(colour="#202040"), PARAGRAPH, (40, 30), 24, ink="#f0f0d0")
    assert character_error_rate("\n".join(PARAGRAPH), read(picture).text) <= 0.02


@pytest.mark.parametrize("degrees", [90, 180, 270, 7, -12])
def test_reads_turned_text_in_its_order(degrees: int, read: Read) -> None:
    picture = write(paper(), PARAGRAPH, (40, 60), 28)
    turned = picture.rotate(degrees, expand=True, fillcolor="white", resample=Image.BICUBIC)
    answer = read(turned)
    assert character_error_rate("\n".join(PARAGRAPH), answer.text) <= 0.02
    for line in answer.lines:
        left, top, right, bottom = line.box
        assert 0 <= left < right <= turned.width
        assert 0 <= top < bottom <= turned.height


def test_reads_columns_one_after_the_other(read: Read) -> None:
    picture = write(paper(), ["A heading that runs across both of the columns"], (40, 20), 32)
    picture = write(write(picture, LEFT, (40, 120), 26), RIGHT, (540, 120), 26)
    answer = read(picture).text.split("\n\n")
    assert answer[1:] == ["\n".join(LEFT), "\n".join(RIGHT)]


def test_layout_keeps_columns(read: Read) -> None:
    picture = write(write(paper(), LEFT, (40, 120), 26), RIGHT, (540, 120), 26)
    lines = read(picture, layout=True).text.split("\n")
    assert len(lines) == 3
    for line, left, right in zip(lines, LEFT, RIGHT, strict=True):
        assert line.startswith(left)
        assert line.endswith(right)
    starts = {line.index(right) for line, right in zip(lines, RIGHT, strict=True)}
    assert max(starts) - min(starts) <= 1
    assert min(starts) > max(map(len, LEFT))


def test_lines_tell_where_they_stand(read: Read) -> None:
    first, second = read(write(paper(), ["Upper line", "Lower line"], (100, 60), 30)).lines
    assert (first.text, second.text) == ("Upper line", "Lower line")
    assert first.confidence > 0.9
    left, top, right, bottom = first.box
    width = ImageFont.load_default(size=30).getlength("Upper line")
    assert left == pytest.approx(100, abs=12)
    assert right - left == pytest.approx(width, abs=24)
    assert 50 < top < 75 < 85 < bottom < 110
    assert second.box[1] > top + 30


@pytest.mark.parametrize("size", [(400, 300), (1, 1), (3000, 2), (2, 900)])
def test_a_picture_without_text_has_none(size: tuple[int, int], read: Read) -> None:
    assert read(paper(*size, colour="#7090b0")) == PictureText("")


@pytest.mark.parametrize("text", ["OK", "7", "Hello, you", "A single long line, 2026."])
@pytest.mark.parametrize(("points", "margin"), [(14, 1), (20, 0), (40, 0)])
def test_reads_tiny_pictures_whose_text_touches_the_edges(
    text: str, points: int, margin: int, read: Read
) -> None:
    page = write(paper(1400, 200), [text], (50, 50), points)
    left, top, right, bottom = ImageChops.invert(page).getbbox() or (0, 0, 1, 1)
    picture = page.crop((left - margin, top - margin, right + margin, bottom + margin))
    answer = read(picture)
    assert answer.text == text
    left, top, right, bottom = answer.lines[0].box
    assert min(left, top, picture.width - right, picture.height - bottom) >= 0
    assert left == pytest.approx(0, abs=points / 2)
    assert top == pytest.approx(0, abs=points / 2)
    assert right == pytest.approx(picture.width, abs=points / 2)
    assert bottom == pytest.approx(picture.height, abs=points / 2)


def test_finds_small_text_on_a_large_picture(read: Read, handler: VisionHandler) -> None:
    picture = write(paper(3800, 2100), PARAGRAPH, (2000, 1500), 26)
    answer = read(picture)
    assert character_error_rate("\n".join(PARAGRAPH), answer.text) <= 0.02
    assert answer.lines[0].box[0] == pytest.approx(2000, abs=16)
    searched = handler._reader._models[0]._detector  # type: ignore[attr-defined]
    assert searched.preprocess_op.limit_type == "max"
    assert searched.preprocess_op.limit_side_len == 1964  # half, with its border


def test_several_pictures_are_answered_in_their_order(
    handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    words = ["First", "Second", "Third"]
    images = tuple(media(write(paper(300, 80), [word], (40, 20), 30)) for word in words)
    events = list(handler.run(VisionRequest(images, "ocr"), control))
    result = result_of(events)
    assert isinstance(result, VisionResult)
    assert [answer.text for answer in result.answers] == words
    assert (result.usage.amount, result.usage.unit) == (3, "pictures")
    assert [e.text for e in events if isinstance(e, TextDelta)] == [
        "First", "\n\n", "Second", "\n\n", "Third",
    ]  # fmt: skip
    fractions = [event.fraction for event in events if isinstance(event, Progress)]
    assert fractions == sorted(fractions, key=lambda fraction: fraction or 0)
    assert fractions[-1] == 1


# --------------------------------------------------------------------------- languages

SENTENCES = {
    "de": "Größer als süße Äpfel und Öl: überall Würde",
    "fr": "Où êtes-vous né, garçon ? Très près de l'hôtel Noël",
    "pl": "Zażółć gęślą jaźń, ćma śpi",
    "lv": "Ģimene ļoti mīl ķiršus un ņem žēl šodien ūdeni čau",
    "sq": "Të gjithë njerëzit lindin të lirë dhe të barabartë çdo ditë",
    "tr": "Bütün haklar bakımından eşit doğarlar, ışık çöl gül",
    "is": "Hver maður er frjáls og jafn öðrum að virðingu, æð ýmis úti",
}


def printed(text: str, size: int) -> Image.Image:
    """Write a line in a font that has the letters of all of Europe."""
    package = importlib.util.find_spec("matplotlib")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    font = ImageFont.truetype(str(file), size)
    picture = paper(round(font.getlength(text)) + 80, size * 3)
    ImageDraw.Draw(picture).text((40, size), text, font=font, fill="black")
    return picture


@pytest.mark.parametrize("language", SENTENCES)
def test_reads_the_letters_of_a_language(language: str, read: Read) -> None:
    text = SENTENCES[language]
    said = read(printed(text, 28), languages=(language,)).text
    assert character_error_rate(text, said) <= 0.02


def test_a_language_rules_out_letters_of_others(read: Read) -> None:
    text = "Größe zählt"
    assert read(printed(text, 32)).text == text
    assert not set("öäß") & set(read(printed(text, 32), languages=("en",)).text)
    assert read(printed(text, 32)).text == text  # and that is over with the page


def test_every_language_of_the_catalogue_has_its_letters_in_the_model(
    row: tuple[ModelSpec, str], handler: VisionHandler
) -> None:
    reader = handler._reader._models[1]  # type: ignore[attr-defined]
    characters = set(reader._recognizer.postprocess_op._decode.character)
    for code in row[0].languages:
        assert known([code])
        assert set(ALPHABETS.get(code, "")) <= characters, code


@pytest.mark.parametrize("language", ["ru", "vi", "ko", "ar"])
def test_other_languages_are_refused(
    language: str, handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    request = VisionRequest((media(paper()),), "ocr", languages=(language,))
    with pytest.raises(UnsupportedOption, match=f"can't read the language `{language}`"):
        list(handler.run(request, control))


def test_the_same_picture_gives_the_same_text(read: Read) -> None:
    picture = write(paper(), PARAGRAPH, (40, 30), 22)
    assert read(picture) == read(picture)


def test_a_cancel_is_heard_between_lines(
    handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    request = VisionRequest((media(write(paper(1400, 900), PARAGRAPH * 4, (40, 10), 22)),), "ocr")
    events = []
    for event in handler.run(request, control):
        events.append(event)
        if "line" in getattr(event, "stage", ""):
            control.cancelled = True
    assert stages(events) == ["looking at the picture", "line 6 of 24"]
    assert len(events) == 2


def test_other_tasks_are_refused(
    handler: VisionHandler, media: MakeMedia, control: ScratchControl
) -> None:
    with pytest.raises(UnsupportedOption, match="RapidOCR can't write captions"):
        list(handler.run(VisionRequest((media(paper()),), "caption"), control))


# --------------------------------------------------------------------------- loading


def test_nothing_is_fetched(
    row: tuple[ModelSpec, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    media: MakeMedia,
    control: ScratchControl,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    handler = load(*row, "cpu")
    events = list(
        handler.run(VisionRequest((media(write(paper(), ["Hi"], (40, 40), 40)),), "ocr"), control)
    )
    assert result_of(events)
    folder = tmp_path / "models"
    shutil.copytree(row[1], folder)
    (folder / READER).unlink()
    with pytest.raises(ModelLoadFailed, match=READER):
        load(row[0], str(folder), "cpu")
    assert not (folder / READER).exists()


def test_damaged_weights_are_one_clear_error(row: tuple[ModelSpec, str], tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(row[1], folder)
    (folder / READER).write_bytes(b"rotten")
    with pytest.raises(ModelLoadFailed):
        load(row[0], str(folder), "cpu")


def test_takes_as_many_threads_as_it_may(
    row: tuple[ModelSpec, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    import onnxruntime

    session = onnxruntime.InferenceSession

    def counted(*args: object, sess_options: onnxruntime.SessionOptions, **more: object) -> object:
        made.append(sess_options.intra_op_num_threads)
        return session(*args, sess_options=sess_options, **more)

    monkeypatch.setattr("rapidocr.inference_engine.onnxruntime.main.InferenceSession", counted)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    load(*row, "cpu")
    assert made == [1, 1, 1]


def test_close_frees_the_models(
    row: tuple[ModelSpec, str], media: MakeMedia, control: ScratchControl
) -> None:
    handler = load(*row, "cpu")
    models = weakref.ref(handler._reader._models[0]._detector.session)  # type: ignore[attr-defined]
    handler.close()
    gc.collect()
    assert models() is None
    with pytest.raises(BackendError):
        list(handler.run(VisionRequest((media(paper()),), "ocr"), control))
