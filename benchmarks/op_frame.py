"""Speed of whole frames, and of their inference half, against Embree and PyTorch.

``fused inference`` takes face ids to 8-bit colours for the ``paper`` preset's model (table in
float16), every pixel covered. The peer is PyTorch in float32 in the published form: the light and
exposure networks run for every ray. It is spared the surface points, which it gets for nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks._timing import Work, device, milliseconds, row
from benchmarks.op_encode import peer_gather
from benchmarks.op_raster import camera, ray_caster, terrain
from xscale import ops
from xscale.gbuffer.build import build_surface, pixel_samples, visibility
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh
from xscale_comparisons import ceiling

_BATCH = 1 << 17


def rows() -> list[dict[str, object]]:
    """Time inference on a crop of a 1080p picture, the whole 1080p frame, and the default model."""
    return [_inference(), _whole_frame(), _default_frame()]


def paper_model() -> tuple[ops.FrameGrid, Tensor, ops.FrameShader, dict[str, Tensor]]:
    """Return grid, its table in float32, shader and codes of the ``paper`` preset, random."""
    generator = torch.Generator().manual_seed(0)
    layout = ops.grid_layout(16, 8, 22, 16, 1.4768261459394993)
    full = ops.table_zeros((layout.rows, 8), torch.float32).uniform_(-0.1, 0.1)
    half = ops.table_zeros((layout.rows, 8), torch.float16).copy_(full)
    shader, codes = ops.FilmShaderLayout(128), ops.FilmCodeLayout()
    parts = {
        "shader": ops.film_shader_init(shader, generator),
        "codes": ops.film_code_init(codes, generator),
        "light": ops.film_codes_init(1, 8, generator),
        "exposure": ops.film_codes_init(1, 4, generator),
    }
    light = ops.film_light(parts["light"][0], parts["codes"], codes)
    exposure = ops.film_exposure(parts["exposure"], parts["codes"], codes)[0]
    box = torch.tensor([[0.0, 0.0, 0.0], [0.49, 0.49, 0.49]])
    grid = ops.FrameGrid(half, layout, box, "smoothstep", 0.0)
    fixed = ops.FrameShader(parts["shader"], shader, exposure.contiguous(), light.contiguous())
    return grid, full, fixed, parts


def peer_film(features: Tensor, direction: Tensor, parts: dict[str, Tensor]) -> Tensor:
    """The published shader as it was released: every network runs for every ray."""
    w = ops.FilmShaderLayout(128).unpack(parts["shader"])
    c = ops.FilmCodeLayout().unpack(parts["codes"])
    rays = len(features)
    light = parts["light"].expand(rays, -1)
    names = ("light_W1", "light_b1", "light_W2", "light_b2")
    film = ops.film_mapping(light, *(c[name] for name in names))
    d = torch.sin(film[:, :64] * functional.linear(features, w["W1"], w["b1"]) + film[:, 128:192])
    d = torch.sin(film[:, 64:128] * functional.linear(d, w["W2"], w["b2"]) + film[:, 192:])
    code = parts["exposure"].expand(rays, -1)
    hidden = torch.relu(functional.linear(code, c["exposure_W1"], c["exposure_b1"]))
    shift, scale = functional.linear(hidden, c["exposure_W2"], c["exposure_b2"]).chunk(2, dim=1)
    d = torch.exp(scale) * d + shift
    film = ops.film_mapping(d, w["M1"], w["c1"], w["M2"], w["c2"])
    y = torch.sin(film[:, :64] * functional.linear(direction, w["D1"], w["e1"]) + film[:, 128:192])
    y = torch.sin(film[:, 64:128] * functional.linear(y, w["D2"], w["e2"]) + film[:, 192:])
    light = torch.sigmoid(functional.linear(y, w["W3"], w["b3"]))
    return 1.002 * ops.linear_to_srgb(light).clamp(0, 1) - 0.001


def _above(width: int, height: int) -> Camera:
    """Return a camera above the terrain that sees nothing else."""
    K = torch.tensor([[0.95 * width, 0, width / 2], [0, 0.95 * width, height / 2], [0, 0, 1.0]])
    R = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]], dtype=torch.float64)
    t = -R @ torch.tensor([0.0, 0.0, 1.4], dtype=torch.float64)
    return Camera(
        model="PINHOLE", width=width, height=height, K=K.double().numpy(), R=R.numpy(),
        t=t.numpy(), near=1e-3,
    )  # fmt: skip


def _peer(
    surface: Surface,
    packed: Tensor,
    face_id: Tensor,
    corner: tuple[int, int],
    grid: ops.FrameGrid,
    full: Tensor,
    parts: dict[str, Tensor],
) -> Work:
    samples = pixel_samples(surface, packed, face_id, corner)
    position = (samples.position - grid.box[0]) * grid.box[1] + 0.5

    def infer() -> Tensor:
        done = []
        for x, v in zip(position.split(_BATCH), samples.direction.split(_BATCH), strict=True):
            colour = peer_film(peer_gather(x, full, grid.layout), v, parts)
            done.append((colour.clamp(0, 1) * 255 + 0.5).to(torch.uint8))
        return torch.cat(done)

    return infer


def _pictured(mesh: Mesh, view: Camera) -> tuple[Surface, Tensor]:
    packed = torch.from_numpy(view.recentred(mesh.origin).packed()).to(device())
    return build_surface(mesh, device()), packed


@torch.inference_mode()
def _inference() -> dict[str, object]:
    mesh, view = terrain(1000), _above(1920, 1080)
    surface, packed = _pictured(mesh, view)
    left, top, width, height = rect = (640, 360, 480, 270)
    face_id = visibility(surface, packed, view.width, view.height, rect)
    grid, full, shader, parts = paper_model()

    def ours() -> Tensor:
        return ops.fused_frame(
            surface.vertices, surface.faces, packed, face_id, grid, shader, corner=(left, top)
        )

    peer = _peer(surface, packed, face_id, (left, top), grid, full, parts)
    covered = int((face_id >= 0).sum())
    points = pixel_samples(surface, packed, face_id, (left, top)).position
    points = (points - grid.box[0]) * grid.box[1] + 0.5
    times = milliseconds(
        {"ours": ours, "peer": peer, "twin": lambda: ceiling.frame(points, grid, shader)},
        seconds=8.0,
        least=3,
    )
    shape = f"paper, float16 table, {covered:,} of {width * height:,} pixels covered"
    name = "PyTorch float32, published form"
    made = row("fused inference", shape, times, peer_name=name, ceiling="twin")
    return {**made, "mpixel_per_s": covered / times["ours"]["median"] / 1e3}


@torch.inference_mode()
def _whole_frame() -> dict[str, object]:
    mesh, view = terrain(2236), camera(1920, 1080)
    surface, packed = _pictured(mesh, view)
    grid, full, shader, parts = paper_model()

    def ours() -> Tensor:
        face_id = visibility(surface, packed, view.width, view.height)
        return ops.fused_frame(surface.vertices, surface.faces, packed, face_id, grid, shader)

    works: dict[str, Work] = {"ours": ours}
    cast = ray_caster(mesh, view.recentred(mesh.origin))
    if cast is not None:
        face_id = visibility(surface, packed, view.width, view.height)
        infer = _peer(surface, packed, face_id, (0, 0), grid, full, parts)
        works["peer"] = lambda: (cast(), infer())
    times = milliseconds(works, seconds=4.0, least=2)
    shape = f"{len(mesh.faces):,} triangles, 1920 x 1080, paper, float16 table"
    return row("frame 1080p paper", shape, times, peer_name="Embree, PyTorch published form")


@torch.inference_mode()
def _default_frame() -> dict[str, object]:
    """A frame of the default model on a mesh of 400,000 triangles: what a user waits for."""
    mesh, view = terrain(447), camera(1280, 720)
    surface, packed = _pictured(mesh, view)
    generator = torch.Generator().manual_seed(0)
    layout = ops.grid_layout(16, 4, 20, 16, 1.4951)
    table = ops.table_zeros((layout.rows, 4), torch.float16).uniform_(-1, 1)
    relu = ops.ReluShaderLayout(64)
    box = torch.tensor([[0.0, 0.0, 0.0], [0.49, 0.49, 0.49]])
    grid = ops.FrameGrid(table, layout, box, "linear", 0.5)
    shader = ops.FrameShader(ops.relu_shader_init(relu, generator), relu)

    def ours() -> Tensor:
        face_id = visibility(surface, packed, view.width, view.height)
        return ops.fused_frame(surface.vertices, surface.faces, packed, face_id, grid, shader)

    def chain() -> Tensor:
        face_id = visibility(surface, packed, view.width, view.height)
        samples = pixel_samples(surface, packed, face_id)
        features = ops.encode(
            (samples.position - box[0]) * box[1] + 0.5, table, layout, interpolation="linear",
            footprint=samples.footprint * 0.49, footprint_scale=0.5,
        )  # fmt: skip
        return ops.shade(features, samples.direction, shader.weights, relu)

    times = milliseconds({"ours": ours, "peer": chain}, seconds=4.0)
    shape = f"{len(mesh.faces):,} triangles, 1280 x 720, default, float16 table"
    return row("frame 720p default", shape, times, peer_name="our own chain of single ops")
