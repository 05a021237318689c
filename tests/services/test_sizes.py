import pytest

from bot.services.sizes import ASPECTS, fitted, size_for, size_of
from models.errors import InvalidRequest


@pytest.mark.parametrize("text", ["768x512", " 768 X 512 ", "768×512", "768*512", "768:512"])
def test_a_size_is_read(text: str) -> None:
    assert size_of(text) == (768, 512)


@pytest.mark.parametrize("text", ["", "768", "8x8", "15x512", "4097x64", "99999x64", "-64x64"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="A size is"):
        size_of(text)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_a_shape_keeps_the_area(aspect: str) -> None:
    width, height = size_for(aspect, 1024**2)
    wide, high = map(int, aspect.split(":"))
    assert width / height == pytest.approx(wide / high, rel=0.03)
    assert width * height == pytest.approx(1024**2, rel=0.03)
    assert width % 16 == height % 16 == 0


def test_what_is_no_shape_is_refused() -> None:
    for aspect in ("3", "a:b", "3:0"):
        with pytest.raises(InvalidRequest, match="no shape"):
            size_for(aspect, 1024**2)


def test_extreme_shapes_stay_within_bounds() -> None:
    assert fitted(30_000, 10, 1024**2) == (2048, 512)
    assert fitted(3, 2, 4096**2 * 4) == (4096, 4096)
