"""Coloured point clouds: points spread evenly over the mesh, as PLY or LAZ."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from xscale.errors import SetupError, UsageError
from xscale.export.unwrap import surface_area
from xscale.io import storage

CLOUDS = (".ply", ".las", ".laz")
"""Endings of point clouds."""
_LAS_STEPS, _LAS_STEP = 2**31 - 1, 1e-4


def spread(
    vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, count: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return points and unit normals, float32 [N, 3] each, in proportion to the faces' areas.

    Stratified along the list of faces, so that neighbours neither clump nor leave holes.

    Args:
        vertices: Float32 [V, 3].
        faces: Int32 [F, 3].
        normals: Float32 [V, 3].
        count: How many.
        seed: Of the places inside the faces.
    """
    if count < 1:
        raise UsageError(f"a point cloud has at least one point, got {count}")
    rng = np.random.default_rng(seed)
    total = np.cumsum(surface_area(vertices, faces))
    at = (np.arange(count) + rng.random(count)) / count * total[-1]
    face = faces[np.minimum(np.searchsorted(total, at, side="right"), len(faces) - 1)]
    root, second = np.sqrt(rng.random(count)), rng.random(count)
    weight = np.stack([1 - root, root * (1 - second), root * second], 1)
    position = np.einsum("nk,nkd->nd", weight, vertices[face].astype(np.float64))
    normal = np.einsum("nk,nkd->nd", weight, normals[face].astype(np.float64))
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    return position.astype(np.float32), normal.astype(np.float32)


def write_points(
    path: Path,
    position: np.ndarray,
    normal: np.ndarray,
    colour: np.ndarray,
    origin: np.ndarray,
    *,
    harmonics: np.ndarray | None = None,
    overwrite: bool = False,
) -> None:
    """Write a cloud in the scene's frame; the ending decides: .ply, .las or .laz.

    PLY holds float64 places (float32 where nothing is lost by it), normals and colours, and
    harmonics as Gaussian splatting names them: f_dc_0 to 2 the constant of red, green and blue,
    f_rest_0 to 3 * (terms - 1) - 1 the others, red's first. LAZ holds places in steps of
    0.0001 or finer (:func:`las_scale`), and colours.

    Args:
        path: The file.
        position: Float32 [N, 3], local frame.
        normal: Float32 [N, 3].
        colour: Uint8 [N, 3], sRGB.
        origin: Float64 [3], added to the places.
        harmonics: Float32 [N, terms, 3], see ``SurfaceColour.fit``; PLY only.
        overwrite: Replace an existing file.

    Raises:
        UsageError: Another ending.
        SetupError: laspy or lazrs is not installed.
        StorageError: It cannot be written, or it already exists.
    """
    world = position.astype(np.float64) + origin
    ending = path.suffix.lower()
    if ending == ".ply":
        data = _ply(world, normal, colour, harmonics)
    elif ending in (".las", ".laz"):
        data = _las(world, colour, ending == ".laz")
    else:
        raise UsageError(f"a point cloud is .ply, .las or .laz, got {ending or 'no ending'}")
    storage.write_bytes(path, data, overwrite=overwrite)


def _ply(
    world: np.ndarray, normal: np.ndarray, colour: np.ndarray, harmonics: np.ndarray | None
) -> bytes:
    place = "f8" if np.abs(world).max() > 1e3 else "f4"
    kinds = [(axis, f"<{place}") for axis in "xyz"]
    kinds += [(axis, "<f4") for axis in ("nx", "ny", "nz")]
    kinds += [(name, "u1") for name in ("red", "green", "blue")]
    rest = 0 if harmonics is None else 3 * (harmonics.shape[1] - 1)
    if harmonics is not None:
        kinds += [(f"f_dc_{k}", "<f4") for k in range(3)]
        kinds += [(f"f_rest_{k}", "<f4") for k in range(rest)]
    rows = np.empty(len(world), kinds)
    for k in range(3):
        rows["xyz"[k]] = world[:, k]
        rows[("nx", "ny", "nz")[k]] = normal[:, k]
        rows[("red", "green", "blue")[k]] = colour[:, k]
    if harmonics is not None:
        for k in range(3):
            rows[f"f_dc_{k}"] = harmonics[:, 0, k]
        flat = harmonics[:, 1:].transpose(0, 2, 1).reshape(len(rows), rest)
        for k in range(rest):
            rows[f"f_rest_{k}"] = flat[:, k]
    words = {"<f8": "double", "<f4": "float", "u1": "uchar"}
    properties = "".join(f"property {words[kind]} {name}\n" for name, kind in kinds)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n{properties}"
    return (header + "end_header\n").encode() + rows.tobytes()


def las_scale(world: np.ndarray) -> float:
    """Return the step of a LAS file's integers: 0.0001, or finer where points lie closer.

    All points stay within 31 bits of the smallest, as readers take that as their offset.

    Args:
        world: float64 [N, 3].
    """
    extent = float(np.ptp(world, axis=0).max())
    spacing = float(np.linalg.norm(np.ptp(world, axis=0))) / max(len(world), 1) ** 0.5
    wanted = 10.0 ** np.floor(np.log10(spacing / 100)) if spacing > 0 else _LAS_STEP
    scale = min(_LAS_STEP, wanted)
    while (extent + 1) / scale > _LAS_STEPS / 2:
        scale *= 10
    return float(f"{scale:.1e}")


def _las(world: np.ndarray, colour: np.ndarray, compressed: bool) -> bytes:
    try:
        import laspy
    except ImportError as error:
        raise SetupError("LAS and LAZ need laspy", advice="pip install xscale[export]") from error
    header = laspy.LasHeader(point_format=2, version="1.2")
    header.offsets = np.floor(world.min(0))
    header.scales = np.full(3, las_scale(world))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = world.T
    # LAS colours have 16 bits; 257 takes 255 to 65535.
    cloud.red, cloud.green, cloud.blue = colour.astype(np.uint16).T * 257
    buffer = io.BytesIO()
    try:
        cloud.write(buffer, do_compress=compressed)
    except laspy.errors.LaspyException as error:
        raise SetupError(f"LAZ: {error}", advice="pip install xscale[export]") from error
    return buffer.getvalue()
