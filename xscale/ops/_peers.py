"""Other packages' kernels behind the ops' interface: nvdiffrast's rasterizer, tiny-cuda-nn's grid.

Neither is ever needed; they are there for comparison, on NVIDIA GPUs. Which one runs is chosen with
``use_peers`` (``--rasterizer``, ``--encoding``). "auto" is xscale's own: nothing measured speaks
for the others, and they cannot do all that it can.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Iterator
from types import ModuleType

import torch
from torch import Tensor

from xscale.errors import BackendError, SetupError, UsageError
from xscale.ops._grid import GridLayout, fade_weights

RASTERIZERS = ("auto", "xscale", "nvdiffrast")
ENCODINGS = ("auto", "xscale", "tcnn")
_MODULES = {"nvdiffrast": "nvdiffrast.torch", "tcnn": "tinycudann"}
_INSTALL = {
    "nvdiffrast": "pip install git+https://github.com/NVlabs/nvdiffrast (non-commercial licence)",
    "tcnn": "pip install git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch",
}
_EDGE = 8
"""nvdiffrast wants pictures whose sides are multiples of it."""
_MOST_FACES = 1 << 24
_chosen = {"rasterizer": "auto", "encoding": "auto"}
_contexts: dict[torch.device, object] = {}
_encodings: dict[tuple, torch.nn.Module] = {}


def peers() -> tuple[str, ...]:
    """Return which of "nvdiffrast" and "tcnn" are installed, without importing them."""
    roots = {name: module.split(".")[0] for name, module in _MODULES.items()}
    return tuple(name for name, root in roots.items() if importlib.util.find_spec(root))


@contextlib.contextmanager
def use_peers(rasterizer: str = "auto", encoding: str = "auto") -> Iterator[None]:
    """Let another package rasterize or encode, for every op called inside, in all threads.

    ``fused_step`` and ``fused_frame`` hold their own encoding, so with another one trainer and
    renderer take the chain of single ops.

    Args:
        rasterizer: One of ``RASTERIZERS``.
        encoding: One of ``ENCODINGS``.

    Raises:
        UsageError: There is no such choice.
        SetupError: The package is not installed.
    """
    for what, name, known in (
        ("rasterizer", rasterizer, RASTERIZERS),
        ("encoding", encoding, ENCODINGS),
    ):
        if name not in known:
            raise UsageError(f"no {what} {name!r}; there are {', '.join(known)}")
        if name in _MODULES:
            _module(name)
    before = dict(_chosen)
    _chosen.update(rasterizer=rasterizer, encoding=encoding)
    try:
        yield
    finally:
        _chosen.update(before)


def rasterizer() -> str:
    """Return whose rasterizer runs: "xscale" or "nvdiffrast"."""
    return "xscale" if _chosen["rasterizer"] == "auto" else _chosen["rasterizer"]


def encoding() -> str:
    """Return whose encoding runs: "xscale" or "tcnn"."""
    return "xscale" if _chosen["encoding"] == "auto" else _chosen["encoding"]


def rasterize(
    vertices: Tensor,
    faces: Tensor,
    face_ids: Tensor,
    camera: Tensor,
    rect: tuple[int, int, int, int],
    offset: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """``ops.rasterize`` by nvdiffrast: the same but for pixels on edges and depths' last bits.

    Raises:
        BackendError: The tensors are not on a GPU, the lens bends, or the mesh has too many faces.
    """
    if not _on_gpu(vertices):
        raise BackendError("nvdiffrast runs on a GPU only", advice="leave --rasterizer out")
    left, top, width, height = rect
    wide, high = (-(-side // _EDGE) * _EDGE for side in (width, height))
    clip = clip_positions(vertices, camera, (left, top, wide, high), offset)
    if len(faces) > _MOST_FACES:
        raise BackendError(
            f"nvdiffrast takes {_MOST_FACES:,} faces at most, this mesh has {len(faces):,}",
            advice="leave --rasterizer out",
        )
    module = _module("nvdiffrast")
    if vertices.device not in _contexts:
        _contexts[vertices.device] = module.RasterizeCudaContext(device=vertices.device)
    found, _ = module.rasterize(
        _contexts[vertices.device], clip[None], faces, resolution=[high, wide], grad_db=False
    )
    found = found[0, :height, :width]
    row = found[..., 3].long() - 1
    hit = row >= 0
    face_id = torch.where(hit, face_ids[row.clamp(min=0)], torch.full_like(face_ids[:1], -1))
    # Depth in the picture is 1 - 2 near / z.
    depth = 2 * near_of(camera) / (1 - found[..., 2]).clamp(min=1e-12)
    return face_id, torch.where(hit, depth.float(), torch.inf)


def clip_positions(
    vertices: Tensor,
    camera: Tensor,
    rect: tuple[int, int, int, int],
    offset: tuple[float, float],
) -> Tensor:
    """Return clip-space positions float32 [V, 4] whose first row of pixels is the rectangle's top.

    Raises:
        BackendError: The camera is not a pinhole.
    """
    if float(camera[18]) != 0:
        raise BackendError("nvdiffrast draws pinholes only", advice="leave --rasterizer out")
    left, top, width, height = rect
    R, t = camera[:9].reshape(3, 3), camera[9:12]
    x, y, z = (vertices.double() @ R.T + t).unbind(1)
    fx, fy, cx, cy, skew = camera[12:17]
    u = fx * x + skew * y + (cx - left - offset[0] + 0.5) * z
    v = fy * y + (cy - top - offset[1] + 0.5) * z
    near = near_of(camera)
    return torch.stack([2 * u / width - z, 2 * v / height - z, z - 2 * near, z], 1).float()


def near_of(camera: Tensor) -> float:
    """Return the near plane, a little in front of the camera where there is none."""
    return max(float(camera[17]), 1e-6)


def encode(
    position: Tensor,
    table: Tensor,
    layout: GridLayout,
    *,
    interpolation: str,
    footprint: Tensor | None,
    footprint_scale: float,
) -> Tensor:
    """``ops.encode`` by tiny-cuda-nn; gradients by autograd.

    Args:
        position: As for ``ops.encode``.
        table: As for ``ops.encode``.
        layout: As for ``ops.encode``.
        interpolation: As for ``ops.encode``.
        footprint: As for ``ops.encode``; every level is looked up all the same.
        footprint_scale: As for ``ops.encode``.

    Raises:
        BackendError: The tensors are not on a GPU.
    """
    if not _on_gpu(position):
        raise BackendError("tiny-cuda-nn runs on a GPU only", advice="leave --encoding out")
    grid = _grid(layout, interpolation, table.dtype, position.device)
    inside = position.nan_to_num(0).clamp(0, 1 - 2**-24)  # it wraps what is outside
    features = torch.func.functional_call(grid, {"params": table.reshape(-1).float()}, (inside,))
    features = features[:, : layout.levels * layout.features_per_level].float()
    if footprint is None:
        return features
    faded = fade_weights(footprint, layout, footprint_scale)
    return features * faded.repeat_interleave(layout.features_per_level, dim=1)


def encode_backward(
    grad_features: Tensor,
    position: Tensor,
    layout: GridLayout,
    *,
    grad_table: Tensor,
    touched: Tensor | None,
    **how: object,
) -> None:
    """``ops.encode_backward`` by tiny-cuda-nn; its time grows with the table."""
    shape = (layout.rows, layout.features_per_level)
    with torch.enable_grad():
        table = torch.zeros(shape, device=position.device, requires_grad=True)
        features = encode(position, table, layout, **how)
        (grad,) = torch.autograd.grad(features, table, grad_features)
    grad_table += grad
    if touched is not None:
        bits = (grad != 0).any(1).reshape(-1, 8).to(torch.uint8)
        touched |= (bits << torch.arange(8, device=bits.device, dtype=torch.uint8)).sum(
            1, dtype=torch.uint8
        )


def _grid(
    layout: GridLayout, interpolation: str, dtype: torch.dtype, device: torch.device
) -> torch.nn.Module:
    key = (layout, interpolation, dtype, device)
    if key not in _encodings:
        scales = layout.scales
        settings = {
            "otype": "HashGrid",
            "n_levels": layout.levels,
            "n_features_per_level": layout.features_per_level,
            "log2_hashmap_size": max(
                (b - a - 1).bit_length()
                for a, b in zip(layout.offsets[:-1], layout.offsets[1:], strict=True)
            ),
            "base_resolution": round(scales[0] + 1),
            "per_level_scale": ((scales[-1] + 1) / (scales[0] + 1))
            ** (1 / max(len(scales) - 1, 1)),
            "interpolation": interpolation.capitalize(),
        }
        made = _module("tcnn").Encoding(3, settings, dtype=dtype).to(device)
        if made.params.numel() != layout.rows * layout.features_per_level:
            raise BackendError(
                f"tiny-cuda-nn makes a table of {made.params.numel()} numbers of this grid, not of "
                f"{layout.rows * layout.features_per_level}",
                advice="leave --encoding out",
            )
        _encodings[key] = made
    return _encodings[key]


def _on_gpu(tensor: Tensor) -> bool:
    return tensor.device.type == "cuda"


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(_MODULES[name])
    except ImportError as error:
        raise SetupError(f"{name} is not installed", advice=_INSTALL[name]) from error
