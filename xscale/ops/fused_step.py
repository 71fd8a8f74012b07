"""fused_step: a training step of the table in one call, from face ids to moved rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from xscale.errors import ShapeError, UsageError
from xscale.ops import _ext
from xscale.ops._check import check_rows, check_tensor
from xscale.ops._control import check_control, decide, step_control
from xscale.ops._dispatch import use_reference
from xscale.ops._grid import GridLayout, encode_reference
from xscale.ops._memory import touched_bits, whole_words
from xscale.ops._shade_args import check_exposure, check_light, shade_fields
from xscale.ops.adam import adam_fields, adam_reference
from xscale.ops.encode import INTERPOLATIONS, Lookup, grid_fields
from xscale.ops.interpolate import interpolate_reference
from xscale.ops.rasterize import CAMERA_SIZE
from xscale.ops.shade import shade_reference
from xscale.ops.shade_layouts import ShaderLayout
from xscale.ops.shade_math import check_loss, gradients_of, leaves_of, shade_loss

_FLOATS = (torch.float32,)
_INTS = (torch.int32,)
PARTS = ("interpolate", "encode", "shade", "table")


@dataclass(frozen=True, eq=False)
class StepRays:
    """The batch and the mesh that it hits; as in ``interpolate``."""

    vertices: Tensor
    """Float32 [V, 3], local frame."""
    faces: Tensor
    """Int32 [F, 3] in the order that ``face_id`` counts."""
    cameras: Tensor
    """Float64 [C, 32], packed."""
    camera_index: Tensor
    """Int32 [N], camera of each ray, and its row of the exposures."""
    pixel: Tensor
    """Float32 [N, 2], continuous (u, v)."""
    face_id: Tensor
    """Int32 [N]."""
    target: Tensor
    """Uint8 [N, 3], the photo's values."""
    target_range: float = 255.0
    """Value of a white target."""
    turn: Tensor | None = None
    """Float32 [N, 3], added to the rays' unit directions, which are then made unit vectors again:
    see ``turned``. None: directions stay as they are."""


@dataclass(frozen=True, eq=False)
class StepGrid:
    """The hash grid with what lazy Adam keeps of its rows; as in ``encode`` and ``adam``."""

    table: Tensor
    """Float32 [layout.rows, F], updated."""
    first: Tensor
    """Float32 [layout.rows, F], running mean of the gradient, updated; may be columns."""
    second: Tensor
    """Float32 [layout.rows, F], running mean of its square, updated; may be columns."""
    steps: Tensor
    """Uint16 [layout.rows], updates each row has had, updated; may be a column."""
    layout: GridLayout
    """See ``grid_layout``."""
    centre: Tensor
    """Float32 [3], local frame: the unit cube's position is (x - centre) * unit + 0.5."""
    unit: Tensor
    """Float32 [3], one over the box's extent."""
    footprint_unit: float
    """Factor from footprints to lengths of the unit cube."""
    interpolation: str = "smoothstep"
    """"smoothstep" or "linear"."""
    footprint_scale: float = 0.5
    """Factor of the footprint; 0: no level fades."""
    gradient: Tensor | None = None
    """Working memory of a GPU's body, which the CPU's does without: zeros like ``table``, zeros
    again afterwards; int64 for deterministic steps, float16 if wanted for mixed ones (half the
    memory to go through; the first four levels are summed in float32 all the same). Made for the
    one step where it is None."""
    touched: Tensor | None = None
    """Bits of the touched rows, uint8 [layout.rows / 8]."""


@dataclass(frozen=True, eq=False)
class StepShader:
    """The shader; as in ``shade_train``."""

    layout: ShaderLayout
    """Sizes of the network; says which shader it is."""
    weights: Tensor
    """Float32 [layout.size]."""
    light: Tensor | None = None
    """Float32 [4, hidden], film shader only."""
    exposure: Tensor | None = None
    """Float32 [C, 12], film shader [C, 2 hidden]; None: the shader's identity."""


class StepResult(NamedTuple):
    """Result of a step: losses, and the gradients of the mean loss in the shader's weights."""

    loss: float | Tensor
    """Mean over the rays. Where it is not finite, the grid was not touched. With a control, a
    float64 tensor without dimensions: nobody waited for it."""
    squared_error: float | Tensor
    """Mean over rays and channels, targets as shares of white; likewise."""
    grad_weights: Tensor
    """Like ``StepShader.weights``."""
    grad_exposure: Tensor | None
    """Like ``StepShader.exposure``."""
    grad_light: Tensor | None
    """Like ``StepShader.light``."""
    seconds: dict[str, float]
    """Time spent by part; of the CPU's body only."""


