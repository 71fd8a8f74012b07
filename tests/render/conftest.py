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
from xscale.model.field import Box
from xscale.model.settings import GridSettings, ModelSettings
from xscale.render.run import Run, new_model, write_run
from xscale.render.uncertainty import write_residuals


def write_tiny_run(built, path: Path) -> Path:
    """Write a run with random weights, so strong that neighbouring pixels differ."""
    mesh = Mesh.from_world(built.vertices, built.faces)
    low, high = (torch.from_numpy(np.asarray(v)) for v in mesh.bounds)
    grid = GridSettings(
        levels=6, log2_table_size=12, coarsest_resolution=8, finest_resolution=256, initial_range=1
    )
    box = Box.around(low, high, False)
    names = list(built.cameras)
    manifest = {
        "format": 1,
        "scene": {"fingerprint": "0", "root": "nowhere", "downscale": 1.0, "warnings": []},
        "origin": mesh.origin.tolist(),
        "box": {"centre": box.centre, "extent": box.extent},
        "preset": "default",
        "settings": {"model": to_dict(ModelSettings(grid=grid))},
        "split": {"train": names[1:], "test": names[:1]},
        "cameras": {
            name: {
                "model": c.model, "width": c.width, "height": c.height, "K": c.K.tolist(),
                "R": c.R.tolist(), "t": c.t.tolist(), "near": c.near,
            }
            for name, c in built.cameras.items()
        },
        "seed": 3,
    }  # fmt: skip
    write_run(path, manifest, build_surface(mesh))
    model = new_model(manifest, torch.device("cpu"))
    tensors = {name: tensor.numpy() for name, tensor in model.tensors().items()}
    save_checkpoint(path / "checkpoints", 1, tensors, {})
    write_residuals(path, torch.linspace(0.01, 0.1, len(mesh.vertices)))
    return path


@pytest.fixture(scope="session")
def tiny_run(asymmetric, tmp_path_factory) -> Run:
    return Run.open(write_tiny_run(asymmetric, tmp_path_factory.mktemp("tiny") / "run"))
