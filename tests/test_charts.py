"""Charts as SVG: every number is drawn where it belongs, named, and escaped."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.report import charts

NAMES = st.text("abcđ<&\"' ", max_size=12)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def bars(svg: str, series: str) -> list[dict[str, str]]:
    return [dict(rect.attrib) for rect in parsed(svg).iter("rect") if f"bar {series}" in rect.attrib["class"]]


def tips(svg: str) -> list[str]:
    return [title.text or "" for title in parsed(svg).iter("title")]


def test_a_histogram_shows_every_bar_with_its_sizes_and_leaves_out_empty_ends() -> None:
    svg = charts.histogram({0: 0, 1: 5, 2: 0, 4: 1200, 8: 0, 16: 0}, "syllables")
    assert tips(svg) == ["1 syllables: 5", "2–3 syllables: 0", "4–7 syllables: 1,200"]
    heights = [float(bar["height"]) for bar in bars(svg, "s2")]
    assert heights[2] == pytest.approx(charts.HEIGHT - charts.BOTTOM - charts.TOP) and heights[1] == 0
    assert heights[0] == pytest.approx(heights[2] * 5 / 1200, abs=0.1)
    assert ">1.2k<" in svg and ">syllables<" in svg
    assert charts.histogram({0: 0, 1: 0}, "syllables") == charts.histogram({}, "x") == ""


def test_the_last_bar_is_open_at_its_end() -> None:
    assert tips(charts.histogram({0: 3, 1: 1, 2: 9}, "turns")) == ["0 turns: 3", "1 turns: 1", "2+ turns: 9"]


@pytest.mark.parametrize(
    ("limit", "bar", "share"), [(8, 0, 0.0), (12, 0, 0.5), (16, 1, 0.0), (24, 1, 0.5), (64, 3, 0.0)]
)
def test_a_limit_stands_among_the_bars_where_its_size_is(limit: int, bar: int, share: float) -> None:
    svg = charts.histogram({8: 4, 16: 3, 32: 1, 64: 0, 128: 0}, "tokens", ("context", limit))
    (line,) = [line for line in parsed(svg).iter("line") if line.attrib["class"] == "baseline"]
    boxes = bars(svg, "s2")
    step = float(boxes[1]["x"]) - float(boxes[0]["x"])
    assert float(line.attrib["x1"]) == pytest.approx(float(boxes[bar]["x"]) - 2 + share * step, abs=0.2)
    assert f"context {limit}" in svg


def test_a_flow_shows_what_was_left_out_to_scale_and_never_hides_it() -> None:
    svg = charts.flow([("parse", 1000, 250, "rows"), ("clean", 500, 1, "records"), ("kept", 499, 0, "records")])
    passed, lost = bars(svg, "s2"), bars(svg, "s3")
    assert [float(bar["width"]) for bar in passed] == pytest.approx([480, 319.4, 319.4], abs=0.1)
    assert [float(bar["width"]) for bar in lost] == [160, 3, 0]
    assert tips(svg)[0] == "parse: 1,000 rows, 250 left out (25.0%)" and "499 records<" in svg


@given(st.lists(st.tuples(NAMES, st.integers(0, 10**9), st.integers(0, 10**9), NAMES), max_size=6))
def test_no_names_and_counts_break_a_flow(steps: list[tuple[str, int, int, str]]) -> None:
    svg = charts.flow([(name, max(one, other), min(one, other), unit) for name, one, other, unit in steps])
    assert len(tips(svg)) == len(steps)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (950, "950"), (1000, "1.0k"), (4449, "4.4k"), (9960, "10k"), (12_345, "12k"), (1_300_000, "1.3M"),
     (2_000_000_000, "2.0G")],
)  # fmt: skip
def test_a_compact_count_has_at_most_five_signs(value: int, shown: str) -> None:
    assert charts.compact(value) == shown


def test_lines_are_named_at_their_ends_without_touching() -> None:
    svg = charts.lines({"một": [(0, 1.0), (9, 2.0)], "hai": [(0, 3.0), (9, 2.01)], "none": []}, "step", "loss")
    ends = [float(y) for y in re.findall(r'class="name s\d" x="[\d.]+" y="([\d.]+)"', svg)]
    assert len(ends) == 2 and abs(ends[0] - ends[1]) >= 14.9
    assert charts.lines({"none": []}, "step", "loss") == ""


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_span_what_they_are_for(low: float, width: float) -> None:
    found = charts.ticks(low, low + width)
    assert found == sorted(found) and 1 <= len(found) <= 9
    assert found[0] <= low + 1e-6 * max(1, abs(low)) and found[-1] >= low + width - 1e-6 * max(1, abs(low + width))
