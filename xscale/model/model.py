"""Field and shader together: what a checkpoint holds and what turns surface points into colour."""

from __future__ import annotations

import torch
from torch import Tensor

from xscale import ops
from xscale.errors import IntegrityError
from xscale.gbuffer.gbuffer import GBuffer, Surface
from xscale.model.box import Box
from xscale.model.field import make_field
from xscale.model.film_shader import FilmShader
from xscale.model.settings import ModelSettings
from xscale.model.shader import ReluShader


class Model:
    """The learned appearance of one scene.

    Args:
        settings: Grid and shader settings, the grid's finest_resolution set.
        box: Where the grid lies (local frame).
        photos: Number of training photos.
        device: Where everything lives.
        seed: Of the initial values.
        frozen: Whether it is for pictures only: its table is float16 and empty until ``load``.
        surface: The mesh, for encodings that hang on it.
    """

    def __init__(
        self,
        settings: ModelSettings,
        box: Box,
        photos: int,
        device: torch.device | str = "cpu",
        seed: int = 0,
        frozen: bool = False,
        surface: Surface | None = None,
    ) -> None:
        self.settings = settings
        self.device = torch.device(device)
        generator = torch.Generator().manual_seed(seed)
        self.field = make_field(settings, box, self.device, generator, frozen, surface)
        shader = ReluShader if settings.shader.kind == "relu" else FilmShader
        self.shader = shader(settings.shader, self.field.channels, photos, self.device, generator)

    def colour(self, samples: GBuffer, exposure: Tensor | None = None) -> Tensor:
        """Return sRGB [N, 3] in [0, 1] of surface samples, under the mean training exposure."""
        features = self.field.features(samples)
        colour = self.shader.shade(features, samples.direction, exposure)
        return colour.mul_(self.settings.photo_range / 255).clamp_(0, 1)

    def paint(
        self,
        surface: Surface,
        camera: Tensor,
        face_id: Tensor,
        corner: tuple[int, int],
        exposure: Tensor | None = None,
    ) -> Tensor:
        """Return the bytes [h, w, 3] of a rectangle's pixels in one pass; 255 where no face is.

        What ``colour`` gives for the same pixels, rounded, within the error of ``fused_frame``; for
        the hash grid on the surface only.

        Args:
            surface: The mesh.
            camera: Float64 [32], packed, in the surface's frame.
            face_id: Int32 [h, w], see ``visibility``.
            corner: Left and top pixel of the rectangle.
            exposure: As for ``colour``.
        """
        return ops.fused_frame(
            surface.vertices,
            surface.faces,
            camera,
            face_id,
            self.field.frame_grid(),
            self.shader.frame_shader(exposure),
            corner=corner,
            photo_range=self.settings.photo_range,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Name every tensor that a render needs."""
        return {
            "field.table": self.field.table,
            **self.field.fixed(),
            **self.shader.parameters(),
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Copy saved tensors in.

        Raises:
            IntegrityError: A tensor is missing or has another shape than the settings imply.
        """
        for name, own in self.tensors().items():
            saved = tensors.get(name)
            if saved is None or saved.shape != own.shape:
                found = "is missing" if saved is None else f"has shape {list(saved.shape)}"
                raise IntegrityError(
                    f"tensor {name} {found}, the run's settings imply {list(own.shape)}",
                    advice="the checkpoint belongs to another run",
                )
            own.copy_(saved)
