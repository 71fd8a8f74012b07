"""Findings: what is suspicious and what to do about it, one line each, the worst first."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from xscale.inspection.evidence import Doubt, whole_transform
from xscale.inspection.looks import Look
from xscale.inspection.measured import MOST_MISFIT, Measured
from xscale.inspection.points import MeshFit
from xscale.inspection.turned import ADVICE as TURNED_ADVICE
from xscale.inspection.turned import CODE as TURNED
from xscale.inspection.turned import fits_turned
from xscale.scene.checks.fit import transform_advice
from xscale.scene.checks.registration import turn_of
from xscale.scene.checks.sightings import CODE, FAR_PIXELS, UNLIKE_OTHERS
from xscale.scene.scene import Scene

# In small pixels (512 along the photo): what clean scenes stay below by a factor of three or more.
_FAR_SHIFT = 2.0
_FAR_EDGES = 4.0
_FEW_MATCHES = 0.25
_MOST_MATCHES = 0.6
# In pixels of the photo, and as a multiple of the scene's median.
_FAR_OFFSET = 0.02
_NO_OFFSET = 5e-4
"""Shares of the viewing distance."""
_LEAST_OFFSET = 0.5
"""Pixels on the surface by which sparse points ask the mesh to move where that is told."""
_BETTER = 1.6
_FAR_SCALE = 0.002
_TURNED = "its camera is turned or shifted: align it again, or leave it out"
_LITTLE_COVERAGE = 0.03
_HARDLY_APART = 0.25
"""Small pixels by which photos of scenes with an exact mesh lie apart, at most."""
_SMALL_OFFSET = 0.004
_ABSURD_SCALE = 2.0
_HARDLY_TURNED = 0.3
"""Degrees up to which a mesh is not called turned."""


@dataclass(frozen=True)
class PhotoRow:
    """Measurements of one photo."""

    name: str
    scale: float
    """Pixels of the photo that a small pixel spans."""
    pixel_degrees: float
    """Angle of a pixel of the photo."""
    far_pixels: float = FAR_PIXELS
    """Distance from which sparse points are far off in a photo of its size, pixels."""
    coverage: float | None = None
    """Share of the picture that the mesh covers; None where the photo was not looked at."""
    footprint: float | None = None
    """Median size of a pixel on the surface, world units."""
    reprojection: float | None = None
    """Median distance of sparse points from where they were seen, pixels."""
    mesh_offset: float | None = None
    """Median difference of the mesh's and sparse points' depth, as a share of it."""
    neighbours: float | None = None
    """How far neighbouring photos lie off when laid on this one through the mesh, pixels."""
    matched: float | None = None
    """Share of this photo's patches that match a neighbour's at all."""
    edges: float | None = None
    """How far the photo's edges lie off the mesh's, pixels; None where there are too few."""


@dataclass(frozen=True)
class Finding:
    """One suspicious thing."""

    code: str
    photo: str | None
    """The photo's name; None for the mesh or the whole scene."""
    severity: float
    """How many times its limit."""
    what: str
    """One line: what is off, by how much."""
    advice: str
    """One line: what to do."""

    @property
    def line(self) -> str:
        """The finding as one coded line."""
        about = f"{self.photo}: " if self.photo else ""
        return f"{self.code}: {about}{self.what}; {self.advice}"


def findings_of(
    rows: list[PhotoRow],
    fit: MeshFit | None,
    photos: Measured,
    scene: Scene,
    looks: list[Look],
) -> list[Finding]:
    """Judge the rows; what concerns all photos comes before what concerns one.

    Args:
        rows: What was measured of each photo.
        fit: What sparse points ask of the mesh.
        photos: What neighbouring photos say together.
        scene: On which causes are tried.
        looks: At its photos.
    """
    doubtful = _doubtful(rows, fit, photos)
    doubt = Doubt(scene, looks, photos) if doubtful else None
    whole = [_cameras(rows), _rounded(rows, scene)]
    if doubt is not None:
        whole += [*_causes(rows, fit, photos, doubt, scene)]
    # Where every photo is off, no single one is to blame unless it is worse than the others.
    single = [f for row in rows for f in [_photo(row, rows)] if f is not None]
    single = [_perhaps_turned(finding, looks) for finding in single]
    return [f for f in whole if f is not None] + sorted(single, key=lambda f: -f.severity)


def _perhaps_turned(finding: Finding, looks: list[Look]) -> Finding:
    """Name a photo's EXIF orientation where that is what is wrong with it."""
    index = next((k for k, look in enumerate(looks) if look.photo.name == finding.photo), None)
    if index is None or not fits_turned(looks, index):
        return finding
    what = "matches its neighbours once it is turned as its EXIF orientation says"
    return replace(finding, code=TURNED, what=what, advice=TURNED_ADVICE)