def fused_step(
    rays: StepRays,
    grid: StepGrid,
    shader: StepShader,
    *,
    loss: str = "l1",
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
    deterministic: bool = False,
    mixed: bool = False,
    control: Tensor | None = None,
) -> StepResult:
    """Interpolate, encode, shade, compare, go back, and move the touched rows by lazy Adam.

    The same as the chain ``interpolate``, ``encode``, ``shade_train``, ``encode_backward`` and
    ``adam`` with ``steps``, without the arrays between them: the compiled body takes all sums in
    the chain's order with the chain's code, so rows and gradients are equal to the last bit,
    whatever the number of threads. The shader's own update is the caller's.

    On a GPU sums are taken in any order, and equal up to rounding only, unless ``deterministic``:
    then gradients are summed as fixed-point numbers of 2^-52, which takes 64-bit atomics and twice
    the working memory, and a step repeats to the last bit on the same kind of GPU.

    Args:
        rays: The batch.
        grid: The hash grid, updated in place.
        shader: The shader.
        loss: "l1", "charbonnier" or "l2", see ``shade_loss``; its mean over the rays counts.
        learning_rate: Step size of the grid's rows.
        betas: Decay of Adam's two running means.
        epsilon: Added to the root of the second moment.
        deterministic: See above; the CPU always is.
        mixed: Whether a GPU's shader may multiply half floats (its sums, the weights and all
            moments stay float32). Gradients then carry the control's scale on their way. A step in
            which one of the shader's leaves the half floats moves nothing; of the grid's rows those
            alone stay whose own sum did. The control counts both as overflows, the latter with the
            next step. The CPU multiplies float32.
        control: See ``step_control``: what the step reads and writes instead of waiting for its
            losses; its rate multiplies ``learning_rate``.

    Raises:
        ShapeError: An argument has another shape, dtype or device.
        UsageError: There is no such loss, or ``mixed`` is asked for with ``deterministic``.
    """
    kind = check_loss("fused_step", loss)
    _check(rays, grid, shader)
    check_control("fused_step", control, rays.vertices.device)
    if mixed and deterministic:
        raise UsageError("fused_step: mixed steps are not deterministic", advice="choose one")
    if use_reference("fused_step", rays.vertices.device):
        rate = 1.0 if control is None else float(control[0])
        found = fused_step_reference(
            rays, grid, shader, loss=loss, learning_rate=learning_rate * rate, betas=betas,
            epsilon=epsilon,
        )  # fmt: skip
        if control is None:
            return found
        means = [torch.tensor(x, dtype=torch.float64) for x in found[:2]]
        decide(control, *means)
        return found._replace(loss=means[0], squared_error=means[1])
    layout = shader.layout
    grads = [
        None if tensor is None else torch.zeros_like(tensor)
        for tensor in (shader.weights, shader.exposure, shader.light)
    ]
    device = rays.vertices.device
    on_cpu = _ext.body_of("fused_step", device) == "cpu"
    mixed = mixed and not on_cpu
    given = control
    if mixed and control is None:
        control = step_control(device)
    gradient, touched = (None, None) if on_cpu else _working_memory(grid, deterministic, mixed)
    half = gradient is not None and gradient.dtype == torch.float16
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    seconds = torch.zeros(4, dtype=torch.float64)
    count = len(rays.face_id)
    lookup = Lookup(grid.layout, grid.interpolation, grid.footprint_scale)
    with whole_words(touched) as words:
        _ext.call(
            "fused_step", device, turn=rays.turn, target=rays.target,
            target_range=rays.target_range, centre=grid.centre, unit=grid.unit,
            footprint_unit=grid.footprint_unit,
            points={
                "vertices": rays.vertices, "faces": rays.faces, "cameras": rays.cameras,
                "camera_index": rays.camera_index, "pixel": rays.pixel, "face_id": rays.face_id,
            },
            grid=grid_fields(lookup, grid.table),
            adam=adam_fields(
                grid.table, None, grid.first, grid.second, grid.steps, learning_rate=learning_rate,
                betas=betas, epsilon=epsilon,
            ),
            shade=shade_fields(
                weights=shader.weights, light=shader.light, exposure=shader.exposure,
                grad_weights=grads[0], grad_exposure=grads[1], grad_light=grads[2],
                hidden=layout.hidden,
                sh_degree=layout.sh_degree,
                photos=0 if shader.exposure is None else len(shader.exposure), loss=kind,
            ),
            gradient=None if deterministic or half else gradient,
            gradient_fixed=gradient if deterministic else None, touched=words, sums=sums,
            seconds=seconds, rays=count, control=control, mixed=mixed,
            gradient_half=gradient if half else None,
        )  # fmt: skip
    spent = dict(zip(PARTS, seconds.tolist(), strict=True)) if on_cpu else {}
    if given is not None:
        return StepResult(sums[0] / max(count, 1), sums[1] / max(3 * count, 1), *grads, spent)
    total, error = sums.tolist()
    return StepResult(total / max(count, 1), error / max(3 * count, 1), *grads, spent)


