"""Where text stands in a picture, and in which order a person reads it.

This module owns the geometry: the direction of a page, rows, columns, reading order, and the
placing of text by spaces. It must not look at pixels and must not know a library.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

Point = tuple[float, float]

_SAME_ROW = 0.5
_PROSE_HEIGHTS = 8.0
_PROSE_ROWS = 2
_GUTTER_HEIGHTS = 0.6
_PARAGRAPH_HEIGHTS = 1.0
_PARAGRAPH_GAPS = 1.6
_WIDEST_LAYOUT = 200
_MOST_BLANK_LINES = 2
_FULL_WIDTH = frozenset("WF")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text.

    Attributes:
        corners: As one who reads it sees them: start and end of its upper edge, end and start of
            its lower edge; in pixels of the picture, whose y axis points down.
    """

    corners: tuple[Point, Point, Point, Point]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in the picture."""
        xs, ys = zip(*self.corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def advance(self) -> Point:
        """The way from its start to its end."""
        (x0, y0), (x1, y1) = self.corners[:2]
        return x1 - x0, y1 - y0


@dataclass(frozen=True, slots=True)
class _Cell:
    """A span as it lies on the page once that is turned upright."""

    index: int
    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


_Row = list[_Cell]
_Block = list[_Row]


class Page:
    """Spans in reading order.

    Lines that run across the rest, such as a note on the margin, come last.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        main, across = _upright(spans)
        self._rows = _rows(main)
        self._blocks = _blocks(main)
        self._across: _Block = [[cell] for cell in across]
        if across:
            self._blocks.append(self._across)

    @property
    def order(self) -> list[int]:
        """Indices of the spans as they are read."""
        return [cell.index for block in self._blocks for row in block for cell in row]

    def text(self, texts: Sequence[str]) -> str:
        """Join the texts of the spans; columns one after the other, a blank line at each gap."""
        return "\n\n".join(
            paragraph
            for block in self._blocks
            for paragraph in _paragraphs(block, texts)
            if paragraph
        )

    def layout(self, texts: Sequence[str]) -> str:
        """Place the texts of the spans with spaces, as they stand on the page."""
        rows = [[cell for cell in row if texts[cell.index]] for row in self._rows]
        rows = [row for row in rows if row]
        cells = [cell for row in rows for cell in row]
        if not cells:
            return "\n".join(texts[cell.index] for row in self._across for cell in row)
        unit = _character_width(cells, texts)
        margin = min(cell.left for cell in cells)
        lines: list[str] = []
        for above, row in zip([None, *rows], rows, strict=False):
            if above is not None:
                lines += [""] * _blank_lines(above, row)
            lines.append(_placed(row, texts, margin, unit))
        for row in self._across:
            lines += ["", texts[row[0].index]]
        return "\n".join(lines)


# --------------------------------------------------------------------------- direction


def _upright(spans: Sequence[Span]) -> tuple[list[_Cell], list[_Cell]]:
    """Turn the page so that most of its text runs to the right; part from it what does not."""
    quarters = [_quarter(span.advance) for span in spans]
    lengths: dict[int, float] = {}
    for span, quarter in zip(spans, quarters, strict=True):
        lengths[quarter] = lengths.get(quarter, 0.0) + math.hypot(*span.advance)
    if not lengths:
        return [], []
    most = max(lengths, key=lambda quarter: lengths[quarter])
    along = [span.advance for span, quarter in zip(spans, quarters, strict=True) if quarter == most]
    x, y = sum(a[0] for a in along), sum(a[1] for a in along)
    length = math.hypot(x, y) or 1.0
    cells = [_cell(i, span, (x / length, y / length)) for i, span in enumerate(spans)]
    main = [c for c, quarter in zip(cells, quarters, strict=True) if quarter == most]
    across = [c for c, quarter in zip(cells, quarters, strict=True) if quarter != most]
    return main, sorted(across, key=lambda cell: (cell.top, cell.left))


def _quarter(advance: Point) -> int:
    """0: to the right, 1: downwards, 2: to the left, 3: upwards."""
    return round(math.atan2(advance[1], advance[0]) / (math.pi / 2)) % 4


def _cell(index: int, span: Span, direction: Point) -> _Cell:
    dx, dy = direction
    xs = [x * dx + y * dy for x, y in span.corners]
    ys = [y * dx - x * dy for x, y in span.corners]
    return _Cell(index, min(xs), min(ys), max(xs), max(ys))


# --------------------------------------------------------------------------- rows and columns


