"""Beginnings of a run: the untrained model, and the files that make a folder a run."""

from __future__ import annotations

import torch

from xscale.gbuffer.gbuffer import Surface
from xscale.model.background import Background
from xscale.model.model import Model
from xscale.run.folder import BACKGROUND, MESH, RunFolder
from xscale.run.manifest import Manifest


def new_model(
    manifest: Manifest,
    device: torch.device,
    *,
    frozen: bool = False,
    surface: Surface | None = None,
) -> Model:
    """Make the untrained model that a manifest describes; see ``Model`` for the arguments."""
    return Model(
        manifest.model,
        manifest.box,
        photos=len(manifest.split.train),
        device=device,
        seed=manifest.seed,
        frozen=frozen,
        surface=surface,
    )


def write_run(folder: RunFolder, manifest: Manifest, surface: Surface) -> None:
    """Write what makes a folder a run: the mesh with its clusters first, the manifest last."""
    arrays = {name: tensor.cpu().numpy() for name, tensor in vars(surface).items()}
    folder.write(MESH, arrays, manifest.run)
    folder.write_manifest(manifest)


def write_background(folder: RunFolder, run: str | None, background: Background) -> None:
    """Write a run's background; it must exist when the first checkpoint does."""
    arrays = {name: tensor.cpu().numpy() for name, tensor in background.tensors().items()}
    folder.write(BACKGROUND, arrays, run)
