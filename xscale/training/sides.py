"""Sides of a mesh that are surface by the evidence of a scene's photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from xscale.gbuffer.gbuffer import Surface
from xscale.gbuffer.sides import Evidence, sides_by_evidence
from xscale.scene.scene import Photo


def sides_by_photos(
    surface: Surface, photos: Sequence[Photo], origin: np.ndarray, downscale: float = 1
) -> Evidence:
    """Ask photos which sides of a mesh's faces are surface; see ``xscale.gbuffer.sides``.

    Args:
        surface: The mesh.
        photos: Photos that are asked, in the scene's order.
        origin: Float64 [3], of the surface's frame in the scene's.
        downscale: Factor by which the photos are reduced.
    """
    local = [photo.camera_at(downscale).recentred(origin) for photo in photos]
    cameras = torch.from_numpy(np.stack([camera.packed() for camera in local]))
    return sides_by_evidence(
        surface,
        cameras.to(surface.vertices.device),
        [(camera.width, camera.height) for camera in local],
        lambda index, factor: photos[index].load(downscale * factor),
    )
