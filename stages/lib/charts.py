"""Charts as SVG text: nothing to load, sharp at any size, light and dark by the page's own colours.

Colours are the page's CSS variables ``--s1`` … ``--s5``, one a series, in the same order everywhere. Every
mark carries its value as a tooltip. Not covered: zooming; `dvc plots` draws the same numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 560, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 96, 30, 38  # room for the numbers, the names of the lines, and the axis label


def lines(series: Mapping[str, Points], x: str, y: str) -> str:
    """A line chart of named series of (x, y), each named at its end; an empty text when there is nothing to draw."""
    drawn = {name: points for name, points in series.items() if points}
    if not drawn:
        return ""
    values = [value for points in drawn.values() for _, value in points]
    steps = [step for points in drawn.values() for step, _ in points]
    ticks_x, ticks_y = ticks(min(steps), max(steps)), ticks(min(values), max(values))
    x_of = scale(min(min(steps), ticks_x[0]), max(max(steps), ticks_x[-1]), LEFT, WIDTH - RIGHT)
    y_of = scale(min(min(values), ticks_y[0]), max(max(values), ticks_y[-1]), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_of(t):.1f}" y2="{y_of(t):.1f}"/>' for t in ticks_y
    ]
    parts += [text(LEFT - 8, y_of(t) + 4, number(t), "end") for t in ticks_y]
    parts += [text(x_of(t), HEIGHT - BOTTOM + 16, number(t), "middle") for t in ticks_x]
    parts += [
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x, "middle", "label"),
        text(LEFT - 44, 12, y, "start", "label"),
    ]
    ends = spread([y_of(points[-1][1]) for points in drawn.values()], 15)
    for index, ((name, points), end) in enumerate(zip(drawn.items(), ends, strict=True), 1):
        path = " ".join(f"{x_of(step):.1f},{y_of(value):.1f}" for step, value in points)
        parts.append(f'<polyline class="line s{index}" points="{path}"/>')
        for step, value in points if len(points) <= 60 else points[:: len(points) // 30]:
            tip = f"{name}: {number(value)} at {x} {number(step)}"
            parts.append(dot(x_of(step), y_of(value), 2.5, index, tip))
        parts.append(text(WIDTH - RIGHT + 8, end + 4, f"{name}", "start", f"name s{index}"))
    return figure(WIDTH, HEIGHT, parts, f"{y} over {x}: {', '.join(drawn)}")


def intervals(rows: Mapping[str, Sequence[tuple[str, float, float]]], baseline: tuple[str, float]) -> str:
    """Shares (0 to 1) with standard errors: one row a name, one mark a series, given as (series, value, error)."""
    names = list(dict.fromkeys(series for marks in rows.values() for series, _, _ in marks))
    left, step = 190, 9 * len(names) + 12
    height = step * len(rows) + 46
    x_of = scale(0, 1, left, WIDTH + 120)
    parts = [
        f'<line class="grid" x1="{x_of(t):.1f}" x2="{x_of(t):.1f}" y1="6" y2="{height - 40}"/>'
        for t in (0, 0.25, 0.5, 0.75, 1)
    ]
    parts += [text(x_of(t), height - 24, f"{t:.0%}", "middle") for t in (0, 0.25, 0.5, 0.75, 1)]
    parts.append(
        f'<line class="baseline" x1="{x_of(baseline[1]):.1f}" x2="{x_of(baseline[1]):.1f}" y1="6" y2="{height - 40}"/>'
    )
    parts.append(text(x_of(baseline[1]), height - 8, baseline[0], "middle"))
    for place, (name, marks) in enumerate(rows.items()):
        parts.append(text(left - 10, 6 + place * step + step / 2 + 4, name, "end"))
        for series, value, error in marks:
            index = names.index(series)
            y = 6 + place * step + 10 + 9 * index
            low, high = x_of(max(0, value - error)), x_of(min(1, value + error))
            tip = f"{name}, {series}: {value:.1%} ± {error:.1%}"
            parts.append(f'<line class="line s{index + 1}" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>')
            parts.append(dot(x_of(value), y, 3.5, index + 1, tip))
    return figure(WIDTH + 160, height, parts, f"accuracy with standard errors: {', '.join(names)}")


def figure(width: float, height: float, parts: Sequence[str], label: str) -> str:
    """An SVG picture that says what it shows to whoever can't see it."""
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def dot(x: float, y: float, radius: float, series: int, tip: str) -> str:
    """A mark of a series that says its value under the pointer."""
    mark = f'<circle class="dot s{series}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
    return f"{mark}<title>{escape(tip)}</title></circle>"


def text(x: float, y: float, content: str, anchor: str, style: str = "tick") -> str:
    """A text element."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """The linear map that takes low to start and high to end."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About ``count`` round numbers that span low to high."""
    span = (high - low) or abs(high) or 1.0
    raw = span / count
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw)
    first = math.floor(low / step)
    return [round((first + index) * step, 10) for index in range(math.ceil(high / step - 1e-9) - first + 1)]


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """The heights, moved down just enough that no two are nearer than ``gap``."""
    placed = dict.fromkeys(range(len(heights)), 0.0)
    last = -math.inf
    for index in sorted(placed, key=lambda index: heights[index]):
        last = placed[index] = max(heights[index], last + gap)
    return list(placed.values())


def number(value: float) -> str:
    """A number as short as it can be read."""
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
