import pytest
import torch

from tests.ops.test_rasterize import camera, draw, soup
from xscale import ops


@pytest.fixture
def hits():
    vertices, faces = soup(300, 11, 0.4, (1, 4))
    packed = camera(skew=3.0)
    seen, depth = draw(vertices, faces, packed, (0, 0, 64, 48))
    face_id = seen.reshape(-1)
    row, column = torch.arange(64 * 48) // 64, torch.arange(64 * 48) % 64
    pixel = torch.stack([column, row], 1).float() + 0.5
    return {
        "vertices": torch.tensor(vertices, dtype=torch.float32),
        "faces": torch.tensor(faces, dtype=torch.int32),
        "normals": torch.nn.functional.normalize(
            torch.randn(len(vertices), 3, generator=torch.Generator().manual_seed(1)), dim=1
        ),
        "cameras": packed[None],
        "camera_index": torch.zeros(64 * 48, dtype=torch.int32),
        "pixel": pixel,
        "face_id": face_id,
    }, depth.reshape(-1)


def test_interpolate_matches_reference(hits):
    arguments, _ = hits
    ours = ops.interpolate(**arguments)
    with ops.use_backend("reference"):
        reference = ops.interpolate(**arguments)
    for name, value, expected in zip(ours._fields, ours, reference, strict=True):
        finite = torch.isfinite(expected)
        assert torch.equal(finite, torch.isfinite(value))
        error = (value - expected)[finite].abs().max() / expected[finite].abs().max()
        assert error < ops.OPS["interpolate"].float32_tolerance, name


def test_interpolate_point_reprojects_to_its_pixel_at_the_rasterized_depth(hits):
    arguments, depth = hits
    points = ops.interpolate(**arguments)
    hit = arguments["face_id"] >= 0
    x, y, z = points.position[hit].double().unbind(1)
    c = arguments["cameras"][0]
    u = c[12] * x / z + c[16] * y / z + c[14]
    v = c[13] * y / z + c[15]
    assert (torch.stack([u, v], 1) - arguments["pixel"][hit]).abs().max() < 1e-3
    assert torch.equal(points.depth, depth)
    assert torch.allclose(points.direction[hit].norm(dim=1), torch.ones(()), atol=1e-6)


def test_interpolate_footprint_of_a_wall_seen_straight_on():
    vertices = torch.tensor([[-50.0, -50, 4], [50, -50, 4], [0, 80, 4]])
    packed = camera(fx=200.0, fy=100.0, cx=10.0, cy=10.0)[None]
    points = ops.interpolate(
        vertices, torch.tensor([[0, 1, 2]], dtype=torch.int32), None, packed,
        torch.zeros(1, dtype=torch.int32), torch.tensor([[10.0, 10.0]]),
        torch.zeros(1, dtype=torch.int32),
    )  # fmt: skip
    # A pixel covers 4/200 by 4/100 of the wall.
    assert points.footprint.item() == pytest.approx((4 / 200 * 4 / 100) ** 0.5, rel=1e-6)


def test_interpolate_miss_has_documented_values(hits):
    arguments, _ = hits
    arguments["face_id"] = torch.full_like(arguments["face_id"], -1)
    points = ops.interpolate(**arguments)
    assert torch.isinf(points.depth).all()
    for value in (points.position, points.normal, points.direction, points.footprint):
        assert (value == 0).all()


def test_interpolate_point_does_not_depend_on_its_neighbours(hits):
    arguments, _ = hits
    other = arguments["cameras"][0].clone()
    other[9] += 0.1
    arguments |= {"normals": None, "cameras": torch.stack([arguments["cameras"][0], other])}
    # Runs of one camera and of hits, of all lengths: what vectors take together.
    number = torch.arange(len(arguments["face_id"]))
    arguments["camera_index"] = (number * number // 400 % 2).int()
    arguments["face_id"][number % 97 < 9] = -1
    together = ops.interpolate(**arguments)
    order = torch.randperm(len(number), generator=torch.Generator().manual_seed(2))
    mixed = {name: arguments[name][order] for name in ("camera_index", "pixel", "face_id")}
    apart = ops.interpolate(**(arguments | mixed))
    for name, value, expected in zip(together._fields, apart, together, strict=True):
        if len(expected):
            assert torch.equal(value.nan_to_num(), expected[order].nan_to_num()), name
