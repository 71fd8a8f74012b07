"""Curves as SVG files: small, readable on light and dark pages, comparable in a diff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from xscale.report.figures import nice_ticks

_WIDTH, _HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 44, 44
_COLOURS = ("#0b7f86", "#d0602a", "#8d6a9f", "#7a9a5b")
_TEXT = "#808890"


def chart(
    title: str,
    across: str,
    places: Sequence[str],
    lines: Mapping[str, Sequence[float | None]],
) -> str:
    """Return an SVG document with one line a row of values.

    Args:
        title: What the vertical axis shows.
        across: What the horizontal axis shows.
        places: Its places from left to right, evenly spaced.
        lines: By label a value a place; None leaves a gap.
    """
    every = [y for values in lines.values() for y in values if y is not None]
    low, high = min(every), max(every)
    pad = (high - low) * 0.08 or 0.5
    low, high = low - pad, high + pad

    def x(index: int) -> float:
        return _LEFT + (index + 0.5) / len(places) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_text(_LEFT, 16, title, "start", "font-weight='600'")]
    for tick in nice_ticks(low, high, 5):
        at = f'y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="{_TEXT}" stroke-opacity=".25"'
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" {at}/>')
        parts.append(_text(_LEFT - 8, y(tick) + 4, f"{tick:.4g}", "end"))
    parts += [_text(x(k), _HEIGHT - _BOTTOM + 18, place) for k, place in enumerate(places)]
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 8, across, "end"))
    key = float(_LEFT)
    for (label, values), colour in zip(lines.items(), _COLOURS, strict=False):
        there = [(x(k), y(value)) for k, value in enumerate(values) if value is not None]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in there)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in there]
        parts.append(f'<rect x="{key:.0f}" y="26" width="12" height="4" fill="{colour}"/>')
        parts.append(_text(key + 17, 32, label, "start"))
        key += 34 + 6.4 * len(label)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="12" '
        f'fill="{_TEXT}">{"".join(parts)}</svg>\n'
    )


def _text(x: float, y: float, text: str, anchor: str = "middle", more: str = "") -> str:
    at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text {at} {more}>{escape(text)}</text>"
