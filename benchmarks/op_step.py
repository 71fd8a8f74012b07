"""A training step against the same model written with PyTorch's ops.

The scene is synthetic, of the size of a small photogrammetry scene: a bumpy sheet of half a million
faces, twelve cameras of 1536 x 1024 pixels, noise for photos. Ours is everything from the batch's
face ids to the moved parameters; the peer gets the surface points for nothing.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks._timing import milliseconds, row
from benchmarks.op_encode import peer_corners
from xscale import ops
from xscale.gbuffer.build import surface_samples
from xscale.gbuffer.gbuffer import Surface
from xscale.model.box import Box
from xscale.model.model import Model
from xscale.ops.shade import shade_reference
from xscale.training.rays import Rays
from xscale.training.settings import PAPER, Settings
from xscale.training.trainer import Trainer

SIDE, CAMERAS, WIDTH, HEIGHT = 512, 12, 1536, 1024


class SheetPool:
    """Stand-in for a pool: the same random pixels of the sheet at every draw."""

    def __init__(self, batch: int) -> None:
        generator = torch.Generator().manual_seed(0)
        at = torch.linspace(-1, 1, SIDE)
        v, u = torch.meshgrid(at, at, indexing="ij")
        vertices = torch.stack([u, v, 0.1 * torch.sin(9 * u) * torch.cos(7 * v)], -1)
        corner = (torch.arange(SIDE - 1)[:, None] * SIDE + torch.arange(SIDE - 1)).reshape(-1)
        upper = torch.stack([corner, corner + 1, corner + SIDE], 1)
        lower = torch.stack([corner + 1, corner + SIDE + 1, corner + SIDE], 1)
        faces = torch.cat([upper, lower]).int()
        empty = torch.zeros(0)
        self.surface = Surface(vertices.reshape(-1, 3).contiguous(), faces, *[empty] * 7)
        self.cameras = torch.zeros(CAMERAS, 32, dtype=torch.float64)
        self.cameras[:, [0, 4, 8]] = 1
        self.cameras[:, 9:11] = 0.3 * torch.rand(CAMERAS, 2, generator=generator).double() - 0.15
        self.cameras[:, 11] = 1.8
        self.cameras[:, 12:14] = 1200
        self.cameras[:, 14], self.cameras[:, 15] = WIDTH / 2, HEIGHT / 2
        self.rays = self._draw(batch, generator)

    def _draw(self, batch: int, generator: torch.Generator) -> Rays:
        """Pixels in the order of cameras and of a space-filling curve, as the pool draws them."""
        face = torch.randint(0, len(self.surface.faces), (batch,), generator=generator)
        photo = torch.randint(0, CAMERAS, (batch,), generator=generator).int()
        corners = self.surface.vertices[self.surface.faces[face].long()].double()
        centre = corners.mean(1) + self.cameras[photo.long(), 9:12]
        pixel = centre[:, :2] / centre[:, 2:] * 1200 + torch.tensor([WIDTH / 2, HEIGHT / 2])
        key = photo.long() << 32
        whole = pixel.long().clamp(min=0)
        for bit in range(11):
            key |= (whole[:, 0] >> bit & 1) << (2 * bit) | (whole[:, 1] >> bit & 1) << (2 * bit + 1)
        order = torch.argsort(key)
        target = torch.randint(0, 256, (batch, 3), generator=generator, dtype=torch.uint8)
        return Rays(photo[order], pixel[order].float().contiguous(), face[order].int(), target)

    def draw(self, step: int, count: int) -> Rays:
        """Return the batch."""
        return self.rays


class Peer:
    """The model as one writes it in PyTorch when speed counts, with its fused Adam."""

    def __init__(self, trainer: Trainer, pool: SheetPool) -> None:
        model, rays = trainer.model, pool.rays
        self._field, self._shader, self._settings = model.field, model.shader, trainer.settings
        samples = surface_samples(pool.surface, pool.cameras, rays.photo, rays.pixel, rays.face_id)
        self._position = model.field.unit(samples.position)
        self._footprint = model.field.unit_footprint(samples.footprint)
        self._direction, self._photo = samples.direction, rays.photo
        self._target = rays.target.float() / model.settings.photo_range
        self.leaves = {
            name: torch.nn.Parameter(tensor.clone()) for name, tensor in model.tensors().items()
        }
        self._optimizer = torch.optim.Adam(self.leaves.values(), lr=1e-3, fused=True)

    def step(self) -> None:
        """Forward, backward, update."""
        self._optimizer.zero_grad(set_to_none=True)
        colour = self._shade(self._encode())
        (colour - self._target).abs().mean().backward()
        self._optimizer.step()

    def _encode(self) -> Tensor:
        layout, scale = self._field.layout, self._field.settings.footprint_scale
        smooth = self._field.settings.interpolation == "smoothstep"
        rows, weights = [], []
        for level in range(layout.levels):
            row, weight = peer_corners(self._position, layout, level, smooth=smooth)
            if self._footprint is not None:
                cells = self._footprint * (scale * layout.scales[level])
                weight = weight * torch.erf(8**-0.5 / cells)[:, None]
            rows.append(row)
            weights.append(weight)
        # embedding_bag is PyTorch's best: every gather's backward makes a whole dense gradient.
        features = torch.nn.functional.embedding_bag(
            torch.stack(rows, dim=1).flatten(0, 1), self.leaves["field.table"], mode="sum",
            per_sample_weights=torch.stack(weights, dim=1).flatten(0, 1),
        )  # fmt: skip
        return features.reshape(len(self._position), -1)

    def _shade(self, features: Tensor) -> Tensor:
        weights, exposure = self.leaves["shader.weights"], self.leaves["shader.exposure"]
        light = None
        if self._field.settings.features_per_level == 8:
            codes = self.leaves["shader.code_weights"]
            light = ops.film_light(self.leaves["shader.light"][0], codes, self._shader.code_layout)
            exposure = ops.film_exposure(exposure, codes, self._shader.code_layout)
        return shade_reference(
            features, self._direction, weights, self._shader.layout, exposure, self._photo, light
        )


def rows() -> list[dict[str, object]]:
    """Time a step of the default preset, and of the published one under the lazy rule."""
    default = Settings()
    grid = replace(default.model.grid, finest_resolution=6668, log2_table_size=20)
    paper = replace(PAPER, optim=replace(PAPER.optim, dense_table=False))
    published = replace(PAPER.model.grid, finest_resolution=5548)
    return [
        _compare("training step, default", default, grid),
        _compare("training step, paper", paper, published),
    ]


def _compare(name: str, settings: Settings, grid: object) -> dict[str, object]:
    pool = SheetPool(settings.optim.batch)
    low, high = torch.tensor([-1.0, -1.0, -0.1]), torch.tensor([1.0, 1.0, 0.1])
    box = Box.around(low, high, grid.per_axis_box)
    model = Model(replace(settings.model, grid=grid), box, CAMERAS)
    trainer = Trainer(model, pool, pool.cameras, settings.optim)
    peer = Peer(trainer, pool)
    for _ in range(3):
        trainer.train_step(0.5)  # memory is touched for the first time
    works = {"ours": lambda: trainer.train_step(0.5), "peer": peer.step}
    times = milliseconds(works, seconds=20, least=3, most=7)
    shape = f"{settings.optim.batch} rays, L16 F{grid.features_per_level} 2^{grid.log2_table_size}"
    return row(name, shape, times, peer_name="PyTorch embedding_bag, eager shader, fused Adam")
