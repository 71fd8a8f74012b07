"""One small, fixed problem an op: how far its body is from the float64 reference.

``xscale doctor`` runs these on every backend of this machine. A row takes a device, computes the
op there (by whichever body is in force, see ``use_backend``) and again by the float64 reference
on the CPU, and returns the largest error relative to the largest magnitude of the result. It is
compared with the op's ``float32_tolerance``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from xscale.ops.adam import adam, adam_reference
from xscale.ops.encode import encode, encode_backward, encode_reference, grid_layout
from xscale.ops.fused_frame import FrameGrid, FrameShader, fused_frame, fused_frame_reference
from xscale.ops.fused_step import (
    StepGrid,
    StepRays,
    StepShader,
    fused_step,
    fused_step_reference,
)
from xscale.ops.interpolate import interpolate, interpolate_reference
from xscale.ops.rasterize import rasterize, rasterize_reference
from xscale.ops.reproject import KeyFrames, Reprojected, reproject, reproject_reference
from xscale.ops.shade import shade, shade_reference, shade_train
from xscale.ops.shade_layouts import (
    FilmShaderLayout,
    ReluShaderLayout,
    ShaderLayout,
    film_shader_init,
    relu_shader_init,
)

SelfTest = Callable[[torch.device], float]


def relative_error(ours: Tensor, exact: Tensor) -> float:
    """Return the largest difference, relative to the largest magnitude of ``exact``."""
    scale = exact.detach().double().abs().max().clamp(min=1e-30)
    error = (ours.detach().cpu().double() - exact.detach().double()).abs().max() / scale
    return float(error)


def _adam(device: torch.device) -> float:
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(4, 4099, 2, generator=generator)
    draw[1, ::3] = 0  # rows that must stay as they are
    draw[3].abs_()
    steps = torch.arange(4099, dtype=torch.int32).to(torch.uint16)
    settings = {"learning_rate": 0.01, "betas": (0.9, 0.99), "epsilon": 1e-15, "clear_grad": True}
    ours = [part.clone().to(device) for part in draw]
    adam(*ours, steps=steps.clone().to(device), **settings)
    exact = [part.double() for part in draw]
    adam_reference(*exact, steps=steps.clone(), touched=None, step=1, **settings)
    return max(relative_error(a, b) for a, b in zip(ours, exact, strict=True))


def _encode(device: torch.device) -> float:
    generator = torch.Generator().manual_seed(1)
    layout = grid_layout(8, 2, 12, 4, 1.6)  # dense levels and hashed ones
    table = torch.randn(layout.rows, 2, generator=generator)
    position = torch.rand(2049, 3, generator=generator)
    footprint = torch.rand(2049, generator=generator) * 0.05
    grad = torch.randn(2049, 16, generator=generator)
    worst = 0.0
    for interpolation in ("linear", "smoothstep"):
        options = {"interpolation": interpolation, "footprint_scale": 0.5}
        ours = encode(
            position.to(device), table.to(device), layout, footprint=footprint.to(device), **options
        )
        grad_table = torch.zeros_like(table).to(device)
        encode_backward(
            grad.to(device), position.to(device), layout, footprint=footprint.to(device),
            grad_table=grad_table, **options,
        )  # fmt: skip
        exact_table = table.double().requires_grad_()
        exact = encode_reference(
            position.double(), exact_table, layout, footprint=footprint.double(), **options
        )
        (exact_grad,) = torch.autograd.grad(exact, exact_table, grad.double())
        worst = max(worst, relative_error(ours, exact), relative_error(grad_table, exact_grad))
    return worst


def _bumps() -> tuple[Tensor, Tensor, Tensor]:
    """Return vertices, faces and a packed camera that looks at a bumpy sheet from close by."""
    side = 24
    v, u = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    vertices = torch.stack([u, v, 0.2 * torch.sin(5 * u) * torch.cos(4 * v)], -1).reshape(-1, 3)
    corner = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).reshape(-1)
    upper = torch.stack([corner, corner + 1, corner + side], 1)
    lower = torch.stack([corner + 1, corner + side + 1, corner + side], 1)
    faces = torch.cat([upper, lower]).to(torch.int32)
    camera = torch.zeros(32, dtype=torch.float64)
    camera[[0, 4, 8]] = 1  # no rotation
    camera[9:12] = torch.tensor([0.1, -0.2, 0.9])
    camera[12:16] = torch.tensor([50.0, 60.0, 41.3, 22.7])
    camera[17] = 1e-3
    return vertices.contiguous(), faces.contiguous(), camera


def _one_cluster(vertices: Tensor, faces: Tensor) -> list[Tensor]:
    """Return what ``rasterize`` takes of a mesh, all of it in one cluster."""
    return [
        vertices,
        faces.to(torch.uint16),
        torch.arange(len(faces), dtype=torch.int32),
        torch.tensor([0, len(faces)], dtype=torch.int32),
        torch.tensor([0, len(vertices)], dtype=torch.int32),
        torch.cat([vertices.amin(0), vertices.amax(0)])[None],
    ]


def _rasterize(device: torch.device) -> float:
    """Share of the pixels whose face or depth is not the reference's; none may differ."""
    vertices, faces, camera = _bumps()
    rect, offset = (3, 2, 77, 45), (0.25, 0.75)
    mesh = _one_cluster(vertices, faces)
    ids = mesh[2]
    face, depth = rasterize(*(part.to(device) for part in mesh), camera.to(device), rect, offset)
    exact_face, exact_depth = rasterize_reference(vertices, faces, ids, camera, rect, offset)
    differs = (face.cpu() != exact_face) | (depth.cpu() != exact_depth)
    return float(differs.double().mean())


