"""fused_frame: face ids of a picture's rectangle to 8-bit colours, in one pass over small tiles."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from xscale.errors import ShapeError
from xscale.ops import _ext
from xscale.ops._check import check_rows, check_tensor
from xscale.ops._dispatch import use_reference
from xscale.ops._grid import GridLayout, encode_reference
from xscale.ops._shade_args import check_light, shade_fields
from xscale.ops.encode import INTERPOLATIONS, Lookup, grid_fields
from xscale.ops.interpolate import interpolate_reference
from xscale.ops.rasterize import CAMERA_SIZE
from xscale.ops.shade import shade_reference
from xscale.ops.shade_layouts import ShaderLayout

_FLOATS = (torch.float32,)
_REFERENCE_PIXELS = 1 << 16


class FrameGrid(NamedTuple):
    """A hash grid on a surface: what ``encode`` takes, and where the unit cube lies."""

    table: Tensor
    """Float32 or float16 [layout.rows, F]."""
    layout: GridLayout
    """See ``grid_layout``."""
    box: Tensor
    """Float32 [2, 3]: centre, then 1 / extent. A local position x is at
    (x - centre) / extent + 0.5 of the unit cube."""
    interpolation: str = "smoothstep"
    """As for ``encode``."""
    footprint_scale: float = 0.5
    """As for ``encode``; 0: no level fades. Footprints are divided by the longest extent."""
    footprint_unit: float | None = None
    """The least of 1 / extent. None: it is read out of ``box``, which waits for a GPU."""


class FrameShader(NamedTuple):
    """A shader under one light and one exposure: as ``shade`` takes it."""

    weights: Tensor
    """Float32 [layout.size]."""
    layout: ShaderLayout
    """Which shader, and its sizes."""
    exposure: Tensor | None = None
    """One row of the shader's exposure, float32 [12] (relu) or [2 hidden] (film), or None."""
    light: Tensor | None = None
    """Film only: float32 [4, hidden]."""


def fused_frame(
    vertices: Tensor,
    faces: Tensor,
    camera: Tensor,
    face_id: Tensor,
    grid: FrameGrid,
    shader: FrameShader,
    *,
    corner: tuple[int, int] = (0, 0),
    offset: tuple[float, float] = (0.5, 0.5),
    photo_range: float = 255,
) -> Tensor:
    """Colour of every pixel of a rectangle whose faces are known.

    The same as ``interpolate``, ``encode``, ``shade`` and rounding to bytes
    one after the other, but tile by tile: neither surface points nor features are ever written to
    memory. On a processor with bfloat16 products the shader's matrices and their inputs are
    rounded to bfloat16 (where it has 64 hidden and a multiple of 16 input channels); a channel then
    differs from the chain of single ops by at most 1/255 on 99.9 % of the pixels. Without them it
    is the chain's, bit for bit. A pixel's colour depends on no other pixel.

    Args:
        vertices: Float32 [V, 3], local frame.
        faces: Int32 [F, 3] in the order that ``face_id`` counts.
        camera: Float64 [32], packed.
        face_id: Int32 [height, width], -1 for none: what ``rasterize`` gave for the rectangle.
        grid: The hash grid.
        shader: The shader.
        corner: Left and top pixel of the rectangle in the picture.
        offset: Sample position inside a pixel.
        photo_range: What a colour of 1 stands for in 8-bit units; above 255 is cut off.

    Returns:
        Uint8 [height, width, 3], sRGB; 255 where there is no face.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
    """
    _check(vertices, faces, camera, face_id, grid, shader)
    if use_reference("fused_frame", face_id.device):
        return fused_frame_reference(
            vertices, faces, camera, face_id, grid, shader, corner=corner, offset=offset,
            photo_range=photo_range,
        )  # fmt: skip
    height, width = face_id.shape
    lookup = Lookup(grid.layout, grid.interpolation, grid.footprint_scale)
    rgb = torch.empty(height, width, 3, dtype=torch.uint8, device=face_id.device)
    _ext.call(
        "fused_frame", face_id.device, vertices=vertices, faces=faces, camera=camera,
        face_id=face_id, left=corner[0], top=corner[1], width=width, height=height,
        offset_x=offset[0], offset_y=offset[1], box=grid.box,
        footprint_unit=_footprint_unit(grid), grid=grid_fields(lookup, grid.table),
        shader=shader.layout.kind, range=photo_range / 255, rgb=rgb,
        shade=shade_fields(
            weights=shader.weights, light=shader.light, exposure=shader.exposure,
            hidden=shader.layout.hidden, sh_degree=shader.layout.sh_degree,
        ),
    )  # fmt: skip
    return rgb


