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


def with_alpha(colour):
    """Pictures [..., 3] with a fourth channel that nobody may use."""
    return torch.cat([colour, torch.full_like(colour[..., :1], 77)], -1).contiguous()


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
        torch.stack([with_alpha(key[3]) for key in keys]),
        torch.stack([key[2] for key in keys]).contiguous(),
    )
    order = torch.arange(len(keys), dtype=torch.int32)
    mesh = (torch.from_numpy(vertices), torch.from_numpy(faces))
    return (*mesh, packed, face_id, depth, frames, order), colour


def backdrop(face_id, seed=8):
    """Nodes of random colours behind a picture."""
    height, width = face_id.shape
    columns, rows = ops.backdrop_size(width, height)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (rows, columns, 4), generator=generator, dtype=torch.uint8)


def assert_equal_to_the_reference(arguments, body, **options):
    with ops.use_backend(body):
        ours = ops.reproject(*arguments, **options)
    with ops.use_backend("reference"):
        exact = ops.reproject(*arguments, **options)
    same = ours.missing == exact.missing
    assert (~same).double().mean() <= 1e-3
    apart = (ours.rgba.int() - exact.rgba.int())[same].abs()
    assert not len(apart) or apart.max() <= 1
    assert (ours.rgba[..., 3] == 255).all()
    return ours


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("model", MODELS)
def test_values_are_those_of_the_reference_for_every_lens(model, body):
    # The other lens among the key frames has another kind of depth.
    other = "PINHOLE" if model in WIDE else "OPENCV_FISHEYE"
    arguments, _ = problem(model, (model, other))
    ours = assert_equal_to_the_reference(arguments, body)
    covered = arguments[3] >= 0
    assert (ours.missing[covered] >= 0).double().mean() < 0.6


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("model", ["PINHOLE", "OPENCV", "OPENCV_FISHEYE"])
def test_colours_are_those_of_the_surface_points(model, body):
    arguments, colour = problem(model, (model, model))
    with ops.use_backend(body):
        found = ops.reproject(*arguments)
    covered = arguments[3] >= 0
    taken = covered & (found.missing < 0)
    assert taken.sum() > 0.8 * covered.sum()
    # Between pixels the colours are curved a little.
    assert (found.rgba[..., :3].int() - colour.int())[taken].abs().max() <= 6
    assert (found.rgba[~taken] == 255).all()


@pytest.mark.parametrize("body", BODIES)
def test_nothing_is_taken_from_what_stands_before_a_point(body):
    arguments, _ = problem(key_models=("PINHOLE",), step=0.5)
    vertices, faces, packed, face_id, _depth, keys, _order = arguments
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
    (vertices, faces, *_), _ = problem()
    R, t = look_at((0, 0, 3.0), (0, 0, 0.0), down=(0, -1, 0))
    K = np.array([[90.0, 0, 40], [0, 90, 30], [0, 0, 1]])
    key = seen_by(Camera("PINHOLE", 80, 60, K, R, t), vertices.numpy(), faces.numpy())
    parts = (key[0], with_alpha(key[3]), key[2])
    keys = ops.KeyFrames(*(part[None].contiguous() for part in parts))
    order = torch.zeros(1, dtype=torch.int32)
    shares = {}
    for zoom in (0.4, 0.6, 0.9, 1.2, 1.4):
        wide = np.array([[90.0 * zoom, 0, 40], [0, 90 * zoom, 30], [0, 0, 1]])
        view = seen_by(Camera("PINHOLE", 80, 60, wide, R, t), vertices.numpy(), faces.numpy())
        with ops.use_backend(body):
            found = ops.reproject(vertices, faces, *view[:3], keys, order)
        inside = found.missing[20:40, 25:55]
        shares[zoom] = float((inside < 0).double().mean())
    assert shares[0.4] == 0, shares
    assert shares[1.4] == 0
    assert min(shares[0.6], shares[0.9], shares[1.2]) > 0.85


@pytest.mark.parametrize("body", BODIES)
def test_a_rectangle_is_the_crop_of_the_picture(body):
    arguments, _ = problem(key_models=("PINHOLE", "OPENCV"))
    vertices, faces, packed, face_id, depth, keys, order = arguments
    left, top, width, height = 17, 9, 61, 37
    inside = np.s_[top : top + height, left : left + width]
    parts = (face_id[inside].contiguous(), depth[inside].contiguous())
    nodes = backdrop(face_id)
    with ops.use_backend(body):
        whole = ops.reproject(*arguments, backdrop=nodes)
        crop = ops.reproject(
            vertices, faces, packed, *parts, keys, order, corner=(left, top), backdrop=nodes
        )
    for ours, all_of_it in zip(crop, whole, strict=True):
        assert torch.equal(ours, all_of_it[top : top + height, left : left + width])


