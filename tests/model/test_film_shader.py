"""The published configuration, end to end: levels, shader, codes, photo values, optimizer."""

import pytest
import torch

import xscale
from xscale import ops
from xscale.errors import ConfigError, ResourceError, UsageError
from xscale.model.box import Box
from xscale.model.field import finest_resolution, grid_layout_of, log2_table_size
from xscale.model.film_shader import FilmShader
from xscale.model.model import Model
from xscale.model.settings import GridSettings, ModelSettings, ShaderSettings
from xscale.training import memory
from xscale.training.settings import PAPER, preset

SMALL = ["optim.batch=1024", "model.grid.levels=4", "model.grid.log2_table_size=10"]
RESOLUTIONS = (16, 24, 35, 52, 77, 113, 166, 246, 363, 535, 790, 1167, 1723, 2544, 3757, 5548)


def _shader(photos=5, exposure="code", seed=0):
    generator = torch.Generator().manual_seed(seed)
    settings = ShaderSettings(kind="film", exposure=exposure)
    return FilmShader(settings, 16, photos, torch.device("cpu"), generator)


def _rays(count=300, seed=1):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 16, generator=generator)
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator))
    photo = torch.randint(0, 5, (count,), generator=generator, dtype=torch.int32)
    target = torch.rand(count, 3, generator=generator)
    return features, direction, photo, target


def test_paper_has_the_published_levels():
    box = Box.around(torch.tensor([0.0, 0, 0]), torch.tensor([1.0, 2, 3]), per_axis=True)
    assert box.extent == pytest.approx((1 + 1e-6, 2 + 1e-6, 3 + 1e-6), abs=1e-12)
    grid = PAPER.model.grid
    layout = grid_layout_of(
        GridSettings(
            **{
                **vars(grid),
                "finest_resolution": finest_resolution(grid, box, torch.tensor([1e-3])),
            }
        )
    )
    assert layout.resolutions == RESOLUTIONS
    assert layout.rows == 44_043_888
    assert layout.rows * grid.features_per_level == 352_351_104


def test_paper_is_the_published_optimizer():
    optim = preset("paper").optim
    assert optim.table_rate == optim.shader_rate == optim.exposure_rate == 2e-4
    assert (optim.warmup, optim.final_rate) == (0.0, 1.0)
    assert (optim.beta1, optim.beta2, optim.table_epsilon) == (0.9, 0.999, 1e-8)
    assert optim.dense_table
    assert optim.loss == "l1"


def test_film_gradients_of_codes_equal_autograd_through_the_reference():
    shader = _shader()
    features, direction, photo, target = _rays()
    _, _, grad_features, grads = shader.train(features, direction, photo, target, "l1")
    leaves = {n: t.double().requires_grad_() for n, t in shader.parameters().items()}
    f = features.double().requires_grad_()
    light = ops.film_light(leaves["shader.light"][0], leaves["shader.code_weights"],
                           shader.code_layout)  # fmt: skip
    rows = ops.film_exposure(leaves["shader.exposure"], leaves["shader.code_weights"],
                             shader.code_layout)  # fmt: skip
    with ops.use_backend("reference"):
        from xscale.ops.shade import shade_film_reference

        rgb = shade_film_reference(
            f, direction.double(), leaves["shader.weights"], shader.layout, rows, photo, light
        )
    (rgb - target).abs().mean().backward()
    for name, leaf in leaves.items():
        scale = leaf.grad.abs().max()
        assert torch.allclose(grads[name].double(), leaf.grad, atol=float(1e-4 * scale)), name
    assert torch.allclose(grad_features.double(), f.grad, atol=float(1e-4 * f.grad.abs().max()))


def test_film_without_an_exposure_renders_the_mean_code():
    shader = _shader()
    features, direction, _, _ = _rays()
    plain = shader.shade(features, direction)
    mean = shader.shade(features, direction, shader.exposure.mean(0))
    other = shader.shade(features, direction, shader.exposure[0])
    assert torch.equal(plain, mean)
    assert not torch.equal(plain, other)


def test_film_refuses_an_affine_exposure():
    features, direction, _, _ = _rays()
    with pytest.raises(UsageError, match="codes of 4 numbers, got 12"):
        _shader().shade(features, direction, torch.zeros(12))


def test_film_codes_stay_within_length_one():
    shader = _shader()
    shader.exposure.mul_(100)
    before = shader.exposure.clone()
    shader.after_step(0.0)
    assert torch.allclose(shader.exposure.norm(dim=1), torch.ones(5))
    cosine = torch.nn.functional.cosine_similarity(before, shader.exposure)
    assert torch.allclose(cosine, torch.ones(5))


@pytest.mark.parametrize("value", [0, 1, 100, 254, 255])
def test_a_fitted_photo_value_comes_back_as_itself(value):
    # The target is value / 256 in the published rule; a picture written from it must show value.
    settings = ModelSettings(
        photo_range=256,
        grid=GridSettings(levels=2, log2_table_size=8, finest_resolution=32),
        shader=ShaderSettings(kind="film", exposure="code"),
    )
    model = Model(settings, Box((0.0,) * 3, (1.0,) * 3), photos=1)
    fitted = torch.full((1, 3), value / settings.photo_range)
    model.shader.shade = lambda *_: fitted.clone()
    model.field.encode = lambda *_: None

    class Samples:
        position = footprint = direction = None

    colour = model.colour(Samples)
    assert (colour * 255 + 0.5).to(torch.uint8).tolist() == [[value] * 3]


def test_paper_trains_resumes_bit_for_bit_and_renders(
    asymmetric_folder, tmp_path, trained_through_and_in_parts
):
    scene = xscale.Scene.open(asymmetric_folder)
    fast = [*SMALL, "optim.table_rate=5e-3", "optim.shader_rate=1e-3"]
    whole, _ = trained_through_and_in_parts(scene, stop=20, steps=60, preset="paper", settings=fast)
    lines = (whole.path / "metrics.jsonl").read_text()
    assert "where_time_went" in lines
    name = whole.names("test")[0]
    moved = whole.path.rename(tmp_path / "moved")
    frame = xscale.Run.open(moved).render(whole.camera(name))
    truth = torch.from_numpy(scene.photo(name).read()).float()
    untrained = xscale.train(scene, out=tmp_path / "c", preset="paper", steps=1, settings=fast)
    start = untrained.render(untrained.camera(name))

    def error(frame):
        return float((frame.colour.float() - truth)[frame.coverage].square().mean())

    assert error(frame) < 0.5 * error(start)


def test_a_table_larger_than_memory_is_refused_before_it_is_made(
    asymmetric_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(memory, "available_bytes", lambda device: 5_000_000_000)
    scene = xscale.Scene.open(asymmetric_folder)
    with pytest.raises(ResourceError, match=r"needs 5\.6 GB to train, 5\.0 GB are free.*=21"):
        xscale.train(scene, out=tmp_path / "run", preset="paper", steps=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("pixels", "expected"), [(0, 14), (8e6, 19), (2.1e7, 21), (1e12, 21)])
def test_table_size_follows_the_covered_pixels(pixels, expected):
    assert log2_table_size(GridSettings(), pixels) == expected
    assert log2_table_size(GridSettings(log2_table_size=10), pixels) == 10


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="per_level_scale"):
        GridSettings(per_level_scale=0.5)
    with pytest.raises(ConfigError, match="affine or none"):
        ShaderSettings(kind="relu", exposure="code")