def fused_frame_reference(
    vertices: Tensor,
    faces: Tensor,
    camera: Tensor,
    face_id: Tensor,
    grid: FrameGrid,
    shader: FrameShader,
    *,
    corner: tuple[int, int],
    offset: tuple[float, float],
    photo_range: float,
) -> Tensor:
    """Reference of ``fused_frame``: the single ops' references in turn, features in float64."""
    flat = face_id.reshape(-1)
    rgb = torch.full((len(flat), 3), 255, dtype=torch.uint8, device=face_id.device)
    for index in (flat >= 0).nonzero().squeeze(1).split(_REFERENCE_PIXELS):
        u = corner[0] + index % face_id.shape[1] + offset[0]
        v = corner[1] + index // face_id.shape[1] + offset[1]
        points = interpolate_reference(
            vertices, faces, None, camera[None], torch.zeros_like(index, dtype=torch.int32),
            torch.stack([u, v], 1).float(), flat[index],
        )  # fmt: skip
        unit = _footprint_unit(grid)
        features = encode_reference(
            ((points.position - grid.box[0]) * grid.box[1] + 0.5).double(),
            grid.table.float(),
            grid.layout,
            interpolation=grid.interpolation,
            footprint=points.footprint.double() * unit if unit else None,
            footprint_scale=grid.footprint_scale,
        )
        colour = _shade_reference(features, points.direction.double(), shader)
        byte = (colour * (photo_range / 255)).nan_to_num(0).clamp(0, 1) * 255 + 0.5
        rgb[index] = byte.to(torch.uint8)
    return rgb.reshape(*face_id.shape, 3)


def _shade_reference(features: Tensor, direction: Tensor, shader: FrameShader) -> Tensor:
    """The shader's reference in the features' dtype, all rays under the one exposure."""
    weights, exposure = shader.weights.to(features), shader.exposure
    rows = None if exposure is None else exposure[None].to(features)
    photo = None if exposure is None else torch.zeros_like(features[:, 0], dtype=torch.int32)
    light = None if shader.light is None else shader.light.to(features)
    return shade_reference(features, direction, weights, shader.layout, rows, photo, light)


def _footprint_unit(grid: FrameGrid) -> float:
    """Return the factor from world units to unit-cube lengths; 0 where no level fades."""
    if grid.footprint_scale <= 0:
        return 0.0
    known = grid.footprint_unit
    return float(grid.box[1].min()) if known is None else known


def _check(
    vertices: Tensor,
    faces: Tensor,
    camera: Tensor,
    face_id: Tensor,
    grid: FrameGrid,
    shader: FrameShader,
) -> None:
    op = "fused_frame"
    check_tensor(op, "face_id", face_id, ("height", "width"), (torch.int32,))
    device = face_id.device
    check_tensor(op, "vertices", vertices, ("vertices", 3), _FLOATS, device)
    check_tensor(op, "faces", faces, ("faces", 3), (torch.int32,), device)
    check_tensor(op, "camera", camera, (CAMERA_SIZE,), (torch.float64,), device)
    layout = grid.layout
    shape = (layout.rows, layout.features_per_level)
    check_tensor(op, "grid.table", grid.table, shape, (torch.float32, torch.float16), device)
    check_rows(op, "grid.table", grid.table)
    check_tensor(op, "grid.box", grid.box, (2, 3), _FLOATS, device)
    if grid.interpolation not in INTERPOLATIONS:
        names = " or ".join(repr(name) for name in INTERPOLATIONS)
        raise ShapeError(f"{op}: interpolation must be {names}, got {grid.interpolation!r}")
    channels = layout.levels * layout.features_per_level
    if shader.layout.features != channels:
        raise ShapeError(
            f"{op}: the shader takes {shader.layout.features} features, the grid has {channels}"
        )
    check_tensor(op, "shader.weights", shader.weights, (shader.layout.size,), _FLOATS, device)
    if shader.exposure is not None:
        size = (shader.layout.exposure_size,)
        check_tensor(op, "shader.exposure", shader.exposure, size, _FLOATS, device)
    check_light(op, shader.light, shader.layout, device)
