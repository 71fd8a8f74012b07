import numpy as np
import pytest
import torch

from benchmarks import _causes, ablation, curves, quality
from xscale.config import override
from xscale.gbuffer.build import build_gbuffer, build_surface
from xscale.geometry.mesh import Mesh
from xscale.training.settings import preset

METRICS = (*quality.RAW, *quality.FITTED)


def _scores(value, **others):
    return {**dict.fromkeys(METRICS, value), **others}


def test_best_is_the_lowest_distance_and_the_highest_similarity_and_passes_over_gaps():
    methods = {"a": _scores(1.0), "b": _scores(2.0), "c": _scores(None)}
    assert quality.best(methods, "psnr_covered_cc") == 2.0
    assert quality.best(methods, "lpips_vgg_covered") == 1.0


def test_bars_are_met_exactly_at_their_marks():
    theirs = _scores(0.5, psnr_covered_cc=20.0, psnr_covered=19.0)
    baselines = {"scenes": {"mesh": theirs}, "image_based": {"k4": theirs}}
    lpips = {m: 0.4 for m in METRICS if m.startswith("lpips") and m.endswith("_cc")}
    ours = {**theirs, **lpips, "psnr_covered_cc": 21.5}

    def met(mean, with_photos):
        found = {"mean": mean, "with_photos": with_photos}
        return [row[-1] for row in quality.bars("s", found, baselines)]

    assert met(ours, ours) == ["yes"] * 16
    worse = {m: v + (0.001 if m.startswith("lpips") else -0.001) for m, v in ours.items()}
    assert met(worse, ours).count("no") == 4 + 4 + 1  # the last: SSIM of image-based
    # What photos correct has to beat the model alone, too, not only image-based pictures.
    assert met(ours, worse) == ["yes"] * 12 + ["no"] * 4


def test_crop_is_the_best_covered_square_nearest_the_middle():
    coverage = np.random.default_rng(0).random((17, 23)) < 0.7
    edge = 5
    best = max(
        (
            coverage[r : r + edge, c : c + edge].sum(),
            -((r - 6) ** 2 + (c - 9) ** 2),
        )
        for r in range(13)
        for c in range(19)
    )
    row, column = ablation.crop_corner(coverage, edge)
    assert coverage[row : row + edge, column : column + edge].sum() == best[0]
    assert -((row - 6) ** 2 + (column - 9) ** 2) == best[1]
    assert ablation.crop_corner(np.ones((4, 3), bool), 9) == (0, 0)


def _run(psnr, vgg):
    mean = {"psnr_covered_cc": psnr, "ssim_covered_cc": 0.5, "lpips_alex_covered_cc": 0.5}
    mean["lpips_vgg_covered_cc"] = vgg
    return {"mean": mean, "rays": 2_000_000, "seconds": 9.6, "numbers": 300_000}


def _cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_table_shows_gains_with_their_sign_so_that_positive_is_better():
    lines = ablation.table({"K": {"s": {"default": _run(20.0, 0.3), "other": _run(19.5, 0.2)}}})
    cells = _cells(lines[-1])
    assert cells[:4] == ["K", "s", "other", "19.5000"]
    assert cells[6:] == ["0.2000", "-0.500", "0.1000", "0.30", "10"]


def test_summary_is_the_mean_over_the_scenes_that_have_both_and_names_the_worst():
    scenes = {
        "s": {"default": _run(20.0, 0.4), "other": _run(21.0, 0.3)},
        "t": {"default": _run(30.0, 0.2), "other": _run(29.0, 0.1)},
        "u": {"default": _run(10.0, 0.2)},
        "v": {"other": _run(10.0, 0.2)},
    }
    lines = ablation.summary({"K": scenes})
    assert len(lines) == 3
    assert _cells(lines[-1]) == ["K", "other", "2", "+0.00", "+0.0000", "+0.0", "+37.5", "-1.00"]


def test_every_variant_sees_as_many_rays_and_differs_from_default_in_what_it_names():
    base = preset("default")
    assert base.optim.batch == ablation.RAYS
    for name, chosen in ablation.VARIANTS.items():
        settings = base
        if chosen[:1] == ("--set",):
            settings = override(base, list(chosen[1:]))
            assert settings != base
        elif chosen[:1] == ("--preset",):
            settings = preset(chosen[1])
        assert settings.optim.batch == ablation.BATCH.get(name, ablation.RAYS)


def test_curves_are_a_row_a_run_that_says_at_which_size_it_was_scored():
    def run(psnr, shown):
        mean = {"psnr_covered_cc": psnr}
        size = {"command": "xscale train s", "rays": 3_300_000, "seconds": 4.4, "shown": shown}
        return {"mean": mean, **size}

    lines = curves.table({"s": {"lengths": [run(20.0, 4.0)], "sizes": [run(21.0, 2.0)]}})
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert [row[:5] for row in rows] == [
        ["s", "photo size", "`xscale train s`", "2", "21.0000"],
        ["s", "time", "`xscale train s`", "4", "20.0000"],
    ]
    assert rows[0][-2:] == ["3.3", "4"]


def test_curves_are_drawn_with_a_point_a_run_where_there_are_runs():
    runs = [
        {"mean": {"psnr_covered_cc": k, "lpips_vgg_covered_cc": 1 / k}, "downscale": 8 / k}
        for k in (1, 2, 4)
    ]
    pictures = curves.drawn({"sizes": runs})
    assert list(pictures) == ["sizes-psnr", "sizes-lpips_vgg"]
    assert all(picture.count("<circle") == 3 for picture in pictures.values())
    assert all(f">{size:g}</text>" in pictures["sizes-psnr"] for size in (8, 4, 2))


def _wall(depth, size):
    corners = [[-size, -size, depth], [size, -size, depth], [size, size, depth]]
    return [*corners, [-size, size, depth]]


@pytest.fixture
def two_walls():
    """A large wall at 4 and a small one before it at 2; a camera at the origin looks along z."""
    vertices = np.array(_wall(4.0, 8.0) + _wall(2.0, 0.5), np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    surface = build_surface(Mesh(vertices=vertices, faces=faces, origin=np.zeros(3)))
    packed = torch.zeros(32, dtype=torch.float64)
    packed[[0, 4, 8]] = 1.0
    packed[12:18] = torch.tensor([40.0, 40.0, 32.0, 32.0, 0.0, 0.01])
    samples, _ = build_gbuffer(surface, packed, 64, 64)
    return packed, samples.depth.reshape(64, 64)


def test_point_behind_a_wall_or_outside_the_frame_is_not_seen(two_walls):
    packed, depth = two_walls
    points = torch.tensor([[0.0, 0, 4], [0, 0, 2], [2.0, 2, 4], [7.9, 0, 4], [0, 0, -4]])
    assert _causes._sees(points, packed, depth).tolist() == [0, 1, 1, 0, 0]


def test_depth_edges_are_a_band_of_three_pixels_on_both_sides(two_walls):
    edge = _causes._edges(two_walls[1].numpy())
    # The small wall spans 40 * 0.5 / 2 = 10 pixels from the middle: columns 22 to 41.
    assert edge[32].nonzero()[0].tolist() == [19, 20, 21, 22, 23, 24, 39, 40, 41, 42, 43, 44]
