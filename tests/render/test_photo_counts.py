"""Photo counts of vertices: kept in the run, and counted again when they do not fit."""

from dataclasses import replace

import pytest
import torch

from tests.render.conftest import write_tiny_run
from xscale.errors import StorageError
from xscale.render import vertex_values
from xscale.render.run import Run
from xscale.render.sight import count
from xscale.render.vertex_values import run_photo_counts
from xscale.run.folder import PHOTO_COUNTS


@pytest.fixture
def folder(asymmetric, tmp_path):
    return write_tiny_run(asymmetric, tmp_path / "run")


def counted(monkeypatch):
    """Note each time that counts are made."""
    made, whole = [], vertex_values.photo_counts

    def noted(*arguments):
        made.append(arguments)
        return whole(*arguments)

    monkeypatch.setattr(vertex_values, "photo_counts", noted)
    return made


def test_counts_are_those_of_every_vertex_and_read_from_the_run_afterwards(folder, monkeypatch):
    made = counted(monkeypatch)
    run = Run.open(folder)
    first = run_photo_counts(run)
    assert torch.equal(first, count(run.views, run.surface.vertices))
    assert 0 < first.max() <= len(run.names("train"))
    again = run_photo_counts(Run.open(folder))
    assert torch.equal(again, first)
    assert len(made) == 1


def test_counts_of_other_cameras_or_of_a_moved_mesh_are_made_again(folder, monkeypatch):
    made = counted(monkeypatch)
    run_photo_counts(Run.open(folder))
    run = Run.open(folder)
    name = run.names("train")[0]
    monkeypatch.setattr(Run, "camera", moved_by(Run.camera, name))
    run_photo_counts(run)
    assert len(made) == 2
    run_photo_counts(run)
    assert len(made) == 2


def moved_by(camera_of, name):
    """A run's ``camera`` that gives one photo another place."""

    def camera(self, which):
        found = camera_of(self, which)
        return replace(found, t=found.t + 0.01) if which == name else found

    return camera


@pytest.mark.parametrize("damage", ["cut", "short"])
def test_damaged_counts_are_made_again_and_reported(folder, damage):
    run = Run.open(folder)
    first = run_photo_counts(run)
    file = folder / PHOTO_COUNTS
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-5])
    else:
        arrays = dict(run.folder.read(PHOTO_COUNTS))
        run.folder.write(PHOTO_COUNTS, {**arrays, "counts": arrays["counts"][1:]}, run.manifest.run)
    run = Run.open(folder)
    assert torch.equal(run_photo_counts(run), first)
    assert any("W-PHOTO-COUNTS" in line for line in run.warnings)
    assert torch.equal(run_photo_counts(Run.open(folder)), first)


def test_a_folder_that_cannot_be_written_gives_the_counts(folder, monkeypatch):
    def refuse(*_):
        raise StorageError("no room")

    run = Run.open(folder)
    monkeypatch.setattr(type(run.folder), "write", refuse)
    assert run_photo_counts(run).max() > 0
    assert any("no room" in line for line in run.warnings)
