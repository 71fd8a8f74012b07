"""nvdiffrast's rasterizer behind the interface of ``ops.rasterize``, on NVIDIA GPUs.

Never needed: nothing measured speaks for it, and it cannot do all that xscale's can.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xscale.errors import BackendError
from xscale_comparisons.packages import NVDIFFRAST as _PACKAGE
from xscale_comparisons.packages import import_peer, on_gpu

_EDGE = 8
"""nvdiffrast wants pictures whose sides are multiples of it."""
_MOST_FACES = 1 << 24
_contexts: dict[torch.device, object] = {}


def rasterizer() -> Callable[..., tuple[Tensor, Tensor]]:
    """Return ``rasterize``; the plug-in nvdiffrast.

    Raises:
        SetupError: The package is not installed.
    """
    import_peer(_PACKAGE)
    return rasterize


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
    if not on_gpu(vertices):
        raise BackendError("nvdiffrast runs on a GPU only", advice="leave --rasterizer out")
    left, top, width, height = rect
    wide, high = (-(-side // _EDGE) * _EDGE for side in (width, height))
    clip = clip_positions(vertices, camera, (left, top, wide, high), offset)
    if len(faces) > _MOST_FACES:
        raise BackendError(
            f"nvdiffrast takes {_MOST_FACES:,} faces at most, this mesh has {len(faces):,}",
            advice="leave --rasterizer out",
        )
    module = import_peer(_PACKAGE)
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