def _doubtful(rows: list[PhotoRow], fit: MeshFit | None, photos: Measured) -> bool:
    """Tell whether causes are to be searched: not where points and photos both agree."""
    offset = _median([row.mesh_offset for row in rows])
    if _off(rows, fit) or offset > _FAR_OFFSET or photos.verdict in ("apart", "unknown"):
        return True
    if (photos.misfit or 0.0) > MOST_MISFIT:
        return True
    pointless = all(row.mesh_offset is None for row in rows)
    unsure = photos.verdict == "partly" or (photos.shift or 0.0) > _HARDLY_APART
    return unsure and (pointless or offset > _SMALL_OFFSET)


def _off(rows: list[PhotoRow], fit: MeshFit | None) -> bool:
    """Tell whether sparse points ask the mesh to move, by as much as pixels show."""
    if fit is None or _median([row.mesh_offset for row in rows]) <= _NO_OFFSET:
        return False
    pixel = _median([row.footprint for row in rows])
    moved = abs(fit.scale - 1) * fit.reach + float(np.linalg.norm(fit.shift))
    return fit.before > _BETTER * fit.after and moved > _LEAST_OFFSET * pixel


def _causes(
    rows: list[PhotoRow], fit: MeshFit | None, photos: Measured, doubt: Doubt, scene: Scene
) -> list[Finding]:
    fitted = None if fit is None else fit_matrix(fit, scene.origin)
    mesh = _mesh(rows, fit, doubt, scene)
    if mesh is not None and mesh.code in ("W-MESH-SCALE", "W-MESH-SHIFT"):
        return [mesh]
    cause = doubt.cause(fitted)
    if cause is not None:
        return [Finding(cause.code, None, cause.severity, cause.what, cause.advice)]
    found = [] if mesh is None else [mesh]
    if photos.verdict == "apart" or (photos.verdict == "unknown" and doubt.as_is.disagrees):
        found.append(_disagreement(photos))
    elif photos.verdict == "unknown":
        found.append(
            Finding(
                "W-SCENE-UNCOMPARED",
                None,
                1.0,
                f"whether photos, cameras and mesh fit together could not be measured: "
                f"{photos.line}",
                "are the photos dark, flat or far apart, or does the mesh hide the scene? look at "
                "the page of --report",
            )
        )
    return found


def _disagreement(photos: Measured) -> Finding:
    return Finding(
        "W-SCENE-DISAGREES",
        None,
        2.0,
        f"photos laid on each other through the mesh do not fit: {photos.line}",
        "the mesh has another place, form or size than the cameras ask for, or the lens is not the "
        "stated one: export mesh and cameras from one alignment",
    )


def fit_matrix(fit: MeshFit, origin: np.ndarray) -> np.ndarray | None:
    """Return the matrix [4, 4] by which sparse points ask the mesh to move; None where absurd."""
    if not 1 / _ABSURD_SCALE < fit.scale < _ABSURD_SCALE:
        return None
    found = np.eye(4)
    found[:3, :3] /= fit.scale
    found[:3, 3] = origin - (origin + fit.shift) / fit.scale
    return found


def _median(values: list[float | None]) -> float:
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else 0.0


def _mesh(rows: list[PhotoRow], fit: MeshFit | None, doubt: Doubt, scene: Scene) -> Finding | None:
    offset = _median([row.mesh_offset for row in rows])
    matrix = None if fit is None else fit_matrix(fit, scene.origin)
    if fit is not None and matrix is not None and _off(rows, fit):
        matrix = doubt.refined(matrix)
        scale = 1 / float(np.cbrt(np.linalg.det(matrix[:3, :3])))
        off = float(np.linalg.norm(matrix[:3, :3] @ scene.origin + matrix[:3, 3] - scene.origin))
        parts = []
        if abs(scale - 1) > _FAR_SCALE:
            parts.append(f"{scale:.4f} times the size that the sparse points ask for")
        if off > 2 * fit.after:
            parts.append(f"{off:.3g} units beside where they put it")
        if parts and turn_of(matrix) < _HARDLY_TURNED and doubt.allows(matrix):
            return Finding(
                "W-MESH-SCALE" if "times" in parts[0] else "W-MESH-SHIFT",
                None,
                fit.before / fit.after,
                f"the mesh is {' and '.join(parts)} (median distance {fit.before:.3g}, "
                f"{fit.after:.3g} once that is undone)",
                "export mesh and cameras from one alignment, in one unit; or "
                f"{transform_advice(whole_transform(scene, matrix))}",
            )
    if offset > _FAR_OFFSET:
        return Finding(
            "W-MESH-OFFSET",
            None,
            offset / _FAR_OFFSET,
            f"the mesh lies {offset:.1%} of the distance off the sparse points (median)",
            "is it in the cameras' frame and unit? export both from one alignment",
        )
    return None


