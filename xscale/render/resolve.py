"""Several samples a pixel to one: means over the samples that hit something."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xscale.gbuffer.build import Rect
from xscale.geometry.camera import Camera
from xscale.render.frame import Frame
from xscale.render.renderer import Renderer

_NEED_DEPTH = {"depth", "position", "face", "level", "photos", "uncertainty"}


def render_resolved(
    renderer: Renderer,
    camera: Camera,
    outputs: Sequence[str],
    rect: Rect | None = None,
    samples: int = 1,
    exposure: Tensor | None = None,
) -> Frame:
    """Render a camera, or a rectangle of its picture, with several samples a pixel.

    Args:
        renderer: Of the run.
        camera: World frame.
        outputs: See ``Renderer.render``.
        rect: (left, top, width, height) in pixels; None is the whole picture.
        samples: Samples along a pixel's edge.
        exposure: See ``Renderer.render``.
    """
    if samples == 1:
        return renderer.render(camera, outputs, exposure, rect).on_cpu()
    if _NEED_DEPTH & set(outputs):
        outputs = [*outputs, "depth"]
    fine = camera.scaled(camera.width * samples, camera.height * samples)
    wide = tuple(edge * samples for edge in rect) if rect else None
    return resolve(renderer.render(fine, outputs, exposure, wide), samples).on_cpu()


def resolve(frame: Frame, samples: int) -> Frame:
    """Reduce a frame rendered ``samples`` times as wide and high.

    Colours are means of the samples that hit, so the mesh's outline is not washed out by what lies
    beyond it; where none does, of all. Depth, position, face, level, photos and uncertainty are
    those of the nearest sample, since a mean would lie on no surface; the footprint is a pixel's,
    not a sample's.

    Args:
        frame: Of size [H * samples, W * samples].
        samples: Samples along a pixel's edge.
    """
    if samples == 1:
        return frame
    hit = _blocks(frame.coverage, samples)
    count = hit.sum(2)
    resolved: dict[str, Tensor | None] = {"coverage": count > 0}
    if frame.colour is not None:
        mean = _colour(_blocks(frame.colour.float(), samples), hit)
        resolved["colour"] = (mean + 0.5).to(torch.uint8)
    if frame.srgb is not None:
        resolved["srgb"] = _colour(_blocks(frame.srgb, samples), hit)
    if frame.features is not None:
        resolved["features"] = _colour(_blocks(frame.features, samples), hit)
    if frame.normal is not None:
        total = (_blocks(frame.normal, samples) * hit[..., None]).sum(2)
        resolved["normal"] = torch.nn.functional.normalize(total, dim=2)
    if frame.footprint is not None:
        resolved["footprint"] = _mean(_blocks(frame.footprint, samples), hit, 0.0) * samples
    depth = frame.depth
    for name in ("depth", "position", "face", "level", "photos", "uncertainty"):
        values = getattr(frame, name)
        if values is not None:
            blocks = _blocks(values, samples)
            nearest = _blocks(depth, samples).argmin(2)
            index = nearest.reshape(*nearest.shape, *[1] * (blocks.ndim - 2))
            index = index.expand(*nearest.shape, 1, *blocks.shape[3:])
            resolved[name] = blocks.gather(2, index).squeeze(2)
    return Frame(**resolved)


def _blocks(values: Tensor, samples: int) -> Tensor:
    """Turn [H * s, W * s, ...] into [H, W, s * s, ...]."""
    rows, columns = values.shape[0] // samples, values.shape[1] // samples
    rest = values.shape[2:]
    parts = values.reshape(rows, samples, columns, samples, *rest).transpose(1, 2)
    return parts.reshape(rows, columns, samples * samples, *rest)


def _colour(blocks: Tensor, hit: Tensor) -> Tensor:
    """Return mean colours [H, W, 3] over the samples that hit, over all where none does."""
    return _mean(blocks, hit | ~hit.any(2, keepdim=True), 0.0)


def _mean(blocks: Tensor, hit: Tensor, miss: float) -> Tensor:
    """Return means [H, W, ...] over the samples that hit, ``miss`` where none does."""
    shape = (*hit.shape, *[1] * (blocks.ndim - 3))
    total = (blocks * hit.reshape(shape)).sum(2)
    count = hit.sum(2).reshape(shape[:2] + shape[3:])
    return torch.where(count > 0, total / count.clamp(min=1), miss)