def test_key_frames_are_tried_in_the_order_given():
    arguments, _ = problem(key_models=("PINHOLE", "PINHOLE"))
    *rest, keys, order = arguments
    keys = keys._replace(colour=torch.stack([keys.colour[0] * 0, keys.colour[1] * 0 + 9]))
    first = ops.reproject(*rest, keys, order)
    second = ops.reproject(*rest, keys, order.flip(0))
    first, second = first.rgba[..., :3], second.rgba[..., :3]
    assert set(first.unique().tolist()) == {0, 9, 255}
    assert (first == 0).sum() > (first == 9).sum()
    assert (second == 9).sum() > (second == 0).sum()


@pytest.mark.parametrize("body", [*BODIES, "reference"])
def test_without_pixels_or_key_frames_everything_is_missing(body):
    arguments, _ = problem()
    *view, keys, order = arguments
    vertices, faces, packed, face_id, _depth = view
    with ops.use_backend(body):
        found = ops.reproject(*view, keys, order[:0])
        assert torch.equal(found.missing, face_id)
        assert (found.rgba == 255).all()
        nothing = ops.KeyFrames(keys.cameras[:0], keys.colour[:0], keys.depth[:0])
        found = ops.reproject(*view, nothing, order[:0])
        assert torch.equal(found.missing, face_id)
        for shape in ((0, 7), (7, 0), (0, 0)):
            empty = torch.zeros(shape, dtype=torch.int32)
            found = ops.reproject(vertices, faces, packed, empty, empty.float(), keys, order)
            assert found.rgba.shape == (*shape, 4)
        tiny = ops.KeyFrames(
            keys.cameras, keys.colour[:, :1, :1].contiguous(), keys.depth[:, :1, :1].contiguous()
        )
        found = ops.reproject(*view, tiny, order)
        assert torch.equal(found.missing, face_id)


@pytest.mark.parametrize("body", [*BODIES, "reference"])
def test_uncovered_pixels_show_the_backdrop_between_its_nodes(body):
    arguments, _ = problem()
    face_id = arguments[3]
    nodes = backdrop(face_id)
    with ops.use_backend(body):
        plain = ops.reproject(*arguments)
        found = ops.reproject(*arguments, backdrop=nodes)
    covered = face_id >= 0
    assert torch.equal(found.missing, plain.missing)
    assert torch.equal(found.rgba[covered], plain.rgba[covered])
    assert (~covered).sum() > 100
    # The same by another's bilinear interpolation.
    row, column = (~covered).nonzero().unbind(1)
    step = ops.BACKDROP_STEP
    place = torch.stack([(column + 0.5) / step, (row + 0.5) / step], -1).double()
    size = torch.tensor([nodes.shape[1] - 1, nodes.shape[0] - 1])
    expected = torch.nn.functional.grid_sample(
        nodes[None, ..., :3].permute(0, 3, 1, 2).double(), (place / size * 2 - 1)[None, None],
        align_corners=True,
    )[0, :, 0].T  # fmt: skip
    assert (found.rgba[row, column, :3] - expected).abs().max() <= 0.51


@pytest.mark.parametrize("body", BODIES)
def test_far_from_the_origin_colours_are_the_same(body):
    # As of a mesh in map coordinates: the local origin is far from everything in view.
    arguments, _ = problem(key_models=("PINHOLE", "OPENCV"))
    vertices, faces, packed, face_id, depth, keys, order = arguments
    away = torch.tensor([512.0, -1024.0, 256.0])
    packed, cameras = packed.clone(), keys.cameras.clone()
    for camera in (packed, *cameras):
        camera[9:12] -= camera[:9].reshape(3, 3) @ away.double()
    with ops.use_backend(body):
        near = ops.reproject(*arguments)
        far = ops.reproject(
            vertices + away, faces, packed, face_id, depth, keys._replace(cameras=cameras), order
        )
    assert (near.missing != far.missing).double().mean() < 2e-3
    same = near.missing == far.missing
    assert (near.rgba.int() - far.rgba.int())[same].abs().max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (65, 1), (64, 64), (129, 33)])
@pytest.mark.parametrize("body", BODIES)
def test_odd_sizes_give_the_values_of_the_reference(size, body):
    arguments, _ = problem(key_models=("PINHOLE", "FOV"), size=size)
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
    arguments, _ = problem()
    *view, keys, order = arguments
    with pytest.raises(ShapeError, match=r"keys\.colour"):
        ops.reproject(*view, keys._replace(colour=keys.colour[:, 1:]), order)
    with pytest.raises(ShapeError, match="order"):
        ops.reproject(*view, keys, order.long())
    with pytest.raises(ShapeError, match="depth"):
        ops.reproject(*view[:4], view[4][1:], keys, order)
    with pytest.raises(ShapeError, match=r"backdrop must have at least 24 x 34 nodes"):
        ops.reproject(*view, keys, order, backdrop=backdrop(view[3])[:-1])
