import hashlib

import pytest

from xscale.errors import InputError
from xscale.io.hashing import fingerprint, fingerprint_of, sha256_file


def test_file_hash_is_sha256_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 1_000_000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
    with pytest.raises(InputError, match="No such file"):
        sha256_file(tmp_path / "b")


def test_fingerprint_sees_names_contents_and_order(tmp_path):
    for name, text in (("a", "1"), ("b", "2"), ("c", "1")):
        (tmp_path / name).write_text(text)
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    assert len({fingerprint(p) for p in ([a, b], [b, a], [c, b], [a])}) == 4
    assert fingerprint([a, b]) == fingerprint([str(a), str(b)])


def test_fingerprint_of_values_sees_the_last_bit():
    assert fingerprint_of([0.1]) != fingerprint_of([0.1 + 1e-17 * 2])
    with pytest.raises(ValueError, match="Out of range"):
        fingerprint_of(float("inf"))
