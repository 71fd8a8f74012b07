"""Colours corrected by source photos: what counts, what does not, and the way through a run."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import xscale
from xscale.cli.main import main
from xscale.errors import InputError
from xscale.gbuffer.build import build_gbuffer
from xscale.io.photo.images import read_rgb
from xscale.render import source_photos
from xscale.render.run import Run
from xscale.render.source_photos import Nearby, Shares, corrected, weight

SMALL = ["optim.batch=1500", "model.grid.levels=6", "model.grid.log2_table_size=12"]


@pytest.fixture(scope="module")
def trained(asymmetric_template, tmp_path_factory) -> Run:
    scene = xscale.Scene.open(asymmetric_template)
    out = tmp_path_factory.mktemp("kept") / "run"
    return xscale.train(scene, out=out, steps=20, settings=SMALL, source_photos=True)


@pytest.fixture(scope="module")
def opened(trained) -> Run:
    return Run.open(trained.path, source_photos=True)


def _local(run, name):
    return run.camera(name).recentred(np.array(run.manifest.origin))


def _samples(run, camera):
    packed = torch.from_numpy(camera.packed())
    return build_gbuffer(run.surface, packed, camera.width, camera.height)[0]


def _flat(run, number, residual, rendered=0.5):
    """A photo whose residual and picture are one value everywhere."""
    camera = _local(run, run.names("train")[number])
    shape = (3, camera.height, camera.width)
    return Nearby(
        run.views[number],
        camera,
        torch.full(shape, round(255 * rendered), dtype=torch.uint8),
        torch.full(shape, 128 + round(255 * residual), dtype=torch.uint8),
        None,
    )


def test_a_photo_without_residual_that_looks_like_the_picture_changes_nothing(opened):
    camera = _local(opened, opened.names("test")[0])
    samples = _samples(opened, camera)
    colour = torch.full((len(samples.position), 3), 128 / 255)
    found = corrected(colour.clone(), samples, camera, [_flat(opened, 0, 0.0, 128 / 255)], Shares())
    assert (found - colour).abs().max() < 1e-6


def test_residuals_are_added_where_the_photo_sees_the_point_and_nowhere_else(opened):
    camera = _local(opened, opened.names("test")[0])
    samples = _samples(opened, camera)
    colour = torch.full((len(samples.position), 3), 128 / 255)
    photo = _flat(opened, 0, 0.2, 128 / 255)
    shares = Shares(residual=0.4, aside=0.2, least=1e-6)
    found = corrected(colour.clone(), samples, camera, [photo], shares)
    seen = torch.from_numpy(photo.view.sees(samples.position.numpy()))
    assert 0 < seen.sum() < len(seen)
    assert (found[~seen] == colour[~seen]).all()
    assert (found[seen] >= colour[seen]).all()
    most = shares.residual * 51 / 255
    assert (found - colour).max() == pytest.approx(most, rel=0.05)
    faint = corrected(colour.clone(), samples, camera, [photo], Shares(0.4, 0.2, 1e6))
    assert (faint - colour).abs().max() < 1e-4


def test_all_of_both_shares_is_the_photo_itself(asymmetric_template, opened):
    scene = xscale.Scene.open(asymmetric_template)
    name = opened.names("train")[1]
    camera = _local(opened, name)
    samples = _samples(opened, camera)
    (photo,) = [p for p in opened.source_photos.near(camera) if p.view is opened.views[1]]
    photo = dataclasses.replace(photo, mask=None)
    colour = torch.zeros(len(samples.position), 3)
    found = corrected(colour, samples, camera, [photo], Shares(1.0, 1.0, 1e-6))
    truth = torch.from_numpy(scene.photo(name).read()).reshape(-1, 3)[samples.pixel_index] / 255
    inner = weight(samples, camera, camera, photo.view) > 0
    # JPEG, and the photo's exposure against the mean.
    assert (found - truth)[inner].abs().mean() < 0.02


def test_a_photo_counts_most_along_its_own_rays_and_not_under_its_mask(opened):
    camera = _local(opened, opened.names("train")[1])
    samples = _samples(opened, camera)
    view = opened.views[1]
    own = weight(samples, camera, camera, view)
    other = weight(samples, _local(opened, opened.names("train")[0]), camera, view)
    assert own.max() == pytest.approx(1 / source_photos._SMALLEST_ANGLE, rel=0.05)
    seen = own > 0
    assert seen.float().mean() > 0.8
    assert (own[seen] >= other[seen] * 0.999).all()
    mask = torch.zeros(camera.height, camera.width, dtype=torch.bool)
    assert not weight(samples, camera, camera, view, mask).any()


def test_training_views_come_nearer_to_their_photos(asymmetric_template, trained, opened):
    scene = xscale.Scene.open(asymmetric_template)
    for name in trained.names("train"):
        photo = torch.from_numpy(scene.photo(name).read()).float()
        errors = []
        for run in (trained, opened):
            frame = run.render(run.camera(name))
            errors.append((frame.colour.float() - photo)[frame.coverage].square().mean())
        assert errors[1] < errors[0]


def test_a_part_of_a_corrected_picture_is_the_crop_of_the_whole(opened):
    camera = opened.camera(opened.names("test")[0])
    whole = opened.render(camera).colour
    part = opened.render(camera, rect=(20, 10, 50, 30)).colour
    assert torch.equal(part, whole[10:40, 20:70])


def test_runs_with_and_without_photos_are_other_jobs(trained, opened):
    assert trained.fingerprint != opened.fingerprint


def test_commands_take_photos_from_the_run_alone(asymmetric_folder, trained, tmp_path):
    run, plain, better = str(trained.path), tmp_path / "plain", tmp_path / "better"
    assert main(["render", run, "--out", str(plain)]) == 0
    assert main(["render", run, "--out", str(better), "--source-photos"]) == 0
    for path in sorted(plain.glob("*.png")):
        assert not np.array_equal(read_rgb(path)[0], read_rgb(better / path.name)[0])
    scene = ["--scene", str(asymmetric_folder), "--source-photos"]
    assert main(["score", run, *scene]) == 0
    scores = json.loads((trained.path / "scores.json").read_text())
    assert scores["protocol"]["source_photos"] is True


def test_a_run_without_photos_or_with_those_of_another_step_says_so(asymmetric_folder, tmp_path):
    scene = xscale.Scene.open(asymmetric_folder)
    options = {"out": tmp_path / "run", "settings": SMALL}
    xscale.train(scene, steps=4, **options)
    run = Run.open(tmp_path / "run", source_photos=True)
    with pytest.raises(InputError, match="keeps no photos"):
        run.render(run.camera(run.names("test")[0]))
    xscale.train(scene, steps=4, resume=True, source_photos=True, **options)
    run = Run.open(tmp_path / "run", source_photos=True)
    run.render(run.camera(run.names("test")[0]))
    xscale.train(scene, steps=6, resume=True, **options)
    run = Run.open(tmp_path / "run", source_photos=True)
    with pytest.raises(InputError, match="step 4"):
        run.render(run.camera(run.names("test")[0]))
