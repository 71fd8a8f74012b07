"""The demo's photos: three rings of cameras, 1 : 8 : 64 in distance, each photo exposed anew."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xscale import ops
from xscale.demo.surface import Paint, ground
from xscale.gbuffer.build import build_gbuffer, build_surface
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh

_SUN = (0.48, 0.30, 0.82)
_BAND_SAMPLES = 1 << 20


@dataclass(frozen=True)
class Ring:
    """Cameras at one distance."""

    name: str
    distance: float
    """Scene units; the ground is 2 across."""
    photos: int
    spread: float
    """Radius of the disc of points looked at."""


@dataclass(frozen=True)
class DemoSize:
    """How large the demo is."""

    width: int = 400
    height: int = 300
    supersampling: int = 4
    """Samples a pixel along each axis."""
    cells: int = 640
    """Vertices of the true ground along a side; the training mesh has a quarter."""
    rings: tuple[Ring, ...] = (
        Ring("1_far", 2.4, 14, 0.15),
        Ring("2_middle", 2.4 / 8, 21, 0.10),
        Ring("3_near", 2.4 / 64, 42, 0.026),
    )


SMALL = DemoSize()
TINY = DemoSize(
    width=80,
    height=60,
    supersampling=2,
    cells=96,
    rings=(
        Ring("1_far", 2.4, 5, 0.15),
        Ring("2_middle", 2.4 / 8, 5, 0.10),
        Ring("3_near", 2.4 / 64, 6, 0.01),
    ),
)


def cameras(size: DemoSize) -> Iterator[tuple[str, Ring, Camera]]:
    """Give each photo's name, ring and camera."""
    focal = 0.9 * size.width
    K = np.array([[focal, 0, size.width / 2], [0, focal, size.height / 2], [0, 0, 1.0]])
    for ring in size.rings:
        for index in range(ring.photos):
            # Golden angles: any few of them go all around and fill the disc evenly.
            turn = 2.399963 * index
            high = math.radians(38 + 34 * ((index * 0.618034) % 1))
            reach = ring.spread * math.sqrt((index + 0.5) / ring.photos)
            target = np.array([reach * math.cos(1.7 * turn), reach * math.sin(1.7 * turn), 0.0])
            away = np.array(
                [
                    math.cos(high) * math.cos(turn),
                    math.cos(high) * math.sin(turn),
                    math.sin(high),
                ]
            )
            position = target + ring.distance * away
            forward = -away
            # Camera y is down: of the world's up, what is across the view, turned round.
            down = np.array([0, 0, -1.0]) - forward * (forward @ np.array([0, 0, -1.0]))
            down /= np.linalg.norm(down)
            R = np.stack([np.cross(down, forward), down, forward])
            yield (
                f"ring{ring.name}_{index:03d}.png",
                ring,
                Camera(
                    model="PINHOLE",
                    width=size.width,
                    height=size.height,
                    K=K,
                    R=R,
                    t=-R @ position,
                ),
            )


class Studio:
    """Takes photos of the true ground.

    Args:
        size: How large the demo is.
        mesh: The true ground, where it exists already.
        finest: Shortest wavelength of the ground's paint, scene units.
    """

    def __init__(self, size: DemoSize, mesh: Mesh | None = None, finest: float = 2e-4) -> None:
        self._size = size
        mesh = mesh or Mesh.from_world(*ground(size.cells))
        self._origin = torch.from_numpy(mesh.origin).float()
        self._mesh_origin = mesh.origin
        self._surface: Surface = build_surface(mesh)
        self._paint = Paint(finest)
        self._random = np.random.default_rng(3)

    @torch.inference_mode()
    def photograph(
        self,
        camera: Camera,
        distance: float,
        rect: tuple[int, int, int, int] | None = None,
        random: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Return uint8 [H, W, 3], sRGB: averaged in linear light, exposed, rounded.

        Args:
            camera: In the scene's frame.
            distance: To what it looks at, scene units.
            rect: (left, top, width, height) of what is wanted of the picture; None is all.
            random: Source of the photo's exposure; by default the studio's own.
        """
        ss = self._size.supersampling
        width, height = camera.width * ss, camera.height * ss
        packed = camera.scaled(width, height).recentred(self._mesh_origin).packed()
        spacing = distance / camera.fx / ss
        left, top, across, down = (
            side * ss for side in rect or (0, 0, camera.width, camera.height)
        )
        rows = max(ss, _BAND_SAMPLES // across // ss * ss)
        bands = []
        for first in range(0, down, rows):
            tall = min(rows, down - first)
            samples, _ = build_gbuffer(
                self._surface,
                torch.from_numpy(packed),
                width,
                height,
                (left, top + first, across, tall),
            )
            band = self._sky(tall * across)
            band[samples.pixel_index] = self._light(samples, spacing)
            band = band.reshape(tall // ss, ss, across // ss, ss, 3).mean((1, 3))
            bands.append(band)
        return self._expose(torch.cat(bands), random or self._random).numpy()

    @staticmethod
    def _sky(count: int) -> Tensor:
        return torch.tensor([0.45, 0.58, 0.75]).repeat(count, 1)

    def _light(self, samples: object, spacing: float) -> Tensor:
        """Return linear radiance [N, 3] of surface samples under sun and sky."""
        position = samples.position + self._origin
        colour, gloss = self._paint.albedo(position[:, :2].contiguous(), position[:, 2], spacing)
        normal = samples.normal * torch.sign(samples.normal[:, 2:3])
        sun = torch.tensor(_SUN) / math.sqrt(sum(s * s for s in _SUN))
        facing = (normal @ sun).clamp(min=0)
        half = torch.nn.functional.normalize(sun - samples.direction)
        shine = gloss * (normal * half).sum(1).clamp(min=0) ** 24
        sky = 0.30 + 0.15 * normal[:, 2]
        warm, cool = torch.tensor([1.0, 0.93, 0.82]), torch.tensor([0.85, 0.95, 1.1])
        light = (0.85 * facing)[:, None] * warm + sky[:, None] * cool
        return colour * light + (shine * (facing > 0))[:, None] * warm

    @staticmethod
    def _expose(linear: Tensor, random: np.random.Generator) -> Tensor:
        """Apply a photo's own gain and white balance, encode as sRGB in 8 bits."""
        gain = 2.0 ** random.uniform(-0.5, 0.1)
        balance = 1 + random.uniform(-0.05, 0.05, 3)
        linear = (linear * torch.from_numpy(gain * balance).float()).clamp(0, 1)
        return (ops.linear_to_srgb(linear) * 255 + 0.5).to(torch.uint8)
