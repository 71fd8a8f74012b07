import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from xscale import ops
from xscale.errors import ShapeError, UsageError
from xscale.ops._shade_args import check_exposure
from xscale.ops.shade_math import check_loss


def _sphere(bands):
    """Gauss-Legendre in z, equal steps around: exact for polynomials up to 2 bands - 1."""
    z, weight = np.polynomial.legendre.leggauss(bands)
    angle = (np.arange(2 * bands) + 0.5) * math.pi / bands
    radius = np.sqrt(1 - z**2)
    x = radius[:, None] * np.cos(angle)
    y = radius[:, None] * np.sin(angle)
    points = np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], -1).reshape(-1, 3)
    return torch.tensor(points), torch.tensor(np.repeat(weight * math.pi / bands, 2 * bands))


def test_spherical_harmonics_are_orthonormal_on_the_sphere():
    direction, weight = _sphere(6)
    values = ops.spherical_harmonics(direction)
    gram = (values * weight[:, None]).T @ values
    assert torch.allclose(gram, torch.eye(16, dtype=torch.float64), atol=1e-12)


def test_spherical_harmonics_along_z_keep_only_the_zonal_ones():
    values = ops.spherical_harmonics(torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64))[0]
    zonal = [math.sqrt((2 * band + 1) / (4 * math.pi)) for band in range(4)]
    expected = torch.zeros(16, dtype=torch.float64)
    expected[[0, 2, 6, 12]] = torch.tensor(zonal, dtype=torch.float64)
    assert torch.allclose(values, expected, atol=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_lower_degrees_are_the_first_coefficients(degree):
    direction, _ = _sphere(3)
    assert torch.equal(
        ops.spherical_harmonics(direction, degree),
        ops.spherical_harmonics(direction)[:, : degree**2],
    )


@pytest.mark.parametrize(("at", "gap"), [(0.0031308, 3e-8), (1.0, 1e-9), (0.0, 1e-11)])
def test_srgb_curve_has_no_step_where_its_pieces_meet(at, gap):
    values = ops.linear_to_srgb(torch.tensor([at - 1e-13, at + 1e-13], dtype=torch.float64))
    assert (values[1] - values[0]).abs() < gap


def test_srgb_curve_is_the_standard_one_inside_and_straight_outside():
    linear = torch.tensor([-0.5, 0.0, 0.001, 0.2140411, 1.0, 3.0], dtype=torch.float64)
    expected = [-0.5 * 12.92, 0.0, 0.01292, 0.5, 1.0, 1 + 2 * 1.055 / 2.4]
    assert torch.allclose(
        ops.linear_to_srgb(linear), torch.tensor(expected, dtype=torch.float64), atol=1e-7
    )


def test_srgb_goes_back_to_the_light_that_it_came_from():
    light = torch.linspace(0, 1, 301, dtype=torch.float64)
    assert torch.allclose(ops.srgb_to_linear(ops.linear_to_srgb(light)), light, atol=1e-6)


def test_srgb_gradient_is_positive_everywhere_and_matches_finite_differences():
    linear = torch.tensor([-2.0, -0.1, 0.002, 0.01, 0.5, 0.99, 1.5, 9.0], dtype=torch.float64)
    linear.requires_grad_()
    (slope,) = torch.autograd.grad(ops.linear_to_srgb(linear).sum(), linear)
    assert (slope > 0).all()
    assert torch.autograd.gradcheck(ops.linear_to_srgb, linear)


def test_losses_of_a_known_difference():
    rgb, target = torch.zeros(1, 3), torch.tensor([[0.3, -0.6, 0.0]])
    assert ops.shade_loss(rgb, target, "l1").item() == pytest.approx(0.3)
    assert ops.shade_loss(rgb, target, "l2").item() == pytest.approx(0.15)
    assert ops.shade_loss(rgb, target, "charbonnier").item() == pytest.approx(0.2993358, abs=1e-5)


def test_byte_target_counts_255_as_one():
    rgb = torch.full((1, 3), 0.5)
    target = torch.full((1, 3), 255, dtype=torch.uint8)
    assert ops.shade_loss(rgb, target, "l1").item() == pytest.approx(0.5)


def test_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="'huber' is not one of l1, charbonnier, l2"):
        check_loss("shade_train", "huber")


def test_photo_without_a_row_is_refused():
    like = torch.zeros(2, 4)
    photo = torch.tensor([0, 5], dtype=torch.int32)
    with pytest.raises(ShapeError, match=r"photo must be from -1 \(identity\) to 2, got 0 to 5"):
        check_exposure("op", torch.zeros(3, 12), photo, 2, 12, like)
    with pytest.raises(ShapeError, match="exposure and photo must be given together"):
        check_exposure("op", torch.zeros(3, 12), None, 2, 12, like)


def test_lesser_instruction_sets_pass_the_reference_tests():
    """Both shaders' comparisons, in processes whose bodies use at most this instruction set."""
    here = Path(__file__).parent
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
        str(here / "test_shade_relu.py"), str(here / "test_shade_film.py"),
        "-k", "(colours_match or backward_matches) and 65 or bad_ray",
    ]  # fmt: skip
    running = [
        subprocess.Popen(
            command, env=os.environ | {"XSCALE_ISA": isa}, stdout=subprocess.PIPE, text=True
        )
        for isa in ("base", "avx2")
    ]
    for process in running:
        output, _ = process.communicate()
        assert process.returncode == 0, output[-3000:]
        assert " passed" in output
