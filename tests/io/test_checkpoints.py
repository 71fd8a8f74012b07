import json

import numpy as np
import pytest

from xscale.errors import IntegrityError
from xscale.io.checkpoints import load_newest, save_checkpoint
from xscale.io.hashing import fingerprint_of


def _save(folder, step, value):
    tensors = {"table": np.full((4, 2), value, np.float32), "steps": np.arange(4, dtype=np.uint16)}
    return save_checkpoint(folder, step, tensors, {"seconds": step / 10})


def test_newest_checkpoint_wins_and_only_two_are_kept(tmp_path):
    for step in (10, 20, 30):
        _save(tmp_path, step, step)
    checkpoint, refused = load_newest(tmp_path)
    assert checkpoint.step == 30
    assert checkpoint.state == {"seconds": 3.0}
    assert (checkpoint.tensors["table"] == 30).all()
    assert refused == []
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"step_{step:08d}.{kind}" for step in (20, 30) for kind in ("json", "safetensors")
    ]


def test_empty_folder_has_no_checkpoint(tmp_path):
    assert load_newest(tmp_path) == (None, [])


def test_one_flipped_bit_makes_the_older_checkpoint_win(tmp_path):
    _save(tmp_path, 10, 1)
    path = _save(tmp_path, 20, 2)
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    checkpoint, refused = load_newest(tmp_path)
    assert checkpoint.step == 10
    assert "does not match the hash" in refused[0]


@pytest.mark.parametrize("harm", ["manifest cut", "manifest edited", "tensors gone", "tensors cut"])
def test_damaged_checkpoint_is_never_used(tmp_path, harm):
    path = _save(tmp_path, 10, 1)
    manifest = path.with_suffix(".json")
    if harm == "manifest cut":
        manifest.write_bytes(manifest.read_bytes()[:-20])
    elif harm == "manifest edited":
        edited = json.loads(manifest.read_bytes())
        edited["state"]["seconds"] = 99
        manifest.write_text(json.dumps(edited))
    elif harm == "tensors gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="none of 1 checkpoints is intact"):
        load_newest(tmp_path)


def test_newer_format_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("xscale.io.checkpoints.FORMAT", 2)
    _save(tmp_path, 10, 1)
    monkeypatch.undo()
    with pytest.raises(IntegrityError, match="format 2, this version reads 1"):
        load_newest(tmp_path)


def test_tensors_that_a_killed_writer_left_without_a_manifest_go(tmp_path):
    _save(tmp_path, 10, 1)
    for step in (5, 15, 25):
        (tmp_path / f"step_{step:08d}.safetensors").write_bytes(b"no manifest")
    assert load_newest(tmp_path)[0].step == 10
    _save(tmp_path, 20, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"step_{step:08d}.{kind}" for step in (10, 20) for kind in ("json", "safetensors")
    ]


def _refusal(folder, name):
    """Why reading one tensor is refused, or None."""
    try:
        load_newest(folder, [name])
    except IntegrityError as error:
        return str(error)
    return None


def test_wanted_tensors_alone_are_read_and_checked(tmp_path):
    path = _save(tmp_path, 10, 3)
    checkpoint, _ = load_newest(tmp_path, ["tab"])
    assert list(checkpoint.tensors) == ["table"]
    assert (checkpoint.tensors["table"] == np.full((4, 2), 3, np.float32)).all()
    data = bytearray(path.read_bytes())
    for place in (len(data) - 1, len(data) - 33):  # one byte of each tensor
        harmed = data.copy()
        harmed[place] ^= 1
        path.write_bytes(harmed)
        outcomes = [_refusal(tmp_path, name) for name in ("table", "steps")]
        assert outcomes.count(None) == 1
        name = ("table", "steps")[outcomes[0] is None]
        assert f"tensor {name} does not match the hash" in (outcomes[0] or outcomes[1])


@pytest.mark.parametrize("size", [4, 40, -1])
def test_a_cut_file_is_refused_whichever_tensors_are_wanted(tmp_path, size):
    path = _save(tmp_path, 10, 3)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(IntegrityError, match="none of 1 checkpoints is intact"):
        load_newest(tmp_path, ["table", "steps"])


def test_checkpoints_without_a_hash_a_tensor_are_checked_whole(tmp_path):
    path = _save(tmp_path, 10, 3)
    manifest = path.with_suffix(".json")
    old = json.loads(manifest.read_bytes())
    del old["hashes"], old["self"]
    old["self"] = fingerprint_of(old)
    manifest.write_text(json.dumps(old))
    assert (load_newest(tmp_path, ["table"])[0].tensors["table"] == 3).all()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError):
        load_newest(tmp_path, ["table"])
