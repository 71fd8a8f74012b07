"""The benchmark page's curves against scale, and the time and memory that methods took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from xscale.metrics.measures import metric_of
from xscale.metrics.scales import DOWNSCALES, SUFFIX
from xscale.report.figures import duration, nice_ticks
from xscale.report.html import escaped

Curves = dict[str, dict[Any, float]]
"""By method: values by place on the horizontal axis."""

_WIDE, _HIGH = 460, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 30, 14, 46
_SHOWN = ("psnr", "ssim", "lpips_vgg", "lpips_alex", "dists")
_IN_OCTAVES = ("psnr", "ssim")
_SMALLEST_SHARE = 0.002
"""Octaves with fewer of all pixels are left out of curves: chance rules there."""
_MILLIMETRES = {"m": 1000.0, "cm": 10.0, "mm": 1.0}


def scales_section(files: Sequence[Mapping[str, Any]]) -> str:
    """Return the curves of one scene's files, empty where they hold no scales.

    Args:
        files: Scores files of one scene; several of one method are its seeds.
    """
    # The order of the histogram, so that a method has one colour on the page.
    methods = sorted({file["method"] for file in files})
    charts = []
    for base in _SHOWN:
        curves = _downscaled(files, base)
        if _drawable(curves):
            title = f"{metric_of(base).title} after averaging over blocks of pixels"
            labels = {side: f"{side} × {side}" for side in (1, *DOWNSCALES)}
            charts.append(_chart(title, curves, labels, methods, base))
    labels = _octave_labels(files)
    for base in _IN_OCTAVES:
        curves = _by_octave(files, base, set(labels))
        if _drawable(curves):
            title = f"{metric_of(base).title} by size of a pixel on the surface"
            charts.append(_chart(title, curves, labels, methods, base))
    if not charts:
        return ""
    legend = "".join(
        f'<li><i class="part{i % 8}"></i>{escaped(m)}</li>' for i, m in enumerate(methods)
    )
    return (
        "<h3>Scores against scale</h3><p>Covered pixels, colour-fitted. Averaged over blocks of "
        "pixels, errors of detail vanish with larger blocks and errors of colour stay. By size of "
        "a pixel on the surface, fine to the left: what a method does close by and far away.</p>"
        f'<ul class="parts">{legend}</ul><div class="charts">{"".join(charts)}</div>'
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _collected(rows: Sequence[tuple[str, Any, object]]) -> Curves:
    """Return the means over seeds of (method, place, value), those without a number left out."""
    found: dict[str, dict[Any, list[float]]] = {}
    for method, place, value in rows:
        if (number := _number(value)) is not None:
            found.setdefault(method, {}).setdefault(place, []).append(number)
    return {m: {k: fmean(v) for k, v in sorted(p.items())} for m, p in found.items()}


def _downscaled(files: Sequence[Mapping[str, Any]], base: str) -> Curves:
    rows = []
    for file in files:
        means = file.get("scales", {}).get("downscale", {}).get("mean", {})
        name = base + SUFFIX
        if means:
            rows.append((file["method"], 1, file["mean"].get(name)))
        rows += [(file["method"], int(side), row.get(name)) for side, row in means.items()]
    return _collected(rows)


def _octaves(file: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return file.get("scales", {}).get("octaves", {}).get("all", {})


def _by_octave(files: Sequence[Mapping[str, Any]], base: str, shown: set[int]) -> Curves:
    return _collected([
        (file["method"], int(k), row.get(base + SUFFIX))
        for file in files
        for k, row in _octaves(file).items()
        if int(k) in shown
    ])  # fmt: skip


def _octave_labels(files: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Return the octaves that have pixels enough, each with its lower bound in words."""
    pixels: dict[int, int] = {}
    for file in files:
        for k, row in _octaves(file).items():
            pixels[int(k)] = max(pixels.get(int(k), 0), int(row["pixels"]))
    least = _SMALLEST_SHARE * sum(pixels.values())
    unit = next((u for file in files if (u := file["protocol"].get("unit"))), None)
    factor = _MILLIMETRES.get(unit, 1.0)
    ending = " mm" if unit in _MILLIMETRES else ""
    return {k: f"{2.0**k * factor:.3g}{ending}" for k in sorted(pixels) if pixels[k] >= least}


