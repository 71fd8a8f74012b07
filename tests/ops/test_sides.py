import pytest
import torch

from tests.ops.test_rasterize import camera, draw, soup
from xscale import ops
from xscale.errors import ShapeError

SIZE = (0, 0, 64, 48)


@pytest.fixture
def scene():
    vertices, faces = soup(300, 11, 0.4, (1, 4))
    packed = camera(skew=3.0)
    face_id, _ = draw(vertices, faces, packed, SIZE)
    generator = torch.Generator().manual_seed(1)
    normals = torch.nn.functional.normalize(
        torch.randn(len(vertices), 3, generator=generator), dim=1
    )
    allowed = torch.randint(0, 4, (len(faces),), generator=generator, dtype=torch.uint8)
    return (
        torch.tensor(vertices, dtype=torch.float32),
        torch.tensor(faces, dtype=torch.int32),
        normals,
        packed,
        face_id,
        allowed,
    )


@pytest.mark.parametrize("backend", ["cpu", "emulated"])
def test_sides_equals_the_reference_in_every_pixel(scene, backend):
    with ops.use_backend(backend):
        side, kept = ops.sides(*scene)
    with ops.use_backend("reference"):
        expected_side, expected_kept = ops.sides(*scene)
    assert torch.equal(side, expected_side)
    assert torch.equal(kept, expected_kept)
    for value in (0, ops.FRONT, ops.BACK):
        assert (side == value).any()
    assert (kept != scene[4]).any()
    assert (kept >= 0).any()


def triangle(wound: bool, normal: float):
    """A triangle across the view at z = 4; ``normal``: its vertices' z."""
    vertices = torch.tensor([[-9.0, -9, 4], [9, -9, 4], [0, 9, 4]])
    faces = torch.tensor([[0, 1, 2] if wound else [0, 2, 1]], dtype=torch.int32)
    normals = torch.tensor([[0.0, 0, normal]]).expand(3, 3).contiguous()
    return vertices, faces, normals, camera(), torch.zeros(2, 3, dtype=torch.int32)


@pytest.mark.parametrize(
    ("wound", "normal", "side"),
    [(False, -1.0, ops.FRONT), (True, 1.0, ops.BACK), (True, -1.0, ops.FRONT),
     (False, 1.0, ops.FRONT)],
)  # fmt: skip
def test_a_face_is_seen_from_behind_where_winding_and_normals_say_so(wound, normal, side):
    seen, kept = ops.sides(*triangle(wound, normal))
    assert (seen == side).all()
    assert (kept == 0).all()


@pytest.mark.parametrize("allowed", [0, ops.FRONT, ops.BACK, ops.BOTH])
def test_only_an_allowed_side_is_kept(allowed):
    sides = torch.tensor([allowed], dtype=torch.uint8)
    for wound, normal, side in [(False, -1.0, ops.FRONT), (True, 1.0, ops.BACK)]:
        seen, kept = ops.sides(*triangle(wound, normal), sides, side=False)
        assert seen is None
        assert (kept == (0 if allowed & side else -1)).all()


def test_sides_of_nothing_are_none():
    *rest, face_id = triangle(True, 1.0)
    seen, kept = ops.sides(*rest, face_id - 1)
    assert not seen.any()
    assert (kept == -1).all()


def test_sides_refuses_another_dtype():
    *rest, face_id = triangle(True, 1.0)
    with pytest.raises(ShapeError, match="allowed"):
        ops.sides(*rest, face_id, torch.zeros(1, dtype=torch.int32))
