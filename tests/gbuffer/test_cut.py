"""A surface cut by a plane shows what a ray would meet first on the side that is left."""

import numpy as np
import pytest
import torch

from tests.builders import look_at
from tests.ops.test_reproject import wavy
from xscale.gbuffer.build import build_gbuffer, build_surface, visible_depths
from xscale.gbuffer.cut import Plane, cut_surface
from xscale.geometry.camera import Camera
from xscale.geometry.mesh import Mesh

ORIGIN = np.array([400_000.0, 5_000_000.0, 30.0])


@pytest.fixture(scope="module")
def surface():
    vertices, faces = wavy(40)
    return build_surface(Mesh(vertices=vertices, faces=faces, origin=ORIGIN))


@pytest.fixture(scope="module")
def camera():
    R, t = look_at((0.3, -0.4, 2.6), (0, 0, 0.1))
    K = np.array([[90.0, 0, 60], [0, 90, 45], [0, 0, 1]])
    return Camera("PINHOLE", 120, 90, K, R, t)


def plane(normal, offset):
    """A plane of the local frame, in the world's."""
    unit = np.array(normal, float) / np.linalg.norm(normal)
    return Plane(tuple(unit), float(offset + unit @ ORIGIN))


def nearest_allowed(surface, camera, cut):
    """Depth of the nearest hit of each pixel's ray below the plane, by every face: float64 [P]."""
    corners = surface.vertices[surface.faces.long()].double().numpy()
    row, column = np.mgrid[: camera.height, : camera.width]
    rays = camera.rays(np.stack([column, row], -1).reshape(-1, 2) + 0.5)
    start, found = camera.position, np.full(len(rays), np.inf)
    for a, b, c in corners:
        p = np.cross(rays, c - a)
        det = p @ (b - a)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = p @ (start - a) / det
            q = np.cross(start - a, b - a)
            v, far = rays @ q / det, (c - a) @ q / det
            hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (far > 0)
            place = start + rays * far[:, None]
            hit &= place @ np.array(cut.normal) <= cut.offset - np.array(cut.normal) @ ORIGIN
        found = np.where(hit, np.minimum(found, far), found)
    return found * (rays @ camera.R[2])


@pytest.mark.parametrize(
    "cut",
    [plane((0, 0, 1), 0.5), plane((0, 0, 1), 0.03), plane((1, 0.4, 0.2), 0.1),
     plane((-1, 0, 0), 0.2), plane((0.2, -0.1, -1), -0.02)],
    ids=["roof off", "through the waves", "aslant", "an axis", "from below"],
)  # fmt: skip
def test_pixels_show_the_nearest_point_that_is_left(surface, camera, cut):
    packed = torch.from_numpy(camera.packed())
    opened = cut_surface(surface, cut, ORIGIN)
    _, depth = visible_depths(opened, packed, camera.width, camera.height)
    expected = nearest_allowed(surface, camera, cut)
    before = visible_depths(surface, packed, camera.width, camera.height)[1]
    assert not torch.equal(depth, before)
    depth = depth.double().numpy().ravel()
    same = np.isclose(depth, expected, rtol=1e-5) | (np.isinf(depth) & np.isinf(expected))
    # Rays through the cut's very edge may round to either side.
    assert (~same).mean() < 2e-3
    assert np.isfinite(expected).mean() > 0.05


def test_points_keep_their_faces_and_lie_below_the_plane(surface, camera):
    cut = plane((1, 0.4, 0.2), 0.1)
    packed = torch.from_numpy(camera.packed())
    samples, covered = build_gbuffer(
        cut_surface(surface, cut, ORIGIN), packed, camera.width, camera.height
    )
    assert 0 < covered.sum() < covered.numel()
    assert cut.height(samples.position.double().numpy() + ORIGIN).max() < 1e-5
    whole, _ = build_gbuffer(surface, packed, camera.width, camera.height)
    before = dict(zip(whole.pixel_index.tolist(), whole.face_id.tolist(), strict=True))
    after = dict(zip(samples.pixel_index.tolist(), samples.face_id.tolist(), strict=True))
    # The roof hid some; all others show the face that they showed.
    roof = len(surface.faces) - 1
    assert all(before[pixel] in (face, roof) for pixel, face in after.items())


@pytest.mark.parametrize(("offset", "left"), [(100.0, 1.0), (-100.0, 0.0)])
def test_a_plane_beside_the_mesh_leaves_all_or_nothing(surface, camera, offset, left):
    opened = cut_surface(surface, plane((0, 0, 1), offset), ORIGIN)
    packed = torch.from_numpy(camera.packed())
    face, depth = visible_depths(opened, packed, camera.width, camera.height)
    whole = visible_depths(surface, packed, camera.width, camera.height)
    if left:
        assert torch.equal(face, whole[0])
        assert torch.equal(depth, whole[1])
    else:
        assert (face == -1).all()


def test_the_last_cut_is_kept(surface):
    cut = plane((0, 0, 1), 0.5)
    assert cut_surface(surface, cut, ORIGIN) is cut_surface(surface, cut, ORIGIN)
    assert cut_surface(surface, plane((0, 0, 1), 0.4), ORIGIN) is not cut_surface(
        surface, cut, ORIGIN
    )


def test_the_cut_has_no_cracks(surface, camera):
    # Seen straight down on the waves, all that lies below the plane is closed.
    cut = plane((1, 0.0, 0.0), 0.31)
    R, t = look_at((-0.8, 0.0, 3.0), (-0.8, 0, 0), down=(0, -1, 0))
    K = np.array([[400.0, 0, 60], [0, 400, 45], [0, 0, 1]])
    packed = torch.from_numpy(Camera("PINHOLE", 120, 90, K, R, t).packed())
    face, _ = visible_depths(cut_surface(surface, cut, ORIGIN), packed, 120, 90)
    assert (face >= 0).all()
