"""Preparations that do not need PyTorch, made while it loads."""

from __future__ import annotations

from pathlib import Path

from xscale.gbuffer.clusters import cluster_ahead
from xscale.scene.scene import Scene
from xscale.training.left_out import check_test_photos


def look_ahead(
    scene: Scene, *, test_every: int | None, test_list: str | Path | None, downscale: float
) -> None:
    """Cluster the mesh and decode the test photos; ``train`` does neither again.

    Args:
        scene: The scene.
        test_every: As for ``train``, like the others.
        test_list: File with the names of the held-out photos.
        downscale: Factor by which photos are reduced.

    Raises:
        ListError: The list is wrong.
        PhotoError: A test photo is damaged.
        UsageError: ``test_every`` makes no sense.
    """
    split = scene.split(test_every=test_every, test_list=test_list)
    check_test_photos(scene, split, downscale)
    cluster_ahead(scene.mesh)
