"""An untrained run of the asymmetric scene: every colour differs, and making it takes no time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from xscale.config import to_dict
from xscale.gbuffer.build import build_surface
from xscale.geometry.mesh import Mesh
from xscale.io.checkpoints import save_checkpoint
from xscale.model.box import Box
from xscale.model.settings import GridSettings, ModelSettings
from xscale.render.new_run import new_model, write_run
from xscale.render.run import Run
from xscale.run.folder import RESIDUALS, RunFolder
from xscale.run.manifest import Manifest, TrainedScene
from xscale.scene.split import Split


def write_tiny_run(built, path: Path) -> Path:
    """Write a run with random weights, so strong that neighbouring pixels differ."""
    mesh = Mesh.from_world(built.vertices, built.faces)
    low, high = (torch.from_numpy(np.asarray(v)) for v in mesh.bounds)
    grid = GridSettings(
        levels=6, log2_table_size=12, coarsest_resolution=8, finest_resolution=256, initial_range=1
    )
    box = Box.around(low, high, False)
    names = list(built.cameras)
    manifest = Manifest(
        run="0123456789abcdef",
        scene=TrainedScene(fingerprint="0", layout="colmap", root="nowhere", photos=len(names),
                           downscale=1.0),
        origin=tuple(mesh.origin.tolist()),
        box=box,
        preset="default",
        settings={"model": to_dict(ModelSettings(grid=grid))},
        split=Split(tuple(names[1:]), tuple(names[:1])),
        cameras=built.cameras,
        versions={},
        seed=3,
    )  # fmt: skip
    folder = RunFolder(path)
    write_run(folder, manifest, build_surface(mesh))
    model = new_model(manifest, torch.device("cpu"))
    tensors = {name: tensor.numpy() for name, tensor in model.tensors().items()}
    save_checkpoint(folder.checkpoints, 1, tensors, {}, run=manifest.run)
    write_residuals(path, np.linspace(0.01, 0.1, len(mesh.vertices), dtype=np.float32))
    return path


def write_residuals(path: Path, residual: np.ndarray) -> None:
    folder = RunFolder(path)
    folder.write(RESIDUALS, {"residual": residual}, folder.manifest.run)


@pytest.fixture(scope="session")
def tiny_run(asymmetric, tmp_path_factory) -> Run:
    return Run.open(write_tiny_run(asymmetric, tmp_path_factory.mktemp("tiny") / "run"))
