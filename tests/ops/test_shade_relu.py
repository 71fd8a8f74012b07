import math

import pytest
import torch

from tests.ops.same import assert_gradient, same_colours
from xscale import ops
from xscale.errors import BackendError, ShapeError
from xscale.ops.shade import shade_relu_reference

TOLERANCE = ops.OPS["shade_relu"].float32_tolerance


SIZES = pytest.mark.parametrize(
    ("features", "hidden", "photos", "degree"),
    [(32, 64, 3, 4), (4, 16, 0, 1), (52, 128, 1, 2), (48, 80, 5, 3)],
)


def _case(rays, features=32, hidden=64, photos=3, degree=4, seed=1):
    """Inputs whose activations are of every kind: some dead, some alive, colours of all sizes.

    Rays that sit on a kink (an activation within 1e-5 of zero, a colour within 1e-5 of where the
    sRGB curve's pieces meet) are left out: there rounding decides which slope is the right one.
    """
    generator = torch.Generator().manual_seed(seed)
    layout = ops.ReluShaderLayout(features, hidden, degree)
    weights = ops.relu_shader_init(layout, generator)
    layout.unpack(weights)["W3"].mul_(0.1)
    weights += 0.05 * torch.randn(layout.size, generator=generator)
    layout.unpack(weights)["W3"].mul_(10)
    x = torch.randn(2 * rays + 8, features, generator=generator)
    direction = torch.randn(2 * rays + 8, 3, generator=generator)
    direction = torch.nn.functional.normalize(direction, dim=1)
    exposure, photo = None, torch.full((len(x),), -1, dtype=torch.int32)
    if photos:
        exposure = ops.identity_exposure(photos)
        exposure += 0.2 * torch.randn(photos, 12, generator=generator)
        photo = torch.randint(-1, photos, (len(x),), generator=generator).int()
    w = layout.unpack(weights.double())
    first = x.double() @ w["W1"].T + w["b1"]
    harmonics = ops.spherical_harmonics(direction.double(), degree)
    second = torch.cat([first.relu(), harmonics], dim=1) @ w["W2"].T + w["b2"]
    args = (x.double(), direction.double(), weights.double(), layout)
    rows = None if exposure is None else exposure.double()
    srgb = shade_relu_reference(*args, rows, photo)
    near_kink = torch.cat([first, second, 0.08 * (srgb - 0.04045), srgb - 1], dim=1).abs() < 1e-5
    smooth = (~near_kink.any(dim=1)).nonzero()[:rays, 0]
    assert len(smooth) == rays
    photo = photo[smooth] if photos else None
    return x[smooth], direction[smooth], weights, layout, exposure, photo


def _exact(case, loss_of):
    """Float64 colours and gradients (features, weights, exposure) of ``loss_of(rgb)``."""
    x, direction, weights, layout, exposure, photo = case
    leaves = [None if t is None else t.double().requires_grad_() for t in (x, weights, exposure)]
    rgb = shade_relu_reference(leaves[0], direction.double(), leaves[1], layout, leaves[2], photo)
    loss_of(rgb).backward()
    return rgb.detach(), [None if leaf is None else leaf.grad for leaf in leaves]


def _assert_gradient(ours, exact):
    """Tolerances of the ReLU shader.

    The sRGB slope is steepest in the dark, x^(-0.58) at x = 0.003: light's rounding of 1e-7 is
    3e-5 of x and 2e-5 of the slope. Nearly all rays are brighter, so the norm is held tighter.
    """
    assert_gradient(ours, exact, largest=4e-5, length=1e-5, angle=1e-9)