def _cameras(rows: list[PhotoRow]) -> Finding | None:
    pixels = _median([row.reprojection for row in rows])
    limit = _median([row.far_pixels for row in rows])
    if pixels <= limit:
        return None
    return Finding(
        CODE,
        None,
        pixels / limit,
        f"sparse points land {pixels:.1f} pixels from where they were seen (median): cameras and "
        "photos do not belong together",
        "were the photos resized, turned or undistorted after the alignment?",
    )


def _rounded(rows: list[PhotoRow], scene: Scene) -> Finding | None:
    """Name coordinates that were rounded so far that pixels show it."""
    step = scene.provenance.get("mesh_rounding")
    pixel = _median([row.footprint and row.footprint * row.scale for row in rows])
    if step is None or not pixel or step / 2 <= MOST_MISFIT * pixel:
        return None
    return Finding(
        "W-MESH-ROUNDED",
        None,
        step / 2 / pixel,
        f"the mesh's coordinates are known to {step:.2g} only, because they went through single "
        f"precision: a pixel on the surface is {_median([r.footprint for r in rows]):.2g}",
        "export doubles, or coordinates relative to an offset",
    )


def _photo(row: PhotoRow, rows: list[PhotoRow]) -> Finding | None:
    """Return the worst that can be said of a photo, if it is beyond its limit."""
    found = [f for f in (_pose(row, rows), _sparse(row, rows), _outlines(row, rows)) if f]
    if found:
        return max(found, key=lambda f: f.severity)
    if row.matched is not None and row.matched < _FEW_MATCHES < _MOST_MATCHES < _median(
        [r.matched for r in rows]
    ):
        placed = row.reprojection is not None and row.reprojection <= row.far_pixels
        return Finding(
            "W-PHOTO-UNLIKE",
            row.name,
            1 + _FEW_MATCHES - row.matched,
            f"only {row.matched:.0%} of its picture matches its neighbours through the mesh",
            "its sparse points fit, so its camera is right: the mesh lacks what it shows, for "
            "example trees"
            if placed
            else "is it blurred, of another day, or is its camera far off? look at it, or leave it "
            "out",
        )
    if row.coverage is not None and row.coverage < _LITTLE_COVERAGE:
        return Finding(
            "W-PHOTO-COVERAGE",
            row.name,
            1.0,
            f"the mesh covers {row.coverage:.1%} of it",
            "it adds almost nothing to the training: extend the mesh, or leave it out",
        )
    return None


def _beyond(code: str, row: PhotoRow, of_limit: float, what: str, advice: str) -> Finding | None:
    """Return the finding of a photo whose measure is above its limit, ``of_limit`` times."""
    return None if of_limit <= 1 else Finding(code, row.name, of_limit, what, advice)


def _pose(row: PhotoRow, rows: list[PhotoRow]) -> Finding | None:
    if row.neighbours is None:
        return None
    usual = _median([r.neighbours and r.neighbours / r.scale for r in rows])
    limit = max(_FAR_SHIFT, UNLIKE_OTHERS * usual) * row.scale
    return _beyond(
        "W-PHOTO-POSE",
        row,
        row.neighbours / limit,
        f"its neighbours, laid on it through the mesh, are {row.neighbours:.0f} pixels off "
        f"({row.neighbours * row.pixel_degrees:.2g} degrees)",
        _TURNED,
    )


def _sparse(row: PhotoRow, rows: list[PhotoRow]) -> Finding | None:
    if row.reprojection is None:
        return None
    usual = _median([r.reprojection for r in rows])
    limit = max(row.far_pixels, UNLIKE_OTHERS * usual)
    return _beyond(
        "W-PHOTO-POSE",
        row,
        row.reprojection / limit,
        f"sparse points land {row.reprojection:.1f} pixels from where it saw them "
        f"({row.reprojection * row.pixel_degrees:.2g} degrees)",
        _TURNED,
    )


def _outlines(row: PhotoRow, rows: list[PhotoRow]) -> Finding | None:
    """Edges alone name a photo only where the neighbours could not be asked."""
    if row.edges is None or row.neighbours is not None or row.reprojection is not None:
        return None
    usual = _median([r.edges and r.edges / r.scale for r in rows])
    limit = max(_FAR_EDGES, UNLIKE_OTHERS * usual) * row.scale
    return _beyond(
        "W-PHOTO-EDGES",
        row,
        row.edges / limit,
        f"its edges lie {row.edges:.0f} pixels off the mesh's",
        "its camera is turned or shifted: look at the overlay",
    )
