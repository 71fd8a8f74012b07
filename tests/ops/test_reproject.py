"""reproject: colours taken from key frames are those of the same surface points."""

import numpy as np
import pytest
import torch

from tests.builders import look_at
from tests.lenses import MODELS, WIDE, camera_of
from tests.ops.test_rasterize import draw
from xscale import ops
from xscale.errors import ShapeError
from xscale.geometry.camera import Camera
from xscale.ops._project import camera_pixels

BODIES = ("cpu", "emulated")


def wavy(count=24, seed=3):
    """A bumpy floor around z = 0 and a small roof over it that hides parts of it."""
    rng = np.random.default_rng(seed)
    side = np.linspace(-2, 2, count)
    x, y = np.meshgrid(side, side)
    z = 0.15 * np.sin(3 * x) * np.cos(2 * y) + rng.normal(0, 0.01, x.shape)
    vertices = np.stack([x, y, z], -1).reshape(-1, 3)
    first = (np.arange(count - 1)[:, None] * count + np.arange(count - 1)).reshape(-1, 1)
    halves = np.array([[0, 1, count + 1], [0, count + 1, count]])
    faces = (first[:, None] + halves).reshape(-1, 3)
    roof = np.array([[-0.4, -0.3, 0.8], [0.5, -0.2, 0.9], [0.1, 0.6, 0.85]])
    faces = np.concatenate([faces, [[len(vertices), len(vertices) + 1, len(vertices) + 2]]])
    return np.concatenate([vertices, roof]).astype(np.float32), faces.astype(np.int32)


def colour_of(position):
    """A smooth colour of surface points [..., 3], uint8."""
    return (128 + 100 * torch.sin(2 * position + torch.tensor([0.0, 1.0, 2.0]))).to(torch.uint8)


def seen_by(camera: Camera, vertices, faces):
    """Face ids, depths and colours that a camera sees."""
    packed = torch.from_numpy(camera.packed())
    width, height = camera.width, camera.height
    face_id, depth = draw(vertices, faces, packed, (0, 0, width, height))
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    points = ops.interpolate(
        torch.from_numpy(vertices), torch.from_numpy(faces), None, packed[None],
        torch.zeros(width * height, dtype=torch.int32),
        torch.stack([column, row], -1).reshape(-1, 2).float() + 0.5, face_id.reshape(-1),
    )  # fmt: skip
    colour = colour_of(points.position.reshape(height, width, 3))
    return packed, face_id, depth, colour


def problem(model="PINHOLE", key_models=("PINHOLE",), size=(131, 90), step=0.06):
    """A view, key frames beside it, and what the view truly shows."""
    vertices, faces = wavy()
    place = np.array([0.3, -0.4, 2.6])
    keys = []
    for number, key_model in enumerate(key_models):
        R, t = look_at(place + step * (number + 1) * np.array([1, 0.5, 0.2]), (0, 0, 0.1))
        keys.append(seen_by(camera_of(key_model, R=R, t=t, near=1e-3), vertices, faces))
    R, t = look_at(place, (0, 0, 0.1))
    packed, face_id, depth, colour = seen_by(
        camera_of(model, *size, R=R, t=t, near=1e-3), vertices, faces
    )
    frames = ops.KeyFrames(
        torch.stack([key[0] for key in keys]),
        torch.stack([key[3] for key in keys]).contiguous(),
        torch.stack([key[2] for key in keys]).contiguous(),
    )
    order = torch.arange(len(keys), dtype=torch.int32)
    mesh = (torch.from_numpy(vertices), torch.from_numpy(faces))
    return (*mesh, packed, face_id, frames, order), depth, colour


