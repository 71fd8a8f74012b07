"""``xscale inspect``: what a scene folder holds, and whether its parts belong together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xscale.cli._console import parse, print_json, print_table, result, warn
from xscale.cli._scene import SceneOptions

if TYPE_CHECKING:
    from xscale.scene.scene import Scene

_PERCENTILES = (1, 5, 50, 99)
_WORST = 5
_CHECKED_PHOTOS = 24
_FAR_OFF = 0.05
_FEW_PIXELS = 2.0
_LONG_SIDE = 256


@dataclass(frozen=True, kw_only=True)
class Options(SceneOptions):
    """Print what a scene folder holds and check that photos, cameras and mesh fit together.

    Nothing is written. Exit code 0 (remarks included), or 3 when the scene cannot be used.
    """

    strict: bool = False
    """Remarks count as errors: exit code 3."""
    json: bool = False
    """Print one JSON document instead of tables."""


def run(argv: list[str]) -> int:
    """Open the scene, look at it through every camera, print."""
    options = parse(Options, argv, "inspect")
    scene = options.open()
    found = examine(scene)
    if options.json:
        print_json(found)
    else:
        _print(found)
    for warning in found["warnings"]:
        warn(warning)
    return 3 if options.strict and found["warnings"] else 0


def examine(scene: Scene) -> dict[str, object]:
    """Return everything that ``inspect`` prints, as plain values."""
    split = scene.split()
    bounds = scene.mesh.world_bounds
    seen = _seen(scene)
    agreement = _agreement(scene)
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
            "coordinate_system": scene.provenance.get("coordinate_system"),
            "low": [float(x) for x in bounds[0]],
            "high": [float(x) for x in bounds[1]],
            "median_edge": float(scene.mesh.median_edge),
        },
        "sparse_points": None if scene.points is None else len(scene.points),
        "split": {"train": len(split.train), "test": list(split.test)},
        **seen,
        "agreement": agreement,
        "warnings": [*scene.warnings, *_remarks(agreement)],
    }


def _seen(scene: Scene) -> dict[str, object]:
    """Rasterize the mesh small through every camera: footprints and coverage."""
    import torch

    from xscale.gbuffer.build import build_surface
    from xscale.gbuffer.statistics import scene_statistics

    cameras = [photo.camera.recentred(scene.origin) for photo in scene.photos]
    packed = torch.from_numpy(np.stack([camera.packed() for camera in cameras]))
    sizes = [(camera.width, camera.height) for camera in cameras]
    statistics = scene_statistics(build_surface(scene.mesh), packed, sizes)
    coverage = np.asarray(statistics.coverage, np.float64)
    footprints = np.asarray(statistics.footprints, np.float64)
    worst = np.argsort(coverage, kind="stable")[:_WORST]
    return {
        "footprint": {
            f"p{p}": float(np.percentile(footprints, p)) if len(footprints) else None
            for p in _PERCENTILES
        },
        "coverage": {
            "mean": float(coverage.mean()),
            "min": float(coverage.min()),
            "worst": {scene.photos[i].name: float(coverage[i]) for i in worst},
        },
    }


def _agreement(scene: Scene) -> dict[str, float] | None:
    """Compare where photos saw sparse points with where cameras and mesh put them.

    Returns:
        ``reprojection_pixels``: median distance between a point's projection and where it was
        seen, which cameras and photos decide. ``mesh_offset``: median difference of the mesh's
        and the point's depth at that pixel, as a share of the depth, which the mesh decides.
        None for layouts without observations.
    """
    seen = scene.sparse_observations()
    if not seen:
        return None
    from xscale.gbuffer.build import build_surface

    surface = build_surface(scene.mesh)
    names = sorted(seen)[:: max(1, len(seen) // _CHECKED_PHOTOS)]
    errors, offsets = [], []
    for name in names:
        pixels, points = seen[name]
        camera = scene.photo(name).camera
        projected, depth = camera.project(points)
        front = depth > 0
        errors.append(np.linalg.norm(projected - pixels, axis=1)[front])
        on_mesh = _mesh_depth(surface, camera.recentred(scene.origin), pixels[front])
        known = on_mesh > 0
        offsets.append(np.abs(on_mesh - depth[front])[known] / depth[front][known])
    pixel_errors, mesh_offsets = np.concatenate(errors), np.concatenate(offsets)
    return {
        "observations": len(pixel_errors),
        "reprojection_pixels": float(np.median(pixel_errors)) if len(pixel_errors) else None,
        "mesh_offset": float(np.median(mesh_offsets)) if len(mesh_offsets) else None,
    }


def _mesh_depth(surface: object, camera: object, pixels: np.ndarray) -> np.ndarray:
    """Return the mesh's depth at pixels [N, 2] of a reduced picture, 0 where it is not hit."""
    import torch

    from xscale.gbuffer.build import build_gbuffer

    shrink = min(1.0, _LONG_SIDE / max(camera.width, camera.height))
    width, height = max(1, round(camera.width * shrink)), max(1, round(camera.height * shrink))
    small = torch.from_numpy(camera.scaled(width, height).packed())
    samples, coverage = build_gbuffer(surface, small, width, height)
    depth = np.zeros((height, width))
    depth[np.asarray(coverage)] = np.asarray(samples.depth, np.float64)
    scaled = pixels * [width / camera.width, height / camera.height]
    column, row = np.floor(scaled).astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return np.where(inside, depth[row.clip(0, height - 1), column.clip(0, width - 1)], 0.0)


