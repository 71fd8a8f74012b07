"""PLY: every dialect gives the same mesh, and no damage gives any mesh."""

import numpy as np
import pytest

from tests import builders
from xscale.errors import InputError, MeshError
from xscale.io.mesh.meshes import read_mesh_arrays
from xscale.io.mesh.ply import encode_ply, read_ply

VERTICES = np.array([[0.0, 0, 0], [1, 0, 0.5], [1, 1, 0.25], [0, 1, 0], [-2.5, 0.5, 0.125]])
FACES = np.array([[0, 1, 2], [0, 2, 3], [3, 4, 0]])


def header(form, vertex=("float x", "float y", "float z"), faces=3, lists="uchar int", end="\n",
           count=5, extra_vertex=(), extra_face=(), more=()):  # fmt: skip
    lines = ["ply", f"format {form} 1.0", "comment made by a test", f"element vertex {count}"]
    lines += [f"property {p}" for p in (*vertex, *extra_vertex)]
    lines += [f"element face {faces}", f"property list {lists} vertex_indices"]
    lines += [f"property {p}" for p in extra_face]
    return (end.join([*lines, *more, "end_header"]) + end).encode()


def binary(order, real="f4", count="u1", index="i4"):
    rows = np.zeros(len(FACES), [("n", order + count), ("v", order + index, 3)])
    rows["n"], rows["v"] = 3, FACES
    return VERTICES.astype(order + real).tobytes() + rows.tobytes()


def ascii_body():
    lines = [" ".join(repr(float(v)) for v in row) for row in VERTICES]
    lines += ["3 " + " ".join(str(v) for v in row) for row in FACES]
    return ("\n".join(lines) + "\n").encode()


def polygons(order="<"):
    """A quad, a triangle, a two-cornered face and a pentagon."""
    body = VERTICES.astype(order + "f4").tobytes()
    for face in ([0, 1, 2, 3], [3, 4, 0], [0, 1], [0, 1, 2, 3, 4]):
        body += bytes([len(face)]) + np.array(face, order + "i4").tobytes()
    return body


DIALECTS = {
    "ascii": header("ascii") + ascii_body(),
    "little": header("binary_little_endian") + binary("<"),
    "big": header("binary_big_endian") + binary(">"),
    "double": header("binary_little_endian", ("double x", "double y", "double z"))
    + binary("<", "f8"),
    "uint16": header("binary_little_endian", lists="int32 uint16") + binary("<", "f4", "i4", "u2"),
    "uint32": header("binary_big_endian", lists="uint8 uint32") + binary(">", "f4", "u1", "u4"),
    "crlf": header("binary_little_endian", end="\r\n") + binary("<"),
    "cr": header("binary_little_endian", end="\r") + binary("<"),
}


def _read(tmp_path, data):
    path = tmp_path / "mesh.ply"
    path.write_bytes(data)
    return read_ply(path)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_mesh(tmp_path, dialect):
    mesh = _read(tmp_path, DIALECTS[dialect])
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.faces.dtype == np.int32
    assert mesh.warnings == ()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_prefix_is_refused(tmp_path, dialect):
    data = DIALECTS[dialect]
    for length in range(len(data)):
        with pytest.raises(InputError):
            _read(tmp_path, data[:length])


def test_every_prefix_of_a_polygon_mesh_is_refused(tmp_path):
    data = header("binary_little_endian", faces=4) + polygons()
    for length in range(len(data)):
        with pytest.raises(InputError):
            _read(tmp_path, data[:length])


@pytest.mark.parametrize("order", ["<", ">"])
def test_polygons_become_fans_in_order_and_short_faces_are_counted(tmp_path, order):
    form = "binary_little_endian" if order == "<" else "binary_big_endian"
    mesh = _read(tmp_path, header(form, faces=4) + polygons(order))
    expected = [[0, 1, 2], [0, 2, 3], [3, 4, 0], [0, 1, 2], [0, 2, 3], [0, 3, 4]]
    assert mesh.faces.tolist() == expected
    assert mesh.warnings[0].startswith("W-MESH-CORNERS")


