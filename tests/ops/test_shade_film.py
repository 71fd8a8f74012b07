import math

import pytest
import torch

from tests.ops.same import assert_gradient, same_colours
from xscale import ops
from xscale.errors import BackendError, ShapeError
from xscale.ops.shade import shade_film_reference

TOLERANCE = ops.OPS["shade_film"].float32_tolerance


def _case(rays, features=128, hidden=64, photos=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layout = ops.FilmShaderLayout(features, hidden)
    codes = ops.FilmCodeLayout(hidden=hidden)
    weights = ops.film_shader_init(layout, generator)
    layout.unpack(weights)["W3"].mul_(10)
    code_weights = ops.film_code_init(codes, generator)
    light_code = ops.film_codes_init(1, codes.light, generator)[0]
    light = ops.film_light(light_code, code_weights, codes).contiguous()
    x = torch.randn(rays, features, generator=generator)
    direction = torch.nn.functional.normalize(torch.randn(rays, 3, generator=generator), dim=1)
    exposure = photo = None
    if photos:
        exposure_codes = 10 * ops.film_codes_init(photos, codes.exposure, generator)
        exposure = ops.film_exposure(exposure_codes, code_weights, codes).contiguous()
        photo = torch.randint(-1, photos, (rays,), generator=generator).int()
    return x, direction, weights, layout, exposure, photo, light


def _exact(case, loss_of):
    """Float64 colours and gradients (features, weights, exposure, light) of ``loss_of(rgb)``."""
    x, direction, weights, layout, exposure, photo, light = case
    leaves = [None if t is None else t.double().requires_grad_()
              for t in (x, weights, exposure, light)]  # fmt: skip
    rgb = shade_film_reference(
        leaves[0], direction.double(), leaves[1], layout, leaves[2], photo, leaves[3]
    )
    loss_of(rgb).backward()
    return rgb.detach(), [None if leaf is None else leaf.grad for leaf in leaves]


def _assert_gradient(ours, exact):
    """Each sine's angle is about 30 with rounding 2e-6, and its cosine is off by as much."""
    assert_gradient(ours, exact, largest=1e-4, length=3e-5, angle=1e-8)


def _literal(x, direction, weights, layout, code_weights, codes, light_code, exposure_code):
    """Section 2 of the method for one ray, every network run on this ray's own codes, with loops
    where the op has folded matrices.
    """
    w, c = layout.unpack(weights), codes.unpack(code_weights)
    hidden = layout.hidden

    def mapping(code, w1, b1, w2, b2, layers):
        out = w2 @ torch.nn.functional.leaky_relu(w1 @ code + b1, 0.2) + b2
        half = layers * hidden
        return [
            (out[i * hidden : (i + 1) * hidden] * 15 + 30,
             out[half + i * hidden : half + (i + 1) * hidden])
            for i in range(layers)
        ]  # fmt: skip

    light = mapping(light_code, c["light_W1"], c["light_b1"], c["light_W2"], c["light_b2"], 2)
    d = x
    for (f, p), (matrix, bias) in zip(light, (("W1", "b1"), ("W2", "b2")), strict=True):
        d = torch.sin(f * (w[matrix] @ d + w[bias]) + p)
    e = torch.relu(c["exposure_W1"] @ exposure_code + c["exposure_b1"])
    e = c["exposure_W2"] @ e + c["exposure_b2"]
    d = torch.exp(e[hidden:]) * d + e[:hidden]
    y = direction
    film = mapping(d, w["M1"], w["c1"], w["M2"], w["c2"], 2)
    for (f, p), (matrix, bias) in zip(film, (("D1", "e1"), ("D2", "e2")), strict=True):
        y = torch.sin(f * (w[matrix] @ y + w[bias]) + p)
    colour = torch.sigmoid(w["W3"] @ y + w["b3"])
    return ops.linear_to_srgb(colour).clamp(0, 1) * 1.002 - 0.001


def test_hoisted_form_is_the_published_per_ray_form():
    generator = torch.Generator().manual_seed(5)
    layout, codes = ops.FilmShaderLayout(128, 64), ops.FilmCodeLayout()
    weights = ops.film_shader_init(layout, generator).double()
    code_weights = ops.film_code_init(codes, generator).double()
    light_code = ops.film_codes_init(1, 8, generator)[0].double()
    exposure_codes = ops.film_codes_init(3, 4, generator).double()
    x = torch.randn(12, 128, generator=generator).double()
    direction = torch.randn(12, 3, generator=generator).double()
    direction = torch.nn.functional.normalize(direction, dim=1)
    photo = (torch.arange(12) % 3).int()
    hoisted = shade_film_reference(
        x, direction, weights, layout, ops.film_exposure(exposure_codes, code_weights, codes),
        photo, ops.film_light(light_code, code_weights, codes),
    )  # fmt: skip
    for ray in range(12):
        literal = _literal(x[ray], direction[ray], weights, layout, code_weights, codes,
                           light_code, exposure_codes[photo[ray].item()])  # fmt: skip
        assert torch.allclose(hoisted[ray], literal, atol=1e-12)


def test_reference_gradient_matches_finite_differences():
    x, direction, weights, layout, exposure, photo, light = _case(3, 4, 16, 2)
    doubles = [t.double().requires_grad_() for t in (x, direction, weights, exposure, light)]
    assert torch.autograd.gradcheck(
        lambda f, d, w, e, row: shade_film_reference(f, d, w, layout, e, photo, row), doubles,
        fast_mode=True,
    )  # fmt: skip


SIZES = pytest.mark.parametrize(
    ("features", "hidden", "photos"), [(128, 64, 3), (4, 16, 0), (52, 128, 1), (48, 80, 5)]
)


@pytest.mark.parametrize("rays", [1, 7, 65, 1000])
@SIZES
def test_colours_match_the_float64_reference(rays, features, hidden, photos):
    case = _case(rays, features, hidden, photos)
    exact, _ = _exact(case, torch.sum)
    assert (ops.shade(*case).double() - exact).abs().max() < TOLERANCE


@pytest.mark.parametrize("rays", [1, 7, 65, 1000])
@SIZES
def test_backward_matches_the_float64_reference(rays, features, hidden, photos):
    case = _case(rays, features, hidden, photos)
    grad_rgb = torch.randn(rays, 3, generator=torch.Generator().manual_seed(9))
    _, exact = _exact(case, lambda rgb: (rgb * grad_rgb.double()).sum())
    x, _, weights, _, exposure, _, light = case
    sums = [torch.ones_like(weights), torch.ones_like(light)]
    grad_exposure = None if exposure is None else torch.ones_like(exposure)
    grad_features = ops.shade_backward(
        grad_rgb, *case, grad_weights=sums[0], grad_light=sums[1], grad_exposure=grad_exposure
    )
    assert grad_features.shape == x.shape
    _assert_gradient(grad_features, exact[0])
    for ours, expected in zip((sums[0], grad_exposure, sums[1]), exact[1:], strict=True):
        # Sums are added to what was there.
        _assert_gradient(ours, None if expected is None else expected + 1)


@pytest.mark.parametrize("kind", ["l1", "charbonnier", "l2"])
def test_train_is_forward_loss_and_backward(kind):
    case = _case(333)
    generator = torch.Generator().manual_seed(2)
    target = torch.rand(333, 3, generator=generator)
    weight = torch.rand(333, generator=generator)
    rgb, exact = _exact(
        case,
        lambda rgb: 0.01 * (ops.shade_loss(rgb, target.double(), kind) * weight.double()).sum(),
    )
    x, direction, weights, layout, exposure, photo, light = case
    ours = ops.shade_train(
        x, direction, weights, layout, target, exposure, photo, light,
        ray_weight=weight, loss=kind, scale=0.01,
    )  # fmt: skip
    assert same_colours(ours.rgb, ops.shade(*case))
    ray_loss = ops.shade_loss(rgb, target.double(), kind)
    assert torch.allclose(ours.ray_loss.double(), ray_loss, atol=1e-5)
    for grad, expected in zip(ours[1:5], exact, strict=True):
        # The Charbonnier slope near zero is 1000 times as steep as the colour's error.
        scale = 20.0 if kind == "charbonnier" else 1.0
        assert (grad - expected).norm() < scale * 3e-5 * expected.norm()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_ray_stays_alone(value):
    case = _case(200)
    clean = ops.shade(*case)
    case[0][77, 3] = value
    spoilt = ops.shade(*case)
    others = torch.arange(200) != 77
    assert torch.equal(spoilt[others], clean[others])
    assert spoilt[77].isnan().all()


@pytest.mark.parametrize("threads", [2, 3])
def test_nothing_depends_on_threads(threads):
    x, direction, weights, layout, exposure, photo, light = _case(4000, photos=40)
    target = torch.rand(4000, 3, generator=torch.Generator().manual_seed(3))
    passes = []
    for count in (1, threads):
        with ops.limit_threads(count):
            passes.append(
                ops.shade_train(x, direction, weights, layout, target, exposure, photo, light)
            )
    for one, many in zip(*passes, strict=True):
        assert torch.equal(one, many)


@pytest.mark.parametrize("photos", [0, 2])
def test_autograd_and_reference_backend_give_the_explicit_gradients(photos):
    x, direction, weights, layout, exposure, photo, light = _case(70, photos=photos)
    target = torch.rand(70, 3, generator=torch.Generator().manual_seed(3))
    train = ops.shade_train(x, direction, weights, layout, target, exposure, photo, light)
    with ops.use_backend("reference"):
        peer = ops.shade_train(x, direction, weights, layout, target, exposure, photo, light)
    leaves = [None if t is None else t.clone().requires_grad_()
              for t in (x, weights, exposure, light)]  # fmt: skip
    rgb = ops.shade(leaves[0], direction, leaves[1], layout, leaves[2], photo, leaves[3])
    ops.shade_loss(rgb, target, "l1").sum().backward()
    for leaf, ours, reference in zip(leaves, train[1:5], peer[1:5], strict=True):
        if leaf is not None:
            assert (leaf.grad - ours).norm() < 1e-6 * ours.norm()
            assert (reference - ours).norm() < 1e-4 * ours.norm()


def test_registration_passes_opcheck():
    x, direction, weights, layout, exposure, photo, light = _case(9, 8, 16, 2)
    leaves = [t.requires_grad_() for t in (x, weights, exposure, light)]
    torch.library.opcheck(
        torch.ops.xscale.shade_film.default,
        (leaves[0], direction, leaves[1], leaves[2], photo, leaves[3], layout.hidden, 0),
    )


def test_colours_stay_in_the_published_range_and_dark_rays_keep_a_gradient():
    x, direction, weights, layout, _, _, light = _case(50, photos=0)
    layout.unpack(weights)["b3"].fill_(-30)
    dark = ops.shade(x, direction, weights, layout, light=light)
    assert torch.allclose(dark, torch.full((50, 3), -0.001), atol=1e-6)
    layout.unpack(weights)["b3"].fill_(30)
    bright = ops.shade(x, direction, weights, layout, light=light)
    assert torch.allclose(bright, torch.full((50, 3), 1.001), atol=1e-5)


def test_fresh_weights_follow_the_published_rules():
    layout = ops.FilmShaderLayout(128, 64)
    parts = layout.unpack(ops.film_shader_init(layout, torch.Generator().manual_seed(1)))
    bounds = {"W1": 1 / 128, "W2": math.sqrt(6 / 64) / 25, "D1": math.sqrt(6 / 3) / 25,
              "D2": math.sqrt(6 / 64) / 25, "W3": math.sqrt(6 / 64) / 25}  # fmt: skip
    for name, bound in bounds.items():
        assert parts[name].abs().max() <= bound
        assert parts[name].std() == pytest.approx(bound / math.sqrt(3), rel=0.15)
    kaiming = math.sqrt(2 / 1.04 / 64)
    assert parts["M1"].std() == pytest.approx(kaiming, rel=0.05)
    assert parts["M2"].std() == pytest.approx(kaiming / 4, rel=0.05)
    assert parts["c2"].abs().max() <= 1 / 8
    codes = ops.FilmCodeLayout()
    code_parts = codes.unpack(ops.film_code_init(codes, torch.Generator().manual_seed(1)))
    assert code_parts["light_W1"].std() == pytest.approx(math.sqrt(2 / 1.04 / 8), rel=0.1)
    assert code_parts["light_W2"].std() == pytest.approx(kaiming / 4, rel=0.05)
    assert code_parts["exposure_W1"].abs().max() <= 0.5


def test_codes_start_small_and_never_exceed_unit_length():
    codes = ops.film_codes_init(2000, 4, torch.Generator().manual_seed(1))
    assert codes.std() == pytest.approx(0.1, rel=0.05)
    long = ops.limit_code_norm(30 * codes)
    assert long.norm(dim=1).max() <= 1 + 1e-6
    assert torch.allclose(long.norm(dim=1), (30 * codes).norm(dim=1).clamp(max=1), atol=1e-5)
    assert torch.equal(ops.limit_code_norm(codes), codes)


def test_no_rays_give_empty_results_and_no_gradient():
    x, direction, weights, layout, exposure, photo, light = _case(0)
    assert ops.shade(*_case(0)).shape == (0, 3)
    grads = ops.shade_train(
        x, direction, weights, layout, torch.zeros(0, 3), exposure, photo, light
    )
    assert not grads.grad_weights.any()


def test_wrong_shapes_are_refused_and_named():
    x, direction, weights, layout, exposure, photo, light = _case(10)
    with pytest.raises(ShapeError, match=r"shade_film: light must be \[4, 64\], got \[64, 4\]"):
        ops.shade(x, direction, weights, layout, light=light.T.contiguous())
    with pytest.raises(ShapeError, match=r"exposure must be \[photos, 128\], got \[3, 12\]"):
        ops.shade(x, direction, weights, layout, exposure[:, :12].contiguous(), photo, light)
    with pytest.raises(ShapeError, match="features must be a multiple of 4 up to 256, got 258"):
        ops.FilmShaderLayout(258)
    with pytest.raises(BackendError, match="no gradient of direction"):
        ops.shade(x, direction.requires_grad_(), weights, layout, light=light)