def _working_memory(grid: StepGrid, deterministic: bool, mixed: bool) -> tuple[Tensor, Tensor]:
    """Return the grid's gradient table and touched bits, checked, or new ones."""
    kind = torch.int64 if deterministic else torch.float32
    gradient, touched = grid.gradient, grid.touched
    if mixed and gradient is not None and gradient.dtype == torch.float16:
        kind = torch.float16
    if gradient is None:
        gradient = torch.zeros_like(grid.table, dtype=kind)
    if touched is None:
        touched = touched_bits(grid.layout.rows, grid.table.device)
    check_tensor("fused_step", "gradient", gradient, grid.table.shape, (kind,), grid.table.device)
    size = (grid.layout.rows // 8,)
    check_tensor("fused_step", "touched", touched, size, (torch.uint8,), grid.table.device)
    check_rows("fused_step", "gradient", gradient)
    return gradient, touched


def fused_step_reference(
    rays: StepRays,
    grid: StepGrid,
    shader: StepShader,
    *,
    loss: str,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
) -> StepResult:
    """Reference of ``fused_step`` in plain PyTorch; in float64 where table and weights are."""
    dtype = grid.table.dtype
    points = interpolate_reference(
        rays.vertices, rays.faces, None, rays.cameras, rays.camera_index, rays.pixel, rays.face_id
    )
    position = (points.position - grid.centre) * grid.unit + 0.5
    footprint = points.footprint * grid.footprint_unit if grid.footprint_scale > 0 else None
    target = rays.target.to(dtype) / rays.target_range
    photo = None if shader.exposure is None else rays.camera_index
    with torch.enable_grad():
        leaves = leaves_of(grid.table, shader.weights, shader.exposure, shader.light)
        table, weights, exposure, light = leaves
        features = encode_reference(
            position.to(dtype), table, grid.layout, interpolation=grid.interpolation,
            footprint=None if footprint is None else footprint.to(dtype),
            footprint_scale=grid.footprint_scale,
        )  # fmt: skip
        direction = points.direction.to(dtype)
        if rays.turn is not None:
            direction = turned(direction, rays.turn.to(dtype))
        rgb = shade_reference(features, direction, weights, shader.layout, exposure, photo, light)
        mean = shade_loss(rgb, target, loss).mean()
        grads = gradients_of(mean, leaves, None)
    value = float(mean.detach())
    error = float((rgb.detach() - target).square().mean())
    if torch.isfinite(mean):
        adam_reference(
            grid.table, grads[0], grid.first, grid.second, steps=grid.steps, touched=None, step=1,
            learning_rate=learning_rate, betas=betas, epsilon=epsilon, clear_grad=False,
        )  # fmt: skip
    return StepResult(value, error, *grads[1:], {})


def turned(direction: Tensor, turn: Tensor) -> Tensor:
    """Return unit directions [N, 3] after ``turn`` [N, 3] was added to them."""
    sums = direction + turn
    x, y, z = sums.unbind(1)
    # In double precision: square roots of floats are not rounded alike everywhere.
    scale = 1 / torch.sqrt((x * x + y * y + z * z).double())
    return sums * scale.to(sums.dtype)[:, None]


def _check(rays: StepRays, grid: StepGrid, shader: StepShader) -> None:
    op, device, count = "fused_step", rays.vertices.device, len(rays.face_id)
    check_tensor(op, "vertices", rays.vertices, ("vertices", 3), _FLOATS)
    check_tensor(op, "faces", rays.faces, ("faces", 3), _INTS, device)
    size = ("cameras", CAMERA_SIZE)
    check_tensor(op, "cameras", rays.cameras, size, (torch.float64,), device)
    check_tensor(op, "camera_index", rays.camera_index, (count,), _INTS, device)
    check_tensor(op, "pixel", rays.pixel, (count, 2), _FLOATS, device)
    check_tensor(op, "face_id", rays.face_id, ("rays",), _INTS, device)
    check_tensor(op, "target", rays.target, (count, 3), (torch.uint8,), device)
    if rays.turn is not None:
        check_tensor(op, "turn", rays.turn, (count, 3), _FLOATS, device)
    shape = (grid.layout.rows, grid.layout.features_per_level)
    check_tensor(op, "table", grid.table, shape, _FLOATS, device)
    for name, tensor in (("first", grid.first), ("second", grid.second)):
        check_tensor(op, name, tensor, shape, _FLOATS, device, rows_apart=True)
        check_rows(op, name, tensor)
    check_rows(op, "table", grid.table)
    kinds = (torch.uint16,)
    check_tensor(op, "steps", grid.steps, shape[:1], kinds, device, rows_apart=True)
    check_tensor(op, "centre", grid.centre, (3,), _FLOATS, device)
    check_tensor(op, "unit", grid.unit, (3,), _FLOATS, device)
    if grid.interpolation not in INTERPOLATIONS:
        raise ShapeError(f"{op}: interpolation must be one of {', '.join(INTERPOLATIONS)}")
    layout = shader.layout
    check_tensor(op, "weights", shader.weights, (layout.size,), _FLOATS, device)
    check_light(op, shader.light, layout, device)
    photo = None if shader.exposure is None else rays.camera_index
    check_exposure(op, shader.exposure, photo, count, layout.exposure_size, rays.pixel)
