"""Quality does not fall unnoticed: short trainings of three real scenes score what was recorded.

A change that makes pictures better raises the figures here, in the same commit; one that makes them
worse has to say so.
"""

import os
from pathlib import Path

import pytest

import xscale
from xscale.render.views import render_views
from xscale.report.score import score_renders

STEPS, DOWNSCALE = 300, 4
RECORDED = {"fountain": 32.20, "monstree": 26.13, "brighton": 22.98}
"""psnr_covered_cc in dB, of the seed 0."""
CHANCE = 0.1
"""dB."""


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", RECORDED)
def test_short_trainings_score_what_was_recorded(name, tmp_path):
    scene = xscale.Scene.open(Path(os.environ["XSCALE_SCENES"]) / name)
    run = xscale.train(scene, out=tmp_path / "run", steps=STEPS, downscale=DOWNSCALE)
    names = run.names("test")
    pictures, coverage = render_views(run, names, tmp_path / "test")
    found = score_renders(
        names,
        lambda photo: scene.photo(photo).read(DOWNSCALE),
        pictures,
        coverage,
        suffixes=("_covered_cc",),
    )["mean"]["psnr_covered_cc"]
    assert abs(found - RECORDED[name]) < CHANCE, f"{name}: {found:.3f} dB"