def _remarks(agreement: dict | None) -> list[str]:
    if agreement is None:
        return []
    remarks = []
    pixels, offset = agreement["reprojection_pixels"], agreement["mesh_offset"]
    if pixels is not None and pixels > _FEW_PIXELS:
        remarks.append(
            f"W-CAMERA-REPROJECTION: sparse points land {pixels:.1f} pixels from where they were "
            "seen (median): cameras and photos do not belong together"
        )
    if offset is not None and offset > _FAR_OFF:
        remarks.append(
            f"W-MESH-OFFSET: the mesh lies {offset:.0%} of the distance off the sparse points "
            "(median): is it in the cameras' frame and unit?"
        )
    return remarks


def _print(found: dict) -> None:
    photos, mesh, split = found["photos"], found["mesh"], found["split"]
    sizes = ", ".join(f"{count} of {size}" for size, count in list(photos["sizes"].items())[:4])
    models = ", ".join(f"{count} {model}" for model, count in photos["models"].items())
    low, high = (" ".join(f"{x:.6g}" for x in mesh[key]) for key in ("low", "high"))
    footprint = "  ".join(
        f"{key} {'-' if value is None else format(value, '.3g')}"
        for key, value in found["footprint"].items()
    )
    coverage, agreement = found["coverage"], found["agreement"]
    points = found["sparse_points"]
    lines = {
        "layout": f"{found['layout']}: {found['because']}",
        "photos": f"{photos['count']}: {sizes}"
        + (f"; {photos['with_mask']} with a mask" if photos["with_mask"] else ""),
        "cameras": models,
        "split": f"{split['train']} train, {len(split['test'])} test",
        "mesh": f"{mesh['path']}: {mesh['faces']:,} faces, {mesh['vertices']:,} vertices, "
        f"median edge {mesh['median_edge']:.3g}; {mesh['unreferenced_vertices']:,} vertices "
        f"unused, {mesh['degenerate_faces']:,} faces without area, {mesh['duplicate_faces']:,} "
        "there twice",
        "bounds": f"{low} to {high}",
        "points": "none" if points is None else f"{points:,} sparse points",
        "footprint": f"{footprint} scene units a pixel",
        "coverage": f"mean {coverage['mean']:.0%}, least {coverage['min']:.0%} of a picture",
    }
    if agreement is not None and agreement["mesh_offset"] is not None:
        lines["agreement"] = (
            f"sparse points land {agreement['reprojection_pixels']:.2f} pixels from where they "
            f"were seen; the mesh is {agreement['mesh_offset']:.2%} of the distance off (medians)"
        )
    if mesh["coordinate_system"]:
        lines["system"] = "{name} (named in {file})".format(**mesh["coordinate_system"])
    for label, text in lines.items():
        result(f"{label:<10} {text}")
    rows = list(coverage["worst"].items())
    print_table("Photos that see the least of the mesh", ("photo", "coverage"), rows)
    result("Photos, cameras and mesh fit together." if not found["warnings"] else "See remarks.")
