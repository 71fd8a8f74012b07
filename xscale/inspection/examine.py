"""Look at a whole scene: everything that ``xscale inspect`` prints and its page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from xscale.errors import DamagedPhotoError
from xscale.gbuffer.build import build_surface
from xscale.geometry.topology import count_edges
from xscale.inspection import neighbours, points
from xscale.inspection.edges import edge_shift
from xscale.inspection.findings import Finding, PhotoRow, findings_of
from xscale.inspection.looks import Look, looks_of
from xscale.inspection.measured import Measured, measured
from xscale.inspection.plan import plan_of
from xscale.scene.checks.duplicates import check_leaks
from xscale.scene.checks.sightings import CODE, far_pixels
from xscale.scene.quarantine import as_test_photo
from xscale.scene.scene import Scene
from xscale.training.left_out import LeftOutPhotos
from xscale.training.sides import sides_by_photos

_PERCENTILES = (1, 5, 50, 95, 99)
_BINS_A_DECADE = 20
_WORST = 5
_MUCH_BACK = 0.02
_LITTLE = 0.25
"""Share of the photos that a mesh must cover to fit together with them."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """A scene and what was found out about it."""

    scene: Scene
    looks: list[Look]
    pairs: list[neighbours.Pair]
    sparse: dict[str, points.PhotoPoints]
    rows: list[PhotoRow]
    findings: list[Finding]
    facts: dict[str, object]
    """Plain values, for JSON."""

    def worst_first(self) -> list[Look]:
        """Return the looks, those of suspicious photos first, then by what is worst of each."""
        named = {f.photo: f.severity for f in self.findings if f.photo}
        rows = {row.name: row for row in self.rows}

        def worth(look: Look) -> tuple[float, float, float]:
            row = rows[look.photo.name]
            shift = (row.neighbours or 0.0) / row.scale
            return (-named.get(row.name, 0.0), -shift, row.coverage or 0.0)

        return sorted(self.looks, key=worth)


def examine(
    scene: Scene,
    *,
    measure: bool = True,
    on_stage: Callable[[str], None] | None = None,
    on_photo: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Look at photos, cameras, mesh and sparse points together.

    Args:
        scene: An opened scene.
        measure: Whether to train for a moment, to know this machine's speed.
        on_stage: Called with a line when a stage begins.
        on_photo: Called after each photo with the number done and of all.

    Raises:
        PhotoError: A test photo of the default split is damaged, or too many photos are.
    """
    say = on_stage or (lambda line: None)
    say("looking through the cameras")
    surface = build_surface(scene.mesh)
    remarks: list[str] = []
    left_out = LeftOutPhotos(scene, remarks.append)
    test = set(scene.split().test)

    check_leaks(scene.photos, test, allowed=True, say=remarks.append)

    def on_damage(name: str, error: DamagedPhotoError) -> None:
        if name in test:
            raise as_test_photo(error)
        left_out.add(name, error)

    sides = sides_by_photos(surface, scene.photos, scene.origin)
    surface = replace(surface, sides=sides.sides)
    looks = looks_of(scene, surface, on_photo, on_damage)
    say("laying photos on their neighbours")
    pairs = neighbours.pairs_of(looks)
    sparse = points.reprojections(scene)
    offsets, fit = points.against_mesh(scene, surface, looks)
    rows = _rows(scene, looks, pairs, sparse, offsets)
    photos = measured(pairs, looks)
    findings = findings_of(rows, fit, photos, scene, looks)
    if sides.hidden > _MUCH_BACK:
        remarks.append(
            f"W-MESH-BACK: {sides.hidden:.0%} of the pixels that hit the mesh show faces from "
            "behind, through holes: no surface, they count as uncovered"
        )
    say("planning the training")
    plan = plan_of(scene, measure=measure)
    facts = {
        **_contents(scene),
        "looked_at": len(looks),
        "footprint": _footprints(looks),
        "coverage": _coverage(rows),
        "agreement": _agreement(rows, sparse, fit, pairs),
        "verdict": verdict_of(findings, photos, [row.coverage for row in rows]),
        "back_faces": {"seen": sides.back, "uncovered": sides.hidden},
        "suspicious": [{**asdict(f), "line": f.line} for f in findings],
        "per_photo": {row.name: _plain(row) for row in rows},
        "plan": plan,
        "left_out": left_out.reasons,
        "warnings": [
            *_not_again(scene.warnings),
            *remarks,
            *scene.notes.lines(),
            *(f.line for f in findings),
        ],
    }
    return Inspection(scene, looks, pairs, sparse, rows, findings, facts)


def verdict_of(
    findings: list[Finding], photos: Measured, coverage: Sequence[float | None]
) -> dict[str, object]:
    """Return what follows from everything, as plain values: ``fits`` and a line for people.

    Args:
        findings: What is suspicious.
        photos: What neighbouring photos say together.
        coverage: Share of each photo that the mesh covers; None where it was not looked at.
    """
    whole = [f for f in findings if f.photo is None]
    if whole:
        return {"fits": "no" if whole[0].code != "W-SCENE-UNCOMPARED" else "unknown",
                "line": whole[0].what}  # fmt: skip
    covered = float(np.mean([share for share in coverage if share is not None] or [0.0]))
    if covered < _LITTLE:
        return {
            "fits": "partly",
            "line": f"The mesh covers {covered:.0%} of the photos, and what it covers fits: "
            f"{photos.line}. Is it the whole of what they show?",
        }
    if photos.verdict == "together":
        return {"fits": "yes", "line": f"Photos, cameras and mesh fit together: {photos.line}."}
    return {
        "fits": "partly",
        "line": f"Photos, cameras and mesh agree where they match: {photos.line}; the rest is what "
        "the mesh lacks, what moved, or a mesh that is not quite in place.",
    }


