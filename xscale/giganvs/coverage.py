"""Coverage of a split's test photos: the pixels that show the mesh's surface.

Which sides of faces are surface, the split's training photos say, as they do in a training
(``xscale.gbuffer.sides``). No method is asked, so every method is scored on the same pixels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from xscale.gbuffer.build import visibility
from xscale.gbuffer.gbuffer import Surface
from xscale.giganvs.splits import SplitFile
from xscale.scene.scene import Scene
from xscale.training.sides import sides_by_photos


class Coverage:
    """Coverage of a scene's photos by the evidence of a split's training photos.

    Args:
        scene: The scene.
        split: The split.
        surface: The scene's mesh.
    """

    def __init__(self, scene: Scene, split: SplitFile, surface: Surface) -> None:
        held = set(split.test)
        training = [photo for photo in scene.photos if photo.name not in held]
        self._scene = scene
        self._surface = replace(
            surface, sides=sides_by_photos(surface, training, scene.origin).sides
        )

    def mask(self, name: str) -> np.ndarray:
        """Return 255 where the pixel's centre ray hits a face from a side that is surface.

        Args:
            name: Name of the photo.

        Returns:
            uint8 [H, W], else 0.
        """
        camera = self._scene.photo(name).camera
        packed = torch.from_numpy(camera.recentred(self._scene.origin).packed())
        face = visibility(self._surface, packed, camera.width, camera.height)
        return np.where(face.numpy() >= 0, 255, 0).astype(np.uint8)
