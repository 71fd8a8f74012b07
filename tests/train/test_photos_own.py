"""What each photo has of its own, and photos that do not fit: latents, and robust weights."""

import numpy as np
import pytest
import torch

import xscale
from xscale import ops
from xscale.errors import ConfigError
from xscale.io.checkpoints import load_newest
from xscale.model.settings import ShaderSettings
from xscale.model.shader import ReluShader
from xscale.training import steps

SMALL = ["optim.batch=1500", "model.grid.levels=6", "model.grid.log2_table_size=12"]
CPU = torch.device("cpu")


@pytest.fixture
def shader():
    made = ReluShader(
        ShaderSettings(latent=4, hidden=16), 8, 3, CPU, torch.Generator().manual_seed(3)
    )
    made.latent.uniform_(-1, 1, generator=torch.Generator().manual_seed(4))
    return made


@pytest.fixture
def rays():
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(40, 8, generator=generator)
    direction = torch.nn.functional.normalize(torch.randn(40, 3, generator=generator), dim=1)
    photo = torch.randint(0, 3, (40,), generator=generator, dtype=torch.int32)
    return features, direction, photo, torch.rand(40, 3, generator=generator)


def test_latents_have_the_gradient_of_finite_differences(shader, rays):
    features, direction, photo, target = rays
    grads = shader.train(features, direction, photo, target, "l2")[3]
    # Along the gradient, where the difference is largest against float32's noise; a short way, so
    # that few rays pass a kink.
    start, step = shader.latent.clone(), grads["shader.latent"].clone()
    step *= 1e-2 / step.norm()
    losses = []
    for sign in (1, -1):
        shader.latent = start + sign * step
        losses.append(float(shader.train(features, direction, photo, target, "l2")[1].mean()))
    found = float((grads["shader.latent"] * step).sum())
    assert found == pytest.approx((losses[0] - losses[1]) / 2, rel=2e-2)
    assert grads["shader.latent"].abs().min() > 0


def test_pictures_take_the_mean_latent_as_part_of_the_bias(shader, rays):
    features, direction, photo, _ = rays
    inputs = torch.cat([features, shader.latent.mean(0).expand(40, 4)], 1)
    expected = ops.shade(inputs, direction, shader.weights, shader.layout, shader.exposure, photo)
    assert (shader.shade(features, direction) - expected).abs().max() < 1e-5
    assert shader.frame_shader().layout.features == 8


@pytest.mark.parametrize("more", ["model.shader.latent=4", "optim.robust=0.05"])
def test_training_with_it_resumes_to_the_same_bits_and_renders(
    asymmetric_folder, trained_through_and_in_parts, more
):
    scene = xscale.Scene.open(asymmetric_folder)
    straight, one = trained_through_and_in_parts(scene, stop=5, steps=12, settings=[*SMALL, more])
    if "latent" in more:
        assert (one["shader.latent"] != 0).all()
    frame = straight.render(straight.camera(straight.names("test")[0]))
    assert frame.colour[frame.coverage].float().std() > 1


def test_a_scale_of_trust_beyond_all_errors_changes_nothing_and_a_small_one_does(
    asymmetric_folder, tmp_path, monkeypatch
):
    scene = xscale.Scene.open(asymmetric_folder)
    monkeypatch.setattr(steps, "trains_fused", lambda *_: False)

    def table(name, more):
        options = {"settings": [*SMALL, *more], "steps": 6}
        run = xscale.train(scene, out=tmp_path / name, **options)
        return load_newest(run.path / "checkpoints")[0].tensors["field.table"]

    usual = table("usual", [])
    trusting, wary = (table(f"at_{scale}", [f"optim.robust={scale}"]) for scale in (1e6, 0.01))
    assert np.abs(trusting - usual).max() < 1e-4
    assert np.abs(wary - usual).max() > 1e-2


def test_impossible_settings_are_refused():
    for bad in ({"latent": 3}, {"latent": 128}, {"latent": 4, "kind": "film", "exposure": "code"}):
        with pytest.raises(ConfigError, match="latent"):
            ShaderSettings(**bad)
