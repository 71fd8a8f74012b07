"""Writing: whole or not at all, also when the disk or the process fails."""

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import types
from pathlib import Path

import pytest

from xscale.errors import BusyError, OutputExistsError, StorageError
from xscale.io import file_sets, storage
from xscale.io.run_lock import RunLock


def _names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_written_file_appears_with_its_content_and_nothing_beside_it(tmp_path):
    storage.write_bytes(tmp_path / "deep" / "er" / "a.bin", b"\0\1")
    assert (tmp_path / "deep" / "er" / "a.bin").read_bytes() == b"\0\1"
    assert _names(tmp_path / "deep" / "er") == ["a.bin"]


def test_existing_file_is_refused_and_unchanged_without_overwrite(tmp_path):
    storage.write_text(tmp_path / "a", "old")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        storage.write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    storage.write_text(tmp_path / "a", "new", overwrite=True)
    assert (tmp_path / "a").read_text() == "new"
    assert _names(tmp_path) == ["a"]


def test_name_taken_while_writing_is_still_refused(tmp_path):
    def race():
        with storage.open_atomic(tmp_path / "a") as file:
            file.write(b"mine")
            (tmp_path / "a").write_text("theirs")

    with pytest.raises(OutputExistsError):
        race()
    assert (tmp_path / "a").read_text() == "theirs"
    assert _names(tmp_path) == ["a"]


def test_failing_block_leaves_neither_file_nor_temporary(tmp_path):
    def fail():
        with storage.open_atomic(tmp_path / "a", overwrite=True) as file:
            file.write(b"half")
            raise RuntimeError("stop")

    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "a").read_text() == "old"
    assert _names(tmp_path) == ["a"]


def _without_rename(monkeypatch):
    """Be on a file system whose renames cannot refuse a taken name."""
    monkeypatch.setattr(storage, "_libc", types.SimpleNamespace)


def test_a_rename_never_replaces_what_came_meanwhile(tmp_path):
    def write():
        with storage.open_atomic(tmp_path / "a") as file:
            file.write(b"mine")
            (tmp_path / "a").write_bytes(b"another's")

    with pytest.raises(OutputExistsError):
        write()
    assert (tmp_path / "a").read_bytes() == b"another's"
    assert _names(tmp_path) == ["a"]