def _interpolate(device: torch.device) -> float:
    vertices, faces, camera = _bumps()
    generator = torch.Generator().manual_seed(2)
    normals = torch.nn.functional.normalize(
        torch.randn(len(vertices), 3, generator=generator), dim=1
    )
    face_id = torch.arange(-1, len(faces), dtype=torch.int32)
    # Each ray through its face's centre of mass: every ray hits, whatever hides it.
    centre = vertices[faces.long()].double().mean(1) + camera[9:12]
    pixel = centre[:, :2] / centre[:, 2:] * camera[12:14] + camera[14:16]
    pixel = torch.cat([torch.zeros(1, 2), pixel]).float()
    index = torch.zeros(len(face_id), dtype=torch.int32)
    inputs = (vertices, faces, normals, camera[None], index, pixel, face_id)
    ours = interpolate(*(part.to(device) for part in inputs))
    exact = interpolate_reference(*inputs)
    finite = torch.isfinite(exact.depth)
    worst = relative_error(ours.depth.cpu()[finite], exact.depth[finite])
    for name in ("position", "normal", "direction", "footprint"):
        worst = max(worst, relative_error(getattr(ours, name), getattr(exact, name)))
    return worst


FrameProblem = tuple[tuple[Tensor, Tensor], Tensor, Tensor, FrameGrid, FrameShader]


def frame_problem(kind: str) -> FrameProblem:
    """Return mesh, camera, face ids [86, 150], grid and shader of a small colourful picture.

    Args:
        kind: "relu" or "film".
    """
    vertices, faces, camera = _bumps()
    camera[12:16] = torch.tensor([62.0, 41.0, 70.3, 41.7])
    face_id, _ = rasterize(*_one_cluster(vertices, faces), camera, (0, 0, 150, 86), (0.5, 0.5))
    generator = torch.Generator().manual_seed(5)
    layout = grid_layout(8, 4, 12, 4, 1.6)
    table = 0.6 * torch.randn(layout.rows, 4, generator=generator)
    unit = FrameGrid(table, layout, torch.tensor([[0.0, 0.0, 0.0], [0.49, 0.49, 2.0]]))
    if kind == "relu":
        relu = ReluShaderLayout(features=32)
        weights = relu_shader_init(relu, generator)
        exposure = torch.eye(3, 4).flatten() + 0.1 * torch.randn(12, generator=generator)
        return (vertices, faces), camera, face_id, unit, FrameShader(weights, relu, exposure)
    film = FilmShaderLayout(features=32)
    weights = film_shader_init(film, generator)
    film.unpack(weights)["W3"].mul_(6)
    light = torch.cat([torch.full((2, 64), 30.0), torch.randn(2, 64, generator=generator)])
    exposure = 0.2 * torch.randn(128, generator=generator)
    return (vertices, faces), camera, face_id, unit, FrameShader(weights, film, exposure, light)


