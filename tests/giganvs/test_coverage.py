"""Coverage of a split: the pixels of every method, and those that a training and score find."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests import builders
from tests.giganvs.test_giganvs import SMALL, picture_folder
from xscale import Scene, train
from xscale.cli.main import main
from xscale.errors import IntegrityError, OutputExistsError
from xscale.giganvs.layout import CARD, PreparedScene
from xscale.giganvs.prepare import prepare
from xscale.giganvs.run import run
from xscale.giganvs.score import score
from xscale.giganvs.verify import verify
from xscale.io.hashing import fingerprint_of
from xscale.io.photo.images import write_png
from xscale.report.ranking import rank, read_scores
from xscale.scoring import score_run

ROOF = 2


@pytest.fixture(scope="module")
def backs(tmp_path_factory):
    """A scene whose roof is wound the other way: all photos see its face from behind."""
    built = builders.asymmetric_scene(photos=9, width=64, height=48)
    built = replace(built, faces=np.array([[0, 1, 2], [0, 2, 3], [4, 6, 5]], np.int32))
    return built, builders.write_colmap(built, tmp_path_factory.mktemp("backs") / "office")


@pytest.fixture(scope="module")
def made(backs, tmp_path_factory):
    return prepare(Scene.open(backs[1]), tmp_path_factory.mktemp("root") / "office")


def test_what_is_seen_from_behind_is_not_covered(backs, made):
    built, _ = backs
    split = made.split("every7")
    for name in split.test:
        camera = built.cameras[name]
        v, u = np.mgrid[: camera.height, : camera.width] + 0.5
        _, face = builders.hits(
            built.vertices, built.faces, camera, np.stack([u, v], -1).reshape(-1, 2)
        )
        assert (face == ROOF).any()
        expected = ((face >= 0) & (face != ROOF)).reshape(camera.height, camera.width)
        # Rays along an edge may fall to either side.
        assert (made.coverage(split, name) != expected).mean() < 2e-3


def masked(folder, copy):
    """The scene with masks: the right third of each photo may not be used."""
    shutil.copytree(folder, copy)
    for path in (copy / "images").iterdir():
        mask = np.full((48, 64), 255, np.uint8)
        mask[:, 42:] = 0
        write_png(copy / "masks" / path.name, mask)
    return copy


@pytest.mark.parametrize(("downscale", "masks"), [(1, False), (2, False), (2, True)])
def test_running_equals_train_and_score_number_for_number(backs, tmp_path, downscale, masks):
    scene = Scene.open(masked(backs[1], tmp_path / "masked") if masks else backs[1])
    prepared = prepare(scene, tmp_path / "root/office", downscale=downscale)
    outcome = run(prepared.path, tmp_path / "runs", steps=6, settings=SMALL, device="cpu")
    ours = read_scores(outcome.scores[0])
    trained = train(
        scene, out=tmp_path / "run", steps=6, settings=SMALL, test_every=7, device="cpu",
        downscale=downscale,
    )  # fmt: skip
    theirs = score_run(trained.path, metrics=("lpips_vgg_unit", "_ccq")).scores
    assert ours["photos"].keys() == theirs["photos"].keys()
    for name, row in theirs["photos"].items():
        assert row["psnr_uncovered"] != row["psnr_covered"]
        assert ours["photos"][name] == row, name
    assert ours["mean"] == theirs["mean"]
    assert ("psnr_masked" in ours["mean"]) == ("masks_sha256" in ours["protocol"]["rules"]) == masks
    assert ours["protocol"]["back_faces"] == theirs["protocol"]["back_faces"] == "uncovered"
    two_sided = score_run(trained.path, two_sided=True).scores
    assert two_sided["mean"]["psnr_covered"] != ours["mean"]["psnr_covered"]


def test_what_a_lens_never_saw_is_no_part_of_masked_scores(tmp_path):
    built = builders.asymmetric_scene(photos=9, width=64, height=48)
    bend = np.array([-0.3, 0.02, 0.0, 0.0])
    cameras = {
        name: builders.Camera("OPENCV", c.width, c.height, c.K, c.R, c.t, distortion=-bend)
        for name, c in built.cameras.items()
    }
    folder = builders.write_colmap(replace(built, cameras=cameras), tmp_path / "office")
    prepared = prepare(Scene.open(folder), tmp_path / "root/office")
    split = prepared.split("every7")
    assert prepared.has_masks(split)
    pred = tmp_path / "pred"
    for name in split.test:
        mask = prepared.mask(name)
        assert 0 < mask.mean() < 1
        # Right where the lens saw something, and wrong elsewhere.
        write_png(pred / name, np.where(mask[:, :, None], prepared.photo(name), 255))
    mean = score(pred, prepared)["mean"]
    assert mean["psnr_masked"] == "inf"
    assert mean["psnr"] < 40
    path = prepared.scene.photo(split.test[0]).mask_path
    write_png(path, np.full((48, 64), 255, np.uint8), overwrite=True)
    with pytest.raises(IntegrityError, match="changed since the scene was prepared"):
        score(pred, PreparedScene.open(prepared.path))


def test_a_split_of_ones_own_has_its_own_coverage(made, tmp_path):
    values = json.loads((made.path / "splits/every7.json").read_text())
    stored = score(picture_folder(made, tmp_path / "pred", 8), made)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**values, "name": "mine"}))
    # The same photos under another name: drawn now, the same masks.
    again = score(tmp_path / "pred", made, split=str(path))
    assert again["photos"] == stored["photos"]
    rules = [scores["protocol"]["rules"] for scores in (stored, again)]
    assert rules[0]["coverage_sha256"] == rules[1]["coverage_sha256"]
    # Another split of a name that is taken is not given the other's masks.
    test = [values["photos"][3]]
    digest = fingerprint_of({"photos": values["photos"], "test": test})
    path.write_text(json.dumps({**values, "test": test, "hash": digest}))
    split = made.split(str(path))
    assert made.rules(split)["coverage_sha256"].keys() == set(test)
    assert made.coverage(split, test[0]).any()


def old_scene(made, folder):
    """The same scene as earlier versions prepared it: one mask a photo, of both sides."""
    shutil.copytree(made.path, folder)
    shutil.rmtree(folder / "coverage")
    card = json.loads((folder / CARD).read_text())
    masks = {}
    for photo in made.scene.photos:
        path = folder / "coverage" / photo.name
        write_png(path, np.full((48, 64), 255, np.uint8))
        masks[photo.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    card |= {"format": 1, "coverage": masks, "recipe": "an earlier version's"}
    (folder / CARD).write_text(json.dumps(card))
    return PreparedScene.open(folder)


def test_scenes_of_earlier_versions_are_scored_by_their_own_masks(backs, made, tmp_path, capsys):
    old = old_scene(made, tmp_path / "office")
    pred = picture_folder(made, tmp_path / "pred", 8)
    scores = score(pred, old, method="a")
    assert scores["protocol"]["back_faces"] == "covered"
    assert scores["mean"]["psnr_covered"] == scores["mean"]["psnr"]
    assert any(line.startswith("W-COVERAGE") for line in scores["protocol"]["warnings"])
    verdict = verify(old.path)
    assert verdict.faults == ()
    assert "--overwrite makes it anew" in " ".join(verdict.remarks)
    new = score(pred, made, method="b")
    assert new["protocol"]["hash"] != scores["protocol"]["hash"]
    with pytest.raises(OutputExistsError, match="with other options"):
        prepare(Scene.open(backs[1]), old.path)
    argv = ["giganvs", "prepare", str(backs[1]), "--out", str(old.path), "--overwrite"]
    assert main(argv) == 0
    assert PreparedScene.open(old.path).card["coverage"] == made.card["coverage"]
    assert len(rank([new, score(pred, old.path, method="a")])[0].methods) == 2


def test_a_finished_job_is_scored_again_on_other_masks_and_not_trained(made, tmp_path):
    root = tmp_path / "root/office"
    shutil.copytree(made.path, root)
    first = run(root, tmp_path / "runs", steps=4, settings=SMALL, device="cpu")
    (path,) = first.scores
    before = read_scores(path)
    trained = (path.parent / "manifest.json").stat().st_mtime_ns
    shutil.rmtree(root)
    old_scene(made, root)
    again = run(root, tmp_path / "runs", steps=4, settings=SMALL, device="cpu")
    assert (again.kept, again.failed) == (0, {})
    after = read_scores(path)
    assert after["protocol"]["back_faces"] == "covered"
    assert after["sha256"] == before["sha256"]
    assert after["mean"]["psnr_covered"] != before["mean"]["psnr_covered"]
    assert (path.parent / "manifest.json").stat().st_mtime_ns == trained


def test_a_card_that_lacks_masks_of_a_split_is_refused(made, tmp_path):
    shutil.copytree(made.path, tmp_path / "office")
    path = tmp_path / "office" / CARD
    card = json.loads(path.read_text())
    card["coverage"]["every7"].popitem()
    path.write_text(json.dumps(card))
    with pytest.raises(IntegrityError, match="lists no coverage of some test photos of every7"):
        score(picture_folder(made, tmp_path / "pred"), tmp_path / "office")
