"""The Python of README, which is the interface as published, runs as it stands there."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import xscale
from tests.house.tree import ROOT, files

README = ROOT / "README.md"
PAGES = files(".md", under="docs")
# As published: changing it breaks what others have written.
PUBLISHED = [
    "import xscale",
    'scene = xscale.Scene.open("fountain")',
    'run = xscale.train(scene, out="runs/fountain", preset="default", minutes=10)',
    'frame = run.render(scene.photos[0].camera, outputs=("colour", "depth"))',
    "frame.colour  # torch.uint8 [H, W, 3]",
]


def _blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


@pytest.fixture(scope="module")
def names(asymmetric_template, tmp_path_factory):
    """Everything that the example has defined, run where a scene is called fountain."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "fountain").symlink_to(asymmetric_template, target_is_directory=True)
    (block,) = _blocks(README)
    # The one change: a test does not wait ten minutes.
    short, count = re.subn(r"minutes=10\b", "minutes=0.01", block)
    assert count == 1
    defined: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(short, "README.md", "exec"), defined)
        yield defined


def test_example_is_the_published_one():
    (block,) = _blocks(README)
    assert [line for line in block.splitlines() if line] == PUBLISHED


def test_example_gives_the_frame_that_it_says(names):
    frame, camera = names["frame"], names["scene"].photos[0].camera
    assert isinstance(names["run"], xscale.Run)
    assert frame.colour.dtype == torch.uint8
    assert tuple(frame.colour.shape) == (camera.height, camera.width, 3)
    assert frame.depth.dtype == torch.float32
    assert tuple(frame.depth.shape) == (camera.height, camera.width)
    seen = frame.depth[torch.isfinite(frame.depth)]
    # All of the scene lies between the plate and the roof's tip, 0 to 0.4 above it.
    assert 1.5 < seen.min() < seen.max() < 6
    assert frame.coverage.sum() == len(seen)


def test_examples_of_the_other_pages_run_after_it(names, monkeypatch):
    monkeypatch.chdir(names["run"].path.resolve().parents[1])
    blocks = [(page, block) for page in PAGES for block in _blocks(page)]
    assert blocks
    for page, block in blocks:
        defined: dict = {}
        exec(compile(block, str(page), "exec"), defined)
        assert defined["frame"].depth.dtype == torch.float32
        assert tuple(defined["frame"].depth.shape) == (540, 960)
        assert tuple(defined["corner"].colour.shape) == (48, 64, 3)


def test_changed_cameras_render(names):
    run, camera = names["run"], names["scene"].photos[0].camera
    frame = names["frame"]
    # The principal point three columns to the right: the same picture, three columns further.
    K = np.array(camera.K)
    K[0, 2] += 3
    moved = run.render(replace(camera, K=K))
    assert torch.equal(moved.coverage[:, 3:], frame.coverage[:, :-3])
    difference = moved.colour[:, 3:].int() - frame.colour[:, :-3].int()
    assert difference.abs().max() <= 1
    # Half the size: every fourth pixel's worth of the same view.
    half = run.render(camera.downscaled(2), outputs=("colour", "depth", "normal", "footprint"))
    assert tuple(half.colour.shape) == (32, 56, 3)
    corners = torch.stack([frame.depth[y::2, x::2] for y in (0, 1) for x in (0, 1)])
    inner = torch.isfinite(corners).all(0) & torch.isfinite(half.depth)
    flat = inner & ((corners.amax(0) - corners.amin(0)) < 0.1)
    assert flat.float().mean() > 0.5
    assert (half.depth - corners.mean(0))[flat].abs().max() < 0.01
    # A camera of one's own, a unit further back along its axis: everything is one unit deeper.
    t = camera.t + np.array([0, 0, 1.0])
    own = xscale.Camera("PINHOLE", camera.width, camera.height, camera.K, camera.R, t)
    deeper = run.render(own, outputs=("depth",))
    y, x = int(camera.cy), int(camera.cx)
    assert float(deeper.depth[y, x] - frame.depth[y, x]) == pytest.approx(1.0, abs=0.02)