def assert_equal_to_the_reference(arguments, body, **options):
    with ops.use_backend(body):
        ours = ops.reproject(*arguments, **options)
    with ops.use_backend("reference"):
        exact = ops.reproject(*arguments, **options)
    same = ours.missing == exact.missing
    assert (~same).double().mean() <= 1e-3
    apart = (ours.rgb.int() - exact.rgb.int())[same].abs()
    assert not len(apart) or apart.max() <= 1
    finite = exact.depth.isfinite()
    assert torch.equal(finite, ours.depth.isfinite())
    assert torch.allclose(ours.depth[finite], exact.depth[finite], rtol=1e-6)
    return ours


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("model", MODELS)
def test_values_are_those_of_the_reference_for_every_lens(model, body):
    # The other lens among the key frames has another kind of depth.
    other = "PINHOLE" if model in WIDE else "OPENCV_FISHEYE"
    arguments, _, _ = problem(model, (model, other))
    ours = assert_equal_to_the_reference(arguments, body)
    covered = arguments[3] >= 0
    assert (ours.missing[covered] >= 0).double().mean() < 0.6


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("model", ["PINHOLE", "OPENCV", "OPENCV_FISHEYE"])
def test_colours_are_those_of_the_surface_points(model, body):
    arguments, depth, colour = problem(model, (model, model))
    with ops.use_backend(body):
        found = ops.reproject(*arguments)
    covered = arguments[3] >= 0
    taken = covered & (found.missing < 0)
    assert taken.sum() > 0.8 * covered.sum()
    # Between pixels the colours are curved a little.
    assert (found.rgb.int() - colour.int())[taken].abs().max() <= 6
    assert (found.rgb[~taken] == 255).all()
    assert torch.allclose(found.depth[covered], depth[covered], rtol=1e-6)
    assert torch.isinf(found.depth[~covered]).all()


@pytest.mark.parametrize("body", BODIES)
def test_nothing_is_taken_from_what_stands_before_a_point(body):
    arguments, _, _ = problem(key_models=("PINHOLE",), step=0.5)
    vertices, faces, packed, face_id, keys, _order = arguments
    with ops.use_backend(body):
        found = ops.reproject(*arguments)
    # Points of the floor that the roof hides from the key frame, by rays against the roof.
    taken = ((face_id >= 0) & (found.missing < 0) & (face_id < len(faces) - 1)).nonzero()
    pixel = (taken.flip(1).float() + 0.5).contiguous()
    points = ops.interpolate(
        vertices, faces, None, packed[None], torch.zeros(len(taken), dtype=torch.int32), pixel,
        face_id[taken[:, 0], taken[:, 1]],
    ).position.double()  # fmt: skip
    key = keys.cameras[0]
    centre = -(key[:9].reshape(3, 3).T @ key[9:12])
    a, b, c = vertices[faces[-1].long()].double()
    ray = points - centre
    cross = torch.linalg.cross
    p = cross(ray, (c - a).expand_as(ray))
    det = p @ (b - a)
    u = p @ (centre - a) / det
    q = cross(centre - a, b - a)
    v = ray @ q / det
    hidden = (u > 0.01) & (v > 0.01) & (u + v < 0.99)
    assert len(taken) > 1000
    assert not hidden.any()
    assert (found.missing >= 0).any()


@pytest.mark.parametrize("body", BODIES)
def test_pixels_sharper_or_much_coarser_than_the_key_frame_are_left_to_shade(body):
    (vertices, faces, *_), _, _ = problem()
    R, t = look_at((0, 0, 3.0), (0, 0, 0.0), down=(0, -1, 0))
    K = np.array([[90.0, 0, 40], [0, 90, 30], [0, 0, 1]])
    key = seen_by(Camera("PINHOLE", 80, 60, K, R, t), vertices.numpy(), faces.numpy())
    keys = ops.KeyFrames(*(part[None].contiguous() for part in (key[0], key[3], key[2])))
    order = torch.zeros(1, dtype=torch.int32)
    shares = {}
    for zoom in (0.4, 0.6, 0.9, 1.2, 1.4):
        wide = np.array([[90.0 * zoom, 0, 40], [0, 90 * zoom, 30], [0, 0, 1]])
        view = seen_by(Camera("PINHOLE", 80, 60, wide, R, t), vertices.numpy(), faces.numpy())
        with ops.use_backend(body):
            found = ops.reproject(vertices, faces, view[0], view[1], keys, order)
        inside = found.missing[20:40, 25:55]
        shares[zoom] = float((inside < 0).double().mean())
    assert shares[0.4] == 0, shares
    assert shares[1.4] == 0
    assert min(shares[0.6], shares[0.9], shares[1.2]) > 0.85


