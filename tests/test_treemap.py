"""A treemap: areas are counts, nothing overlaps, labels stay within their cells."""

from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.report import treemap
from stages.lib.report.treemap import Box, Cell

COUNTS = st.lists(st.integers(1, 100_000), min_size=1, max_size=25).map(lambda found: sorted(found, reverse=True))


@given(COUNTS)
def test_areas_are_counts_and_fill_the_box_without_overlap(values: list[int]) -> None:
    box = Box(10, 20, 300, 200)
    boxes = treemap.squarified(values, box)
    whole = sum(values)
    for value, found in zip(values, boxes, strict=True):
        assert found.width * found.height == pytest.approx(value / whole * box.width * box.height, rel=1e-6)
        assert found.x >= box.x - 1e-6 and found.x + found.width <= box.x + box.width + 1e-6
        assert found.y >= box.y - 1e-6 and found.y + found.height <= box.y + box.height + 1e-6
    for one, other in combinations(boxes, 2):
        across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
        down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
        assert across < 1e-6 or down < 1e-6


def test_rectangles_are_nearly_square() -> None:
    # the example of the paper: areas 6 6 4 3 2 2 1 in 6 by 4
    boxes = treemap.squarified([6, 6, 4, 3, 2, 2, 1], Box(0, 0, 6, 4))
    assert [(round(box.width, 2), round(box.height, 2)) for box in boxes[:3]] == [(3, 2), (3, 2), (1.71, 2.33)]
    assert max(max(box.width / box.height, box.height / box.width) for box in boxes) < 3


@pytest.mark.parametrize(
    ("name", "width", "lines"),
    [
        ("thủ đô · nước", 200, ["thủ đô · nước"]),
        ("thủ đô · nước", 50, ["thủ đô", "nước"]),
        ("xăng-ti-mét", 40, []),
        ("đổi xăng-ti-mét", 40, ["đổi"]),
    ],
)
def test_a_name_is_wrapped_to_its_cell(name: str, width: float, lines: list[str]) -> None:
    assert treemap.wrapped(name, width) == lines


@given(st.lists(st.tuples(st.text("abđ <&", max_size=9), st.lists(st.integers(0, 9999), max_size=9)), max_size=8))
def test_every_cell_says_what_it_is_and_no_label_leaves_its_cell(groups: list[tuple[str, list[int]]]) -> None:
    cells = [(name, [Cell(f"{name} {n}", n, f"{name}: {n} <b>") for n in values]) for name, values in groups]
    picture = ElementTree.fromstring(treemap.treemap(cells, "topics"))
    drawn = list(picture.iter("g"))
    tips = sorted(str(group[0].text) for group in drawn)
    assert tips == sorted(cell.tip for _, found in cells for cell in found)
    for group in drawn:
        rectangle = group[1].attrib
        right = float(rectangle["x"]) + float(rectangle["width"])
        bottom = float(rectangle["y"]) + float(rectangle["height"])
        for label in group[2:]:
            assert float(label.attrib["y"]) <= bottom
            assert float(label.attrib["x"]) + 5 * len(label.text or "") <= right + treemap.LETTER * 6
