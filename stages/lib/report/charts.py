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


def histogram(bins: Mapping[int, int], unit: str, mark: tuple[str, int] | None = None) -> str:
    """How many are of about which size; ``bins`` tell where each bar begins, ``mark`` a limit within the sizes.

    Empty bars at both ends are left out; an empty text when there is nothing to draw.
    """
    starts = sorted(bins)
    filled = [place for place, start in enumerate(starts) if bins[start]]
    if not filled:
        return ""
    last = max(filled[-1], -1 if mark is None else max(p for p, start in enumerate(starts) if start <= mark[1]))
    shown = starts[filled[0] : last + 1]
    ends = [*starts[filled[0] + 1 : last + 2], None][: len(shown)]
    width, top = min((WIDTH - 40) / len(shown), 90), max(bins.values())
    left, floor = (WIDTH - width * len(shown)) / 2, HEIGHT - BOTTOM
    single = all(end in (start + 1, None) for start, end in zip(shown, ends, strict=True))
    y_of = scale(0, top, floor, TOP)
    parts = [f'<line class="grid" x1="{left:.1f}" x2="{WIDTH - left:.1f}" y1="{floor}" y2="{floor}"/>']
    for place, (start, end) in enumerate(zip(shown, ends, strict=True)):
        x, y = left + place * width, y_of(bins[start])
        bar = f'<rect class="bar s2" x="{x + 2:.1f}" y="{y:.1f}" width="{width - 4:.1f}" height="{floor - y:.1f}"'
        parts.append(f'{bar} rx="2"><title>{escape(f"{edge(start, end)} {unit}: {bins[start]:,}")}</title></rect>')
        # a bar of one size is named below it, one of several by where it begins and ends
        parts.append(text(x + width / 2, floor + 16, edge(start, end), "middle") if single else tick(x, start))
        if bins[start]:
            parts.append(text(x + width / 2, y - 5, compact(bins[start]), "middle"))
    if not single and ends[-1] is not None:
        parts.append(tick(left + width * len(shown), ends[-1]))
    if mark is not None:
        at = left + width * along(mark[1], shown, ends)
        parts.append(f'<line class="baseline" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 8}" y2="{floor}"/>')
        parts.append(text(at, TOP - 14, f"{mark[0]} {mark[1]:,}", "end" if at > WIDTH / 2 else "start"))
    parts.append(text(WIDTH / 2, HEIGHT - 4, unit, "middle", "label"))
    return figure(WIDTH, HEIGHT, parts, f"number by {unit}")


def tick(x: float, value: int) -> str:
    """A size below the line between two bars."""
    return text(x, HEIGHT - BOTTOM + 16, f"{value:,}", "middle")


def edge(start: int, end: int | None) -> str:
    """The sizes of a bar, as short as they can be read."""
    return f"{start}+" if end is None else f"{start}" if end == start + 1 else f"{start}–{end - 1}"


def along(value: int, starts: Sequence[int], ends: Sequence[int | None]) -> float:
    """Where a size stands among the bars, in bars."""
    place = max((place for place, start in enumerate(starts) if start <= value), default=0)
    end = ends[place] or 2 * starts[place]
    return place + (value - starts[place]) / max(end - starts[place], 1)


def flow(steps: Sequence[tuple[str, int, int, str]]) -> str:
    """What went into each stage, and how much of it was dropped there: (stage, entered, dropped, unit) a row."""
    left, width, step = 130, 640, 30
    most = max((entered for _, entered, _, _ in steps), default=0) or 1
    parts = []
    for place, (stage, entered, dropped, unit) in enumerate(steps):
        y = 4 + place * step
        passed, lost = (width * part / most for part in (entered - dropped, dropped))
        lost = max(lost, 3.0) if dropped else 0.0  # one among thousands is to be seen too
        share = f" ({dropped / entered:.1%})" if entered else ""
        tip = f"{stage}: {entered:,} {unit}, {dropped:,} left out{share}"
        parts.append(text(left - 12, y + 15, stage, "end", "name"))
        parts.append(
            f"<g><title>{escape(tip)}</title>"
            f'<rect class="bar s2" x="{left}" y="{y}" width="{max(passed, 1):.1f}" height="20" rx="2"/>'
            f'<rect class="bar s3" x="{left + passed:.1f}" y="{y}" width="{lost:.1f}" height="20" rx="2"/></g>'
        )
        told = f"{entered:,} {unit}" + (f", {dropped:,} left out" if dropped else "")
        parts.append(text(left + passed + lost + 8, y + 15, told, "start"))
    return figure(left + width + 240, 4 + step * len(steps), parts, "what went into each stage and what it left out")


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


def compact(value: int) -> str:
    """A count in at most five signs: 950, 4.4k, 12k, 1.3M."""
    for size, sign in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if value >= size:
            scaled = value / size
            return f"{scaled:.1f}{sign}" if scaled < 9.95 else f"{scaled:.0f}{sign}"
    return str(value)