def _fused_frame(device: torch.device) -> float:
    """The error that one pixel in a thousand passes, of both shaders, as a share of white."""
    worst = 0.0
    for kind in ("relu", "film"):
        mesh, camera, face_id, grid, shader = frame_problem(kind)
        exact = fused_frame_reference(
            *mesh, camera, face_id, grid, shader, corner=(0, 0), offset=(0.5, 0.5), photo_range=255
        )
        ours = fused_frame(
            *(part.to(device) for part in (*mesh, camera, face_id)),
            FrameGrid(*(p.to(device) if isinstance(p, Tensor) else p for p in grid)),
            FrameShader(*(p.to(device) if isinstance(p, Tensor) else p for p in shader)),
        )
        error = (ours.cpu().int() - exact.int()).abs().amax(-1).double().flatten() / 255
        worst = max(worst, float(torch.quantile(error, 0.999)))
    return worst


def reproject_problem(width: int = 77, height: int = 45) -> tuple:
    """Return the arguments of ``reproject`` for a picture of a bumpy sheet beside its key frame."""
    vertices, faces, camera = _bumps()
    mesh = _one_cluster(vertices, faces)
    face_id, seen = rasterize(*mesh, camera, (0, 0, width, height), (0.5, 0.5))
    key = camera.clone()
    key[9:12] += torch.tensor([0.03, -0.02, 0.04], dtype=torch.float64)
    _, depth = rasterize(*mesh, key, (0, 0, width, height), (0.5, 0.5))
    generator = torch.Generator().manual_seed(6)
    colour = torch.randint(0, 256, (1, height, width, 4), generator=generator, dtype=torch.uint8)
    keys = KeyFrames(key[None].clone(), colour, depth[None].clone())
    return vertices, faces, camera, face_id, seen, keys, torch.zeros(1, dtype=torch.int32)


def _reproject(device: torch.device) -> float:
    """The error that one pixel in a thousand passes, of colours, as a share of white."""
    arguments = reproject_problem()
    moved = [
        KeyFrames(*(part.to(device) for part in value))
        if isinstance(value, KeyFrames)
        else value.to(device)
        for value in arguments
    ]
    ours = Reprojected(*(part.cpu() for part in reproject(*moved)))
    exact = reproject_reference(
        *arguments, backdrop=None, corner=(0, 0), offset=(0.5, 0.5), tolerance=3.0, sharper=0.8,
        coarser=2.0,
    )  # fmt: skip
    error = (ours.rgba.int() - exact.rgba.int()).abs().amax(-1).double().flatten() / 255
    return float(torch.quantile(error, 0.999))


def _shade(
    layout: ShaderLayout, rays: int, generator: torch.Generator, device: torch.device
) -> float:
    """The worst error of colours and gradients of a shader near its first weights."""
    if isinstance(layout, ReluShaderLayout):
        weights, light = grey_relu_weights(layout, generator), None
    else:
        weights = film_shader_init(layout, generator)
    features = torch.randn(rays, 16, generator=generator)
    direction = torch.nn.functional.normalize(torch.randn(rays, 3, generator=generator), dim=1)
    target = torch.rand(rays, 3, generator=generator)
    if isinstance(layout, FilmShaderLayout):
        light = torch.cat([torch.full((2, 64), 30.0), torch.randn(2, 64, generator=generator)])
    inputs = [part.to(device) for part in (features, direction, weights)]
    moved = None if light is None else light.to(device)
    ours = shade(*inputs, layout, light=moved)
    step = shade_train(*inputs, layout, target.to(device), light=moved, loss="l2", scale=1 / rays)
    leaves = [features.double().requires_grad_(), weights.double().requires_grad_()]
    exact = shade_reference(
        leaves[0], direction.double(), leaves[1], layout,
        light=None if light is None else light.double(),
    )  # fmt: skip
    (exact - target.double()).square().mean(1).sum().div(rays).backward()
    return max(
        relative_error(ours, exact),
        relative_error(step.grad_features, leaves[0].grad),
        relative_error(step.grad_weights, leaves[1].grad),
    )


def _shade_relu(device: torch.device) -> float:
    generator = torch.Generator().manual_seed(3)
    return _shade(ReluShaderLayout(features=16), 515, generator, device)


def _shade_film(device: torch.device) -> float:
    generator = torch.Generator().manual_seed(4)
    return _shade(FilmShaderLayout(features=16), 259, generator, device)


