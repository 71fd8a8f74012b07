import pytest
import torch

from tests.ops.test_rasterize import camera, draw, soup
from xscale import ops
from xscale.errors import ShapeError

LEFT, TOP, WIDTH, HEIGHT = 3, 2, 60, 44
STEP = 0.02


def drawn(vertices, faces, packed):
    """Arguments of ``breaks`` for a rectangle."""
    centres = draw(vertices, faces, packed, (LEFT, TOP, WIDTH, HEIGHT))
    corners = draw(vertices, faces, packed, (LEFT, TOP, WIDTH + 1, HEIGHT + 1), offset=(0.0, 0.0))
    return (*centres, *corners)


def found(scene, step=STEP):
    return ops.breaks(*scene, step=step)


def quad(z, left, right, slope=0.0):
    """Two triangles from x = left to right at depth z, tilted by ``slope`` along x."""
    corners = [[x, y, z + slope * x] for y in (-9.0, 9.0) for x in (left, right)]
    return corners, [[0, 1, 3], [0, 3, 2]]


def joined(*parts):
    vertices, faces = [], []
    for corners, triangles in parts:
        faces += [[i + len(vertices) for i in triangle] for triangle in triangles]
        vertices += corners
    return vertices, faces


@pytest.mark.parametrize("backend", ["cpu", "emulated"])
def test_breaks_equals_the_reference(backend):
    scene = drawn(*soup(300, 11, 0.4, (1, 4)), camera(skew=3.0))
    with ops.use_backend(backend):
        flags, needed = found(scene)
    with ops.use_backend("reference"):
        expected, expected_needed = found(scene)
    assert (flags != expected).double().mean() <= ops.OPS["breaks"].float32_tolerance
    assert (needed != expected_needed).double().mean() <= ops.OPS["breaks"].float32_tolerance
    assert 0.05 < (expected > 0).double().mean() < 0.95


@pytest.mark.parametrize("slope", [0.0, 0.5, 4.0])
def test_a_plane_does_not_break_off_however_steep(slope):
    flags, needed = found(drawn(*quad(6.0, -9.0, 9.0, slope), camera()))
    seen = draw(*quad(6.0, -9.0, 9.0, slope), camera(), (LEFT, TOP, WIDTH, HEIGHT))[0] >= 0
    inner = torch.nn.functional.max_pool2d((~seen)[None].float(), 3, 1, 1)[0] == 0
    assert inner.any()
    assert not flags[inner].any()
    assert (needed == ops.NOT_NEEDED).any()


def test_a_step_breaks_off_in_the_pixels_that_its_edge_crosses():
    near, far = quad(3.0, -9.0, 0.013), quad(6.0, -9.0, 9.0)
    scene = drawn(*joined(near, far), camera())
    flags, needed = found(scene)
    face_id, corner_id = scene[0], scene[2]
    for bit, (down, across) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        other = corner_id[down : down + HEIGHT, across : across + WIDTH]
        # Faces 0 and 1 are the near plane, 2 and 3 the far one.
        assert torch.equal((flags >> bit & 1) > 0, (other < 2) != (face_id < 2))
    assert torch.equal(needed[needed >= 0], corner_id[needed >= 0])
    assert int((flags > 0).sum(1).max()) <= 2


def test_a_miss_beside_a_hit_breaks_off_and_is_told_from_what_nobody_needs():
    scene = drawn(*quad(4.0, -9.0, 0.03), camera())
    flags, needed = found(scene)
    assert (flags > 0).any()
    assert (needed == -1).any()
    assert (needed == ops.NOT_NEEDED).any()
    empty = scene[0] < 0
    assert not flags[:, 1:][empty[:, 1:] & empty[:, :-1]].any()


def test_breaks_refuses_corners_of_another_size():
    scene = list(drawn(*quad(4.0, -9.0, 9.0), camera()))
    scene[2] = scene[2][:, :-1].contiguous()
    with pytest.raises(ShapeError, match="corner_id"):
        found(scene)