def _rows(cells: Iterable[_Cell]) -> list[_Row]:
    rows: list[_Row] = []
    for cell in sorted(cells, key=lambda cell: cell.middle):
        row = rows[-1] if rows else []
        if row and _beside(row, cell):
            row.append(cell)
        else:
            rows.append([cell])
    return [sorted(row, key=lambda cell: cell.left) for row in rows]


def _beside(row: _Row, cell: _Cell) -> bool:
    middle = sum(other.middle for other in row) / len(row)
    height = min(cell.height, *(other.height for other in row))
    return abs(cell.middle - middle) < _SAME_ROW * height


def _blocks(cells: Sequence[_Cell]) -> list[_Block]:
    """Cut the page where columns of prose stand side by side; read those one by one.

    Short cells side by side, such as names and prices, stay rows.
    """
    blocks: list[_Block] = []
    rows: _Block | None = None
    for run in _runs(_rows(cells)):
        sides = _columns(run)
        if sides:
            rows = None
            for side in sides:
                blocks += _blocks(side)
        elif rows is not None:
            rows += run
        else:
            rows = run
            blocks.append(rows)
    return blocks


def _runs(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """Group rows that have a gutter in common, or have none."""
    run: list[_Row] = []
    for row in rows:
        parted, still = bool(run and _gutters(run)), bool(_gutters([*run, row]))
        if run and (parted != still or (not parted and _gutters([row]))):
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _gutters(rows: Sequence[_Row]) -> list[tuple[float, float]]:
    """Return the stretches between cells that no cell of these rows reaches into."""
    cells = sorted((cell for row in rows for cell in row), key=lambda cell: cell.left)
    least = _GUTTER_HEIGHTS * median(cell.height for cell in cells)
    gutters = []
    reached = cells[0].right
    for cell in cells[1:]:
        if cell.left - reached >= least:
            gutters.append((reached, cell.left))
        reached = max(reached, cell.right)
    return gutters


def _columns(rows: Sequence[_Row]) -> list[list[_Cell]]:
    """Part rows at their first gutter, if there is prose on both of its sides."""
    cells = [cell for row in rows for cell in row]
    for gutter, _ in _gutters(rows):
        sides = [
            [cell for cell in cells if cell.right <= gutter],
            [cell for cell in cells if cell.right > gutter],
        ]
        if all(_is_prose(side) for side in sides):
            return sides
    return []


def _is_prose(cells: Sequence[_Cell]) -> bool:
    widths = [cell.width / max(cell.height, 1.0) for cell in cells]
    return len(cells) >= _PROSE_ROWS and median(widths) >= _PROSE_HEIGHTS


# --------------------------------------------------------------------------- text


def _paragraphs(block: _Block, texts: Sequence[str]) -> Iterator[str]:
    gaps = [_gap(above, row) for above, row in pairwise(block)]
    usual = median(gaps) if gaps else 0.0
    lines: list[str] = []
    for gap, row in zip([0.0, *gaps], block, strict=True):
        height = median(cell.height for cell in row)
        if gap > max(_PARAGRAPH_HEIGHTS * height, _PARAGRAPH_GAPS * usual):
            yield "\n".join(lines)
            lines = []
        line = " ".join(texts[cell.index] for cell in row if texts[cell.index])
        if line:
            lines.append(line)
    yield "\n".join(lines)


def _gap(above: _Row, row: _Row) -> float:
    return min(cell.top for cell in row) - max(cell.bottom for cell in above)


def _blank_lines(above: _Row, row: _Row) -> int:
    height = median(cell.height for cell in (*above, *row))
    return min(_MOST_BLANK_LINES, max(0, round(_gap(above, row) / (height or 1.0) - 0.5)))


def _character_width(cells: Sequence[_Cell], texts: Sequence[str]) -> float:
    widths = [cell.width / _columns_wide(texts[cell.index]) for cell in cells]
    widest = max(cell.right for cell in cells) - min(cell.left for cell in cells)
    return max(median(widths), widest / _WIDEST_LAYOUT, 1.0)


def _placed(row: _Row, texts: Sequence[str], margin: float, unit: float) -> str:
    line = ""
    for cell in row:
        gap = round((cell.left - margin) / unit) - _columns_wide(line)
        line += " " * max(gap, 1 if line else 0) + texts[cell.index]
    return line


def _columns_wide(text: str) -> int:
    """Return how many columns of a fixed-width font a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in _FULL_WIDTH else 1 for c in text)