def test_quads_alone_become_pairs_of_triangles(tmp_path):
    body = VERTICES.astype("<f4").tobytes()
    body += b"".join(b"\4" + np.array(f, "<i4").tobytes() for f in ([0, 1, 2, 3], [1, 2, 3, 4]))
    mesh = _read(tmp_path, header("binary_little_endian", faces=2) + body)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [1, 2, 3], [1, 3, 4]]


def test_extra_properties_and_elements_are_passed_over(tmp_path):
    vertex = np.zeros(5, [("p", "<f4", 3), ("rgb", "u1", 3), ("q", "<f8")])
    vertex["p"] = VERTICES
    faces = b"".join(
        b"\3" + np.array(f, "<i4").tobytes() + b"\2" + np.float32([7, 8]).tobytes() + b"\x01"
        for f in FACES
    )
    more = ("element edge 2", "property int a", "property list uchar short b")
    edges = (np.int32(1).tobytes() + b"\0") + (np.int32(1).tobytes() + b"\1" + b"\0\0")
    head = header(
        "binary_little_endian",
        extra_vertex=("uchar red", "uchar green", "uchar blue", "double quality"),
        extra_face=("list uchar float texcoord", "uchar flags"),
        more=more,
    )
    mesh = _read(tmp_path, head + vertex.tobytes() + faces + edges)
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.warnings == ()


def test_faces_may_come_before_vertices_and_be_called_vertex_index(tmp_path):
    head = (
        "ply\nformat ascii 1.0\nelement face 1\nproperty list uchar int vertex_index\n"
        "property uchar flag\nelement vertex 3\nproperty double x\nproperty double y\n"
        "property double z\nproperty double w\nend_header\n"
    )
    mesh = _read(tmp_path, (head + "3 2 1 0 5\n0 0 0 9\n1 0 0 9\n0 1e-3 0 9\n").encode())
    assert mesh.faces.tolist() == [[2, 1, 0]]
    assert mesh.vertices[2].tolist() == [0, 1e-3, 0]


def test_double_coordinates_keep_their_digits(tmp_path):
    vertices, faces = builders.checker_quad()
    far = vertices + 5e6 + 1e-4
    np.testing.assert_array_equal(_read(tmp_path, encode_ply(far, faces)).vertices, far)


def test_encoded_mesh_reads_back(tmp_path):
    mesh = _read(tmp_path, encode_ply(VERTICES.astype(np.float32), FACES))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    assert mesh.vertices.dtype == np.float32
    np.testing.assert_array_equal(mesh.faces, FACES)


def test_spare_bytes_are_remarked(tmp_path):
    mesh = _read(tmp_path, DIALECTS["little"] + b"spare")
    assert mesh.warnings[0].startswith("W-MESH-TAIL: mesh.ply: 5 bytes")


@pytest.mark.parametrize(("index", "shown"), [(5, "5"), (-1, "-1"), (2**31 - 1, "2147483647")])
def test_index_that_names_no_vertex_is_refused_with_face_and_count(tmp_path, index, shown):
    for order, form in (("<", "binary_little_endian"), (">", "binary_big_endian")):
        data = bytearray(header(form) + binary(order))
        data[-17:-13] = np.array(index, order + "i4").tobytes()  # last corner of face 1
        with pytest.raises(MeshError, match=f"face 1 names vertex {shown} of 5; the file is cut"):
            _read(tmp_path, bytes(data))
    text = DIALECTS["ascii"].replace(b"3 0 2 3\n", f"3 0 2 {index}\n".encode())
    with pytest.raises(MeshError, match=f"face 1 names vertex {shown} of 5"):
        _read(tmp_path, text)