def test_what_a_killed_writer_left_is_taken_over_and_a_living_ones_is_not(tmp_path):
    left = tmp_path / ".tmp-a.part"
    left.write_bytes(b"half of something longer")
    storage.write_bytes(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"
    assert _names(tmp_path) == ["a"]
    with storage.open_atomic(tmp_path / "b") as file:
        file.write(b"first")
        file.flush()
        storage.write_bytes(tmp_path / "b", b"second")
        assert left.with_name(".tmp-b.part").read_bytes() == b"first"
        (tmp_path / "b").unlink()
    assert (tmp_path / "b").read_bytes() == b"first"
    assert _names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("planted", ["link", "hard link", "folder", "pipe"])
def test_a_temporary_name_that_leads_elsewhere_is_not_followed(tmp_path, planted):
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    name = tmp_path / "in" / ".tmp-a.part"
    name.parent.mkdir()
    if planted == "link":
        name.symlink_to(outside)
    elif planted == "hard link":
        name.hardlink_to(outside)
    elif planted == "folder":
        name.mkdir()
    else:
        os.mkfifo(name)
    storage.write_bytes(tmp_path / "in" / "a", b"x")
    assert outside.read_bytes() == b"precious"
    assert (tmp_path / "in" / "a").read_bytes() == b"x"


def test_files_of_a_set_appear_together_or_are_taken_back(tmp_path, monkeypatch):
    main = tmp_path / "mesh.obj"

    def write():
        with file_sets.atomic_files(main) as folder:
            for name in ("mesh.obj", "mesh.mtl", "mesh_000.png"):
                (folder / name).write_text(name)

    rename = Path.rename

    def dies(path, target):
        if Path(target).name == "mesh.obj":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", dies)
    # As if killed: what an error takes back stays.
    monkeypatch.setattr(file_sets, "_take_back", lambda *_: None)
    monkeypatch.setattr(file_sets, "remove_temporary", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        write()
    assert _names(tmp_path) == [".tmp-mesh.obj.part", "mesh.mtl", "mesh_000.png"]
    monkeypatch.undo()
    (tmp_path / "mesh_000.png").write_text("somebody changed it")
    file_sets.take_back(main)
    assert _names(tmp_path) == ["mesh_000.png"]  # not the one that is somebody's by now
    with pytest.raises(OutputExistsError, match=r"mesh_000\.png"):
        write()
    assert _names(tmp_path) == ["mesh_000.png"]
    (tmp_path / "mesh_000.png").unlink()
    write()
    assert _names(tmp_path) == ["mesh.mtl", "mesh.obj", "mesh_000.png"]


@pytest.mark.parametrize("call", ["fsync", "link"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_disk_fault_is_a_storage_error_and_leaves_nothing(tmp_path, monkeypatch, call, code):
    def broken(*_, **__):
        raise OSError(code, os.strerror(code))

    _without_rename(monkeypatch)
    monkeypatch.setattr(os, call, broken)
    with pytest.raises(StorageError, match=os.strerror(code)) as caught:
        storage.write_bytes(tmp_path / "a", b"x")
    assert caught.value.exit_code == 4
    assert _names(tmp_path) == []


def test_file_system_without_links_still_refuses_existing_names(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError(errno.EPERM, "no links")

    _without_rename(monkeypatch)
    monkeypatch.setattr(os, "link", broken)
    storage.write_bytes(tmp_path / "a", b"x")
    with pytest.raises(OutputExistsError):
        storage.write_bytes(tmp_path / "a", b"y")
    assert (tmp_path / "a").read_bytes() == b"x"


def test_new_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        storage.write_bytes(tmp_path / "folder" / "a", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "folder" / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


def test_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not write: Not a directory"):
        storage.write_bytes(tmp_path / "file" / "below", b"x")


def test_json_is_readable_and_refuses_nan(tmp_path):
    storage.write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, 2.5], "a": None}
    with pytest.raises(ValueError, match="Out of range"):
        storage.write_json(tmp_path / "b.json", float("nan"))


def test_process_killed_while_writing_leaves_only_a_temporary_that_can_be_cleaned(tmp_path):
    code = (
        "import os, signal, sys\nfrom xscale.io import storage\n"
        "with storage.open_atomic(sys.argv[1] + '/a') as f:\n"
        "    f.write(b'half'); f.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a").exists()
    assert len(_names(tmp_path)) == 1
    assert len(storage.clean_temporaries(tmp_path)) == 1
    assert _names(tmp_path) == []


def test_new_folder_refuses_a_folder_that_holds_something(tmp_path):
    assert storage.new_folder(tmp_path / "a" / "b").is_dir()
    storage.new_folder(tmp_path / "a" / "b")
    with pytest.raises(OutputExistsError):
        storage.new_folder(tmp_path / "a")


def test_folder_appears_whole_or_not_at_all(tmp_path):
    with file_sets.atomic_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "out").exists()
    assert _names(tmp_path) == ["out"]
    with pytest.raises(OutputExistsError), file_sets.atomic_folder(tmp_path / "out"):
        pass

    def fail():
        with file_sets.atomic_folder(tmp_path / "out", overwrite=True) as folder:
            (folder / "y").write_text("2")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert _names(tmp_path / "out") == ["x"]
    with file_sets.atomic_folder(tmp_path / "out", overwrite=True) as folder:
        (folder / "z").write_text("3")
    assert _names(tmp_path / "out") == ["z"]
    assert _names(tmp_path) == ["out"]


def test_appending_closes_a_torn_last_line_first(tmp_path):
    log = tmp_path / "logs" / "m.jsonl"
    storage.append_line(log, '{"step": 1}')
    with log.open("ab") as file:
        file.write(b'{"st')
    storage.append_line(log, '{"step": 2}\n')
    assert log.read_text().splitlines() == ['{"step": 1}', '{"st', '{"step": 2}']


def test_lock_held_by_another_process_names_it(tmp_path):
    code = (
        "import sys\nfrom xscale.io.run_lock import RunLock\n"
        "with RunLock(sys.argv[1]):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match=f"process {other.pid} on .* since 20"):
            RunLock(tmp_path).__enter__()
        other.kill()
    with RunLock(tmp_path):
        assert stat.S_ISREG((tmp_path / "lock").stat().st_mode)
    assert (tmp_path / "lock").exists()


def test_removing_a_missing_file_is_no_error(tmp_path):
    (tmp_path / "a").write_text("")
    storage.remove_file(tmp_path / "a")
    storage.remove_file(tmp_path / "a")
    assert _names(tmp_path) == []


def test_a_removed_folder_leaves_nothing_beside_it(tmp_path):
    (tmp_path / "run" / "deep").mkdir(parents=True)
    (tmp_path / "run" / "deep" / "file").write_text("x")
    storage.remove_folder(tmp_path / "run")
    storage.remove_folder(tmp_path / "run")
    assert not any(tmp_path.iterdir())


def test_a_folder_without_locks_is_refused(tmp_path, monkeypatch):
    def no_locks(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StorageError, match="could not lock: No locks available") as refused:
        RunLock(tmp_path).__enter__()
    assert "choose a local folder" in refused.value.advice
    monkeypatch.undo()
    with RunLock(tmp_path):
        pass