def _drawable(curves: Curves) -> bool:
    return any(len(points) > 1 for points in curves.values())


def _chart(
    title: str, curves: Curves, labels: Mapping[Any, str], methods: Sequence[str], base: str
) -> str:
    """Draw a line a method over evenly spaced places, as SVG."""
    values = [v for points in curves.values() for v in points.values()]
    low, high = min(values), max(values)
    pad = (high - low) * 0.08 or 0.5 * abs(high) or 0.5
    low, high = low - pad, high + pad
    places = [k for k in labels if any(k in points for points in curves.values())]
    step = (_WIDE - _LEFT - _RIGHT) / max(len(places) - 1, 1)
    bottom = _HIGH - _BOTTOM

    def at(place: Any, value: float) -> tuple[float, float]:
        return (
            _LEFT + places.index(place) * step,
            bottom - (value - low) / (high - low) * (bottom - _TOP),
        )

    parts = []
    for tick in nice_ticks(low, high, 5):
        y = at(places[0], tick)[1]
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="y" x="{_LEFT - 8}" y="{y + 4:.1f}">{tick:.6g}</text>'
        )
    every = math.ceil(len(places) / 7)
    for place in places[::every]:
        x = at(place, low)[0]
        parts.append(
            f'<text class="x" x="{x:.1f}" y="{bottom + 18}">{escaped(labels[place])}</text>'
        )
    digits = metric_of(base).digits
    for method, points in curves.items():
        kind = f"part{methods.index(method) % 8}"
        path = " ".join("{:.1f},{:.1f}".format(*at(k, v)) for k, v in points.items())
        parts.append(f'<polyline class="line {kind}" points="{path}"/>')
        for k, v in points.items():
            x, y = at(k, v)
            tip = escaped(f"{method}, {labels[k]}: {v:.{digits}f}")
            parts.append(
                f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>{tip}</title>'
                "</circle>"
            )
    return (
        f'<figure class="curve"><figcaption>{escaped(title)}</figcaption><svg class="chart" '
        f'viewBox="0 0 {_WIDE} {_HIGH - 20}" role="img" aria-label="{escaped(title)}">'
        f"{''.join(parts)}</svg></figure>"
    )


_USED = (
    ("train_seconds", "training"),
    ("render_seconds", "rendering"),
    ("score_seconds", "scoring"),
    ("peak_bytes", "peak memory"),
)


def resources_section(files: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of time and memory, empty where no file tells any.

    Args:
        files: Scores files of one scene; several of one method are its seeds.
    """
    methods: dict[str, list[Mapping[str, Any]]] = {}
    for file in files:
        if file.get("resources"):
            methods.setdefault(file["method"], []).append(file["resources"])
    if not methods:
        return ""
    heads = "".join(f'<th scope="col">{words}</th>' for _, words in _USED)
    rows = []
    for method, used in methods.items():
        cells = []
        for name, _ in _USED:
            known = [n for one in used if (n := _number(one.get(name))) is not None]
            cells.append(f"<td>{_amount(name, fmean(known)) if known else 'not known'}</td>")
        rows.append(f'<tr><th scope="row">{escaped(method)}</th>{"".join(cells)}</tr>')
    return (
        "<h3>Time and memory</h3><p>As far as files tell: xscale measures its own runs, other "
        "methods' training times come from their results. Means over seeds; of machines that may "
        'differ.</p><div class="scroll"><table><thead><tr><th scope="col">method</th>'
        f"{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _amount(name: str, value: float) -> str:
    return f"{value / 2**30:.1f} GiB" if name == "peak_bytes" else duration(value)
