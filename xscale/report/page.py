"""A run's report: one HTML file that holds everything it shows and asks nothing of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from xscale.errors import InputError
from xscale.io.names import png_name
from xscale.io.storage import write_text
from xscale.metrics.variants import colour_fitted
from xscale.report import figures
from xscale.report.html import document, escaped, folded, plural, table
from xscale.report.pictures import QUALITY, embed
from xscale.report.score import read_pair, summarise
from xscale.report.table import columns_of, mean_rows, photo_rows, shown

LEAD = "_covered_cc"
PAGE_BYTES = 10_000_000
_OTHER = "other photos"


def write_report(
    path: str | Path,
    scores: Mapping[str, Mapping],
    *,
    names: Sequence[str],
    read_photo: Callable[[str], np.ndarray],
    renders_dir: str | Path,
    coverage_dir: str | Path,
    title: str,
    facts: Mapping[str, object] | None = None,
    metrics: Sequence[Mapping[str, object]] = (),
    timings: Mapping[str, float] | None = None,
    settings: Mapping[str, object] | None = None,
    groups: Mapping[str, str] | None = None,
) -> Path:
    """Write the report page, replacing an older one.

    Args:
        path: The page.
        scores: What :func:`xscale.report.score.score_renders` returned.
        names: Names of the scored photos, in the order of the page.
        read_photo: Gives a photo as uint8 [H, W, 3], reduced as the renders are.
        renders_dir: Folder with a PNG for each photo.
        coverage_dir: Folder with a PNG for each photo, 255 = covered.
        title: The page's heading, usually the scene's name.
        facts: Short lines under the heading: preset, date, commit, device, training time.
        metrics: Lines of metrics.jsonl: ``time`` in seconds with ``loss`` and ``psnr``, or
            ``test_psnr``.
        timings: Seconds by what they were spent on.
        settings: The run's settings, shown folded.
        groups: Group of each photo by name (the demo's distance rings); adds a mean per group.

    Returns:
        The path of the page.

    Raises:
        InputError: A photo has no scores, or its render is missing or of another size.
        StorageError: The page cannot be written.
    """
    path, renders, coverage = Path(path), Path(renders_dir), Path(coverage_dir)
    missing = [n for n in names if png_name(n) not in scores["photos"]]
    if missing:
        raise InputError(f"the scores lack {missing[0]}", where=path, advice="xscale score RUN")
    groups = {png_name(n): label for n, label in (groups or {}).items()}
    share = (PAGE_BYTES - 200_000) // max(1, len(names))
    photos = [
        _photo(n, scores["photos"][png_name(n)], read_photo(n), renders, coverage, share)
        for n in names
    ]
    body = "\n".join(
        [
            _header(title, facts or {}, scores),
            "<main>",
            _tiles(scores["mean"]),
            _scores(scores, groups),
            f"<h2>Test photos</h2>{_PHOTO_HINT}" if photos else "",
            *photos,
            _training(metrics),
            _times(timings),
            folded("Settings", settings),
            folded("Scoring protocol and counts", _stated(scores)),
            "</main>",
            _FOOTER,
        ]
    )
    write_text(path, document(title, body), overwrite=True)
    return path


_PHOTO_HINT = (
    '<p class="soft">These photos were not used for training. Drag across the large picture to '
    "wipe between render and photo. Click a small one to see it at 1:1; there the keys 1, 2, 3 "
    "switch between render, photo and error in place.</p>"
)
_FOOTER = (
    f"<footer><p>Pictures on this page are JPEG, quality {QUALITY}, reduced where needed to keep "
    f"the page below about {PAGE_BYTES // 1_000_000} MB. Scores were taken from the PNG files in "
    "the run folder.</p></footer>"
)


def _header(title: str, facts: Mapping[str, object], scores: Mapping[str, Mapping]) -> str:
    items = "".join(f"<li>{escaped(k)} <b>{escaped(v)}</b></li>" for k, v in facts.items())
    warnings = "".join(
        f'<p class="warning">{escaped(w)}</p>' for w in scores["protocol"].get("warnings", ())
    )
    return f'<header><h1>{escaped(title)}</h1><ul class="facts">{items}</ul>{warnings}</header>'


def _tiles(mean: Mapping[str, object]) -> str:
    tiles = "".join(
        f'<div class="tile"><b>{shown(metric.name, mean.get(metric.name + LEAD))}'
        f"{'<small> dB</small>' if metric.name == 'psnr' else ''}</b>"
        f"<span>{metric.title}</span></div>"
        for metric in columns_of(mean)
    )
    return (
        f'<div class="tiles">{tiles}</div><p class="soft">Mean over the test photos, on the '
        "pixels that the mesh covers, after one colour fit per photo.</p>"
    )


def _scores(scores: Mapping[str, Mapping], groups: Mapping[str, str]) -> str:
    counts = scores["counts"]
    shares = list(counts.get("covered_share", {}).values())
    covered = f"; the mesh covers {sum(shares) / len(shares):.0%} of them" if shares else ""
    parts = [
        "<h2>Scores</h2>",
        table(mean_rows(scores["mean"]), lead=1),
        f'<p class="soft">{plural(counts["photos"], "test photo")}{covered}. Arrows say which way '
        "is better. Whole-frame figures depend on how much of the frame the mesh covers: compare "
        "methods by the first two rows.</p>",
    ]
    if groups:
        parts.append(table(_group_rows(scores, groups)))
    rows = photo_rows(scores["photos"], LEAD)
    parts.append(
        f"<details{' open' if len(rows) <= 9 else ''}><summary>Each photo, covered pixels, "
        f"colour-fitted</summary>{table(rows)}</details>"
    )
    return "\n".join(parts)


def _group_rows(scores: Mapping[str, Mapping], groups: Mapping[str, str]) -> list[list[str]]:
    members: dict[str, list[str]] = {}
    for name in scores["photos"]:
        members.setdefault(groups.get(name, _OTHER), []).append(name)
    columns = columns_of(scores["mean"])
    rows = [["covered pixels, colour-fitted, by group", "photos", *(m.title for m in columns)]]
    shares = scores["counts"].get("covered_share", {})
    for label, inside in sorted(members.items(), key=lambda item: (item[0] == _OTHER, item[0])):
        subset = {n: scores["photos"][n] for n in inside}
        mean = summarise(subset, {n: shares.get(n, 1.0) for n in inside})["mean"]
        figures_shown = (shown(m.name, mean.get(m.name + LEAD)) for m in columns)
        rows.append([label, str(len(inside)), *figures_shown])
    return rows


def _photo(
    name: str,
    row: Mapping[str, object],
    photo: np.ndarray,
    renders: Path,
    coverage_dir: Path,
    most_bytes: int,
) -> str:
    render, coverage = read_pair(name, photo, renders, coverage_dir)
    error = figures.error_map(colour_fitted(render, photo, coverage), photo / 255.0, coverage)
    ramp = ", ".join(
        "rgb({} {} {})".format(*c) for c in figures.colormap(np.linspace(0, 1, 9)).tolist()
    )
    captions = (
        ("render", "Render"),
        ("photo", "Photo"),
        (
            "error of the render",
            f'Error, colour-fitted: 0 <i class="scale" style="background:linear-gradient(to '
            f'right, {ramp})"></i> {figures.ERROR_TOP:g}+',
        ),
    )
    panels = "".join(
        f'<figure><button type="button" aria-label="Show the {what} at 1:1"><img src="{p.uri}" '
        f'width="{p.width}" height="{p.height}" alt="{escaped(name)}: {what}" decoding="async">'
        f"</button><figcaption>{caption}</figcaption></figure>"
        for p, (what, caption) in zip(
            embed([render, photo, error], most_bytes), captions, strict=True
        )
    )
    figures_shown = " · ".join(
        f"{m.title[:-2]} <b>{shown(m.name, row.get(m.name + LEAD))}</b>" for m in columns_of(row)
    )
    return (
        f'<section class="photo"><header><h3>{escaped(name)}</h3><span>{figures_shown}</span>'
        f'</header><div class="triptych">{panels}</div></section>'
    )


def _training(metrics: Sequence[Mapping[str, object]]) -> str:
    if not metrics:
        return ""
    curves = figures.training_curves(metrics)
    return f'<h2>Training</h2><div class="charts">{curves}</div>'


def _times(timings: Mapping[str, float] | None) -> str:
    if not timings:
        return ""
    total = figures.duration(sum(timings.values()))
    return f"<h2>Where the time went ({total})</h2>{figures.time_bar(timings)}"


def _stated(scores: Mapping[str, Mapping]) -> dict[str, object]:
    return {"protocol": scores["protocol"], "counts": scores["counts"]}
