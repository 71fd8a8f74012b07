"""Poisoned backgrounds, kept photos, folders and logs: right hashes, wrong contents."""

from __future__ import annotations

import json
import os
import shutil
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from tests import builders
from tests.render.conftest import write_tiny_run
from tests.run.test_poisoned import DAMAGED, RENDER, rewritten
from xscale import Run, Scene, train
from xscale.cli.main import main
from xscale.errors import IntegrityError
from xscale.io.tensors import read_tensors, write_tensors
from xscale.model.background import Background
from xscale.render.new_run import write_background
from xscale.run.folder import BACKGROUND, PHOTOS, RunFolder

RUN_ID = "0123456789abcdef"


@pytest.fixture(scope="module")
def whole(asymmetric, tmp_path_factory):
    """A run with everything that a run may hold."""
    run = write_tiny_run(asymmetric, tmp_path_factory.mktemp("parts") / "run")
    rewritten(run, lambda v: v["settings"]["model"].update(background="learned"))
    texture = torch.arange(4 * 8 * 3, dtype=torch.uint8).reshape(4, 8, 3)
    sky = Background(texture, "box", torch.full((3,), -9.0), torch.full((3,), 9.0))
    write_background(RunFolder(run), RUN_ID, sky)
    opened = Run.open(run)
    chance = np.random.default_rng(3)

    def read(name):
        camera = opened.camera(name)
        return chance.integers(0, 255, (camera.height, camera.width, 3), np.uint8), None

    opened.write_source_photos(read)
    return run


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def _changed(run, name, change):
    """Change a file's tensors as somebody would who also mends its hash."""
    arrays = {key: array.copy() for key, array in read_tensors(run / name).items()}
    change(arrays)
    write_tensors(run / name, arrays, run=RUN_ID, overwrite=True)


def _drawn(run, **options):
    opened = Run.open(run, **options)
    return opened.render(opened.camera(opened.names("test")[0]).scaled(48, 32), ("colour",)).colour


def test_the_whole_run_opens_with_all_its_parts(whole):
    assert not torch.equal(_drawn(whole), _drawn(whole, source_photos=True))


def test_files_for_people_are_not_read_back(run):
    drawn, fingerprint = _drawn(run), Run.open(run).fingerprint
    (run / "previews").mkdir()
    for name in ("refined_cameras.json", "diverged.json", "report.html",
                 "previews/step_00000001.png"):  # fmt: skip
        (run / name).write_bytes(b"\xff{")
    assert torch.equal(_drawn(run), drawn)
    assert Run.open(run).fingerprint == fingerprint
    assert main(["render", str(run), *RENDER]) == 0


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("texture", np.zeros((4, 8), np.uint8)), ("texture", np.zeros((4, 9, 3), np.uint8)),
        ("texture", np.zeros((4, 8, 3), np.float32)), ("texture", np.zeros((0, 0, 3), np.uint8)),
        ("kind", np.array([7], np.int32)), ("kind", np.array([-1], np.int32)),
        ("kind", np.zeros(2, np.int32)), ("kind", np.zeros(1, np.float32)),
        ("low", np.full(3, np.nan, np.float32)), ("low", np.full(3, 99, np.float32)),
        ("high", np.zeros((3, 3), np.float32)), ("high", np.zeros(3, np.float64)),
    ],
)  # fmt: skip
def test_backgrounds_of_other_types_and_shapes_are_refused(run, name, array, capsys):
    _changed(run, BACKGROUND, lambda arrays: arrays.update({name: array}))
    assert main(["render", str(run), *RENDER]) == DAMAGED
    assert "does not hold a background" in capsys.readouterr().err


def test_backgrounds_without_a_part_are_refused(run):
    _changed(run, BACKGROUND, lambda arrays: arrays.pop("low"))
    assert main(["render", str(run), *RENDER]) == DAMAGED


def _encoded(data):
    return np.frombuffer(data, np.uint8).copy()