def test_index_error_in_polygons_names_the_right_face(tmp_path):
    data = bytearray(header("binary_little_endian", faces=4) + polygons())
    data[-4:] = np.array(9, "<i4").tobytes()
    with pytest.raises(MeshError, match="face 3 names vertex 9 of 5"):
        _read(tmp_path, bytes(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header("binary_little_endian", count=3_000_000_000) + binary("<"), "need at least"),
        (header("binary_little_endian", faces=3_000_000_000) + binary("<"), "need at least"),
        (header("ascii", faces=3_000_000_000) + ascii_body(), "need at least"),
        (header("binary_little_endian", faces=4) + binary("<"), "cut"),
        (header("binary_little_endian", faces=0), "point cloud"),
        (b"ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nend_header\n", "point cloud"),
        (header("ascii", ("float x", "float y")) + ascii_body(), "no plain property z"),
        (header("ascii", lists="uchar float") + ascii_body(), "fractional"),
        (header("ascii", lists="float int") + ascii_body(), "fractional"),
        (header("binary_middle_endian"), "format"),
        (header("ascii", ("float x", "float x", "float z")), "twice"),
        (header("ascii", ("quad x",)), "not understood"),
        (b"ply\nformat ascii 1.0\n" + b"comment x\n" * 200_000, "end_header"),
        (b"solid mesh\n", "not a PLY"),
        (b"", "not a PLY"),
        (DIALECTS["ascii"].replace(b"3 0 2 3\n", b"4 0 2 3\n"), r"mesh.ply:17: face has another"),
        (DIALECTS["ascii"].replace(b"1.0 0.0 0.5\n", b"1.0 0,0 0.5\n"), r"mesh.ply:12: .*number"),
        (DIALECTS["ascii"].replace(b"1.0 0.0 0.5\n", b"1.0 0x1 0.5\n"), r"mesh.ply:12: .*number"),
        (DIALECTS["ascii"].replace(b"1.0 0.0 0.5\n", b"1.0 0.5\n"), r"mesh.ply:12: vertex has 2"),
    ],
)
def test_damage_is_named(tmp_path, data, words):
    with pytest.raises(MeshError, match=words):
        _read(tmp_path, data)


def test_byte_order_that_the_header_names_wrongly_is_guessed(tmp_path):
    for named, body, other in (("big", "<", "little"), ("little", ">", "big")):
        with pytest.raises(MeshError, match=f"wrong byte order: try binary_{other}_endian"):
            _read(tmp_path, header(f"binary_{named}_endian") + binary(body))
    with pytest.raises(MeshError, match=r"wrong byte order|byte order is mislabelled"):
        _read(tmp_path, header("binary_big_endian", faces=4) + polygons("<"))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (DIALECTS["little"].replace(b"1.0\n", b"1.1\n", 1), "format 'binary_little_endian 1.1'"),
        (b"ply\nelement vertex 5\nproperty float x\nformat ascii 1.0\nend_header\n",
         "must come before"),
        (header("ascii", extra_vertex=[f"float q{k}" for k in range(300)]), "too many"),
        (DIALECTS["ascii"].replace(b"element face 3", b"element tristrips 3"), "tristrips only"),
    ],
)  # fmt: skip
def test_headers_that_cannot_be_meant_are_named(tmp_path, head, words):
    with pytest.raises(MeshError, match=words):
        _read(tmp_path, head)


def test_information_for_people_is_passed_over(tmp_path):
    data = DIALECTS["little"].replace(b"comment made", b"obj_info num_cols 4\ncomment made")
    np.testing.assert_array_equal(_read(tmp_path, data).faces, FACES)


def test_negative_list_length_is_refused(tmp_path):
    data = header("binary_little_endian", faces=4, lists="char int") + polygons()
    place = len(header("binary_little_endian", faces=4, lists="char int")) + 60 + 17
    bad = data[:place] + b"\xfd" + data[place + 1 :]
    with pytest.raises(MeshError, match=r"face 1 has a list of -3"):
        _read(tmp_path, bad)


def test_mutated_bytes_never_escape_as_other_errors(tmp_path, rng):
    for data in (DIALECTS["little"], DIALECTS["ascii"],
                 header("binary_little_endian", faces=4) + polygons()):  # fmt: skip
        for _ in range(400):
            bad = bytearray(data)
            for place in rng.integers(0, len(bad), rng.integers(1, 4)):
                bad[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
            try:
                mesh = _read(tmp_path, bytes(bad))
            except InputError:
                continue
            assert mesh.faces.size == 0 or mesh.faces.min() >= 0
            assert mesh.faces.size == 0 or mesh.faces.max() < len(mesh.vertices)


def test_missing_and_unknown_meshes_are_refused(tmp_path):
    with pytest.raises(MeshError, match="no such mesh"):
        read_mesh_arrays(tmp_path / "mesh.ply")
    with pytest.raises(MeshError, match="meshes end in"):
        read_mesh_arrays(tmp_path / "mesh.fbx")
