"""A run folder may come from a stranger: poisoned ones, taken through every command that opens one.

Nothing outside of the folder is read, written or cut off; nothing hangs; nothing ends as a crash;
and what was changed since it was written is named, or changes no picture.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.render.conftest import write_tiny_run
from xscale import Run
from xscale.cli.main import main
from xscale.errors import IntegrityError, XscaleError
from xscale.io.hashing import fingerprint_of
from xscale.io.tensors import read_tensors, write_tensors
from xscale.run.folder import BACKGROUND, MESH, RESIDUALS, RunFolder

DAMAGED = 10
RENDER = ("--size", "24x16", "--samples", "1")


@pytest.fixture(scope="module")
def whole(asymmetric, tmp_path_factory):
    return write_tiny_run(asymmetric, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def commands(run):
    """Every command that opens a run and needs no scene."""
    out = run.parent / "out"
    return [
        ["render", str(run), *RENDER],
        ["render", str(run), *RENDER, "--out", str(out / "frames"), "--outputs", "uncertainty"],
        ["path", str(run), "orbit", "--frames", "2", "--out", str(out / "path.json")],
        ["export", str(run), "points", "--out", str(out / "points.ply")],
        ["score", str(run)],
    ]


def rewritten(run, change):
    """Change the manifest as somebody would who also mends its hash."""
    values = json.loads((run / "manifest.json").read_text())
    change(values)
    values.pop("self")
    values["self"] = fingerprint_of(values)
    (run / "manifest.json").write_text(json.dumps(values))


@pytest.mark.parametrize("name", ["../../victim.jpg", "/tmp/xscale-victim/a.jpg", "a/../../b.jpg"])
def test_names_that_leave_the_folder_write_nothing(run, name, capsys):
    victim = run.parent.parent / "victim.png"
    victim.write_bytes(b"precious")

    def poison(values):
        first = values["split"]["test"][0]
        values["split"]["test"][0] = name
        values["cameras"][name] = values["cameras"].pop(first)

    rewritten(run, poison)
    for command in commands(run):
        assert main(command) == DAMAGED, command
    assert victim.read_bytes() == b"precious"
    assert "leaves the photo folder" in capsys.readouterr().err
    victim.unlink()


@pytest.mark.parametrize("place", ["renders/test/lock", "renders/test/journal.jsonl"])
def test_links_are_never_written_through(run, place):
    document = run.parent / "document"
    document.write_text("precious\n")
    (run / place).parent.mkdir(parents=True)
    (run / place).symlink_to(document)
    assert main(["render", str(run), *RENDER]) in (4, DAMAGED)
    assert document.read_text() == "precious\n"


@pytest.mark.parametrize("folder", ["renders", "renders/test"])
def test_folders_that_are_links_are_refused(run, folder):
    elsewhere = run.parent / "elsewhere"
    elsewhere.mkdir()
    (run / folder).parent.mkdir(exist_ok=True)
    (run / folder).symlink_to(elsewhere)
    assert main(["render", str(run), *RENDER]) == 3
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "file", ["manifest.json", MESH, RESIDUALS, "checkpoints/step_00000001.json",
             "checkpoints/step_00000001.safetensors", "renders/test/job.json"]
)  # fmt: skip
@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder", "empty"])
def test_files_that_are_not_regular_files_end_at_once(run, file, kind):
    path = run / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "/etc/hostname")
    command = ["render", str(run), *RENDER, "--outputs", "uncertainty"]
    # A job in the way of a run's own pictures is replaced where that needs no following.
    replaced = file.endswith("job.json") and kind in ("empty", "link", "device", "pipe")
    assert main(command) in ((0, 4, DAMAGED) if replaced else (3, 4, DAMAGED))


def test_types_of_a_checkpoint_come_from_no_file(run):
    file = run / "checkpoints/step_00000001.json"
    values = json.loads(file.read_text())
    for dtype in ("O", "V8", "U4", "float64"):
        values["tensors"]["field.table"] = [dtype, [1 << 40]]
        values.pop("self", None)
        values["self"] = fingerprint_of(values)
        file.write_text(json.dumps(values))
        model = Run.open(run).model  # what the file says of types is not followed
        assert model.field.table.dtype.is_floating_point


@pytest.mark.parametrize(
    ("field", "value"),
    [("faces", 1 << 30), ("faces", -1), ("cluster_face_ids", 1 << 30), ("cluster_face_ids", -7),
     ("cluster_start", 1 << 20), ("cluster_point_start", -5), ("cluster_corners", 65535)],
)  # fmt: skip
def test_indices_of_a_mesh_are_checked_before_native_code_follows_them(run, field, value, capsys):
    arrays = {name: array.copy() for name, array in read_tensors(run / MESH).items()}
    arrays[field].reshape(-1)[-1] = value
    write_tensors(run / MESH, arrays, run=RunFolder(run).manifest.run, overwrite=True)
    for command in commands(run)[:-1]:  # score looks for the scene first
        assert main(command) == DAMAGED, command
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(3, 3), (0, 3)])
def test_meshes_whose_parts_do_not_fit_are_refused(run, shape):
    arrays = dict(read_tensors(run / MESH))
    arrays["normals"] = np.zeros(shape, np.float32)
    write_tensors(run / MESH, arrays, run=RunFolder(run).manifest.run, overwrite=True)
    with pytest.raises(IntegrityError, match="different lengths"):
        _ = Run.open(run).surface


@pytest.mark.parametrize("file", [MESH, RESIDUALS, "checkpoints"])
def test_parts_of_another_run_are_refused(run, tmp_path, file):
    folder = RunFolder(run)
    other = tmp_path / "other"
    shutil.copytree(run, other)
    rewritten(other, lambda values: values.update(run="another"))
    assert folder.manifest.run != RunFolder(other).manifest.run
    opened = Run.open(other)
    with pytest.raises(IntegrityError, match="another run"):
        {MESH: lambda: opened.mesh, RESIDUALS: lambda: opened.residuals,
         "checkpoints": lambda: opened.model}[file]()  # fmt: skip


def test_any_flipped_bit_is_found_or_harmless(whole, run):
    expected = _picture(whole)
    chance = random.Random(7)
    files = ["manifest.json", MESH, RESIDUALS, "checkpoints/step_00000001.json",
             "checkpoints/step_00000001.safetensors"]  # fmt: skip
    found = 0
    for file in files:
        original = (run / file).read_bytes()
        for _ in range(40):
            data = bytearray(original)
            at = chance.randrange(len(data))
            data[at] ^= 1 << chance.randrange(8)
            (run / file).write_bytes(data)
            try:
                assert _picture(run) == expected, (file, at)
            except XscaleError:
                found += 1
        (run / file).write_bytes(original)
    assert found > 150


@pytest.mark.parametrize("file", ["manifest.json", "checkpoints/step_00000001.json"])
def test_wrong_types_anywhere_are_a_documented_error(run, file):
    original = json.loads((run / file).read_text())
    chance = random.Random(3)
    for path in _places(original):
        values = json.loads(json.dumps(original))
        inner = values
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = chance.choice([None, [], {}, "x", -1, 1e300, True, [[1]], {"a": {}}])
        values.pop("self", None)
        values["self"] = fingerprint_of(values)
        (run / file).write_text(json.dumps(values))
        try:
            opened = Run.open(run)
            opened.render(opened.camera(opened.names("train")[0]).scaled(4, 4))
        except XscaleError:
            continue
        except IndexError:
            assert opened.names("train") == []


def test_deep_json_is_refused(run):
    (run / "manifest.json").write_text('{"format": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert main(["render", str(run)]) == DAMAGED


def test_a_journal_that_names_other_files_finishes_no_frame(run):
    assert main(["render", str(run), *RENDER]) == 0
    folder = run / "renders/test"
    line = json.loads((folder / "journal.jsonl").read_text().splitlines()[-1])
    record = line["record"]
    size = Path("/etc/hostname").stat().st_size
    for entry in record["files"].values():
        entry.update(file="/etc/hostname", bytes=size)
    text = json.dumps(record, sort_keys=True)
    (folder / "journal.jsonl").write_text(
        json.dumps({"crc": zlib.crc32(text.encode()), "record": record}, sort_keys=True) + "\n"
    )
    picture = next(folder.glob("*.png"))
    picture.unlink()
    assert main(["render", str(run), *RENDER]) == 0
    assert picture.exists()


def test_lost_checkpoints_are_not_taken_for_a_run_that_never_saved(run):
    RunFolder(run).log({"step": 1, "checkpoint": True})
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(IntegrityError, match="its checkpoints are missing"):
        RunFolder(run).load_newest(None)


def test_an_older_checkpoint_is_reported_where_pictures_are_listed(run, capsys):
    folder = RunFolder(run)
    found, _ = folder.load_newest(None)
    folder.save_checkpoint(2, found.tensors, {}, folder.manifest.run)
    newest = run / "checkpoints/step_00000002.safetensors"
    newest.write_bytes(newest.read_bytes()[:-9])
    assert main(["render", str(run), *RENDER]) == 0
    assert "W-CHECKPOINT" in capsys.readouterr().err
    listed = json.loads((run / "renders/test/manifest.json").read_text())["warnings"]
    assert any("step_00000002" in line for line in listed)


def test_runs_without_an_id_still_open(whole, run):
    values = json.loads((run / "manifest.json").read_text())
    del values["run"], values["self"]
    (run / "manifest.json").write_text(json.dumps(values))
    assert _picture(run) == _picture(whole)


def test_folders_whose_names_are_not_utf8_open(whole, tmp_path):
    path = tmp_path / os.fsdecode(b"lauf-\xe9")
    shutil.copytree(whole, path)
    assert _picture(path) == _picture(whole)
    assert BACKGROUND not in {p.name for p in path.iterdir()}


def _picture(path):
    opened = Run.open(path)
    camera = opened.camera(opened.names("test")[0]).scaled(24, 16)
    frame = opened.render(camera, outputs=("colour", "uncertainty"))
    return frame.colour.numpy().tobytes() + frame.uncertainty.numpy().tobytes()


def _places(value, path=()):
    """Paths of keys to every value of a JSON tree, a few of long lists."""
    if path:
        yield path
    if isinstance(value, dict | list):
        inner = list(value.items() if isinstance(value, dict) else enumerate(value))
        for key, part in inner[:12]:
            yield from _places(part, (*path, key))
