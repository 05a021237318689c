"""Reading order and layout are geometry: no picture is needed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.vision.lines import Page, Span

HEIGHT = 20
CHARACTER = 10


def span(text: str, x: float, y: float) -> tuple[Span, str]:
    right, bottom = x + CHARACTER * len(text), y + HEIGHT
    return Span(((x, y), (right, y), (right, bottom), (x, bottom))), text


def page(*spans: tuple[Span, str]) -> tuple[Page, list[str]]:
    return Page([where for where, _ in spans]), [text for _, text in spans]


def turned(where: Span, degrees: float) -> Span:
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    a, b, c, d = ((x * cos - y * sin, x * sin + y * cos) for x, y in where.corners)
    return Span((a, b, c, d))


LEFT = ["Text that stands on", "the left comes first", "and is read whole"]
RIGHT = ["before the eye goes on", "to what the right side", "has got to say to it"]


def two_columns() -> list[tuple[Span, str]]:
    spans = [span("A heading that runs across both of the columns below", 0, 0)]
    for number, (left, right) in enumerate(zip(LEFT, RIGHT, strict=True)):
        spans += [span(right, 300, 60 + 30 * number), span(left, 0, 62 + 30 * number)]
    return spans


def test_lines_are_read_from_above() -> None:
    order, texts = page(span("third", 0, 60), span("first", 0, 0), span("second", 5, 30))
    assert order.text(texts) == "first\nsecond\nthird"


def test_parts_of_a_line_are_read_from_the_left_though_one_stands_a_bit_higher() -> None:
    order, texts = page(span("world", 80, 0), span("Hello", 0, 4))
    assert order.text(texts) == "Hello world"


def test_a_gap_begins_a_paragraph() -> None:
    order, texts = page(span("one", 0, 0), span("two", 0, 24), span("three", 0, 90))
    assert order.text(texts) == "one\ntwo\n\nthree"


def test_wide_lines_of_a_double_spaced_page_are_no_paragraphs() -> None:
    order, texts = page(*(span(word, 0, 50 * i) for i, word in enumerate(["one", "two", "three"])))
    assert order.text(texts) == "one\ntwo\nthree"


def test_columns_of_prose_are_read_one_by_one() -> None:
    spans = two_columns()
    order, texts = page(*spans)
    heading, left, right = order.text(texts).split("\n\n")
    assert heading == spans[0][1]
    assert left.split("\n") == LEFT
    assert right.split("\n") == RIGHT


def test_three_columns_are_three() -> None:
    columns = [LEFT, RIGHT, ["a third one is not", "forgotten when the", "page has got room"]]
    spans = [
        span(text, 300 * column, 30 * row)
        for row in range(3)
        for column, texts in enumerate(columns)
        for text in [texts[row]]
    ]
    order, texts = page(*spans)
    assert order.text(texts) == "\n\n".join("\n".join(column) for column in columns)


def test_names_and_prices_stay_together() -> None:
    rows = [("Coffee", "12.50"), ("Filter papers", "3.99"), ("Sugar", "1.20")]
    spans = [
        cell
        for i, (name, price) in enumerate(rows)
        for cell in (span(name, 0, 30 * i), span(price, 300, 30 * i))
    ]
    order, texts = page(*spans)
    assert order.text(texts) == "Coffee 12.50\nFilter papers 3.99\nSugar 1.20"


def test_layout_keeps_columns_and_gaps() -> None:
    order, texts = page(
        span("Item", 100, 0), span("Price", 300, 0), span("Tea", 100, 30), span("4.20", 300, 30),
        span("Total", 100, 90), span("4.20", 300, 92),
    )  # fmt: skip
    assert order.layout(texts).split("\n") == [
        "Item                Price",
        "Tea                 4.20",
        "",
        "",
        "Total               4.20",
    ]


def test_layout_counts_full_width_characters_twice() -> None:
    wide = Span(((0, 0), (60, 0), (60, 20), (0, 20)))
    order = Page([wide, span("right", 100, 0)[0], span("below it", 100, 30)[0]])
    assert order.layout(["日本語", "right", "below it"]).split("\n") == [
        "日本語    right",
        "          below it",
    ]


def test_layout_never_joins_neighbours() -> None:
    order, texts = page(span("wide text", 0, 0), span("next", 91, 0))
    assert order.layout(texts) == "wide text next"


@pytest.mark.parametrize("degrees", [0, 8, -13, 90, 180, 270, 97])
def test_a_turned_page_reads_the_same(degrees: float) -> None:
    spans = two_columns()
    upright, texts = page(*spans)
    tilted = Page([turned(where, degrees) for where, _ in spans])
    assert tilted.order == upright.order
    assert tilted.text(texts) == upright.text(texts)


def test_a_note_on_the_margin_comes_last() -> None:
    note = Span(((-30, 90), (-30, 0), (-10, 0), (-10, 90)))  # runs upwards
    first, second = span("first line of it", 0, 0)[0], span("second line of it", 0, 30)[0]
    order = Page([note, first, second])
    texts = ["note", "first line of it", "second line of it"]
    assert order.text(texts) == "first line of it\nsecond line of it\n\nnote"
    assert order.layout(texts) == "first line of it\nsecond line of it\n\nnote"


def test_nothing_is_nothing() -> None:
    assert Page([]).order == []
    assert Page([]).text([]) == ""
    assert Page([]).layout([]) == ""


def test_a_box_stands_upright_whatever_the_text_does() -> None:
    assert Span(((10, 90), (10, 20), (30, 20), (30, 90))).box == (10, 20, 30, 90)


POINTS = st.tuples(st.floats(-500, 3000), st.floats(-500, 3000))
SPANS = st.lists(
    st.tuples(POINTS, POINTS, POINTS, POINTS).map(lambda corners: Span(corners)), max_size=25
)


@given(SPANS)
def test_whatever_is_found_is_read_once(spans: list[Span]) -> None:
    order = Page(spans)
    texts = [f"t{i}" for i in range(len(spans))]
    assert sorted(order.order) == list(range(len(spans)))
    assert sorted(order.text(texts).split()) == sorted(texts)
    assert sorted(order.layout(texts).split()) == sorted(texts)
