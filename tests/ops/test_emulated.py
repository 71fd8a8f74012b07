"""The device kernels' logic, run on the host, held against what holds the CPU bodies."""

import pytest
import torch

from tests.ops import test_fused_frame as frame
from tests.ops import test_rasterize as raster
from tests.ops import test_rasterize_lenses as lenses
from tests.ops import test_shade_film as film
from tests.ops import test_shade_relu as relu
from xscale import ops
from xscale.ops._selftest import frame_problem


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


@pytest.mark.parametrize("skew", [0.0, 7.5])
def test_raster_kernels_give_the_reference_bit_for_bit(skew):
    raster.test_rasterize_face_ids_equal_the_reference(60, 1.5, (-1, 3), skew)
    for near in (0.0, 0.5):
        raster.test_rasterize_large_faces_behind_and_before_the_camera(near, skew)
    raster.test_rasterize_shared_edge_belongs_to_one_face()
    raster.test_rasterize_coincident_faces_give_the_lower_id_whatever_the_order()
    raster.test_rasterize_rectangle_is_the_crop_of_the_frame()
    raster.test_rasterize_nothing_in_front_of_the_near_plane()


@pytest.mark.parametrize("model", ["OPENCV", "EQUIRECTANGULAR", "THIN_PRISM_FISHEYE"])
def test_raster_kernel_of_bending_lenses_gives_the_reference_bit_for_bit(model):
    lenses.test_face_ids_equal_the_reference(model, 150, 0.3)
    lenses.test_face_ids_equal_the_reference(model, 40, 2.5)
    lenses.test_pixels_outside_the_domain_see_nothing()


@pytest.mark.parametrize("kind", ["relu", "film"])
def test_frame_kernel_gives_the_picture_of_the_reference(kind):
    frame.test_one_pass_gives_the_reference_picture(kind)
    frame.test_pixels_without_a_face_are_white_and_others_do_not_care()
    frame.test_levels_far_finer_than_a_pixel_are_not_read()
    frame.test_a_bad_table_row_spoils_the_pixels_that_read_it_and_no_other()


@pytest.mark.parametrize(("width", "hidden"), [(1, 16), (2, 48), (8, 128)])
@pytest.mark.parametrize("kind", ["relu", "film"])
def test_frame_kernel_takes_every_size(width, hidden, kind):
    mesh, camera, face_id, grid, _ = frame_problem(kind)
    generator = torch.Generator().manual_seed(7)
    layout = ops.grid_layout(4, width, 12, 4, 1.6)
    table = torch.randn(layout.rows, width, generator=generator)
    grid = grid._replace(layout=layout, table=table)
    if kind == "relu":
        shape, light = ops.ReluShaderLayout(4 * width, hidden, sh_degree=2), None
        weights = ops.relu_shader_init(shape, generator)
    else:
        shape = ops.FilmShaderLayout(4 * width, hidden)
        waves = torch.full((2, hidden), 30.0)
        light = torch.cat([waves, torch.randn(2, hidden, generator=generator)])
        weights = ops.film_shader_init(shape, generator)
    shape.unpack(weights)["W3"].mul_(8)
    problem = (*mesh, camera, face_id, grid, ops.FrameShader(weights, shape, None, light))
    emulated = ops.fused_frame(*problem)
    with ops.use_backend("reference"):
        exact = ops.fused_frame(*problem)
    assert exact[face_id >= 0].float().std() > 3
    assert (frame.differences(emulated, exact) > 1).double().mean() < 1e-3
