"""Whatever is wrong with scenes, splits, masks, options and scores is one line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests.giganvs.test_giganvs import SMALL, picture_folder
from xscale import Scene
from xscale.cli.main import main
from xscale.errors import IntegrityError, ListError, OutputExistsError, UsageError, XscaleError
from xscale.giganvs.layout import CARD, PreparedScene
from xscale.giganvs.prepare import prepare
from xscale.giganvs.run import run
from xscale.giganvs.score import score
from xscale.giganvs.verify import scenes_of
from xscale.io.hashing import fingerprint_of
from xscale.io.photo.images import write_png
from xscale.report.ranking import rank, read_scores, table


@pytest.fixture
def copy(prepared, tmp_path):
    shutil.copytree(prepared.path, tmp_path / "root/office")
    return PreparedScene.open(tmp_path / "root/office")


def refused(argv, code, capsys):
    capsys.readouterr()
    assert main(argv) == code
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("xscale: error")]
    assert len(lines) == 1, lines
    return lines[0]


def tree(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.mark.parametrize("kind", ["photo", "coverage"])
def test_files_that_changed_are_never_scored(copy, tmp_path, kind):
    pred = picture_folder(copy, tmp_path / "pred")
    name = copy.split("every7").test[0]
    path = copy.scene.photo(name).path
    if kind == "coverage":
        path = copy.path / "coverage" / f"{name.rsplit('.', 1)[0]}.png"
    write_png(path, np.zeros((48, 64, 3), np.uint8), overwrite=True)
    with pytest.raises(IntegrityError, match="changed since the scene was prepared"):
        score(pred, copy, out=tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["test"].append("stranger.png"), "stranger.png, which the scene does not have"),
        (lambda v: v["test"].append(v["test"][0]), "twice"),
        (lambda v: v["photos"].append(v["photos"][0]), "twice"),
        (lambda v: v["groups"].pop(v["test"][0]), "no group"),
        (lambda v: v["test"].clear(), "holds out no photo"),
        (lambda v: v.update(test=list(v["photos"])), "or all of them"),
        (lambda v: v.update(groups=[1]), "is not a split file"),
        (lambda v: v.update(photos=7), "is not a split file"),
        (lambda v: v.pop("rule"), "is not a split file"),
        (lambda v: v.update(test=[n.upper() for n in v["test"]]), "which the scene does not have"),
    ],
)
def test_splits_that_make_no_sense_are_refused(copy, change, words):
    path = copy.path / "splits/every7.json"
    values = json.loads(path.read_text())
    change(values)
    if isinstance(values["photos"], list):
        values["hash"] = fingerprint_of({"photos": values["photos"], "test": values["test"]})
    path.write_text(json.dumps(values))
    with pytest.raises(ListError, match=words):
        copy.split("every7")


@pytest.mark.parametrize("damage", ["photos", "coverage", "names", "json", "format"])
def test_damaged_cards_are_refused(copy, damage, capsys):
    card = json.loads((copy.path / CARD).read_text())
    if damage == "photos":
        card["photos"] = list(card["photos"])
    elif damage == "coverage":
        card["coverage"].popitem()
    elif damage == "names":
        card["photos"]["../../x.png"] = card["coverage"]["../../x.png"] = "0"
    elif damage == "format":
        card["format"] = 99
    text = json.dumps(card)
    (copy.path / CARD).write_text(text[:-40] if damage == "json" else text)
    with pytest.raises(XscaleError):
        PreparedScene.open(copy.path)
    refused(["giganvs", "verify", str(copy.path)], 12, capsys)


def test_preparing_never_replaces_anything_but_a_prepared_scene(source, copy, tmp_path):
    scene = Scene.open(source)
    before = tree(source)
    mine = tmp_path / "mine"
    (mine / "deep").mkdir(parents=True)
    (mine / "deep/thesis.txt").write_text("years of work")
    for out in (source, source.parent, source / "images", mine, tmp_path):
        with pytest.raises(OutputExistsError):
            prepare(scene, out, overwrite=True)
    assert tree(source) == before
    assert (mine / "deep/thesis.txt").read_text() == "years of work"
    again = prepare(scene, copy.path, overwrite=True, downscale=2)
    assert again.card["downscale"] == 2
    with pytest.raises(UsageError, match="downscale"):
        prepare(scene, tmp_path / "x", downscale=float("nan"))


def test_results_that_exist_are_refused_before_any_work(prepared, tmp_path, monkeypatch):
    pred = picture_folder(prepared, tmp_path / "pred")
    (tmp_path / "a.json").write_text("mine")
    (tmp_path / "folder").mkdir()

    def work(*arguments, **options):
        raise AssertionError("work began")

    monkeypatch.setattr("xscale.giganvs.score.score_predictions", work)
    for options in ({"out": tmp_path / "a.json"}, {"results": tmp_path / "folder"},
                    {"out": tmp_path / "folder", "overwrite": True}):  # fmt: skip
        with pytest.raises(OutputExistsError):
            score(pred, prepared, **options)
    with pytest.raises(UsageError, match="no metric on request"):
        score(pred, prepared, extras=("fid",))
    assert (tmp_path / "a.json").read_text() == "mine"


@pytest.mark.parametrize(
    "options",
    [
        ["--preset", "nonsense"], ["--set", "optim.nonsense=1"], ["--steps", "0"],
        ["--minutes", "nan"], ["--seeds", "-1"], ["--splits", "every7", "clutser1"],
        ["--shard", "0/2"], ["--shard", "3/2"], ["--shard", "²/3"], ["--shard", "a"],
        ["--metrics", "fid"], ["--device", "abacus"], ["--lpips-weights", "nowhere"],
        ["--steps", "3", "--minutes", "1"],
    ],
)  # fmt: skip
def test_options_of_run_are_checked_before_any_job(prepared, tmp_path, options, capsys):
    out = tmp_path / "runs"
    refused(["giganvs", "run", str(prepared.path), "--out", str(out), *options], 2, capsys)
    assert not out.exists()


def test_a_scene_whose_card_is_damaged_stops_no_other(copy, tmp_path):
    root = copy.path.parent
    shutil.copytree(copy.path, root / "a-broken")
    (root / "a-broken" / CARD).write_text("{")
    outcome = run(root, tmp_path / "out", steps=2, settings=SMALL, device="cpu")
    assert len(outcome.scores) == 1
    assert list(outcome.failed) == ["a-broken every7 seed 0"]


def test_an_error_of_any_kind_stops_no_other_job_and_an_interrupt_all(copy, tmp_path, monkeypatch):
    from xscale.errors import InterruptedRunError
    from xscale.giganvs import jobs

    seen, raised = [], [None]

    def broken(job, recipe, say):
        seen.append(job)
        raise raised[0]

    monkeypatch.setattr(jobs, "_do", broken)
    for error in (RuntimeError("out of memory\nat 0x0"), MemoryError(), KeyError("x")):
        raised[0] = error
        outcome = run(copy.path, tmp_path / "out", seeds=[0, 1], device="cpu")
        assert len(outcome.failed) == 2
        assert not any("\n" in line for line in outcome.failed.values())
    seen.clear()
    raised[0] = InterruptedRunError("stopped")
    with pytest.raises(InterruptedRunError):
        run(copy.path, tmp_path / "out", seeds=[0, 1], device="cpu")
    assert len(seen) == 1


def test_scores_files_of_other_shapes_are_refused(prepared, tmp_path):
    whole = score(picture_folder(prepared, tmp_path / "p", 8), prepared, method="a")
    path = tmp_path / "a.json"
    for key in ("method", "scene", "protocol", "photos", "groups", "mean"):
        for wrong in (None, 3, "text", [], ["x"]):
            if isinstance(wrong, str) and isinstance(whole[key], str):
                continue
            path.write_text(json.dumps({**whole, key: wrong}))
            with pytest.raises(XscaleError):
                read_scores(path)
    path.write_text(json.dumps({**whole, "photos": {"x": 3}}))
    with pytest.raises(XscaleError):
        read_scores(path)
    with pytest.raises(UsageError, match="same pictures"):
        rank([whole, whole])
    assert "a" in table(rank([whole, whole], force=True))


def test_folders_and_files_in_each_others_place_are_told(prepared, tmp_path, capsys):
    line = refused(["giganvs", "table", str(tmp_path)], 3, capsys)
    assert "is a folder; name scores files" in line
    taken = tmp_path / "taken"
    taken.write_text("mine")
    argv = ["giganvs", "run", str(prepared.path), "--out", str(taken), "--steps", "2"]
    assert "is not a folder" in refused(argv, 4, capsys)
    assert taken.read_text() == "mine"


def test_names_of_scenes_are_checked_and_count_once(copy, tmp_path, capsys):
    root = copy.path.parent
    assert scenes_of(root, ["office", "office"]) == [copy.path]
    assert scenes_of(copy.path, ["office"]) == [copy.path]
    for place in (root, copy.path):
        argv = ["giganvs", "run", str(place), "--scenes", "nosuch", "--out", str(tmp_path / "out")]
        assert "has no prepared scene nosuch; there are office" in refused(argv, 3, capsys)


def test_pictures_of_a_method_without_scores_are_refused(prepared, tmp_path, capsys):
    pred = picture_folder(prepared, tmp_path / "p", 8)
    score(pred, prepared, method="a", out=tmp_path / "a.json")
    argv = ["giganvs", "table", str(tmp_path / "a.json"), "--page", str(tmp_path / "page.html"),
            "--scene", str(prepared.path), "--pictures", f"b={pred}"]  # fmt: skip
    assert "names b, which has no scores here; there are a" in refused(argv, 2, capsys)
    assert not (tmp_path / "page.html").exists()
