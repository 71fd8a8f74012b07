import numpy as np
import pytest
import torch

from xscale import ops
from xscale.errors import ShapeError
from xscale.gbuffer.clusters import cluster_faces, cluster_points


def camera(width=64, height=48, fx=60.0, fy=57.0, cx=30.3, cy=25.1, skew=0.0, near=1e-3):
    packed = torch.zeros(32, dtype=torch.float64)
    packed[[0, 4, 8]] = 1
    packed[12:18] = torch.tensor([fx, fy, cx, cy, skew, near], dtype=torch.float64)
    return packed


def draw(vertices, faces, packed, rect, ids=None, offset=(0.5, 0.5), reference=False):
    vertices = np.asarray(vertices, np.float32)
    faces = np.asarray(faces, np.int32)
    order, start, box = cluster_faces(vertices, faces)
    ids = np.arange(len(faces), dtype=np.int32) if ids is None else np.asarray(ids, np.int32)
    points, corners, point_start = cluster_points(vertices, faces, order)
    arguments = [torch.from_numpy(np.ascontiguousarray(a)) for a in (
        points, corners, ids[order], start, point_start, box)]  # fmt: skip
    with ops.use_backend("reference" if reference else "auto"):
        return ops.rasterize(*arguments, packed, rect, offset)


def soup(count, seed, spread=1.0, depth=(0.5, 4.0)):
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-1.5, 1.5, (count, 1, 3))
    centre[:, :, 2] = rng.uniform(*depth, (count, 1))
    corners = centre + rng.normal(0, spread, (count, 3, 3))
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize(
    ("count", "spread", "depth"),
    [(200, 0.3, (1, 4)), (60, 1.5, (-1, 3)), (2000, 0.02, (1, 3)), (100, 100.0, (0.01, 1e5))],
)
@pytest.mark.parametrize("skew", [0.0, 7.5])
def test_rasterize_face_ids_equal_the_reference(count, spread, depth, skew):
    vertices, faces = soup(count, count, spread, depth)
    packed, rect = camera(skew=skew), (0, 0, 64, 48)
    ours, depth_ours = draw(vertices, faces, packed, rect)
    reference, depth_reference = draw(vertices, faces, packed, rect, reference=True)
    assert (ours >= 0).any()
    assert torch.equal(ours, reference)
    assert torch.equal(depth_ours, depth_reference)


@pytest.mark.parametrize("skew", [0.0, 7.5])
def test_rasterize_clusters_hidden_by_nearer_ones_change_nothing(skew):
    # Tilted walls behind each other with holes between them, more faces than samples: hidden
    # clusters are left out, and those that show through a hole or over an edge are not.
    rng = np.random.default_rng(5)
    cells, walls = 20, 12
    grid = np.stack(np.meshgrid(*2 * [np.linspace(-1, 1, cells + 1)]), -1).reshape(-1, 2)
    first = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).reshape(-1, 1)
    halves = np.array([[0, 1, cells + 2], [0, cells + 2, cells + 1]])
    wall = np.concatenate([first + half for half in halves])
    vertices, faces = [], []
    for k in range(walls):
        tilt, shift = rng.uniform(-0.3, 0.3, 2), rng.uniform(-0.5, 0.5, 2)
        z = 1.5 + 0.2 * rng.permutation(walls)[0] + grid @ tilt
        faces.append(wall[rng.uniform(size=len(wall)) > 0.02] + k * len(grid))
        vertices.append(np.concatenate([grid * z[:, None] * 0.6 + shift, z[:, None]], 1))
    vertices, faces = np.concatenate(vertices), np.concatenate(faces)
    packed, rect = camera(skew=skew), (0, 0, 64, 48)
    assert len(faces) > 64 * 48
    ours, depth_ours = draw(vertices, faces, packed, rect)
    reference, depth_reference = draw(vertices, faces, packed, rect, reference=True)
    assert len(torch.unique(torch.div(reference, 2 * cells**2, rounding_mode="floor"))) >= 4
    assert torch.equal(ours, reference)
    assert torch.equal(depth_ours, depth_reference)


def test_rasterize_shared_edge_belongs_to_one_face():
    # A grid of quads whose edges pass exactly through pixel centres: no hole, and the two faces of
    # each quad together with their neighbours own every pixel exactly once.
    n = 9
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="xy"), -1).reshape(-1, 2)
    vertices = np.concatenate([grid * 4 + 0.5, np.ones((n * n, 1))], 1)
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).reshape(-1)
    faces = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + n], 1),
            np.stack([corner + 1, corner + n + 1, corner + n], 1),
        ]
    )
    packed = camera(fx=1.0, fy=1.0, cx=0.0, cy=0.0)
    owners = torch.zeros(32, 32, dtype=torch.int32)
    for face in faces:
        owners += (draw(vertices, face[None], packed, (0, 0, 32, 32))[0] >= 0).int()
    assert (owners == 1).all()


def test_rasterize_coincident_faces_give_the_lower_id_whatever_the_order():
    vertices = [[-1, -1, 2], [1, -1, 2], [0, 1, 2]]
    for faces, ids in (
        ([[0, 1, 2], [2, 1, 0]], [7, 3]),
        ([[2, 1, 0], [0, 1, 2]], [3, 7]),
    ):
        seen, _ = draw(vertices, faces, camera(), (0, 0, 64, 48), ids=ids)
        assert set(seen.unique().tolist()) == {-1, 3}


