"""Limits of containers and shells: plans look at them, and not at the machine alone."""

import resource

import pytest

from xscale import cgroups, memory, threads

GIB = 1 << 30


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Return a function that makes a tree of groups: own lines, then files by their path."""

    def make(own, files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        monkeypatch.setattr(cgroups, "_OWN", tmp_path / "own")
        monkeypatch.setattr(cgroups, "_MOUNT", tmp_path / "fs")

    return make


@pytest.mark.parametrize(
    ("own", "files", "left"),
    [
        ("0::/job", {"job/memory.max": "max", "job/memory.current": GIB}, None),
        ("0::/job", {"job/memory.max": 3 * GIB, "job/memory.current": GIB}, 2 * GIB),
        # The softer limit slows a program down long before the harder one ends it.
        (
            "0::/job",
            {
                "job/memory.max": 3 * GIB,
                "job/memory.high": 2 * GIB,
                "job/memory.current": GIB,
            },
            GIB,
        ),
        # A group above limits too, and pages of files are given back.
        (
            "0::/user/job",
            {
                "user/job/memory.max": "max",
                "user/job/memory.current": GIB,
                "user/memory.max": 4 * GIB,
                "user/memory.current": 3 * GIB,
                "user/memory.stat": f"anon 1\ninactive_file {GIB}",
            },
            2 * GIB,
        ),
        # A container whose own group is the mount.
        ("0::/docker/1234", {"memory.max": 2 * GIB, "memory.current": GIB}, GIB),
        (
            "4:memory:/job\n0::/",
            {
                "memory/job/memory.limit_in_bytes": 330 << 20,
                "memory/job/memory.usage_in_bytes": 30 << 20,
            },
            300 << 20,
        ),
        (
            "4:memory:/job",
            {
                "memory/job/memory.limit_in_bytes": 9223372036854771712,
                "memory/job/memory.usage_in_bytes": GIB,
            },
            None,
        ),
        ("0::/job", {"job/memory.max": GIB, "job/memory.current": 2 * GIB}, 0),
        ("nonsense", {"memory.max": "many"}, None),
        ("0::/../../etc", {"memory.max": "-5"}, None),
    ],
)
def test_every_group_above_a_process_limits_its_memory(groups, own, files, left):
    groups(own, files)
    assert cgroups.memory_left() == left


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 1.5),
        ("0::/a", {"a/cpu.max": "50000 100000"}, 0.5),
        ("1:cpu,cpuacct:/a", {"cpu,cpuacct/a/cpu.cfs_quota_us": 200000,
                              "cpu,cpuacct/a/cpu.cfs_period_us": 100000}, 2.0),
        ("1:cpu:/a", {"cpu/a/cpu.cfs_quota_us": -1, "cpu/a/cpu.cfs_period_us": 100000}, None),
        ("1:cpu:/a", {"cpu/a/cpu.cfs_quota_us": 10, "cpu/a/cpu.cfs_period_us": 0}, None),
    ],
)  # fmt: skip
def test_every_group_above_a_process_limits_its_cores(groups, own, files, cores):
    groups(own, files)
    assert cgroups.cores() == cores


def test_quota_of_a_container_cuts_the_cores(monkeypatch):
    monkeypatch.setattr(cgroups, "cores", lambda: 1.5)
    monkeypatch.setattr(threads, "_affinity", lambda: 8)
    assert threads.usable_cores() == 1.5


def test_the_least_of_machine_container_and_shell_is_what_may_be_taken(monkeypatch):
    monkeypatch.setattr(memory, "_machine", lambda: 19 * GIB)
    assert memory.available_bytes() <= 19 * GIB
    monkeypatch.setattr(cgroups, "memory_left", lambda: 300 << 20)
    assert memory.available_bytes() == 300 << 20
    limits = (memory._address_space() or 0, resource.RLIM_INFINITY)
    pages = int(memory._STATM.read_text().split()[0]) * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (pages + (64 << 20), limits[1]))
    assert abs(memory.available_bytes() - (64 << 20)) < 32 << 20