@pytest.mark.parametrize("body", BODIES)
def test_a_rectangle_is_the_crop_of_the_picture(body):
    arguments, _, _ = problem(key_models=("PINHOLE", "OPENCV"))
    vertices, faces, packed, face_id, keys, order = arguments
    left, top, width, height = 17, 9, 61, 37
    part = face_id[top : top + height, left : left + width].contiguous()
    with ops.use_backend(body):
        whole = ops.reproject(*arguments)
        crop = ops.reproject(vertices, faces, packed, part, keys, order, corner=(left, top))
    for ours, all_of_it in zip(crop, whole, strict=True):
        assert torch.equal(ours, all_of_it[top : top + height, left : left + width])


def test_key_frames_are_tried_in_the_order_given():
    arguments, _, _ = problem(key_models=("PINHOLE", "PINHOLE"))
    *rest, keys, order = arguments
    keys = keys._replace(colour=torch.stack([keys.colour[0] * 0, keys.colour[1] * 0 + 9]))
    first = ops.reproject(*rest, keys, order)
    second = ops.reproject(*rest, keys, order.flip(0))
    assert set(first.rgb.unique().tolist()) == {0, 9, 255}
    assert (first.rgb == 0).sum() > (first.rgb == 9).sum()
    assert (second.rgb == 9).sum() > (second.rgb == 0).sum()


@pytest.mark.parametrize("body", [*BODIES, "reference"])
def test_without_pixels_or_key_frames_everything_is_missing(body):
    arguments, depth, _ = problem()
    vertices, faces, packed, face_id, keys, order = arguments
    with ops.use_backend(body):
        found = ops.reproject(vertices, faces, packed, face_id, keys, order[:0])
        assert torch.equal(found.missing, face_id)
        assert torch.allclose(found.depth, depth, rtol=1e-6)
        nothing = ops.KeyFrames(keys.cameras[:0], keys.colour[:0], keys.depth[:0])
        found = ops.reproject(vertices, faces, packed, face_id, nothing, order[:0])
        assert torch.equal(found.missing, face_id)
        for shape in ((0, 7), (7, 0), (0, 0)):
            empty = torch.zeros(shape, dtype=torch.int32)
            found = ops.reproject(vertices, faces, packed, empty, keys, order)
            assert found.rgb.shape == (*shape, 3)
        tiny = ops.KeyFrames(
            keys.cameras, keys.colour[:, :1, :1].contiguous(), keys.depth[:, :1, :1].contiguous()
        )
        found = ops.reproject(vertices, faces, packed, face_id, tiny, order)
        assert torch.equal(found.missing, face_id)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (65, 1), (64, 64), (129, 33)])
@pytest.mark.parametrize("body", BODIES)
def test_odd_sizes_give_the_values_of_the_reference(size, body):
    arguments, _, _ = problem(key_models=("PINHOLE", "FOV"), size=size)
    assert_equal_to_the_reference(arguments, body)


@pytest.mark.parametrize("model", MODELS)
def test_pixels_of_points_are_those_of_the_camera(model):
    R, t = look_at((0.3, -0.4, 2.6), (0, 0, 0.1))
    camera = camera_of(model, R=R, t=t)
    points = np.random.default_rng(5).uniform(-4, 4, (500, 3))
    pixel, depth, solid = camera_pixels(torch.from_numpy(camera.packed()), torch.from_numpy(points))
    expected, z = camera.project(points)
    assert np.array_equal(np.isnan(expected), torch.isnan(pixel).numpy())
    seen = np.isfinite(expected[:, 0])
    assert seen.sum() > 50
    assert np.allclose(pixel.numpy()[seen], expected[seen], rtol=1e-9, atol=1e-6)
    assert np.allclose(depth.numpy()[seen], z[seen])
    from xscale.ops._rays import camera_rays

    packed = torch.from_numpy(camera.packed())[None].expand(int(seen.sum()), -1)
    _, angle = camera_rays(packed, *pixel[seen].unbind(1))
    assert torch.allclose(solid[seen], angle, rtol=1e-6)


def test_wrong_arguments_are_refused():
    arguments, _, _ = problem()
    vertices, faces, packed, face_id, keys, order = arguments
    with pytest.raises(ShapeError, match=r"keys\.colour"):
        ops.reproject(
            vertices, faces, packed, face_id, keys._replace(colour=keys.colour[:, 1:]), order
        )
    with pytest.raises(ShapeError, match="order"):
        ops.reproject(vertices, faces, packed, face_id, keys, order.long())
