"""A treemap as SVG text: areas are counts, groups hold what belongs together.

Rectangles are laid out to be as square as can be (Bruls, Huizing and van Wijk 2000). A label stands where it fits, and
everything says its name and count under the pointer. Colours are the page's own (``charts.py``), one a group in turn,
the quiet first one last; the group's name stands above it, so no colour has to be told from another. Not covered:
more than two levels.
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from stages.lib.report import charts

WIDTH, HEIGHT = 1080, 560
HEAD = 20  # of a group, for its name
GAP = 2
LETTER, LINE = 6.7, 15  # width and height of a letter of 12 pixels, roughly
COLOURS = 5


class Cell(NamedTuple):
    """A part of a group."""

    name: str
    value: int
    tip: str


class Box(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


def treemap(groups: Sequence[tuple[str, Sequence[Cell]]], label: str) -> str:
    """A picture of (group, its cells); both are drawn from the largest on."""
    sized = [(name, sorted(cells, key=lambda cell: -cell.value)) for name, cells in groups]
    sized.sort(key=lambda group: -total(group[1]))
    parts: list[str] = []
    boxes = squarified([total(cells) for _, cells in sized], Box(0, 0, WIDTH, HEIGHT))
    for place, ((name, cells), box) in enumerate(zip(sized, boxes, strict=True)):
        parts += group(name, cells, box, (place + 1) % COLOURS + 1)
    return charts.figure(WIDTH, HEIGHT, parts, label)


def total(cells: Sequence[Cell]) -> int:
    """What the cells come to."""
    return sum(cell.value for cell in cells)


def group(name: str, cells: Sequence[Cell], box: Box, colour: int) -> Iterator[str]:
    """The name of a group and its cells below, if there is room for a name."""
    head = HEAD if box.height > 2 * HEAD and box.width > 40 else 0
    if head:
        told = f"{name} · {total(cells):,}"
        shown = told if len(told) * LETTER <= box.width - 8 else fitting(name, box.width - 8)
        yield charts.text(box.x + 4, box.y + 14, shown, "start", "head")
    inner = Box(box.x, box.y + head, box.width, box.height - head)
    for cell, place in zip(cells, squarified([cell.value for cell in cells], inner), strict=True):
        yield drawn(cell, place, colour)


def drawn(cell: Cell, box: Box, colour: int) -> str:
    """A cell with as much of its name as fits, and its count where there is a line left."""
    width, height = max(box.width - GAP, 0.5), max(box.height - GAP, 0.5)
    room = int((height - 6) // LINE)
    lines = wrapped(cell.name, width - 10)[: max(room, 0)]
    if lines and room > len(lines):
        lines.append(charts.compact(cell.value))
    texts = "".join(
        charts.text(box.x + 6, box.y + 15 + LINE * place, line, "start", "inside") for place, line in enumerate(lines)
    )
    sides = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    rectangle = f'<rect class="cell s{colour}" {sides} rx="3"/>'
    return f"<g><title>{escape(cell.tip)}</title>{rectangle}{texts}</g>"


def wrapped(name: str, width: float) -> list[str]:
    """A name in lines that fit; nothing when its first word doesn't."""
    lines: list[str] = []
    for word in name.split(" "):
        if lines and len(f"{lines[-1]} {word}") * LETTER <= width:
            lines[-1] += f" {word}"
        elif len(word) * LETTER <= width:
            lines.append(word)
        else:
            return lines
    return [line.strip(" ·") for line in lines]


def fitting(name: str, width: float) -> str:
    """A name, or as much of it as fits in one line."""
    most = int(width // LETTER)
    return name if len(name) <= most else name[: max(most - 1, 0)].rstrip() + "…"


def squarified(values: Sequence[int], box: Box) -> list[Box]:
    """A rectangle for each value, from the largest on; together they fill the box."""
    whole = sum(values)
    areas = [value * box.width * box.height / whole if whole else 0.0 for value in values]
    boxes: list[Box] = []
    while len(boxes) < len(areas):
        row = best_row(areas[len(boxes) :], min(box.width, box.height))
        placed, box = laid(row, box)
        boxes += placed
    return boxes


def best_row(areas: Sequence[float], side: float) -> Sequence[float]:
    """As many of the areas, from the first on, as make a row along a side whose worst shape is best."""
    size = 1
    while size < len(areas) and worst(areas[: size + 1], side) <= worst(areas[:size], side):
        size += 1
    return areas[:size]


def worst(row: Sequence[float], side: float) -> float:
    """The longest side of a row's rectangles against the shortest."""
    depth = sum(row) / side if side else 0.0
    if not depth or not min(row):
        return float("inf")
    return max(max(depth * depth / area, area / (depth * depth)) for area in row)


def laid(row: Sequence[float], box: Box) -> tuple[list[Box], Box]:
    """(the rectangles of a row along the short side of a box, what is left of the box)."""
    across = box.width >= box.height
    side = box.height if across else box.width
    depth = sum(row) / side if side else 0.0
    boxes, at = [], 0.0
    for area in row:
        length = area / depth if depth else 0.0
        boxes.append(Box(box.x, box.y + at, depth, length) if across else Box(box.x + at, box.y, length, depth))
        at += length
    if across:
        return boxes, Box(box.x + depth, box.y, max(box.width - depth, 0.0), box.height)
    return boxes, Box(box.x, box.y + depth, box.width, max(box.height - depth, 0.0))