def test_rasterize_rectangle_is_the_crop_of_the_frame():
    vertices, faces = soup(300, 5, 0.4, (1, 4))
    whole, _ = draw(vertices, faces, camera(), (0, 0, 64, 48))
    part, _ = draw(vertices, faces, camera(), (13, 7, 31, 22))
    assert torch.equal(part, whole[7:29, 13:44])


def test_rasterize_offset_equals_a_moved_principal_point():
    vertices, faces = soup(300, 6, 0.4, (1, 4))
    moved, _ = draw(vertices, faces, camera(), (0, 0, 64, 48), offset=(0.75, 0.25))
    other, _ = draw(vertices, faces, camera(cx=30.3 - 0.25, cy=25.1 + 0.25), (0, 0, 64, 48))
    assert (moved != other).float().mean() < 1e-3


def test_rasterize_ids_above_two_to_the_24_arrive_exactly():
    vertices, faces = soup(50, 7, 0.5, (1, 3))
    ids = np.arange(50) + 16_777_200
    seen, _ = draw(vertices, faces, camera(), (0, 0, 64, 48), ids=ids)
    plain, _ = draw(vertices, faces, camera(), (0, 0, 64, 48))
    assert torch.equal(seen, torch.where(plain >= 0, plain + 16_777_200, -1).int())


def test_rasterize_does_not_depend_on_threads():
    vertices, faces = soup(3000, 8, 0.1, (1, 3))
    seen = []
    for threads in (1, 2, 5):
        with ops.limit_threads(threads):
            seen.append(
                draw(vertices, faces, camera(640, 480, 600, 570, 303, 251), (0, 0, 640, 480))
            )
    assert all(torch.equal(a, b) for one in seen[1:] for a, b in zip(one, seen[0], strict=True))


def test_rasterize_nothing_in_front_of_the_near_plane():
    vertices = [[-1, -1, 2], [1, -1, 2], [0, 1, 2]]
    seen, depth = draw(vertices, [[0, 1, 2]], camera(near=2.5), (0, 0, 64, 48))
    assert (seen == -1).all()
    assert torch.isinf(depth).all()


def test_rasterize_refuses_a_camera_in_float32():
    with pytest.raises(ShapeError, match=r"rasterize: camera must be float64, got float32"):
        draw([[0, 0, 1], [1, 0, 1], [0, 1, 1]], [[0, 1, 2]], camera().float(), (0, 0, 8, 8))


@pytest.mark.parametrize("near", [0.0, 1e-3, 0.5])
@pytest.mark.parametrize("skew", [0.0, 7.5])
def test_rasterize_large_faces_behind_and_before_the_camera(near, skew):
    vertices, faces = soup(40, 11, 3.0, (-2, 4))
    packed = camera(200, 150, 150.0, 140.0, 101.2, 71.9, skew=skew, near=near)
    for rect in ((0, 0, 200, 150), (31, 17, 130, 97)):
        ours, depth = draw(vertices, faces, packed, rect)
        reference, depth_reference = draw(vertices, faces, packed, rect, reference=True)
        assert (ours >= 0).float().mean() > 0.5
        assert torch.equal(ours, reference)
        assert torch.equal(depth, depth_reference)


def test_rasterize_ground_under_the_camera_costs_no_more_than_its_pixels():
    # Strips of ground that all cross the camera's plane: each is outside the picture but a few, so
    # the faces' boxes must be those of their clipped parts, not the whole picture.
    import time

    x = np.linspace(-50, 50, 4001)
    vertices = np.concatenate([np.stack([x, np.full_like(x, 1.0), np.full_like(x, z)], 1)
                               for z in (-30.0, 60.0)])  # fmt: skip
    low = np.arange(4000)
    faces = np.concatenate([np.stack([low, low + 1, low + 4001], 1),
                            np.stack([low + 1, low + 4002, low + 4001], 1)])  # fmt: skip
    packed = camera(640, 480, 600, 600, 320, 240, near=0.01)
    start = time.process_time()
    seen, depth = draw(vertices, faces, packed, (0, 0, 640, 480))
    spent = time.process_time() - start
    row = 400
    expected = 1.0 / ((row + 0.5 - 240) / 600)
    assert torch.allclose(depth[row], torch.full((640,), expected), rtol=1e-5)
    assert (seen[:240] == -1).all()
    # 8,000 whole pictures of 300,000 samples each would take many seconds.
    assert spent < 2.0


def test_rasterize_every_instruction_set_gives_the_same_bits(tmp_path):
    import os
    import subprocess
    import sys

    script = (
        "import sys, torch; sys.path.insert(0, '.');"
        "from tests.ops.test_rasterize import soup, camera, draw;"
        "v, f = soup(2000, 3, 0.2, (-1, 4));"
        "seen, depth = draw(v, f, camera(200, 150, 150., 140., 101.2, 71.9), (0, 0, 200, 150));"
        "torch.save((seen, depth), sys.argv[1])"
    )
    found = {}
    for isa in ("base", "avx2", "avx512"):
        path = tmp_path / isa
        environment = {**os.environ, "XSCALE_ISA": isa}
        subprocess.run([sys.executable, "-c", script, str(path)], env=environment, check=True)
        found[isa] = torch.load(path)
    for isa in ("avx2", "avx512"):
        assert torch.equal(found[isa][0], found["base"][0]), isa
        assert torch.equal(found[isa][1], found["base"][1]), isa