def _not_again(warnings: tuple[str, ...]) -> list[str]:
    """Leave out what the findings say of each photo, from all its points."""
    return [line for line in warnings if not line.startswith(f"{CODE}:")]


def _contents(scene: Scene) -> dict[str, object]:
    split = scene.split()
    bounds = scene.mesh.world_bounds
    edges = count_edges(scene.mesh.faces)
    sizes = Counter((photo.camera.width, photo.camera.height) for photo in scene.photos)
    return {
        "scene": str(scene.root),
        "layout": scene.layout,
        "because": scene.reason,
        "photos": {
            "count": len(scene.photos),
            "sizes": {f"{w} x {h}": count for (w, h), count in sizes.most_common()},
            "models": dict(Counter(photo.camera.model for photo in scene.photos)),
            "with_mask": sum(p.has_alpha or p.mask_path is not None for p in scene.photos),
        },
        "mesh": {
            "path": ", ".join(str(path) for path in scene.mesh_files),
            "faces": len(scene.mesh.faces),
            "vertices": len(scene.mesh.vertices),
            "unreferenced_vertices": scene.mesh.unreferenced,
            "degenerate_faces": scene.mesh.degenerate,
            "duplicate_faces": scene.mesh.duplicates,
            "edges": None if edges is None else edges._asdict(),
            "coordinate_system": scene.provenance.get("coordinate_system"),
            "low": [float(x) for x in bounds[0]],
            "high": [float(x) for x in bounds[1]],
            "median_edge": float(scene.mesh.median_edge),
        },
        "sparse_points": None if scene.points is None else len(scene.points),
        "split": {"train": len(split.train), "test": list(split.test)},
    }


def _rows(
    scene: Scene,
    looks: list[Look],
    pairs: list[neighbours.Pair],
    sparse: dict[str, points.PhotoPoints],
    offsets: dict[str, float],
) -> list[PhotoRow]:
    place = {look.photo.name: index for index, look in enumerate(looks)}
    rows = []
    for photo in scene.photos:
        name = photo.name
        measured: dict[str, float | None] = {"scale": 1.0}
        if name in place:
            look = looks[place[name]]
            shift, matched = neighbours.best_of(pairs, place[name])
            edges = edge_shift(look)
            covered = len(look.footprint) > 0
            measured = {
                "scale": look.scale,
                "coverage": float(look.covered.mean()),
                "footprint": float(np.median(look.footprint)) if covered else None,
                "neighbours": None if shift is None else shift * look.scale,
                "matched": matched,
                "edges": None if edges is None else edges.length * look.scale,
            }
        rows.append(
            PhotoRow(
                name=name,
                far_pixels=far_pixels(photo.camera),
                pixel_degrees=float(np.degrees(1 / photo.camera.fx)),
                reprojection=sparse[name].reprojection if name in sparse else None,
                mesh_offset=offsets.get(name),
                **measured,
            )
        )
    return rows


def _plain(row: PhotoRow) -> dict[str, float]:
    values = asdict(row)
    return {
        k: v for k, v in values.items() if k not in ("name", "scale", "pixel_degrees", "far_pixels")
    }


def _footprints(looks: list[Look]) -> dict[str, object]:
    """Return percentiles and a histogram over logarithmic bins, in scene units."""
    every = np.concatenate([look.footprint for look in looks]).astype(np.float64)
    if not len(every):
        return {**{f"p{p}": None for p in _PERCENTILES}, "histogram": []}
    places = np.log10(every) * _BINS_A_DECADE
    counts = Counter(np.floor(places).astype(int).tolist())
    bins = range(min(counts), max(counts) + 1)
    return {
        **{f"p{p}": float(np.percentile(every, p)) for p in _PERCENTILES},
        "histogram": [
            {
                "from": float(10 ** (b / _BINS_A_DECADE)),
                "to": float(10 ** ((b + 1) / _BINS_A_DECADE)),
                "share": counts.get(b, 0) / len(every),
            }
            for b in bins
        ],
    }


def _coverage(rows: list[PhotoRow]) -> dict[str, object]:
    known = sorted((row.coverage, row.name) for row in rows if row.coverage is not None)
    values = [value for value, _ in known]
    return {
        "mean": float(np.mean(values)),
        "min": values[0],
        "worst": {name: value for value, name in known[:_WORST]},
    }


def _agreement(
    rows: list[PhotoRow],
    sparse: dict[str, points.PhotoPoints],
    fit: points.MeshFit | None,
    pairs: list[neighbours.Pair],
) -> dict[str, object]:
    """Return the scene's medians; None where there was nothing to compare."""

    def median(values: list[float | None]) -> float | None:
        known = [v for v in values if v is not None]
        return float(np.median(known)) if known else None

    return {
        "observations": sum(p.observations for p in sparse.values()),
        "reprojection_pixels": median([row.reprojection for row in rows]),
        "mesh_offset": median([row.mesh_offset for row in rows]),
        "pairs": len(pairs),
        "neighbour_pixels": median([row.neighbours for row in rows]),
        "mesh_fit": fit
        and {
            "scale": fit.scale,
            "shift": fit.shift.tolist(),
            "distance_before": fit.before,
            "distance_after": fit.after,
        },
    }
