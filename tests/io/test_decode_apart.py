"""Decoders that crash, spin, or eat memory take one photo with them, and nothing else."""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xscale import errors
from xscale.errors import DamagedPhotoError, PhotoError, ResourceError
from xscale.io.photo import decode_apart
from xscale.io.photo.images import image_info, read_pixels

PLANTED = """
import os, signal, sys, time
from pathlib import Path
from xscale.io.photo import decoder_process as process
whole = process.read_pixels
def read_pixels(path, **options):
    if "crash" in path.name: os.kill(os.getpid(), signal.SIGSEGV)
    if "spin" in path.name: time.sleep(600)
    if "huge" in path.name: bytearray(20 << 30)
    if "bug" in path.name: 1 / 0
    counter = Path(os.environ.get("PLANTED_COUNT", os.devnull))
    for name in ("SIGKILL", "SIGTERM", "SIGSTOP"):
        if name in path.name:
            before = len(counter.read_text()) if counter.is_file() else 0
            with counter.open("a") as file: file.write("x")
            if before < int(os.environ.get("PLANTED_TIMES", "99")):
                os.kill(os.getpid(), getattr(signal, name))
                time.sleep(600)
    return whole(path, **options)
process.read_pixels = read_pixels
process.IDLE_SECONDS = float(os.environ.get("PLANTED_IDLE", 20))
process.main()
"""


@pytest.fixture
def planted(monkeypatch):
    """Processes whose decoders fail by the photo's name."""
    monkeypatch.setattr(decode_apart, "_COMMAND", (sys.executable, "-c", PLANTED))
    monkeypatch.setattr(decode_apart, "_idle", decode_apart.queue.LifoQueue())
    monkeypatch.setattr(decode_apart, "_crashed", set())
    monkeypatch.setattr(decode_apart, "_passed", set())


def _photo(folder, name, rng, shape=(24, 32, 3)):
    path = folder / name
    Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path, "PNG")
    return path


def _read(path, **options):
    return decode_apart.read_pixels_safely(path, (32, 24), image_info(path).mark, **options)


def test_pixels_and_masks_are_those_of_this_process(tmp_path, rng, planted):
    for name, shape in (("a.png", (24, 32, 3)), ("b.png", (24, 32, 4)), ("c.png", (3, 1, 3))):
        path = _photo(tmp_path, name, rng, shape)
        expected = read_pixels(path)
        for _ in range(2):  # apart, then here
            found = _read(path)
            np.testing.assert_array_equal(found.rgb, expected.rgb)
            assert (found.kept is None) == (expected.kept is None)
            if found.kept is not None:
                np.testing.assert_array_equal(found.kept, expected.kept)


def test_relative_paths_are_those_of_the_caller_wherever_the_process_began(
    tmp_path, rng, planted, monkeypatch
):
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photo.png")
        monkeypatch.chdir(folder)
        found = decode_apart.read_pixels_safely(Path("photo.png"), (8, 8), mark=name)
        assert np.array_equal(found.rgb, pixels)


def test_crash_takes_one_photo_and_the_third_ends_the_run(tmp_path, rng, planted):
    good = _photo(tmp_path, "good.png", rng)
    for k in range(2):
        with pytest.raises(DamagedPhotoError, match=rf"crash{k}.*: its decoder ended by SIGSEGV"):
            _read(_photo(tmp_path, f"crash{k}.png", rng))
        assert _read(good).rgb.shape == (24, 32, 3)
    with pytest.raises(PhotoError, match="SIGSEGV, as on 2 other photos") as found:
        _read(_photo(tmp_path, "crash2.png", rng))
    assert not isinstance(found.value, DamagedPhotoError)


def test_decoder_that_spins_is_ended_after_its_time(tmp_path, rng, planted, monkeypatch):
    monkeypatch.setattr(decode_apart, "SECONDS", 1.0)
    start = time.monotonic()
    with pytest.raises(DamagedPhotoError, match=r"spin.png: its decoder did not end within 1 s"):
        _read(_photo(tmp_path, "spin.png", rng))
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(("name", "times"), [("SIGKILL", 2), ("SIGTERM", 1), ("SIGSTOP", 1)])
def test_a_process_that_somebody_else_ends_is_no_fault_of_the_photo(
    tmp_path, rng, planted, monkeypatch, name, times
):
    monkeypatch.setattr(decode_apart, "SECONDS", 1.0)
    monkeypatch.setenv("PLANTED_COUNT", str(tmp_path / "count"))
    monkeypatch.setenv("PLANTED_TIMES", str(times))
    assert _read(_photo(tmp_path, f"{name}.png", rng)).rgb.shape == (24, 32, 3)
    assert len((tmp_path / "count").read_text()) == times + 1


