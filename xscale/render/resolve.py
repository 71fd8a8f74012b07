"""Several samples a pixel to one: means over the samples that hit something."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from xscale.gbuffer.build import Rect
from xscale.geometry.camera import Camera
from xscale.render.frame import Frame
from xscale.render.outputs import TABLE
from xscale.render.renderer import Renderer


def render_resolved(
    renderer: Renderer,
    camera: Camera,
    outputs: Sequence[str],
    rect: Rect | None = None,
    samples: int = 1,
    exposure: Tensor | None = None,
    *,
    smooth: bool = True,
) -> Frame:
    """Render a camera, or a rectangle of its picture, with several samples a pixel.

    Args:
        renderer: Of the run.
        camera: World frame.
        outputs: See ``Renderer.render``.
        rect: (left, top, width, height) in pixels; None is the whole picture.
        samples: Samples along a pixel's edge.
        exposure: See ``Renderer.render``.
        smooth: Whether colours of one sample take more where the surface breaks off.
    """
    if samples == 1:
        return renderer.render(camera, outputs, exposure, rect, smooth=smooth).on_cpu()
    if any(TABLE[name].resolve == "nearest" for name in outputs if name in TABLE):
        outputs = [*outputs, "depth"]
    fine = camera.scaled(camera.width * samples, camera.height * samples)
    wide = tuple(edge * samples for edge in rect) if rect else None
    return resolve(renderer.render(fine, outputs, exposure, wide, smooth=False), samples).on_cpu()


def resolve(frame: Frame, samples: int) -> Frame:
    """Reduce a frame rendered ``samples`` times as wide and high.

    The table of outputs names each one's rule, a function of this module.

    Args:
        frame: Of size [H * samples, W * samples]; with depth where a rule is "nearest".
        samples: Samples along a pixel's edge.
    """
    if samples == 1:
        return frame
    hit = _blocks(frame.coverage, samples)
    return Frame(**{
        name: _RULES[TABLE[name].resolve](_blocks(values, samples), hit, frame, samples)
        for name, values in frame.values().items()
    })  # fmt: skip


def _any(blocks: Tensor, hit: Tensor, frame: Frame, samples: int) -> Tensor:
    return hit.any(2)


def _colour(blocks: Tensor, hit: Tensor, frame: Frame, samples: int) -> Tensor:
    """Means of the samples that hit, so that the mesh's outline is not washed out by what lies
    beyond it; of all samples where none does.
    """  # noqa: D205
    mean = _mean(blocks.float(), hit | ~hit.any(2, keepdim=True))
    return (mean + 0.5).to(torch.uint8) if blocks.dtype == torch.uint8 else mean


def _direction(blocks: Tensor, hit: Tensor, frame: Frame, samples: int) -> Tensor:
    """Sums of the samples that hit, of unit length."""
    return torch.nn.functional.normalize((blocks * hit[..., None]).sum(2), dim=2)


def _size(blocks: Tensor, hit: Tensor, frame: Frame, samples: int) -> Tensor:
    """Means of the samples' sizes, as a pixel's size."""
    return _mean(blocks, hit) * samples


def _nearest(blocks: Tensor, hit: Tensor, frame: Frame, samples: int) -> Tensor:
    """Values of the nearest sample, since a mean would lie on no surface."""
    nearest = _blocks(frame.depth, samples).argmin(2)
    index = nearest.reshape(*nearest.shape, *[1] * (blocks.ndim - 2))
    index = index.expand(*nearest.shape, 1, *blocks.shape[3:])
    return blocks.gather(2, index).squeeze(2)


_RULES: dict[str, Callable[[Tensor, Tensor, Frame, int], Tensor]] = {
    "any": _any,
    "colour": _colour,
    "direction": _direction,
    "size": _size,
    "nearest": _nearest,
}


def _blocks(values: Tensor, samples: int) -> Tensor:
    """Turn [H * s, W * s, ...] into [H, W, s * s, ...]."""
    rows, columns = values.shape[0] // samples, values.shape[1] // samples
    rest = values.shape[2:]
    parts = values.reshape(rows, samples, columns, samples, *rest).transpose(1, 2)
    return parts.reshape(rows, columns, samples * samples, *rest)


def _mean(blocks: Tensor, hit: Tensor) -> Tensor:
    """Return means [H, W, ...] over the samples that hit, 0 where none does."""
    shape = (*hit.shape, *[1] * (blocks.ndim - 3))
    total = (blocks * hit.reshape(shape)).sum(2)
    count = hit.sum(2).reshape(shape[:2] + shape[3:])
    return torch.where(count > 0, total / count.clamp(min=1), 0.0)
