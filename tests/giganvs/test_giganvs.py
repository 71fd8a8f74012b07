"""The benchmark: a scene prepared, verified, run and scored; nothing resized, skipped or mixed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests import builders
from xscale import Scene
from xscale.cli.main import main
from xscale.errors import InputError, ListError, OutputExistsError, UsageError
from xscale.giganvs.layout import CARD, PreparedScene
from xscale.giganvs.prepare import plain_camera, prepare, undistorted
from xscale.giganvs.quoted import quoted_table
from xscale.giganvs.run import SCORES, run
from xscale.giganvs.score import score
from xscale.giganvs.splits import make_splits
from xscale.giganvs.verify import scenes_of, verify
from xscale.io.photo.images import read_rgb
from xscale.render.run import Run
from xscale.report.ranking import rank, read_scores, table

SMALL = ["optim.batch=256", "model.grid.levels=4", "model.grid.log2_table_size=10",
         "model.shader.hidden=16"]  # fmt: skip


def test_a_scene_without_changes_is_copied_byte_for_byte(source, prepared):
    scene, made = Scene.open(source), prepared.scene
    assert [p.name for p in made.photos] == [p.name for p in scene.photos]
    for one, other in zip(scene.photos, made.photos, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()
        np.testing.assert_array_equal(one.camera.K, other.camera.K)
        np.testing.assert_array_equal(one.camera.R, other.camera.R)
        np.testing.assert_array_equal(one.camera.t, other.camera.t)
    assert verify(prepared.path).faults == ()


def test_coverage_is_what_rays_hit(prepared):
    scene = prepared.scene
    vertices = scene.mesh.vertices.astype(np.float64) + scene.origin
    photo = scene.photos[7]
    mask = prepared.coverage(prepared.split("every7"), photo.name)
    rows, columns = np.mgrid[0 : mask.shape[0] : 5, 0 : mask.shape[1] : 5]
    for row, column in zip(rows.ravel(), columns.ravel(), strict=True):
        point = np.array([[column + 0.5, row + 0.5]])
        depths, _ = builders.hits(vertices, scene.mesh.faces, photo.camera, point)
        assert mask[row, column] == bool(np.isfinite(depths).any()), (row, column)


def test_preparing_again_keeps_what_is_there_and_refuses_something_else(source, prepared):
    before = (prepared.path / CARD).stat().st_mtime_ns
    prepare(Scene.open(source), prepared.path)
    assert (prepared.path / CARD).stat().st_mtime_ns == before
    with pytest.raises(OutputExistsError, match="with other options"):
        prepare(Scene.open(source), prepared.path, downscale=2)


@pytest.mark.parametrize(("sizes", "expected"), [("xscale", (21, 16)), ("official", (21, 16))])
def test_sizes_and_intrinsics_follow_their_rule(source, tmp_path, sizes, expected):
    made = prepare(Scene.open(source), tmp_path / "a", downscale=3, sizes=sizes)
    camera = made.scene.photos[0].camera
    assert (camera.width, camera.height) == expected
    whole = Scene.open(source).photos[0].camera
    factor = 3 if sizes == "official" else 64 / 21
    np.testing.assert_allclose(camera.K[0], whole.K[0] / factor, rtol=1e-12)


def test_official_sizes_are_rounded_down(source):
    camera = Scene.open(source).photos[0].camera
    assert (plain_camera(camera, 5, "official").width, plain_camera(camera, 5, "xscale").width) == (
        12,
        13,
    )


def test_every_seventh_photo_and_six_clusters_are_held_out(prepared):
    names = [photo.name for photo in prepared.scene.photos]
    assert prepared.split("every7").test == tuple(names[::7])
    clusters = [prepared.split(name) for name in prepared.splits() if name != "every7"]
    assert len(clusters) >= 2
    for split in clusters:
        assert set(split.test) < set(split.photos) == set(names)
        assert split.seed == 0
        assert "ours" in split.rule


def test_clusters_are_neighbours_and_cover_all_views():
    cameras = {}
    for place in range(3):
        for i in range(20):
            R, t = builders.look_at((10.0 * place + 0.01 * i, -5, 1), (10.0 * place, 0, 0))
            cameras[f"{place}_{i:02d}.jpg"] = builders.Camera(
                "PINHOLE", 64, 48, np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]), R, t
            )
    splits = make_splits(cameras)
    groups = splits[0].groups
    for place in range(3):
        others = {groups[n] for n in cameras if not n.startswith(f"{place}_")}
        assert others.isdisjoint({groups[n] for n in cameras if n.startswith(f"{place}_")})
    assert splits == make_splits(cameras)
    assert [s.hash for s in splits] != [s.hash for s in make_splits(cameras, seed=1)]


def test_a_lens_is_taken_out(source):
    built = builders.asymmetric_scene(photos=1, width=96, height=64)
    plain = next(iter(built.cameras.values()))
    bent = builders.Camera(
        "OPENCV", plain.width, plain.height, plain.K, plain.R, plain.t,
        distortion=np.array([-0.08, 0.01, 0.001, -0.002]),
    )  # fmt: skip
    straight, seen = undistorted(builders.render(built, bent), bent)
    expected = builders.render(built, plain)
    difference = np.abs(straight.astype(int) - expected)[seen]
    assert np.median(difference) <= 2
    assert seen.mean() > 0.8


def picture_folder(prepared, folder, noise=0.0, seed=0):
    chance = np.random.default_rng(seed)
    from xscale.io.photo.images import write_png

    for name in prepared.split("every7").test:
        photo = prepared.photo(name).astype(np.float64)
        noisy = np.clip(photo + chance.normal(0, noise, photo.shape), 0, 255).astype(np.uint8)
        write_png(folder / f"{name.rsplit('.', 1)[0]}.png", noisy)
    return folder


def test_scores_name_hashes_and_rules(prepared, tmp_path):
    pred = picture_folder(prepared, tmp_path / "mine", noise=8)
    scores = score(pred, prepared, out=tmp_path / "mine.json")
    test = prepared.split("every7").test
    assert set(scores["photos"]) == set(test) == set(scores["sha256"])
    rules = scores["protocol"]["rules"]
    assert rules["photos_sha256"].keys() == rules["coverage_sha256"].keys() == set(test)
    row = scores["photos"][test[0]]
    assert 25 < row["psnr"] < 40
    assert row["psnr_ccq"] >= row["psnr_cc"] - 0.05
    assert read_scores(tmp_path / "mine.json")["mean"] == scores["mean"]
    with pytest.raises(OutputExistsError):
        score(pred, prepared, out=tmp_path / "mine.json")


def test_missing_predictions_are_scored_as_missing(prepared, tmp_path, capsys):
    pred = picture_folder(prepared, tmp_path / "mine", noise=8)
    first = sorted(pred.iterdir())[0]
    first.unlink()
    argv = ["giganvs", "score", "--pred", str(pred), "--scene", str(prepared.path)]
    assert main([*argv, "--out", str(tmp_path / "a.json")]) == 9
    scores = read_scores(tmp_path / "a.json")
    assert len(scores["missing"]) == 1
    assert scores["mean"]["psnr"] is None
    assert "missing" in capsys.readouterr().out


def test_a_table_marks_the_best_only_beyond_chance(prepared, tmp_path):
    files = [
        score(picture_folder(prepared, tmp_path / name, noise, seed), prepared, method=name)
        for name, noise, seed in (("good", 4, 0), ("bad", 24, 1), ("like good", 4, 2))
    ]
    alone = rank(files[:2])[0]
    assert alone.cells["good", "psnr"].best
    assert not rank(files)[0].cells["good", "psnr"].best
    text = table([alone])
    assert "**" in text
    assert "| good |" in text
    assert "\\textbf{" in table([alone], "latex")
    assert "<script" not in table(rank([{**files[0], "method": "<script>"}]), "html")
    assert table([alone], "csv").splitlines()[0] == "scene,method,metric,mean,spread,best"


def test_protocols_never_mix_without_force(prepared, tmp_path):
    one = score(picture_folder(prepared, tmp_path / "a", 4), prepared, method="a")
    other = json.loads(json.dumps(one))
    other["method"] = "b"
    other["protocol"]["hash"] = "x"
    other["protocol"]["rules"]["downscale"] = 2
    with pytest.raises(UsageError, match="different: downscale"):
        rank([one, other])
    assert len(rank([one, other], force=True)[0].methods) == 2


def test_damage_and_leaks_are_found(source, tmp_path):
    made = prepare(Scene.open(source), tmp_path / "root/a")
    names = [photo.name for photo in made.scene.photos]
    folder = made.path / "images_1"
    shutil.copy(folder / names[0], folder / names[1])
    faults = " ".join(verify(made.path).faults)
    assert "changed since" in faults
    assert names[1] in faults
    split = made.path / "splits/every7.json"
    values = json.loads(split.read_text())
    values["test"] = values["test"][:1]
    split.write_text(json.dumps(values))
    with pytest.raises(ListError, match="does not match its hash"):
        made.split("every7")
    values["test"] = ["stranger.png"]
    split.write_text(json.dumps(values))
    with pytest.raises(ListError, match=r"stranger\.png"):
        made.split("every7")
    assert main(["giganvs", "verify", str(tmp_path / "root")]) == 12


def test_masks_of_another_size_are_refused(source, tmp_path):
    made = prepare(Scene.open(source), tmp_path / "a")
    from xscale.io.photo.images import write_png

    name = made.split("every7").test[0]
    mask = made.path / "coverage/every7" / f"{name.rsplit('.', 1)[0]}.png"
    write_png(mask, np.zeros((3, 4), np.uint8), overwrite=True)
    with pytest.raises(InputError, match="is 4 x 3, its photo is 64 x 48"):
        score(picture_folder(made, tmp_path / "p"), made)


@pytest.fixture(scope="module")
def benchmark(prepared, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    outcome = run(prepared.path, out, steps=6, settings=SMALL, device="cpu")
    return out, outcome


def test_the_figures_of_a_run_are_those_of_its_pictures(prepared, benchmark):
    path = benchmark[1].scores[0]
    ours = read_scores(path)
    theirs = score(path.parent / "renders/test", prepared, method="xscale default")
    assert theirs["photos"] == ours["photos"]
    assert theirs["sha256"] == ours["sha256"]
    # The masks beside the pictures are not taken for pictures.
    assert theirs["extra"] == ours["extra"] == []


def test_running_again_keeps_what_is_finished_and_shards_divide_the_jobs(prepared, benchmark):
    out, outcome = benchmark
    again = run(prepared.path, out, steps=6, settings=SMALL, device="cpu")
    assert (again.kept, again.scores) == (1, outcome.scores)
    other = run(prepared.path, out, steps=7, settings=SMALL, device="cpu")
    assert "other options" in next(iter(other.failed.values()))
    first = run(prepared.path, out, steps=6, settings=SMALL, device="cpu", shard=(1, 2))
    second = run(prepared.path, out, steps=6, settings=SMALL, device="cpu", shard=(2, 2))
    assert (len(first.scores), len(second.scores)) == (1, 0)


def test_a_broken_scene_stops_no_other(prepared, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(prepared.path, root / "a-broken")
    shutil.copytree(prepared.path, root / "b-good")
    for path in (root / "a-broken/cams_1").iterdir():
        path.write_text("damaged")
    assert [p.name for p in scenes_of(root)] == ["a-broken", "b-good"]
    argv = ["giganvs", "run", str(root), "--out", str(tmp_path / "out"), "--steps", "4",
            "--device", "cpu", "--set", *SMALL]  # fmt: skip
    assert main(argv) == 9
    assert (tmp_path / "out/b-good/every7/xscale-default-seed0" / SCORES).exists()
    assert not (tmp_path / "out/a-broken/every7/xscale-default-seed0" / SCORES).exists()


def test_what_is_not_prepared_is_refused(tmp_path, source, capsys):
    assert main(["giganvs", "verify", str(tmp_path)]) == 3
    assert main(["giganvs", "score", "--pred", str(tmp_path), "--scene", str(source)]) == 3
    assert main(["giganvs", "nonsense"]) == 2
    assert main(["giganvs", "table", str(tmp_path / "none.json")]) == 3
    assert "xscale giganvs prepare" in capsys.readouterr().err


def test_the_trained_run_lies_in_an_ordinary_run_folder(benchmark):
    _, outcome = benchmark
    opened = Run.open(outcome.scores[0].parent)
    assert PreparedScene.open(opened.manifest.scene.root).name == "office"
    picture = read_rgb(next((opened.path / "renders/test").glob("*.png")))[0]
    assert picture.shape == (48, 64, 3)


def test_the_page_holds_everything_and_no_markup_of_names(prepared, tmp_path):
    files = [
        score(picture_folder(prepared, tmp_path / name, noise, seed), prepared, method=name)
        for name, noise, seed in (("good", 4, 0), ("<b>bad</b>", 24, 1))
    ]
    paths = []
    for i, file in enumerate(files):
        paths.append(tmp_path / f"{i}.json")
        paths[-1].write_text(json.dumps(file))
    out = tmp_path / "page.html"
    assert main(["giganvs", "table", *map(str, paths), "--page", str(out)]) == 0
    text = out.read_text()
    assert "<b>bad</b>" not in text
    assert "&lt;b&gt;bad" in text
    assert "http" not in text.replace("http-equiv", "")
    assert all(name in text for name in prepared.split("every7").test)
    assert main(["giganvs", "table", *map(str, paths), "--page", str(out)]) == 4


def test_the_benchmark_describes_itself():
    from tests.house.tree import ROOT

    folder = ROOT / "datasets/giganvs"
    for name in ("scenes", "protocols", "quoted", "checks"):
        assert json.loads((folder / f"{name}.json").read_text())
    quoted = json.loads((folder / "quoted.json").read_text())["rows"]
    assert all(row["source"] and row["lpips_convention"] for row in quoted)


def test_quoted_figures_have_a_table_of_their_own_in_every_format(prepared, tmp_path, capsys):
    scores = tmp_path / "a.json"
    score(picture_folder(prepared, tmp_path / "a", 4), prepared, out=scores)
    page = tmp_path / "page.html"
    for kind in ("markdown", "csv", "latex", "html"):
        argv = ["giganvs", "table", str(scores), "--format", kind, "--quoted"]
        assert main([*argv, "--page", str(page), "--overwrite"]) == 0
        measured, _, quoted = capsys.readouterr().out.partition(
            "method,PSNR" if kind == "csv" else "Quoted"
        )
        assert "InceptionGS, full" in quoted
        assert "InceptionGS" not in measured
        # Their digits are those of the publication.
        assert "0.260" in quoted
    assert "<h2>Quoted figures</h2>" in page.read_text()
    assert quoted_table("latex").count("\\\\") == 13


def test_a_table_says_why_a_figure_is_not_there(prepared, tmp_path):
    same = score(picture_folder(prepared, tmp_path / "same"), prepared)
    cells = rank([same])[0].cells
    assert cells["same", "psnr"].word == "inf"
    assert "inf" in table(rank([same]))
    unscored = {**same, "mean": {**same["mean"], "lpips_vgg": None}}
    assert rank([unscored])[0].cells["same", "lpips_vgg"].word == "not scored"
    (tmp_path / "same" / "view_00.png").unlink()
    lost = score(tmp_path / "same", prepared)
    assert rank([lost])[0].cells["same", "psnr"].word == "missing"
