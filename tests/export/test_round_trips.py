"""The mesh goes through another program and comes back: it fits, or its verdict says what broke."""

import pytest

from tests.export.round_trips import PROGRAMS, Traveller, Trip, installed

TENTH_OF_A_MILLIMETRE = 1e-4


@pytest.fixture(scope="module")
def traveller(tmp_path_factory):
    return Traveller(tmp_path_factory.mktemp("trips"))


def returned(traveller, program, source, target, place):
    if not installed(program):
        pytest.skip(f"not installed: {program}")
    return traveller.back(Trip(program, source, target, place))


@pytest.mark.parametrize(("source", "target"), [("glb", "ply"), ("obj", "glb")])
def test_trimesh_gives_back_what_fits(traveller, source, target):
    found = returned(traveller, "trimesh", source, target, "local")
    assert found.said == "yes"
    assert found.off < TENTH_OF_A_MILLIMETRE


def test_single_precision_in_utm_is_named(traveller):
    """trimesh writes PLY in single precision: half a metre is a step at five million."""
    found = returned(traveller, "trimesh", "ply", "ply", "UTM")
    assert found.off > 0.1
    assert found.said == "no"
    assert found.line.startswith("W-MESH-ROUNDED")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ply", "obj"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_gives_back_what_fits(traveller, program, kind):
    found = returned(traveller, program, kind, kind, "local")
    assert found.said == "yes"
    assert found.off < TENTH_OF_A_MILLIMETRE


@pytest.mark.slow
@pytest.mark.parametrize(("source", "target"), [("ply", "glb"), ("glb", "ply"), ("obj", "ply")])
def test_axes_that_blender_turns_are_named_and_set_right(traveller, source, target):
    """Blender takes PLY with z up, OBJ and GLB with y up."""
    found = returned(traveller, "bpy", source, target, "local")
    assert (found.said, found.advice) == ("yes", True)
    assert found.off < TENTH_OF_A_MILLIMETRE
