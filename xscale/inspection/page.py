"""The inspection as one HTML file: what is suspicious, the scene from above, the worst photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xscale.gbuffer.build import build_surface
from xscale.inspection.examine import Inspection
from xscale.inspection.findings import PhotoRow
from xscale.inspection.looks import Look, look_at
from xscale.inspection.maps import MapView, corners_of, views_of
from xscale.inspection.pictures import edges_picture, mesh_picture
from xscale.inspection.words import length, many, measures, plan_lines, rough, size
from xscale.io.storage import write_text
from xscale.report.figures import colormap
from xscale.report.html import document, escaped, folded, plural, table
from xscale.report.pictures import embed

_SHOWN_PHOTOS = 6
_LONG_SIDE = 1100
_PHOTO_BYTES = 900_000
_MAP_BYTES = 600_000
_FINDINGS = 12
_ROWS_OPEN = 12


def write_page(
    path: Path, found: Inspection, *, title: str, unit: str | None = None, overwrite: bool = False
) -> Path:
    """Write the page of an inspection.

    Args:
        path: The file.
        found: What :func:`xscale.inspection.examine.examine` returned.
        title: The page's heading, usually the scene's name.
        unit: Length of a scene unit, where it is known.
        overwrite: Replace an existing file.

    Raises:
        OutputExistsError: The file is there and ``overwrite`` is false.
        StorageError: It cannot be written.
    """
    facts = found.facts
    body = "\n".join(
        [
            _header(title, facts),
            "<main>",
            _findings(facts),
            _tiles(facts, unit),
            *_maps(found, unit),
            _histogram(facts["footprint"], unit),
            _photos(found, unit),
            _all_photos(found, unit),
            _listed("What the folder holds", measures(facts, unit)),
            _listed("A training with the default preset", plan_lines(facts["plan"])),
            folded("Everything as JSON (xscale inspect --json)", facts),
            "</main>",
            _FOOTER,
        ]
    )
    page = document(f"{title}: inspection", body, ("Mesh", "Photo", "Edges"))
    write_text(path, page, overwrite=overwrite)
    return path


_FOOTER = (
    "<footer><p>Photos are compared at 512 pixels along their longer side; distances are given in "
    "pixels of the stored photo. A photo is judged by the better ones of its pairs, so that a "
    "neighbour's fault is not held against it.</p></footer>"
)


def _header(title: str, facts: dict) -> str:
    shown = {
        "layout": facts["layout"],
        "photos": facts["photos"]["count"],
        "faces": f"{facts['mesh']['faces']:,}",
        "sparse points": "none" if facts["sparse_points"] is None else facts["sparse_points"],
    }
    items = "".join(f"<li>{escaped(k)} <b>{escaped(v)}</b></li>" for k, v in shown.items())
    return f'<header><h1>{escaped(title)}</h1><ul class="facts">{items}</ul></header>'


def _findings(facts: dict) -> str:
    suspicious = facts["suspicious"]
    lines = [
        f'<p class="warning"><b>{escaped(f["photo"] or "The scene")}</b>: {escaped(f["what"])}. '
        f'<span class="soft">{escaped(f["advice"])}</span></p>'
        for f in suspicious[:_FINDINGS]
    ]
    if len(suspicious) > _FINDINGS:
        lines.append(f'<p class="soft">and {len(suspicious) - _FINDINGS} more, in the table.</p>')
    known = {f["line"] for f in suspicious}
    lines += [f'<p class="warning">{escaped(w)}</p>' for w in facts["warnings"] if w not in known]
    if not lines:
        return f'<p class="fine">{escaped(facts["verdict"]["line"])}</p>'
    return f"<h2>What is suspicious</h2>{''.join(lines)}"


def _tiles(facts: dict, unit: str | None) -> str:
    plan, agreement = facts["plan"], facts["agreement"]
    off = agreement["neighbour_pixels"]
    tiles = [
        (f"{facts['coverage']['mean']:.0%}", "of a picture is covered by the mesh (mean)"),
        (f"{facts['back_faces']['uncovered']:.1%}", "of it is seen from behind, through holes"),
        (length(facts["footprint"]["p5"], unit), "finest 5 % of footprints" + _unit(unit)),
        ("-" if off is None else f"{off:.1f} px", "neighbouring photos lie apart (median)"),
    ]
    if plan["possible"]:
        tiles.append((size(plan["training_bytes"]), "memory to train"))
        if plan["seconds"] is not None:
            about = f"to train on this {plan['device'].upper()}, {many(plan['rays'])} rays"
            tiles.append((rough(plan["seconds"]), about))
    shown = "".join(
        f'<div class="tile"><b>{escaped(value)}</b><span>{escaped(label)}</span></div>'
        for value, label in tiles
    )
    return f'<div class="tiles">{shown}</div>'


def _unit(unit: str | None) -> str:
    return "" if unit else ", scene units"


def _maps(found: Inspection, unit: str | None) -> list[str]:
    if not any(look.covered.any() for look in found.looks):
        return []
    views = views_of(found.scene, found.looks)
    suspicious = {f.photo for f in found.findings if f.photo}
    panels = [_map(view, found.looks, suspicious, unit) for view in views]
    return [
        "<h2>Cameras and detail</h2>",
        f'<div class="maps">{"".join(panels)}</div>',
        '<p class="soft">Colour is the finest footprint that any photo has of that place (dark is '
        "fine), grey is mesh that no photo sees. Each camera is a dot with its field of view; "
        "suspicious ones are orange. Their names show under the pointer.</p>",
    ]


def _map(view: MapView, looks: Sequence[Look], suspicious: set[str], unit: str | None) -> str:
    tall, wide = view.picture.shape[:2]
    width = 560.0
    height = width * tall / wide
    picture = embed([np.repeat(np.repeat(view.picture, 2, 0), 2, 1)], _MAP_BYTES)[0]
    reach = 0.07 * float(view.size.max())
    marks = []
    for look in sorted(looks, key=lambda one: one.photo.name in suspicious):
        at = view.place(corners_of(look.camera, reach)) * (width, height)
        stand, corners = at[0], at[1:]
        outline = _hull(np.concatenate([stand[None], corners]))
        kind = "camera bad" if look.photo.name in suspicious else "camera"
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in outline)
        marks.append(
            f'<g class="{kind}"><title>{escaped(look.photo.name)}</title>'
            f'<polygon points="{points}"/>'
            f'<circle cx="{stand[0]:.1f}" cy="{stand[1]:.1f}" r="3"/></g>'
        )
    ramp = ", ".join(
        "rgb({} {} {})".format(*c) for c in colormap(np.linspace(0.1, 0.9, 9)).tolist()
    )
    return (
        f'<figure><svg class="map" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escaped(view.title)}"><image href="{picture.uri}" width="{width:.0f}" '
        f'height="{height:.0f}"/>{"".join(marks)}</svg><figcaption>{escaped(view.title)}; '
        f"{length(view.finest, unit)} "
        f'<i class="scale" style="background:linear-gradient(to right, {ramp})"></i> '
        f"{length(view.coarsest, unit)} a pixel{_unit(unit)}</figcaption></figure>"
    )


def _hull(points: np.ndarray) -> np.ndarray:
    """Return the convex hull of a few points, in order (Andrew's monotone chain)."""
    ordered = sorted(map(tuple, points.tolist()))

    def half(chain: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for x, y in chain:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return np.array(half(ordered) + half(ordered[::-1])).reshape(-1, 2)


def _histogram(footprint: dict, unit: str | None) -> str:
    bins = footprint["histogram"]
    if not bins:
        return ""
    width, height, bottom, side = 1120, 230, 44, 30
    tallest = max(b["share"] for b in bins)
    step = (width - 2 * side) / len(bins)
    parts = []
    for index, one in enumerate(bins):
        tall = one["share"] / tallest * (height - bottom - 14)
        x = side + index * step
        tip = f"{length(one['from'], unit)} to {length(one['to'], unit)}: {one['share']:.1%}"
        parts.append(
            f'<rect class="main" x="{x + 1:.1f}" y="{height - bottom - tall:.1f}" '
            f'width="{max(step - 2, 1):.1f}" height="{tall:.1f}"><title>{escaped(tip)}</title>'
            "</rect>"
        )
    every = max(1, math.ceil(len(bins) / 10))
    for index in range(0, len(bins), every):
        text = escaped(length(bins[index]["from"], unit))
        x = side + index * step
        parts.append(f'<text class="x" x="{x:.1f}" y="{height - bottom + 18}">{text}</text>')
    base = height - bottom
    parts.append(f'<line class="axis" x1="{side}" x2="{width - side}" y1="{base}" y2="{base}"/>')
    parts.append(
        f'<text class="x" x="{width / 2}" y="{height - 6}">footprint: size of a pixel on the '
        f"surface{_unit(unit)} (logarithmic)</text>"
    )
    marks = "  ·  ".join(
        f"{p[1:]} % below {length(footprint[p], unit)}" for p in ("p1", "p5", "p50", "p95", "p99")
    )
    return (
        f'<h2>Footprints</h2><svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Histogram of footprints">{"".join(parts)}</svg>'
        f'<p class="soft">{escaped(marks)}</p>'
    )


def _photos(found: Inspection, unit: str | None) -> str:
    surface = build_surface(found.scene.mesh)
    rows = {row.name: row for row in found.rows}
    said = {f.photo: f.what for f in found.findings if f.photo}
    sections = []
    for look in found.worst_first()[:_SHOWN_PHOTOS]:
        large = look_at(look.photo, surface, found.scene.origin, _LONG_SIDE)
        name = look.photo.name
        pictures = [mesh_picture(large), large.rgb, edges_picture(large, found.sparse.get(name))]
        sections.append(_photo(rows[name], pictures, said.get(name), unit))
    return (
        "<h2>Photos, the most doubtful first</h2>"
        '<p class="soft">Drag across the large picture to wipe between mesh and photo: outlines '
        "must stay where they are. In the third picture edges of the mesh are orange; a green dot "
        "is where the photo saw a sparse point, a red line leads to where the camera puts it. "
        "Paler parts are not covered by the mesh.</p>" + "".join(sections)
    )


def _photo(
    row: PhotoRow, pictures: Sequence[np.ndarray], said: str | None, unit: str | None
) -> str:
    captions = ("Mesh, lit from the camera", "Photo", "Edges of the mesh over the photo")
    panels = "".join(
        f'<figure><button type="button" aria-label="Show at 1:1: {caption}"><img src="{p.uri}" '
        f'width="{p.width}" height="{p.height}" alt="{escaped(row.name)}: {caption}" '
        f'decoding="async"></button><figcaption>{caption}</figcaption></figure>'
        for p, caption in zip(embed(list(pictures), _PHOTO_BYTES), captions, strict=True)
    )
    cells = zip(_HEAD[1:], _cells(row, unit)[1:], strict=True)
    figures = " · ".join(f"{escaped(k)} <b>{escaped(v)}</b>" for k, v in cells if v != "-")
    remark = f'<p class="warning">{escaped(said)}</p>' if said else ""
    return (
        f'<section class="photo"><header><h3>{escaped(row.name)}</h3><span>{figures}</span>'
        f'</header>{remark}<div class="triptych">{panels}</div></section>'
    )


_HEAD = ("photo", "covered", "neighbours off, px", "sparse points off, px", "edges off, px",
         "mesh off the points", "footprint")  # fmt: skip


def _cells(row: PhotoRow, unit: str | None) -> list[str]:
    def shown(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return [
        row.name,
        shown(row.coverage, ".0%"),
        shown(row.neighbours, ".1f"),
        shown(row.reprojection, ".2f"),
        shown(row.edges, ".1f"),
        shown(row.mesh_offset, ".2%"),
        length(row.footprint, unit),
    ]


def _all_photos(found: Inspection, unit: str | None) -> str:
    named = {f.photo: f.severity for f in found.findings if f.photo}
    rows = sorted(found.rows, key=lambda row: (-named.get(row.name, 0.0), row.name))
    body = [list(_HEAD), *(_cells(row, unit) for row in rows)]
    opened = " open" if len(rows) <= _ROWS_OPEN else ""
    return (
        f"<details{opened}><summary>All {plural(len(rows), 'photo')}</summary>"
        f"{table(body)}</details>"
    )


def _listed(title: str, lines: dict[str, str]) -> str:
    items = "".join(f"<dt>{escaped(k)}</dt><dd>{escaped(v)}</dd>" for k, v in lines.items())
    return f'<h2>{escaped(title)}</h2><dl class="listed">{items}</dl>'
