"""Previews: a test view, rendered while the training goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from xscale.geometry.camera import Camera
from xscale.io.photo.images import write_png
from xscale.model.background import Background
from xscale.render.renderer import Renderer
from xscale.run.folder import RunFolder
from xscale.training.board import Board
from xscale.training.prepare import Prepared
from xscale.training.trainer import Trainer

_PREVIEW_PIXELS = 2_000_000
"""Previews of larger photos are reduced: they are looked at, and stop the training."""


def previewer(
    prepared: Prepared,
    trainer: Trainer,
    folder: RunFolder,
    background: Callable[[], Background | None],
) -> Callable[[int, Board | None], None] | None:
    """Return what renders a test view into RUN/previews and logs its PSNR; None without one.

    Args:
        prepared: The training's scene.
        trainer: Holds the model.
        folder: The run folder.
        background: Gives what uncovered pixels show; asked for by the first preview.
    """
    split = prepared.manifest.split
    if not split.test:
        return None
    name = split.test[len(split.test) // 2]

    @cache
    def parts() -> tuple[Renderer, Camera, Tensor]:
        photo = prepared.scene.photo(name)
        size = photo.camera.width * photo.camera.height
        downscale = prepared.manifest.scene.downscale
        downscale = max(downscale, (size / _PREVIEW_PIXELS) ** 0.5)
        origin = prepared.manifest.origin
        renderer = Renderer(prepared.surface, trainer.model, origin, background())
        truth = torch.from_numpy(photo.read(downscale)).float() / 255
        return renderer, photo.camera_at(downscale), truth

    def preview(step: int, board: Board | None) -> None:
        renderer, camera, truth = parts()
        frame = renderer.render(camera).on_cpu()
        folder.check_in_place()
        file = folder.previews / f"step_{step:08d}.png"
        write_png(file, frame.colour.numpy(), overwrite=True)
        if frame.coverage.any():
            error = (frame.colour.float() / 255 - truth)[frame.coverage].square().mean()
            psnr = float(-10 * torch.log10(error.clamp(min=1e-12)))
            line = {"step": step, "test_photo": name, "test_psnr": round(psnr, 4)}
            folder.log(line)
            if board is not None:
                board.line(line)
        if board is not None:
            board.picture(step, frame.colour.numpy())

    return preview
