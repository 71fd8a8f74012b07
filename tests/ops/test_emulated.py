"""The device kernels' logic, run on the host, held against what holds the CPU bodies."""

import pytest
import torch

from tests.ops import test_shade_film as film
from tests.ops import test_shade_relu as relu
from xscale import ops


@pytest.fixture(autouse=True)
def _emulated():
    if not ops.built():
        pytest.fail("the compiled module is missing")
    with ops.use_backend("emulated"):
        yield


def test_emulated_bodies_are_others_than_the_cpu_bodies():
    case = relu._case(1000)
    emulated = ops.shade_relu(*case)
    with ops.use_backend("cpu"):
        assert not torch.equal(ops.shade_relu(*case), emulated)


# Fewer rays than a tile, several tiles in one block, all blocks, and a last tile that is not full.
@pytest.mark.parametrize("rays", [1, 32, 333])
@pytest.mark.parametrize("sizes", [(32, 64, 3, 4), (4, 16, 0, 1), (52, 128, 1, 2)])
def test_relu_kernel_matches_the_float64_reference(rays, sizes):
    relu.test_colours_match_the_float64_reference(rays, *sizes)
    relu.test_backward_matches_the_float64_reference(rays, *sizes)


@pytest.mark.parametrize("kind", ["l1", "charbonnier", "l2"])
def test_relu_kernel_trains(kind):
    relu.test_train_is_forward_loss_and_backward(kind, weighted=True, as_bytes=kind == "l1")


@pytest.mark.parametrize("rays", [1, 32, 333])
@pytest.mark.parametrize("sizes", [(128, 64, 3), (4, 16, 0)])
def test_film_kernel_matches_the_float64_reference(rays, sizes):
    film.test_colours_match_the_float64_reference(rays, *sizes)
    film.test_backward_matches_the_float64_reference(rays, *sizes)


def test_film_kernel_trains():
    film.test_train_is_forward_loss_and_backward("l1")


def test_bad_rays_stay_alone_in_the_kernels():
    relu.test_a_bad_ray_stays_alone(float("nan"))
    film.test_a_bad_ray_stays_alone(float("nan"))
    relu.test_photo_minus_one_is_the_identity_and_gives_its_row_no_gradient()
    relu.test_no_rays_give_empty_results_and_no_gradient()
    film.test_no_rays_give_empty_results_and_no_gradient()