def grey_relu_weights(layout: ReluShaderLayout, generator: torch.Generator) -> Tensor:
    """Return the ReLU shader's first weights with a third layer ten times smaller.

    Colours then are near mid grey, where the sRGB curve is smooth: errors that are measured on them
    are the network's.
    """
    weights = relu_shader_init(layout, generator)
    layout.unpack(weights)["W3"].mul_(0.1)
    return weights


def step_problem(
    *, width: int, kind: str, rays: int, log2_rows: int, levels: int = 8
) -> tuple[StepRays, StepGrid, StepShader]:
    """Return a training step on a bumpy sheet, for this file's test and the op's own tests.

    Args:
        width: Features a level.
        kind: "relu" or "film".
        rays: Rays of the batch.
        log2_rows: Most rows a level has, as a power of two.
        levels: Levels of the grid.
    """
    generator = torch.Generator().manual_seed(5)
    vertices, faces, camera = _bumps()
    cameras = camera.repeat(3, 1)
    cameras[:, 9] += torch.tensor([0.0, 0.05, -0.1], dtype=torch.float64)
    face_id = torch.randint(0, len(faces), (rays,), generator=generator).int()
    index = torch.randint(0, 3, (rays,), generator=generator).int()
    centre = vertices[faces[face_id.long()].long()].double().mean(1) + cameras[index.long(), 9:12]
    pixel = centre[:, :2] / centre[:, 2:] * camera[12:14] + camera[14:16]
    layout = grid_layout(levels, width, log2_rows, 8, 1.7)
    grid = StepGrid(
        table=torch.randn(layout.rows, width, generator=generator) * 0.1,
        first=torch.zeros(layout.rows, width),
        second=torch.zeros(layout.rows, width),
        steps=torch.zeros(layout.rows, dtype=torch.uint16),
        layout=layout,
        centre=torch.tensor([0.0, 0.01, 0.0]),
        unit=torch.full((3,), 1 / 2.1),
        footprint_unit=1 / 2.1,
        interpolation="linear",
    )
    relu = kind == "relu"
    shape = (ReluShaderLayout if relu else FilmShaderLayout)(levels * width)
    init = grey_relu_weights if relu else film_shader_init
    waves = torch.full((2, 64), 30.0)
    phases = torch.randn(2, 64, generator=generator)
    exposure = torch.eye(3, 4).reshape(1, 12).repeat(3, 1) if relu else torch.zeros(3, 128)
    shader = StepShader(
        shape,
        init(shape, generator),
        None if relu else torch.cat([waves, phases]),
        exposure + 0.05 * torch.randn(exposure.shape, generator=generator),
    )
    target = torch.randint(0, 256, (rays, 3), generator=generator, dtype=torch.uint8)
    batch = StepRays(vertices, faces, cameras, index, pixel.float(), face_id, target)
    return batch, grid, shader


def _fused_step(device: torch.device) -> float:
    rays, grid, shader = (
        type(part)(**{name: _moved(value, device) for name, value in vars(part).items()})
        for part in step_problem(width=2, kind="relu", rays=515, log2_rows=12)
    )
    exact_rays, exact_grid, exact_shader = step_problem(
        width=2, kind="relu", rays=515, log2_rows=12
    )
    exact_grid = replace(
        exact_grid,
        **{name: getattr(exact_grid, name).double() for name in ("table", "first", "second")},
    )
    exact_shader = replace(
        exact_shader, weights=exact_shader.weights.double(), exposure=exact_shader.exposure.double()
    )
    # An epsilon far above the gradients: Adam's first steps are signs otherwise.
    options = {"loss": "l2", "learning_rate": 1.0, "betas": (0.9, 0.99), "epsilon": 1e-2}
    ours = fused_step(rays, grid, shader, **options)
    exact = fused_step_reference(exact_rays, exact_grid, exact_shader, **options)
    return max(
        relative_error(ours.grad_weights, exact.grad_weights),
        relative_error(grid.table, exact_grid.table),
        relative_error(grid.first, exact_grid.first),
        relative_error(grid.second, exact_grid.second),
    )


def _moved(value: object, device: torch.device) -> object:
    return value.to(device) if isinstance(value, Tensor) else value


SELF_TESTS: dict[str, SelfTest] = {
    "adam": _adam,
    "encode": _encode,
    "fused_frame": _fused_frame,
    "fused_step": _fused_step,
    "interpolate": _interpolate,
    "rasterize": _rasterize,
    "reproject": _reproject,
    "shade_film": _shade_film,
    "shade_relu": _shade_relu,
}
