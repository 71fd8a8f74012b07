"""The device kernels' logic, run on the host, held against what holds the CPU bodies."""

from dataclasses import replace

import pytest
import torch

from tests.ops import test_adam as adam
from tests.ops import test_encode as grid
from tests.ops import test_fused_frame as frame
from tests.ops import test_fused_step as fused
from tests.ops import test_rasterize as raster
from tests.ops import test_rasterize_lenses as lenses
from tests.ops import test_shade_film as film
from tests.ops import test_shade_relu as relu
from xscale import ops
from xscale.ops._selftest import SELF_TESTS, frame_problem, step_problem

pytestmark = pytest.mark.usefixtures("emulated")


def test_emulated_bodies_are_others_than_the_cpu_bodies():
    case = relu._case(1000)
    emulated = ops.shade(*case)
    with ops.use_backend("cpu"):
        assert not torch.equal(ops.shade(*case), emulated)


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
        shape.unpack(weights)["W3"].mul_(0.1)
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


@pytest.mark.parametrize("kind", ["relu", "film"])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_step_kernels_give_the_step_of_the_cpu(width, kind):
    # An epsilon far above the gradients: Adam's first steps are signs otherwise.
    options = {"loss": "l2", "learning_rate": 1.0, "betas": (0.9, 0.99), "epsilon": 1e-2}

    def steps(backend):
        rays, table, shader = step_problem(width=width, kind=kind, rays=333, log2_rows=12)
        with ops.use_backend(backend):
            for i in range(2):
                shifted = replace(rays, pixel=rays.pixel + 0.1 * i)
                found = ops.fused_step(shifted, table, shader, **options)
        numbers = torch.tensor([found.loss, found.squared_error])
        grads = [found.grad_weights, found.grad_exposure, found.grad_light]
        state = [table.table, table.first, table.second, table.steps.int()]
        return [numbers, *state, *(grad for grad in grads if grad is not None)]

    for ours, theirs in zip(steps("emulated"), steps("cpu"), strict=True):
        apart = (ours.double() - theirs.double()).abs().max()
        assert apart < 5e-5 * theirs.double().abs().max()


def test_step_kernels_match_the_float64_reference():
    fused.test_fused_step_matches_the_float64_reference("smoothstep", "l2", False)
    fused.test_fused_step_matches_the_float64_reference("linear", "charbonnier", False)
    fused.test_fused_step_matches_the_float64_reference("linear", "l2", True)
    fused.test_rows_that_no_ray_touches_stay_bit_for_bit()
    fused.test_a_loss_that_is_no_number_moves_nothing()


@pytest.mark.parametrize("kind", ["relu", "film"])
def test_deterministic_steps_do_not_depend_on_the_order_of_blocks(kind):
    def step(deterministic):
        rays, table, shader = step_problem(width=4, kind=kind, rays=333, log2_rows=8)
        found = ops.fused_step(
            rays, table, shader, deterministic=deterministic, **fused.OPTIONS | {"loss": "l2"}
        )
        grads = [found.grad_weights, found.grad_exposure, found.grad_light]
        return [table.table, table.first, *(g for g in grads if g is not None)]

    # The emulated blocks come forwards and backwards in turns.
    one, two, free, other = step(True), step(True), step(False), step(False)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(free, other, strict=True))
    for a, b in zip(one[1:], free[1:], strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-6 * float(b.abs().max()))


def test_working_memory_of_a_step_is_zero_again_afterwards():
    rays, table, shader = step_problem(width=2, kind="relu", rays=200, log2_rows=10)
    for kind in (torch.float32, torch.int64):
        gradient = torch.zeros_like(table.table, dtype=kind)
        touched = torch.zeros(table.layout.rows // 8, dtype=torch.uint8)
        before = table.table.clone()
        ops.fused_step(
            rays, replace(table, gradient=gradient, touched=touched), shader,
            deterministic=kind == torch.int64, **fused.OPTIONS,
        )  # fmt: skip
        assert not torch.equal(before, table.table)
        assert not gradient.any()
        assert not touched.any()


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("faded", [False, True])
def test_encode_kernels_match_the_float64_reference(width, faded):
    for dtype in (torch.float32, torch.float16):
        grid.test_encode_matches_the_float64_reference(width, "smoothstep", faded, dtype)
    grid.test_gradients_match_the_float64_reference(width, "linear", faded)


def test_encode_kernels_add_to_what_is_there_and_mark_the_rows():
    grid.test_backward_adds_to_what_is_there_and_marks_the_rows_it_hits()
    grid.test_encode_backward_adds_to_columns_of_a_wider_array()
    grid.test_far_views_see_exact_zeros_at_fine_levels_and_touch_nothing_there()
    grid.test_positions_outside_count_as_the_nearest_point_inside()
    grid.test_no_points_give_no_features_and_no_gradient()


def test_position_and_surface_kernels_keep_their_tolerance():
    for op in ("encode", "interpolate"):
        assert SELF_TESTS[op](torch.device("cpu")) <= ops.OPS[op].float32_tolerance


def test_adam_kernels_match_the_float64_reference():
    for width in (1, 2, 3, 4, 8):
        adam.test_adam_lazy_matches_float64_reference(width)
    adam.test_adam_dense_equals_torch_adam_over_many_steps()
    adam.test_adam_first_lazy_update_is_one_learning_rate_long()
    adam.test_adam_columns_of_one_array_give_the_same_bits()


def test_adam_kernels_leave_rows_alone():
    adam.test_adam_row_without_gradient_stays_bit_for_bit()
    adam.test_adam_touched_bits_decide_which_rows_are_looked_at()


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("moves", [False, True])
def test_adam_kernels_follow_their_control(width, lazy, moves):
    def step(backend):
        param, grad, first, second = adam._state(300, width)
        steps = torch.full((300,), 4, dtype=torch.uint16) if lazy else None
        touched = torch.full((38,), 0b01101110, dtype=torch.uint8)
        control = ops.step_control(torch.device("cpu"))
        control[:3] = torch.tensor([0.5, 3, float(moves)])
        with ops.use_backend(backend):
            ops.adam(
                param, grad, first, second, steps=steps, touched=touched, learning_rate=0.1,
                control=control,
            )  # fmt: skip
        return param, grad, first, second

    before = adam._state(300, width)[0]
    ours, theirs = step("emulated"), step("cpu")
    assert torch.equal(ours[0], before) is not moves
    if moves:
        for a, b in zip(ours, theirs, strict=True):
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)
