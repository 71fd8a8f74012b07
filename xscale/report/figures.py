"""The page's figures: error maps, curves and bars.

Curves and bars are SVG that takes its colours from the page, so that they fit light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

# Perceptually even steps from dark to light through purple and orange.
_STOPS = np.array(
    [[8, 7, 20], [58, 15, 96], [125, 30, 109], [190, 55, 82], [236, 105, 37], [251, 165, 10],
     [252, 255, 164]], float,
)  # fmt: skip
ERROR_TOP = 0.2
_UNCOVERED = (128, 132, 140)


def colormap(values: np.ndarray) -> np.ndarray:
    """Map [...] in [0, 1] (clipped) to uint8 [..., 3]: black, purple, orange, pale yellow."""
    at = np.clip(values, 0, 1) * (len(_STOPS) - 1)
    channels = [np.interp(at, np.arange(len(_STOPS)), _STOPS[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def error_map(render: np.ndarray, photo: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Show where a render is off: the mean absolute difference of the channels.

    Args:
        render: float [H, W, 3] in [0, 1].
        photo: The same.
        coverage: bool [H, W]; the rest is grey.

    Returns:
        uint8 [H, W, 3]; 0 is black, ``ERROR_TOP`` and above the lightest colour.
    """
    picture = colormap(np.abs(render - photo).mean(axis=2) / ERROR_TOP)
    picture[~coverage] = _UNCOVERED
    return picture


class Series(NamedTuple):
    """One line, or single points, of a chart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    kind: str
    """CSS class: ``main`` line, ``soft`` line or ``dots``."""


def nice_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return round numbers between ``low`` and ``high``, about ``count`` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.8)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis given in powers of ten."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
        ticks = [math.log10(d) + e for e in decades for d in digits]
        ticks = [t for t in ticks if low - 1e-9 <= t <= high + 1e-9]
        if len(ticks) >= 3:
            break
    return ticks


_WIDTH, _HEIGHT = 560, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 30, 38


def line_chart(title: str, series: Sequence[Series], *, log: bool = False) -> str:
    """Draw lines against seconds as SVG.

    Args:
        title: What the vertical axis shows, with its unit.
        series: Lines; values that are not finite (or, with ``log``, not positive) are left out.
        log: Logarithmic vertical axis.

    Returns:
        The SVG element, or a sentence where there is nothing to draw.
    """
    lines = []
    for s in series:
        pairs = [
            (x, y) for x, y in zip(s.x, s.y, strict=True) if math.isfinite(x) and math.isfinite(y)
        ]
        points = [(x, math.log10(y) if log else y) for x, y in pairs if y > 0 or not log]
        if points:
            lines.append((s, points))
    if not lines:
        return f'<p class="none">{escape(title)}: nothing was recorded.</p>'
    every = [p for _, points in lines for p in points]
    x_top = max(x for x, _ in every) or 1.0
    low, high = min(y for _, y in every), max(y for _, y in every)
    pad = (high - low) * 0.06 or 0.5
    low, high = low - pad, high + pad

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + x / x_top * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - (y - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = [_axes(place, x_top, _log_ticks(low, high) if log else nice_ticks(low, high), log)]
    key = _LEFT
    for s, points in lines:
        placed = [place(x, y) for x, y in _thinned(points)]
        if s.kind == "dots":
            parts += [
                f'<circle class="dots" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in placed
            ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline class="{s.kind}" points="{path}"/>')
        parts.append(f'<rect class="{s.kind}" x="{key}" y="10" width="14" height="4" rx="2"/>')
        parts.append(f'<text x="{key + 20}" y="16">{escape(s.label)}</text>')
        key += 44 + 7 * len(s.label)
    label = escape(title, quote=True)
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def _axes(
    place: Callable[[float, float], tuple[float, float]],
    x_top: float,
    ticks: Sequence[float],
    log: bool,
) -> str:
    unit, name = next(
        (u, n) for limit, u, n in ((180, 1, "s"), (10800, 60, "min"), (math.inf, 3600, "h"))
        if x_top < limit
    )  # fmt: skip
    bottom = _HEIGHT - _BOTTOM
    parts = []
    for tick in ticks:
        y = place(0, tick)[1]
        text = f"{10**tick:.3g}" if log else f"{tick:.6g}"
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="y" x="{_LEFT - 8}" y="{y + 4:.1f}">{text}</text>'
        )
    for tick in nice_ticks(0, x_top / unit):
        x = place(tick * unit, 0)[0]
        parts.append(f'<text class="x" x="{x:.1f}" y="{bottom + 18}">{tick:.6g}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" '
                 f'y2="{bottom}"/><text class="x" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" '
                 f'style="text-anchor:end">{name} of training</text>')  # fmt: skip
    return "".join(parts)


def _thinned(points: list[tuple[float, float]], most: int = 600) -> list[tuple[float, float]]:
    """Average neighbours so that a long training draws at most ``most`` points."""
    step = math.ceil(len(points) / most)
    if step == 1:
        return points
    runs = [points[i : i + step] for i in range(0, len(points), step)]
    return [(sum(x for x, _ in r) / len(r), sum(y for _, y in r) / len(r)) for r in runs]


def training_curves(lines: Sequence[Mapping[str, object]]) -> str:
    """Draw loss and PSNR of a training from the lines of its metrics.jsonl.

    Test scores without a time of their own get that of the nearest earlier step.
    """
    loss, running, test = ([], []), ([], []), ([], [])
    now = 0.0
    for line in lines:
        now = _number(line, "time", now)
        for name, (x, y) in (("loss", loss), ("psnr", running), ("test_psnr", test)):
            value = _number(line, name, math.nan)
            if not math.isnan(value):
                x.append(now)
                y.append(value)
    return line_chart("Loss", [Series("training loss", *loss, "main")], log=True) + line_chart(
        "PSNR in dB",
        [
            Series("PSNR of training rays, dB", *running, "soft"),
            Series("PSNR of test photos, dB", *test, "dots"),
        ],
    )


def _number(line: Mapping[str, object], key: str, missing: float) -> float:
    value = line.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return missing
    return float(value)


def duration(seconds: float) -> str:
    """Write a duration as people say it: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def time_bar(timings: Mapping[str, float]) -> str:
    """Draw where time went: one stacked bar and its legend, longest first.

    Args:
        timings: Seconds by what they were spent on.
    """
    items = sorted(((n, s) for n, s in timings.items() if s > 0), key=lambda item: -item[1])
    total = sum(s for _, s in items)
    if not total:
        return '<p class="none">No times were recorded.</p>'
    if len(items) > 8:
        items = [*items[:7], ("everything else", sum(s for _, s in items[7:]))]
    bars, legend, at = [], [], 0.0
    for i, (name, seconds) in enumerate(items):
        width = seconds / total * 1000
        tip = escape(f"{name}: {duration(seconds)}")
        bars.append(f'<rect class="part{i}" x="{at:.2f}" y="0" width="{width:.2f}" height="34">'
                    f"<title>{tip}</title></rect>")  # fmt: skip
        at += width
        legend.append(
            f'<li><i class="part{i}"></i><span>{escape(name)}</span> <b>{duration(seconds)}</b> '
            f"<em>{seconds / total:.0%}</em></li>"
        )
    return (
        '<svg class="timebar" viewBox="0 0 1000 34" preserveAspectRatio="none" role="img" '
        f'aria-label="Where {duration(total)} went">{"".join(bars)}</svg>'
        f'<ul class="parts">{"".join(legend)}</ul>'
    )