def test_processes_that_are_killed_again_and_again_are_a_lack_of_the_machine(
    tmp_path, rng, planted, monkeypatch
):
    monkeypatch.setenv("PLANTED_COUNT", str(tmp_path / "count"))
    with pytest.raises(ResourceError, match="ended 3 times by SIGKILL; memory may be short"):
        _read(_photo(tmp_path, "SIGKILL.png", rng))
    assert len((tmp_path / "count").read_text()) == 3


def test_decoder_that_eats_memory_is_refused_it(tmp_path, rng, planted):
    with pytest.raises(DamagedPhotoError, match=r"huge.png: takes far more memory"):
        _read(_photo(tmp_path, "huge.png", rng))


def test_errors_come_over_as_they_are_and_bugs_as_bugs(tmp_path, rng, planted):
    path = _photo(tmp_path, "a.png", rng)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DamagedPhotoError) as here:
        read_pixels(path)
    with pytest.raises(DamagedPhotoError) as apart:
        _read(path)
    assert str(apart.value) == str(here.value)
    assert type(apart.value) is type(here.value)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        _read(_photo(tmp_path, "bug.png", rng))
    for name in ("LimitError", "StorageError", "UnreadablePhotoError"):
        said = {"error": name, "what": "x", "where": "y", "advice": "z"}
        assert type(decode_apart._error_of(said)) is getattr(errors, name)


def test_many_threads_share_the_processes(tmp_path, rng, planted):
    paths = [_photo(tmp_path, f"{k}.png", rng) for k in range(24)]
    with ThreadPoolExecutor(8) as threads:
        for path, found in zip(paths, threads.map(_read, paths), strict=True):
            np.testing.assert_array_equal(found.rgb, read_pixels(path).rgb)


def test_processes_started_ahead_are_those_that_decode(tmp_path, rng, planted, monkeypatch):
    decode_apart.start_ahead()
    monkeypatch.setattr(decode_apart, "_Process", None)  # no other can be made
    assert _read(_photo(tmp_path, "a.png", rng)).rgb.shape == (24, 32, 3)


def test_a_process_started_ahead_may_have_gone_home(tmp_path, rng, planted):
    decode_apart.start_ahead()
    for process in decode_apart._idle.queue:
        # It ends when its input ends, as it does when nothing was asked for a while.
        process._popen.stdin.close()
        assert process._popen.wait(20) == 0
        process._popen.stdin = BytesIO()
    assert _read(_photo(tmp_path, "a.png", rng)).rgb.shape == (24, 32, 3)


def test_shared_memory_is_given_back(tmp_path, rng, planted):
    _read(_photo(tmp_path, "a.png", rng, (1200, 1600, 3)))
    (process,) = decode_apart._idle.queue
    status = os.fstat(process.memory)
    assert status.st_size >= 1200 * 1600 * 3
    assert status.st_blocks * 512 < 1 << 16


def test_a_process_that_went_home_is_replaced_and_no_crash(tmp_path, rng, planted, monkeypatch):
    monkeypatch.setenv("PLANTED_IDLE", "0.2")
    _read(_photo(tmp_path, "a.png", rng))
    (process,) = decode_apart._idle.queue
    assert process._popen.wait(10) == 0
    assert _read(_photo(tmp_path, "b.png", rng)).rgb.shape == (24, 32, 3)
    assert decode_apart._crashed == set()


def test_ctrl_c_is_not_taken_for_a_crash(tmp_path, rng, planted):
    _read(_photo(tmp_path, "a.png", rng))
    (process,) = decode_apart._idle.queue
    process._popen.send_signal(signal.SIGINT)
    time.sleep(0.05)
    assert _read(_photo(tmp_path, "b.png", rng)).rgb.shape == (24, 32, 3)
    assert decode_apart._crashed == set()
