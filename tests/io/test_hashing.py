import hashlib

import pytest

from xscale.errors import InputError
from xscale.io.hashing import fingerprint_of, sha256_file


def test_file_hash_is_sha256_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 1_000_000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
    with pytest.raises(InputError, match="No such file"):
        sha256_file(tmp_path / "b")


def test_fingerprint_of_values_sees_the_last_bit():
    assert fingerprint_of([0.1]) != fingerprint_of([0.1 + 1e-17 * 2])
    with pytest.raises(ValueError, match="Out of range"):
        fingerprint_of(float("inf"))
