from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tests import builders
from xscale.cli import main


def test_inspect_prints_what_the_folder_holds(asymmetric_folder, capsys):
    assert main.main(["inspect", str(asymmetric_folder)]) == 0
    text = capsys.readouterr().out
    for label in ("layout", "photos", "cameras", "mesh", "footprint", "coverage", "agreement"):
        assert f"\n{label}" in f"\n{text}"


def test_footprint_is_distance_times_angle_on_the_asymmetric_scene(
    asymmetric, asymmetric_folder, capsys
):
    assert main.main(["inspect", str(asymmetric_folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    nearest, farthest = [], []
    for camera in asymmetric.cameras.values():
        distance = np.linalg.norm(asymmetric.vertices - camera.position, axis=1)
        pixel = 1 / np.sqrt(camera.fx * camera.fy)
        nearest.append(distance.min() * pixel)
        farthest.append(distance.max() * pixel)
    # A pixel's footprint lies between head-on at the nearest and grazing at the farthest point;
    # the nearest point of a face may be closer than its corners by the picture's depth range.
    assert 0.2 * min(nearest) < found["footprint"]["p50"] < max(farthest) / np.sqrt(0.1)
    assert found["footprint"]["p1"] <= found["footprint"]["p5"] <= found["footprint"]["p99"]
    assert 0 < found["coverage"]["min"] <= found["coverage"]["mean"] <= 1


def test_agreement_is_exact_for_points_on_the_mesh(asymmetric_folder, capsys):
    main.main(["inspect", str(asymmetric_folder), "--json"])
    agreement = json.loads(capsys.readouterr().out)["agreement"]
    assert agreement["reprojection_pixels"] < 0.01


def test_mesh_that_was_moved_is_remarked_and_strict_makes_it_an_error(asymmetric, tmp_path, capsys):
    camera = next(iter(asymmetric.cameras.values()))
    away = 0.3 * (asymmetric.vertices.mean(0) - camera.position)
    moved = asymmetric.moved(np.zeros(3))
    moved.vertices = moved.vertices + away
    folder = builders.write_colmap(moved, tmp_path / "scene")
    code = main.main(["inspect", str(folder), "--strict"])
    captured = capsys.readouterr()
    assert code == 3
    assert "W-MESH-" in captured.err or "xscale: error" in captured.err


def test_strict_makes_a_remark_of_the_mesh_an_error(asymmetric_folder, capsys):
    with (asymmetric_folder / "mesh.ply").open("ab") as file:
        file.write(b"spare")
    for words, code in (([], 0), (["--strict"], 3)):
        assert main.main(["inspect", str(asymmetric_folder), "--quick", *words]) == code
        assert "W-MESH-TAIL: mesh.ply: 5 bytes" in capsys.readouterr().err


def test_folder_that_is_no_scene_is_a_one_line_error(tmp_path, capsys):
    assert main.main(["inspect", str(tmp_path)]) == 3
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--pixel-origin", "middle"]])
def test_wrong_arguments_exit_2(arguments, capsys):
    assert main.main(["inspect", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_json_holds_findings_plan_histogram_and_every_photo(asymmetric_folder, capsys):
    assert main.main(["inspect", str(asymmetric_folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["suspicious"] == []
    assert set(found["per_photo"]) == {f"view_{k:02d}.png" for k in range(6)}
    assert sum(b["share"] for b in found["footprint"]["histogram"]) == pytest.approx(1)
    plan = found["plan"]
    assert plan["rays_per_second"] > 0
    assert plan["seconds"] == pytest.approx(plan["rays"] / plan["rays_per_second"], abs=1)
    assert plan["training_bytes"] > plan["table_bytes"] > 0


def test_report_is_one_page_that_asks_nothing_of_a_network(asymmetric_folder, tmp_path, capsys):
    evil = "<img src=x onerror=alert(1)>.png"
    (asymmetric_folder / "images" / "view_00.png").rename(asymmetric_folder / "images" / evil)
    images = asymmetric_folder / "sparse" / "0" / "images.bin"
    images.write_bytes(images.read_bytes().replace(b"view_00.png", evil.encode()))
    page = tmp_path / "page.html"
    arguments = ["inspect", str(asymmetric_folder), "--quick", "--unit", "m", "--out", str(page)]
    assert main.main(arguments) == 0
    text = page.read_text()
    assert str(page) in capsys.readouterr().out
    assert "Content-Security-Policy" in text
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;.png" in text
    assert " mm" in text
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    assert text.count('class="photo"') == 6
    assert main.main(arguments) == 4
    assert main.main([*arguments, "--overwrite"]) == 0