@pytest.mark.parametrize("kind", ["cut", "other size", "no picture", "GIF", "empty"])
def test_source_photos_are_decoded_with_care(run, kind, capsys):
    def change(arrays):
        for name in [name for name in arrays if name.startswith("residual.")]:
            data = arrays[name].tobytes()
            other = BytesIO()
            Image.new("RGB", (3, 2)).save(other, "GIF" if kind == "GIF" else "PNG")
            data = {"cut": data[: len(data) // 2], "no picture": b"%PDF-1.7" * 9, "empty": b""}.get(
                kind, other.getvalue()
            )
            arrays[name] = _encoded(data)

    _changed(run, PHOTOS, change)
    # The frames that need no such photo are rendered: some failed, the cause is named.
    assert main(["render", str(run), *RENDER, "--source-photos"]) == 9
    assert "photos.safetensors: is damaged: residual" in capsys.readouterr().err


def test_a_background_of_another_run_is_refused(run):
    write_tensors(run / BACKGROUND, dict(read_tensors(run / BACKGROUND)), run="other",
                  overwrite=True)  # fmt: skip
    with pytest.raises(IntegrityError, match="another run"):
        _drawn(run)


@pytest.mark.parametrize("place", ["left", "coverage/left", "coverage"])
def test_folders_of_photos_that_are_links_are_refused(run, place):
    def rename(values):
        first = values["split"]["test"][0]
        values["split"]["test"][0] = "left/a.png"
        values["cameras"]["left/a.png"] = values["cameras"].pop(first)

    rewritten(run, rename)
    elsewhere = run.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.png").write_bytes(b"precious")
    link = run / "renders/test" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    assert main(["render", str(run), *RENDER, "--outputs", "colour", "coverage"]) == 3
    assert [p.name for p in elsewhere.rglob("*")] == ["a.png"]
    assert (elsewhere / "a.png").read_bytes() == b"precious"


@pytest.mark.parametrize("place", ["shards", "shards/1-of-2"])
def test_shards_that_are_links_are_refused(run, place):
    elsewhere = run.parent / "elsewhere"
    elsewhere.mkdir()
    link = run / "renders/test" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    for words in ((), ("--shard", "1/2")):
        assert main(["render", str(run), *RENDER, *words]) == 3
    assert list(elsewhere.iterdir()) == []


@pytest.fixture(scope="module")
def begun(asymmetric, tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun")
    scene = builders.write_colmap(asymmetric, folder / "scene")
    train(Scene.open(scene), out=folder / "run", steps=2, settings=["optim.batch=64"])
    return scene, folder / "run"


@pytest.mark.parametrize("poison", ["state", "tensors", "manifest", "log", "lock", "previews"])
def test_resuming_follows_no_link_and_loses_nothing(begun, tmp_path, poison):
    scene, whole = begun
    run = shutil.copytree(whole, tmp_path / "run")
    document = tmp_path / "document"
    document.write_text("precious\n")
    (state,) = (run / "checkpoints").glob("*.json")
    place = {
        "state": state, "tensors": state.with_suffix(".safetensors"), "log": run / "metrics.jsonl",
        "manifest": run / "manifest.json", "lock": run / "lock", "previews": run / "previews",
    }[poison]  # fmt: skip
    kept = tmp_path / "kept"
    if os.path.lexists(place):
        place.rename(kept)
    place.symlink_to(document)
    before = sorted(p.name for p in run.rglob("*"))
    line = ["train", str(scene), "--out", str(run), "--resume", "--steps", "4", "--set",
            "optim.batch=64"]  # fmt: skip
    assert main(line) in (3, 4, DAMAGED)
    assert document.read_text() == "precious\n"
    assert set(before) <= {p.name for p in run.rglob("*")} | {"lock"}
    place.unlink()
    if os.path.lexists(kept):
        kept.rename(place)
    assert main(line) == 0
    found, warnings = RunFolder(run).load_newest()
    assert (found.step, warnings) == (4, [])


def test_manifest_of_a_job_may_hold_anything(run):
    assert main(["render", str(run), *RENDER]) == 0
    folder = run / "renders/test"
    for text in ("[]", "7", '{"finished": 3}', "{" * 9000, json.dumps({"warnings": [[[]]]})):
        (folder / "manifest.json").write_text(text)
        assert main(["render", str(run), *RENDER, "--verify"]) == 0
        assert json.loads((folder / "manifest.json").read_text())["frames"] == 1
