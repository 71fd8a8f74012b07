"""``xscale inspect`` ends with the code with which ``xscale train`` would end (kind C)."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from xscale.cli.main import main

TINY = ["--steps", "2", "--set", "optim.batch=300", "model.grid.levels=4",
        "model.grid.log2_table_size=9"]  # fmt: skip


def _photos(root):
    return sorted((root / "images").iterdir())


def _cut(root, which):
    for k, path in enumerate(_photos(root)):
        if which(k):
            path.write_bytes(path.read_bytes()[:200])


def _masked(root, which):
    for k, path in enumerate(_photos(root)):
        if which(k):
            builders.save_photo(root / "masks" / path.name, np.zeros((64, 96), np.uint8))


def _leak(root):
    shutil.copy(_photos(root)[1], _photos(root)[0])


def _turned(root, which):
    """Cameras of some photos look away from the mesh."""
    scene = builders.asymmetric_scene()
    flip = np.diag([-1.0, 1.0, -1.0])
    cameras = {
        name: replace(camera, R=flip @ camera.R, t=flip @ camera.t) if which(k) else camera
        for k, (name, camera) in enumerate(sorted(scene.cameras.items()))
    }
    builders.write_model(replace(scene, cameras=cameras), root / "sparse" / "0")


FAULTS = {
    "nothing is wrong": (0, lambda root: None),
    "a training photo is cut": (0, lambda root: _cut(root, lambda k: k == 1)),
    "the test photo is cut": (3, lambda root: _cut(root, lambda k: k == 0)),
    "most training photos are cut": (3, lambda root: _cut(root, lambda k: k % 2 == 1)),
    "a training photo is missing": (3, lambda root: _photos(root)[1].unlink()),
    "masks leave nothing": (3, lambda root: _masked(root, lambda k: True)),
    "masks leave nothing of the test photo": (3, lambda root: _masked(root, lambda k: k == 0)),
    "a test photo is a training photo": (3, _leak),
    "one camera looks away": (0, lambda root: _turned(root, lambda k: k == 3)),
    "no training camera sees the mesh": (3, lambda root: _turned(root, lambda k: k > 0)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_inspect_and_train_end_with_the_same_code(fault, asymmetric_folder, tmp_path, capsys):
    code, damage = FAULTS[fault]
    damage(asymmetric_folder)
    inspected = main(["inspect", str(asymmetric_folder), "--quick"])
    said = capsys.readouterr().err
    trained = main(["train", str(asymmetric_folder), "--out", str(tmp_path / "run"), *TINY])
    told = capsys.readouterr().err
    assert (inspected, trained) == (code, code), (said, told)
    lines = [line for line in said.splitlines() if line.startswith("xscale: error: ")]
    assert len(lines) == (code != 0)


@pytest.mark.parametrize(("photos", "code"), [(1, 3), (2, 0)])
def test_inspect_and_train_agree_about_few_photos(photos, code, asymmetric, tmp_path):
    few = dict(sorted(asymmetric.cameras.items())[:photos])
    root = builders.write_colmap(replace(asymmetric, cameras=few), tmp_path / "scene")
    assert main(["inspect", str(root), "--quick"]) == code
    assert main(["train", str(root), "--out", str(tmp_path / "run"), *TINY]) == code