def test_reference_agrees_with_a_net_worked_out_by_hand():
    layout = ops.ReluShaderLayout(4, 16, 1)
    weights = torch.zeros(layout.size, dtype=torch.float64)
    w = layout.unpack(weights)
    w["W1"][0, :2] = torch.tensor([1.0, 2.0])  # h1[0] = relu(f0 + 2 f1 - 1)
    w["b1"][0] = -1
    w["W1"][1, 0] = -1  # h1[1] = relu(-f0), dead
    w["W2"][0, 0] = 0.5  # h2[0] = relu(0.5 h1[0] + harmonic)
    w["W2"][0, 16] = 1
    w["W2"][1, 1] = 3
    w["W3"][0, 0] = 1
    w["W3"][1, 0] = -1
    w["b3"][2] = 2
    x = torch.tensor([[1.0, 2.0, 7.0, 7.0]], dtype=torch.float64)
    direction = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    raw = 0.5 * (1 + 4 - 1) + 0.5 / math.sqrt(math.pi)
    light = [1 / (1 + math.exp(-v)) for v in (raw, -raw, 2.0)]
    expected = [1.055 * v ** (1 / 2.4) - 0.055 for v in light]
    rgb = shade_relu_reference(x, direction, weights, layout)
    assert rgb[0].tolist() == pytest.approx(expected, abs=1e-12)
    ours = ops.shade(x.float(), direction.float(), weights.float(), layout)
    assert ours[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_exposure_row_is_matrix_and_offset_in_linear_light():
    layout = ops.ReluShaderLayout(4, 16)
    weights = torch.zeros(layout.size)  # light is one half everywhere
    row = torch.tensor([[1.0, 0, 0, 0, 0.5, 0, 0, 0.25, 0, 0, 0, 0.125]])
    rgb = ops.shade(
        torch.zeros(2, 4), torch.eye(3)[:2].contiguous(), weights, layout, row,
        torch.tensor([0, -1], dtype=torch.int32),
    )  # fmt: skip
    linear = torch.tensor([[0.5, 0.5, 0.125], [0.5, 0.5, 0.5]])
    assert torch.allclose(rgb, ops.linear_to_srgb(linear), atol=1e-6)


def test_reference_gradient_matches_finite_differences():
    x, direction, weights, layout, exposure, photo = _case(3, 4, 16, 2)
    doubles = [t.double().requires_grad_() for t in (x, direction, weights, exposure)]
    assert torch.autograd.gradcheck(
        lambda f, d, w, e: shade_relu_reference(f, d, w, layout, e, photo), doubles, fast_mode=True
    )


@pytest.mark.parametrize("rays", [1, 7, 65, 1000])
@SIZES
def test_colours_match_the_float64_reference(rays, features, hidden, photos, degree):
    case = _case(rays, features, hidden, photos, degree)
    exact, _ = _exact(case, torch.sum)
    error = (ops.shade(*case).double() - exact).abs().max()
    assert error < TOLERANCE * exact.abs().max().clamp(min=1)


@pytest.mark.parametrize("rays", [1, 7, 65, 1000])
@SIZES
def test_backward_matches_the_float64_reference(rays, features, hidden, photos, degree):
    case = _case(rays, features, hidden, photos, degree)
    grad_rgb = torch.randn(rays, 3, generator=torch.Generator().manual_seed(9))
    _, exact = _exact(case, lambda rgb: (rgb * grad_rgb.double()).sum())
    grad_weights = torch.ones_like(case[2])
    grad_exposure = None if case[4] is None else torch.ones_like(case[4])
    grad_features = ops.shade_backward(
        grad_rgb, *case, grad_weights=grad_weights, grad_exposure=grad_exposure
    )
    _assert_gradient(grad_features, exact[0])
    exact[1] += 1  # sums are added to what was there
    _assert_gradient(grad_weights, exact[1])
    if grad_exposure is not None:
        exact[2] += 1
        _assert_gradient(grad_exposure, exact[2])


@pytest.mark.parametrize("kind", ["l1", "charbonnier", "l2"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_train_is_forward_loss_and_backward(kind, weighted, as_bytes):
    case = _case(333)
    generator = torch.Generator().manual_seed(2)
    target = torch.rand(333, 3, generator=generator)
    if as_bytes:
        target = (255 * target).to(torch.uint8)
    weight = torch.rand(333, generator=generator) if weighted else None
    exact_target = target if as_bytes else target.double()
    factor = 1.0 if weight is None else weight.double()
    rgb, exact = _exact(
        case, lambda rgb: 0.01 * (ops.shade_loss(rgb, exact_target, kind) * factor).sum()
    )
    x, direction, weights, layout, exposure, photo = case
    ours = ops.shade_train(
        x, direction, weights, layout, target, exposure, photo,
        ray_weight=weight, loss=kind, scale=0.01,
    )  # fmt: skip
    assert same_colours(ours.rgb, ops.shade(*case))
    assert torch.allclose(
        ours.ray_loss.double(), ops.shade_loss(rgb, exact_target, kind), atol=1e-5
    )
    for grad, expected in zip(ours[1:4], exact, strict=True):
        # The Charbonnier slope near zero is 1000 times as steep as the colour's error.
        scale = 50.0 if kind == "charbonnier" else 1.0
        assert (grad - expected).norm() < scale * 1e-5 * expected.norm()


def test_reference_backend_gives_the_same_training_pass():
    x, direction, weights, layout, exposure, photo = _case(50)
    target = torch.rand(50, 3, generator=torch.Generator().manual_seed(3))
    passes = []
    for backend in ("auto", "reference"):
        with ops.use_backend(backend):
            passes.append(ops.shade_train(x, direction, weights, layout, target, exposure, photo))
    for ours, reference in zip(*passes, strict=True):
        if reference is None:
            assert ours is None
            continue
        assert (ours - reference).norm() < 1e-5 * reference.norm()


def test_photo_minus_one_is_the_identity_and_gives_its_row_no_gradient():
    x, direction, weights, layout, exposure, _ = _case(40)
    photo = torch.full((40,), -1, dtype=torch.int32)
    plain = ops.shade(x, direction, weights, layout)
    assert torch.allclose(
        ops.shade(x, direction, weights, layout, exposure, photo), plain, atol=1e-6
    )
    grads = ops.shade_train(x, direction, weights, layout, plain + 1, exposure, photo)
    assert not grads.grad_exposure.any()


def test_gradients_live_on_outside_the_unit_range():
    x, direction, weights, layout, exposure, photo = _case(30)
    exposure = torch.zeros_like(exposure)
    exposure[:, 3::4] = torch.tensor([-0.5, 2.0, 5.0])
    photo = photo.clamp(min=0)
    grads = ops.shade_train(
        x, direction, weights, layout, torch.full((30, 3), 0.5), exposure, photo
    )
    assert (grads.rgb < 0).any()
    assert (grads.rgb > 1).any()
    assert (grads.grad_exposure[:, 3::4].abs() > 0).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_ray_stays_alone(value):
    case = _case(200)
    clean = ops.shade(*case)
    case[0][77, 3] = value
    spoilt = ops.shade(*case)
    others = torch.arange(200) != 77
    assert torch.equal(spoilt[others], clean[others])
    if math.isnan(value):
        assert spoilt[77].isnan().all()


@pytest.mark.parametrize("threads", [2, 3])
def test_nothing_depends_on_threads(threads):
    x, direction, weights, layout, exposure, photo = _case(5000, photos=200)
    target = torch.rand(5000, 3, generator=torch.Generator().manual_seed(3))
    passes = []
    for count in (1, threads):
        with ops.limit_threads(count):
            passes.append(ops.shade_train(x, direction, weights, layout, target, exposure, photo))
    for one, many in zip(*passes, strict=True):
        assert one is many is None or torch.equal(one, many)


def test_no_rays_give_empty_results_and_no_gradient():
    x, direction, weights, layout, exposure, photo = _case(0)
    assert ops.shade(x, direction, weights, layout, exposure, photo).shape == (0, 3)
    grads = ops.shade_train(x, direction, weights, layout, torch.zeros(0, 3), exposure, photo)
    assert grads.grad_features.shape == (0, 32)
    assert not grads.grad_weights.any()


@pytest.mark.parametrize("photos", [0, 2])
def test_autograd_gives_the_explicit_gradients(photos):
    x, direction, weights, layout, exposure, photo = _case(70, photos=photos)
    leaves = [None if t is None else t.clone().requires_grad_() for t in (x, weights, exposure)]
    rgb = ops.shade(leaves[0], direction, leaves[1], layout, leaves[2], photo)
    rgb.sum().backward()
    grad_weights = torch.zeros_like(weights)
    grad_exposure = None if exposure is None else torch.zeros_like(exposure)
    grad_features = ops.shade_backward(
        torch.ones(70, 3), x, direction, weights, layout, exposure, photo,
        grad_weights=grad_weights, grad_exposure=grad_exposure,
    )  # fmt: skip
    for leaf, grad in zip(leaves, (grad_features, grad_weights, grad_exposure), strict=True):
        if leaf is not None:
            assert torch.equal(leaf.grad, grad)


@pytest.mark.parametrize("photos", [0, 2])
def test_registration_passes_opcheck(photos):
    x, direction, weights, layout, exposure, photo = _case(9, 8, 16, photos)
    leaves = [None if t is None else t.requires_grad_() for t in (x, weights, exposure)]
    torch.library.opcheck(
        torch.ops.xscale.shade_relu.default,
        (leaves[0], direction, leaves[1], leaves[2], photo, None, 16, layout.sh_degree),
    )


def test_layout_views_cover_the_flat_vector_in_order():
    layout = ops.ReluShaderLayout(8, 16, 2)
    flat = torch.arange(layout.size)
    parts = layout.unpack(flat)
    assert list(parts) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    assert torch.equal(torch.cat([part.flatten() for part in parts.values()]), flat)
    assert parts["W2"].shape == (16, 20)
    assert parts["W2"].data_ptr() == flat[8 * 16 + 16 :].data_ptr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((30,), "features must be a multiple of 4 up to 256, got 30"),
     ((32, 72), "hidden must be a multiple of 16 up to 128, got 72"),
     ((32, 64, 5), "sh_degree must be 1 to 4, got 5")],
)  # fmt: skip
def test_impossible_layouts_are_refused(arguments, message):
    with pytest.raises(ShapeError, match=message):
        ops.ReluShaderLayout(*arguments)


def test_wrong_shapes_are_refused_and_named():
    x, direction, weights, layout, exposure, photo = _case(10)
    with pytest.raises(ShapeError, match=r"shade_relu: direction must be \[10, 3\], got \[3, 10\]"):
        ops.shade(x, direction.T.contiguous(), weights, layout)
    with pytest.raises(ShapeError, match=r"weights must be \[7491\], got \[7490\]"):
        ops.shade(x, direction, weights[1:], layout)
    with pytest.raises(ShapeError, match=r"exposure must be \[photos, 12\], got \[3, 3\]"):
        ops.shade(x, direction, weights, layout, exposure[:, :3].contiguous(), photo)
    with pytest.raises(ShapeError, match=r"grad_exposure needs an exposure"):
        ops.shade_backward(
            direction, x, direction, weights, layout,
            grad_weights=torch.zeros_like(weights), grad_exposure=exposure,
        )  # fmt: skip


def test_gradient_of_direction_is_refused_by_the_compiled_body_and_given_by_the_reference():
    x, direction, weights, layout, _, _ = _case(10)
    direction.requires_grad_()
    with pytest.raises(BackendError, match="no gradient of direction"):
        ops.shade(x, direction, weights, layout)
    with ops.use_backend("reference"):
        ops.shade(x, direction, weights, layout).sum().backward()
    assert direction.grad.abs().max() > 0
